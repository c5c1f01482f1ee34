"""Which code trained: the commit, or, where that does not say it, the hash of the folder."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Code:
    """`version` goes into the bundle; `commit` is None outside git, and `modified` when training/ is not as in it."""

    version: str
    commit: str | None
    modified: bool


def code_in(folder: Path) -> Code:
    """Of `folder`, which holds train.py and what it imports."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    modified = commit is None or _git(folder, "status", "--porcelain", "--", ".") != ""
    version = f"sha256:{digest(folder)}" if commit is None or modified else f"git:{commit}"
    return Code(version, commit, modified)


def digest(folder: Path) -> str:
    """Over the relative paths and contents of the Python and JSON files in `folder`."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".json") and path.is_file()):
        total.update(
            f"{path.relative_to(folder).as_posix()}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    return total.hexdigest()


def _git(folder: Path, *arguments: str) -> str | None:
    """What git answers; None where there is no git or no repository."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
