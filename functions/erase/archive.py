"""The ids of people in the archives of a training and in golden requests. Pure."""

from __future__ import annotations

from typing import IO, Any

from contracts import archives, documents
from contracts.documents import Unfit

USERS, GOLDEN = "user_ids.json", "golden.json"
_LARGEST = 2**40
"""Bytes that an archive may unpack to. It is read as a stream."""


def ids_in(packed: IO[bytes]) -> list[str]:
    """Return the ids in a bundle or in `output.tar.gz`: the known users, and those of golden requests. Raises Unfit or
    BadArchive.
    """
    found: list[str] = []
    for file in archives.files(packed, _LARGEST):
        if file.name == USERS:
            found += [name for name in documents.read(file.read(), USERS, has_schema=True) if isinstance(name, str)]
        elif file.name == GOLDEN:
            found += ids_in_golden(file.read())
    return found


def ids_in_golden(content: bytes) -> list[str]:
    """Return the ids in golden requests. Raises Unfit."""
    cases = documents.read(content, GOLDEN, has_schema=True)
    if not isinstance(cases, list):
        raise Unfit(f"{GOLDEN} must be a list")
    sides: list[Any] = [case.get(side) for case in cases if isinstance(case, dict) for side in ("request", "response")]
    return [side["userId"] for side in sides if isinstance(side, dict) and isinstance(side.get("userId"), str)]
