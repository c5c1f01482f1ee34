"""The console that `demo` starts in the background: one at a time, ended by `down`, and no demo fails by it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import rich.console

from control import own_link
from control.connection import Connection
from laptop_aws import identity
from local import beside
from local.console import Show
from local.project import Project

REPOSITORY = Path(__file__).resolve().parents[3]
CONSOLE = """
import os, signal, socket, sys
from control import own_link
from control.connection import Connection
signal.signal(signal.SIGTERM, signal.default_int_handler)
stack, endpoint = sys.argv[sys.argv.index("--stack") + 1], sys.argv[sys.argv.index("--endpoint-url") + 1]
with socket.create_server(("127.0.0.1", 0)) as server:
    link = f"http://127.0.0.1:{server.getsockname()[1]}/?token={os.getpid()}"
    with own_link.kept(link, Connection(stack, endpoint_url=endpoint), "--write" in sys.argv):
        signal.pause()
"""
"""A console as `control.own_link` knows it, without the web server. Its token is its process id."""
MAKE = """#!/bin/sh
test "$2" = .envs/console/.ready && mkdir -p .envs/console && touch .envs/console/.ready
"""


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project with a console in an environment of its own; whatever runs in the end is stopped."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    program(tmp_path / ".envs/console/bin/python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / ".envs/console/.ready").touch()
    program(tmp_path / "console/__main__.py", CONSOLE)
    (tmp_path / "console/__init__.py").touch()
    made = Project(tmp_path, tmp_path / "state", 4599)
    made.make_state_folder()
    yield made
    beside.stop(made, Show(rich.console.Console(file=io.StringIO())))


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def show(out: io.StringIO) -> Show:
    return Show(rich.console.Console(file=out, width=300))


def pid_of(link: str) -> int:
    return int(link.partition("token=")[2])


def test_a_second_demo_finds_the_console_of_the_first(project: Project, show: Show) -> None:
    first = beside.link(project, show)
    assert first is not None and identity.start_of(pid_of(first)) is not None
    assert os.getsid(pid_of(first)) == pid_of(first), "Ctrl-C of a later command would end it"
    assert beside.link(project, show) == first


def test_down_ends_it_and_nothing_stays(project: Project, show: Show, out: io.StringIO) -> None:
    link = beside.link(project, show)
    assert link is not None
    beside.stop(project, show)
    assert identity.start_of(pid_of(link)) is None
    assert own_link.of(project.connection) is None
    assert not (project.state / beside.RECORD).exists()
    assert "the console in the browser is stopped" in out.getvalue()
    beside.stop(project, show)
    assert out.getvalue().count("is stopped") == 1


def test_a_process_that_got_the_number_of_an_ended_console_is_left_alone(project: Project, show: Show) -> None:
    project.write_state(beside.RECORD, {"pid": os.getpid(), "started": "another boot 1"})
    beside.stop(project, show)  # it would end this test


def test_a_console_that_hears_nobody_is_replaced(project: Project, show: Show) -> None:
    first = beside.link(project, show)
    assert first is not None
    for file in own_link.folder().iterdir():
        file.unlink()
    second = beside.link(project, show)
    assert second is not None and second != first
    assert identity.start_of(pid_of(first)) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [("raise SystemExit(3)", "it ended with status 3"), ("import time; time.sleep(60)", "it did not answer")],
)
def test_a_console_that_does_not_start_is_a_line_and_no_process(
    project: Project, show: Show, out: io.StringIO, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    program(project.root / "console/__main__.py", text)
    monkeypatch.setattr(beside, "START_SECONDS", 1.0)
    assert beside.link(project, show) is None
    assert f"! there is no console: {why}" in out.getvalue() and "`make console`" in out.getvalue()
    assert identity.start_of(int(project.read_state(beside.RECORD)["pid"])) is None


def test_ctrl_c_while_it_starts_leaves_no_process(
    project: Project, show: Show, out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([None])

    def of(connection: Connection) -> str | None:
        for answer in answers:
            return answer
        raise KeyboardInterrupt

    program(project.root / "console/__main__.py", "import time; time.sleep(60)")
    monkeypatch.setattr(own_link, "of", of)
    assert beside.link(project, show) is None
    assert "! stopped" in out.getvalue()
    assert identity.start_of(int(project.read_state(beside.RECORD)["pid"])) is None


def test_its_environment_is_set_up_once_by_make(
    project: Project, show: Show, out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.root / ".envs/console/.ready").unlink()
    program(project.root / "tools/make", MAKE)
    monkeypatch.setenv("PATH", str(project.root / "tools"), prepend=os.pathsep)
    assert beside.link(project, show) is not None
    assert "set up the console" in out.getvalue()


def test_a_set_up_that_fails_is_told_with_its_last_line(
    project: Project, show: Show, out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.root / ".envs/console/.ready").unlink()
    program(project.root / "tools/make", "#!/bin/sh\necho 'no network' >&2; exit 2\n")
    monkeypatch.setenv("PATH", str(project.root / "tools"), prepend=os.pathsep)
    assert beside.link(project, show) is None
    assert "its set-up failed (no network)" in out.getvalue()
