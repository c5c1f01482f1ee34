"""The kept link of a console."""

from pathlib import Path

import pytest

from control import own_link

LINK = "http://127.0.0.1:8090/?token=secret"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return own_link.folder()


def test_the_link_is_there_as_long_as_its_console_and_for_its_user_alone(folder: Path) -> None:
    with own_link.kept(8090, LINK):
        assert own_link.of(8090) == LINK
        assert own_link.of(8091) is None
        assert (folder / "8090").stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
    assert own_link.of(8090) is None


def test_a_folder_that_others_may_write_to_is_not_used(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    with own_link.kept(8090, LINK):
        assert not (folder / "8090").exists()
    (folder / "8090").write_text("http://elsewhere.example/")
    assert own_link.of(8090) is None
