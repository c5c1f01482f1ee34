"""The kept links of consoles."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from control import own_link
from control.connection import Connection

SHOP = Connection("ncf-local", endpoint_url="http://127.0.0.1:4566")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return own_link.folder()


@pytest.fixture
def link() -> Iterator[str]:
    """A link to a port that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/?token=secret"


def test_the_link_is_there_as_long_as_its_console_and_for_its_user_alone(folder: Path, link: str) -> None:
    with own_link.kept(link, SHOP, may_write=False):
        assert own_link.of(SHOP) == link
        (file,) = folder.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
    assert own_link.of(SHOP) is None


def test_a_console_of_another_stack_is_another_console(folder: Path, link: str) -> None:
    with own_link.kept(link, SHOP, may_write=False):
        assert own_link.of(Connection("other", endpoint_url=SHOP.endpoint_url)) is None
        assert own_link.of(Connection("ncf-local", endpoint_url="http://127.0.0.1:4567")) is None
        assert own_link.of(Connection("ncf-local", profile="prod", region="eu-west-1")) is None


@pytest.mark.parametrize(("it_may", "wanted", "fits"), [(False, True, False), (True, True, True), (True, False, True)])
def test_who_wants_to_change_something_gets_no_console_that_only_reads(
    folder: Path, link: str, it_may: bool, wanted: bool, fits: bool
) -> None:
    with own_link.kept(link, SHOP, may_write=it_may):
        assert own_link.of(SHOP, may_write=wanted) == (link if fits else None)


def test_a_console_that_does_not_answer_yet_has_no_link(folder: Path) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        with own_link.kept(f"http://127.0.0.1:{unheard.getsockname()[1]}/?token=secret", SHOP, may_write=False):
            assert own_link.of(SHOP) is None


def test_what_a_killed_console_left_is_removed(folder: Path, link: str) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with own_link.kept(link, SHOP, may_write=False):
        (file,) = folder.iterdir()
        file.write_text(json.dumps({**json.loads(file.read_text()), "pid": ended.pid}))
        assert own_link.of(SHOP) is None
        assert not file.exists()


def test_a_file_of_another_version_is_no_link(folder: Path, link: str) -> None:
    folder.mkdir(mode=0o700)
    (folder / "1").write_text(link)
    (folder / "2").write_text("{}")
    with own_link.kept(link, SHOP, may_write=False):
        assert own_link.of(SHOP) == link


def test_a_folder_that_others_may_write_to_is_not_used(folder: Path, link: str) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    with own_link.kept(link, SHOP, may_write=False):
        assert list(folder.iterdir()) == []
    forged = {"link": link, "shows": "ncf-local http://127.0.0.1:4566", "mayWrite": True, "pid": os.getpid()}
    (folder / "8090").write_text(json.dumps(forged))
    assert own_link.of(SHOP) is None
