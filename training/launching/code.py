"""The version of the code that trains: the commit, or the hash of the files where they differ from it."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Code:
    """The version of the code: `version` is written into the bundle, `commit` is None outside git, and `modified` is
    true if a file differs from the commit.
    """

    version: str
    commit: str | None
    modified: bool


def code_in(root: Path, folders: Sequence[str]) -> Code:
    """Return the version of the code in the `folders` of `root`."""
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    modified = commit is None or _git(root, "status", "--porcelain", "--", *folders) != ""
    version = f"sha256:{digest(root, folders)}" if commit is None or modified else f"git:{commit}"
    return Code(version, commit, modified)


def digest(root: Path, folders: Sequence[str]) -> str:
    """Return the sha256 over the paths (relative to `root`) and contents of the Python and JSON files in `folders`."""
    total = hashlib.sha256()
    files = [path for folder in folders for path in (root / folder).rglob("*")]
    for path in sorted(path for path in files if path.suffix in (".py", ".json") and path.is_file()):
        total.update(f"{path.relative_to(root).as_posix()}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def _git(folder: Path, *arguments: str) -> str | None:
    """git's output; None without git or without a repository."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
