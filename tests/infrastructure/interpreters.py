"""Finds a Python of the functions' version on AWS: on PATH, or in pyenv or uv."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

_CHECK = "import sys, pip, venv; print('%d.%d' % sys.version_info[:2])"


def find(version: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """A `python<version>` that starts and has pip, as `sam build` needs it: on PATH, or where pyenv and uv keep theirs.

    A pyenv shim on PATH may name a version that is not active, so each candidate is started as a check.
    """
    return next((found for found in _candidates(version, environment) if _is(version, found, environment)), None)


def _candidates(version: str, environment: Mapping[str, str]) -> Iterator[Path]:
    name, home = f"python{version}", Path(environment.get("HOME", "/nonexistent"))
    for folder in environment.get("PATH", "").split(os.pathsep):
        yield Path(folder) / name
    pyenv = Path(environment.get("PYENV_ROOT") or home / ".pyenv")
    yield from sorted((pyenv / "versions").glob(f"{version}*/bin/{name}"))
    uv = Path(environment.get("UV_PYTHON_INSTALL_DIR") or home / ".local" / "share" / "uv" / "python")
    yield from sorted(uv.glob(f"cpython-{version}*/bin/{name}"))
    if command := shutil.which("uv", path=environment.get("PATH", "")):
        asked = subprocess.run(
            [command, "python", "find", "--no-python-downloads", version],
            env=dict(environment), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        if asked.returncode == 0 and asked.stdout.strip():
            yield Path(asked.stdout.strip())


def _is(version: str, interpreter: Path, environment: Mapping[str, str]) -> bool:
    if not interpreter.is_file():
        return False
    try:
        asked = subprocess.run(
            [interpreter, "-I", "-c", _CHECK], env=dict(environment), capture_output=True, text=True, timeout=120
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.stdout.strip() == version
