"""Read named files of a training job's `.tar.gz`, within size limits. Pure.

The archive is not trusted: members are read into memory one by one and never unpacked to disk. Links, devices and other
names are skipped; a member or an archive above the limits is refused.
"""

from __future__ import annotations

import tarfile
from typing import IO, Any, cast

MAXIMUM_MEMBERS = 1000
MAXIMUM_MEMBER_BYTES = 16 * 1024 * 1024
MAXIMUM_TOTAL_BYTES = 256 * 1024 * 1024


class BrokenArchive(Exception):
    """Raised when the archive cannot be read, exceeds the limits, or lacks a requested file."""


def read(stream: IO[bytes], wanted: tuple[str, ...]) -> dict[str, bytes]:
    """Return the contents of the regular files `wanted`, by name. Raises BrokenArchive naming the fault."""
    found: dict[str, bytes] = {}
    total = 0
    try:
        with tarfile.open(fileobj=cast(Any, stream), mode="r|gz") as archive:
            for position, member in enumerate(archive):
                total += member.size
                if position >= MAXIMUM_MEMBERS or total > MAXIMUM_TOTAL_BYTES:
                    raise BrokenArchive(
                        f"the archive has more than {MAXIMUM_MEMBERS} members or {MAXIMUM_TOTAL_BYTES} bytes"
                    )
                name = member.name.removeprefix("./")
                if name not in wanted or not member.isreg():
                    continue
                if name in found:
                    raise BrokenArchive(f"{name} is in the archive twice")
                if member.size > MAXIMUM_MEMBER_BYTES:
                    raise BrokenArchive(f"{name} has {member.size} bytes, more than {MAXIMUM_MEMBER_BYTES}")
                content = archive.extractfile(member)
                found[name] = content.read() if content else b""
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise BrokenArchive(f"the archive cannot be read: {error}") from error
    missing = [name for name in wanted if name not in found]
    if missing:
        raise BrokenArchive(f"the archive lacks {', '.join(missing)}")
    return found
