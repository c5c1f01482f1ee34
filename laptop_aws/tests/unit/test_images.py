"""Images are named by their contents, and only unchanged ones are found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from laptop_aws import images

REPOSITORY = "000000000000.dkr.ecr.us-east-1.amazonaws.com/shop"
COMMANDS = {"train": ["{python}", "{image}/train.py", "--fast"]}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "library").mkdir(parents=True)
    (folder / "train.py").write_text("train")
    (folder / "library" / "model.py").write_text("model")
    return folder


def register(source: Path, root: Path, commands: dict[str, list[str]] = COMMANDS, repository: str = REPOSITORY) -> str:
    files = [path for path in source.rglob("*") if path.is_file()]
    return images.register(repository, source, files, commands, {"PYTHONPATH": "{image}/library"}, root)


def test_an_image_says_how_its_commands_start(source: Path, tmp_path: Path) -> None:
    image = images.resolve(register(source, tmp_path), tmp_path)
    python = Path("/usr/bin/python3")
    assert image.command("train", python) == ["/usr/bin/python3", f"{image.folder}/train.py", "--fast"]
    assert image.variables(python) == {"PYTHONPATH": f"{image.folder}/library"}
    with pytest.raises(images.UnknownImage, match="has no command 'serve'"):
        image.command("serve", python)


def test_the_digest_depends_on_contents_names_and_commands_alone(source: Path, tmp_path: Path) -> None:
    first = register(source, tmp_path / "one")
    (source / "train.py").touch()
    assert register(source, tmp_path / "other") == first
    assert re.fullmatch(re.escape(REPOSITORY) + r"@sha256:[0-9a-f]{64}", first)
    (source / "library" / "model.py").rename(source / "library" / "models.py")
    renamed = register(source, tmp_path / "one")
    (source / "train.py").write_text("train!")
    changed = register(source, tmp_path / "one")
    started = register(source, tmp_path / "one", {"train": ["{image}/train"]})
    assert len({first, renamed, changed, started}) == 4
    assert images.resolve(first, tmp_path / "one").folder != images.resolve(changed, tmp_path / "one").folder


def test_compiled_code_that_a_run_leaves_in_the_image_does_not_change_it(source: Path, tmp_path: Path) -> None:
    uri = register(source, tmp_path)
    folder = images.resolve(uri, tmp_path).folder
    cache = folder / "library" / "__pycache__"
    cache.parent.chmod(0o755)
    cache.mkdir()
    (cache / "model.nbi").write_text("compiled")
    assert images.resolve(uri, tmp_path).folder == folder


def test_moving_a_character_between_files_changes_the_digest(source: Path, tmp_path: Path) -> None:
    (source / "a.py").write_text("xy")
    (source / "b.py").write_text("z")
    before = register(source, tmp_path)
    (source / "a.py").write_text("x")
    (source / "b.py").write_text("yz")
    assert register(source, tmp_path) != before


def test_a_changed_image_is_refused_and_registered_again(source: Path, tmp_path: Path) -> None:
    uri = register(source, tmp_path)
    target = images.resolve(uri, tmp_path).folder / "train.py"
    target.write_text("something else")
    with pytest.raises(images.UnknownImage, match="was changed on disk"):
        images.resolve(uri, tmp_path)
    assert register(source, tmp_path) == uri
    assert images.resolve(uri, tmp_path).folder.joinpath("train.py").read_text() == "train"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (f"{REPOSITORY}:latest", "does not end in a digest"),
        (f"{REPOSITORY}@sha256:{'0' * 64}", "does not exist"),
        (f"{REPOSITORY}@sha256:../../{'0' * 58}", "does not end in a digest"),
    ],
)
def test_an_unknown_image_says_why(tmp_path: Path, uri: str, reason: str) -> None:
    with pytest.raises(images.UnknownImage, match=reason):
        images.resolve(uri, tmp_path)


def test_an_image_is_found_under_its_own_repository_alone(source: Path, tmp_path: Path) -> None:
    uri = register(source, tmp_path)
    with pytest.raises(images.UnknownImage, match="is not in the repository aws/other"):
        images.resolve(register(source, tmp_path, repository="aws/other").replace("aws/other", "aws/another"), tmp_path)
    assert images.resolve(uri, tmp_path)
