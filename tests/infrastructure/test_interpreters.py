"""A Python for the functions is found on PATH, in pyenv and in uv; a candidate that does not start is skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.infrastructure import interpreters


def interpreter(path: Path, script: str) -> Path:
    """A program in place of a Python."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "place",
    [
        "bin/python3.13",
        ".pyenv/versions/3.13.0/bin/python3.13",
        ".local/share/uv/python/cpython-3.13.1-linux-x86_64-gnu/bin/python3.13",
    ],
)
def test_is_found_beside_a_shim_that_does_not_start(tmp_path: Path, place: str) -> None:
    interpreter(tmp_path / "shims" / "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    wanted = interpreter(tmp_path / place, "echo 3.13")
    environment = {"PATH": f"{tmp_path}/shims:{tmp_path}/bin", "HOME": str(tmp_path)}
    assert interpreters.find("3.13", environment) == wanted


def test_pyenvs_own_root_is_asked(tmp_path: Path) -> None:
    wanted = interpreter(tmp_path / "elsewhere" / "versions" / "3.13.2" / "bin" / "python3.13", "echo 3.13")
    assert interpreters.find("3.13", {"PATH": "", "PYENV_ROOT": str(tmp_path / "elsewhere")}) == wanted


def test_uv_is_asked(tmp_path: Path) -> None:
    wanted = interpreter(tmp_path / "apart" / "python3.13", "echo 3.13")
    interpreter(tmp_path / "bin" / "uv", f'[ "$*" = "python find --no-python-downloads 3.13" ] && echo {wanted}')
    assert interpreters.find("3.13", {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}) == wanted


@pytest.mark.parametrize("script", ["echo 3.12", "exit 1", "echo"])
def test_another_version_is_none(tmp_path: Path, script: str) -> None:
    interpreter(tmp_path / "python3.13", script)
    assert interpreters.find("3.13", {"PATH": str(tmp_path), "HOME": str(tmp_path)}) is None
