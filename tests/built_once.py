"""One `sam build` for all the stacks that tests deploy: `up` builds nothing where it finds a build of these sources."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT / ".envs" / "built"
RECORD = "built.json"
"""Written by `up` when it has built; it says from which sources."""


@contextmanager
def built_once(state: Path) -> Iterator[None]:
    """`up`, in the block, finds in the folder `state` what an earlier one has built; the first one builds, and the
    others wait for it.
    """
    SHARED.mkdir(parents=True, exist_ok=True)
    with (SHARED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_first := not (SHARED / RECORD).exists():
            yield
            _copy(state, SHARED)
        else:
            _copy(SHARED, state)
    if not is_first:
        yield
        with (SHARED / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _record(state) != _record(SHARED):  # the sources have changed, and `up` has built anew
                _copy(state, SHARED)


def _record(folder: Path) -> bytes:
    return (folder / RECORD).read_bytes()


def _copy(source: Path, target: Path) -> None:
    (target / RECORD).unlink(missing_ok=True)
    shutil.rmtree(target / "build", ignore_errors=True)
    shutil.copytree(source / "build", target / "build", symlinks=True)
    # What is not built, such as the state machines, stands in the template by its way from the folder of the build.
    there, here = (os.path.relpath(ROOT, (folder / "build").resolve()) for folder in (source, target))
    template = target / "build" / "template.yaml"
    template.write_text(template.read_text("utf-8").replace(f" {there}/", f" {here}/"), "utf-8")
    shutil.copyfile(source / RECORD, target / RECORD)
