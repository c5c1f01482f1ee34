"""A state folder that cannot be written, and a partly removed environment: the command prints a sentence, not a
traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).resolve().parents[3]
# Root may write anywhere unless it gives up its capabilities.
UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []


def run(state: Path, *arguments: str, python: tuple[str, ...] = (sys.executable,)) -> tuple[int, str]:
    """Exit status and output of `python -m local`."""
    done = subprocess.run(
        [*UNPRIVILEGED, *python, "-m", "local", *arguments],
        cwd=PROJECT_ROOT,
        env=os.environ | {"NCF_LOCAL_DIR": str(state), "NCF_LOCAL_PORT": "4599", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A state folder of an earlier session, with the file of an emulator that was killed, that cannot be written."""
    if UNPRIVILEGED and not shutil.which("setpriv"):
        pytest.skip("root can write everywhere, and there is no setpriv to give that up")
    state = tmp_path / "state"
    (state / "logs").mkdir(parents=True)
    (state / "state").mkdir()
    record = {"pid": 2**22 + 1, "port": 4599, "started": "x", "directory": str(state)}
    (state / "emulator.json").write_text(json.dumps(record))
    state.chmod(0o555)
    yield state
    state.chmod(0o755)


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["up"], 2, "the state folder .* cannot be written"),
        (["down"], 0, "the embedded AWS is not running"),
        (["down", "--delete"], 2, "Permission denied"),
        (["status"], 0, "not running"),
        (["logs"], 2, ""),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_a_read_only_state_folder(read_only: Path, arguments: list[str], status: int, sentence: str) -> None:
    found, said = run(read_only, *arguments)
    assert "Traceback" not in said
    assert found == status, said
    assert re.search(sentence, said), said


def test_status_when_make_clean_was_interrupted_while_it_removed_the_state(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "logs").mkdir(parents=True)
    (state / "emulator.json").write_text("")
    status, said = run(state, "status")
    assert (status, "Traceback" in said) == (0, False)
    assert "not running (its state is kept): `make up` starts it" in said


@pytest.mark.parametrize("command", ["status", "down"])
def test_an_environment_that_make_clean_removed_in_part(tmp_path: Path, command: str) -> None:
    status, said = run(tmp_path, command, python=(sys.executable, "-S"))
    assert status == 2
    assert "is incomplete (No module named" in said and "run `make clean`, then `make setup`" in said
    assert "Traceback" not in said
