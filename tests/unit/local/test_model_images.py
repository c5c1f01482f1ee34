"""Model images are named by their contents, and only whole ones are found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from local import images


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for path, text in {
        "container/train.py": "train",
        "ncf/network.py": "model",
        "container/serve.py": "serve",
        "container/Dockerfile": "FROM x",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def test_an_image_holds_the_code_and_nothing_else(project: Path, tmp_path: Path) -> None:
    for path in ("ncf/__pycache__/x.pyc", "training/tests/test_x.py", "serving/.hidden", "emr/preprocess.py"):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text("no")
    folder = images.resolve(images.build(project, tmp_path / "state"), tmp_path / "state")
    held = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert held == ["container/Dockerfile", "container/serve.py", "container/train.py", "ncf/network.py"]


def test_the_digest_depends_on_contents_and_names_alone(project: Path, tmp_path: Path) -> None:
    first = images.build(project, tmp_path / "one")
    (project / "container" / "train.py").touch()
    assert images.build(project, tmp_path / "other") == first
    assert re.fullmatch(re.escape(images.REPOSITORY) + r"@sha256:[0-9a-f]{64}", first)
    (project / "ncf" / "network.py").rename(project / "ncf" / "networks.py")
    renamed = images.build(project, tmp_path / "one")
    (project / "container" / "serve.py").write_text("serve!")
    changed = images.build(project, tmp_path / "one")
    assert len({first, renamed, changed}) == 3
    assert images.resolve(first, tmp_path / "one") != images.resolve(changed, tmp_path / "one")


def test_moving_a_character_between_files_changes_the_digest(project: Path, tmp_path: Path) -> None:
    (project / "ncf" / "a.py").write_text("xy")
    (project / "ncf" / "b.py").write_text("z")
    before = images.build(project, tmp_path)
    (project / "ncf" / "a.py").write_text("x")
    (project / "ncf" / "b.py").write_text("yz")
    assert images.build(project, tmp_path) != before


def test_a_changed_snapshot_is_refused_and_built_again(project: Path, tmp_path: Path) -> None:
    uri = images.build(project, tmp_path)
    target = images.resolve(uri, tmp_path) / "container" / "serve.py"
    target.write_text("something else")
    with pytest.raises(images.UnknownImage, match="was changed on disk"):
        images.resolve(uri, tmp_path)
    assert images.build(project, tmp_path) == uri
    assert images.resolve(uri, tmp_path).joinpath("container", "serve.py").read_text() == "serve"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (f"{images.REPOSITORY}:latest", "does not end in a digest"),
        (f"{images.REPOSITORY}@sha256:{'0' * 64}", "does not exist"),
        (f"123456789012.dkr.ecr.us-east-1.amazonaws.com/other@sha256:{'0' * 64}", "is not in the repository"),
        (f"{images.REPOSITORY}@sha256:../../{'0' * 58}", "does not end in a digest"),
    ],
)
def test_an_unknown_image_says_why(tmp_path: Path, uri: str, reason: str) -> None:
    with pytest.raises(images.UnknownImage, match=reason):
        images.resolve(uri, tmp_path)


def test_code_without_its_commands_is_no_image(project: Path, tmp_path: Path) -> None:
    (project / "container" / "serve.py").unlink()
    with pytest.raises(images.BrokenSource, match=r"container/serve\.py is missing"):
        images.build(project, tmp_path)
    assert not (tmp_path / "images").exists()
