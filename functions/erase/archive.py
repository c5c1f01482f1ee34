"""The ids of people in the archives of a training and in golden requests. Pure."""

from __future__ import annotations

from typing import IO, Any

from contracts import archives, documents
from contracts.archives import BadArchive
from contracts.documents import Unfit

USERS, GOLDEN = "user_ids.json", "golden.json"
MAXIMUM_BYTES = 32 << 30
"""Bytes that an archive may unpack to, those of the largest bundle that is served. It is read as a stream."""
MAXIMUM_MEMBER_BYTES = 512 << 20
"""Bytes of ids or golden requests, which are read into memory: ids of ten million users take a third of it."""


def ids_in(packed: IO[bytes]) -> list[str]:
    """Return the ids in a bundle or in `output.tar.gz`: the known users, and those of golden requests. Raises Unfit or
    BadArchive.
    """
    found: list[str] = []
    for file in archives.files(packed, MAXIMUM_BYTES):
        if file.name not in (USERS, GOLDEN):
            continue
        if file.size > MAXIMUM_MEMBER_BYTES:
            raise BadArchive(f"has {file.size} bytes, more than {MAXIMUM_MEMBER_BYTES}", file.name)
        if file.name == USERS:
            found += [name for name in documents.read(file.read(), USERS, has_schema=True) if isinstance(name, str)]
        else:
            found += ids_in_golden(file.read())
    return found


def ids_in_golden(content: bytes) -> list[str]:
    """Return the ids in golden requests. Raises Unfit."""
    cases = documents.read(content, GOLDEN, has_schema=True)
    if not isinstance(cases, list):
        raise Unfit(f"{GOLDEN} must be a list")
    sides: list[Any] = [case.get(side) for case in cases if isinstance(case, dict) for side in ("request", "response")]
    return [side["userId"] for side in sides if isinstance(side, dict) and isinstance(side.get("userId"), str)]
