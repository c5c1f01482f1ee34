"""The image of this application has the code of training and serving, and the commands of both."""

from __future__ import annotations

from pathlib import Path

import pytest

from laptop_aws.images import resolve
from local import images


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for path in [images.TRAIN, images.SERVE, *(Path(folder) / "ncf" / "module.py" for folder in images.FOLDERS)]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"content of {path}")
    return root


def test_an_image_holds_the_code_and_nothing_else(project: Path, tmp_path: Path) -> None:
    wanted = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    for path in ("training/__pycache__/x.pyc", "training/tests/test_x.py", "serving/.hidden", "emr/preprocess.py"):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text("no")
    image = resolve(images.build(project, tmp_path / "state"), tmp_path / "state")
    held = {path.relative_to(image.folder).as_posix() for path in image.folder.rglob("*") if path.is_file()}
    assert held == wanted | {"image.json"}


def test_the_commands_run_the_files_of_the_image(project: Path, tmp_path: Path) -> None:
    image = resolve(images.build(project, tmp_path), tmp_path)
    python = Path("python3")
    assert image.command("train", python) == ["python3", "-P", "-m", "container.train"]
    assert image.command("serve", python) == ["python3", "-P", "-m", "serving.serve"]
    assert image.variables(python)["PYTHONPATH"] == str(image.folder)


def test_code_without_its_commands_is_no_image(project: Path, tmp_path: Path) -> None:
    (project / images.SERVE).unlink()
    with pytest.raises(images.BrokenSource, match=rf"{images.SERVE} is missing"):
        images.build(project, tmp_path)
    assert not (tmp_path / "images").exists()
