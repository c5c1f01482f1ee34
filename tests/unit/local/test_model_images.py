"""The image of this application has the code of training and serving, and the commands of both."""

from __future__ import annotations

from pathlib import Path

import pytest

from laptop_aws.images import resolve
from local import images
from local.project import Project


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


def test_the_loops_of_the_server_are_compiled_once_beside_their_sources(project: Path, tmp_path: Path) -> None:
    (project / "serving" / "__init__.py").touch()
    (project / "serving" / "kernels.py").write_text(
        "import pathlib\n"
        "def compile_all():\n"
        "    (folder := pathlib.Path(__file__).with_name('__pycache__')).mkdir(exist_ok=True)\n"
        "    (folder / 'kernels.nbi').touch()\n"
        "    print('compiled')\n"
    )
    own = Project(root=project, state=tmp_path / "state", port=4566)
    own.make_state_folder()
    uri = images.build(project, own.state)
    process = images.compile_loops(uri, own)
    assert process is not None
    assert process.wait(60) == 0
    assert (own.logs / "compile.log").read_text() == "compiled\n"
    assert images.compile_loops(uri, own) is None
    assert resolve(uri, own.state).folder.exists(), "what is compiled is no part of the image"


def test_code_without_its_commands_is_no_image(project: Path, tmp_path: Path) -> None:
    (project / images.SERVE).unlink()
    with pytest.raises(images.BrokenSource, match=rf"{images.SERVE} is missing"):
        images.build(project, tmp_path)
    assert not (tmp_path / "images").exists()
