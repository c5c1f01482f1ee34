"""Read named files of a training job's `.tar.gz`, within size limits. Pure.

The archive is not trusted: members are read into memory one by one and never unpacked to disk. Files of other names are
skipped; what `contracts.archives` refuses, and what is above the limits, is refused.
"""

from __future__ import annotations

from typing import IO

from contracts import archives
from contracts.archives import BadArchive

MAXIMUM_MEMBER_BYTES = 16 * 1024 * 1024
MAXIMUM_TOTAL_BYTES = 256 * 1024 * 1024


class BrokenArchive(Exception):
    """Raised when the archive cannot be read, is refused, exceeds the limits, or lacks a requested file."""


def read(stream: IO[bytes], wanted: tuple[str, ...]) -> dict[str, bytes]:
    """Return the contents of the plain files `wanted`, by name. Raises BrokenArchive naming the fault."""
    found: dict[str, bytes] = {}
    try:
        for file in archives.files(stream, MAXIMUM_TOTAL_BYTES):
            if file.name not in wanted:
                continue
            if file.size > MAXIMUM_MEMBER_BYTES:
                raise BrokenArchive(f"{file.name} has {file.size} bytes, more than {MAXIMUM_MEMBER_BYTES}")
            found[file.name] = file.read()
    except BadArchive as error:
        raise BrokenArchive(str(error)) from error
    missing = [name for name in wanted if name not in found]
    if missing:
        raise BrokenArchive(f"the archive lacks {', '.join(missing)}")
    return found
