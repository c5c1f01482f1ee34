"""Finds assembled files that are not current, and writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class SourceError(ValueError):
    """A source cannot be assembled. The message names the file, the place in it and what is wrong."""


def outdated(root: Path, texts: Mapping[str, str]) -> list[str]:
    """The paths, below `root`, of the files that are missing or have another text than `texts` says."""
    return [
        path
        for path, text in texts.items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def write(root: Path, texts: Mapping[str, str]) -> list[str]:
    """Write every file that is not current, and return their paths below `root`."""
    written = outdated(root, texts)
    for path in written:
        (root / path).write_text(texts[path], encoding="utf-8")
    return written
