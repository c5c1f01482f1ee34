"""Checks of a finished batch's lists, and the pointer to them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts import documents
from contracts.documents import Unfit
from contracts.values import shown

SCHEMA_VERSION = "1.0"


def missing(inputs: Mapping[str, int], lists: Mapping[str, int]) -> list[str]:
    """Return the inputs (name: bytes) without an answer, or with an empty one, in `lists` (name: bytes)."""
    return [name for name in sorted(inputs) if lists.get(f"{name}.out", 0) == 0]


def problem(content: bytes, run_id: str, shards: int) -> str | None:
    """Return the fault of one part; None if it is valid, by this run's model, and one of `shards` parts."""
    try:
        document = documents.read_object(content, "the part")
    except Unfit as error:
        return str(error)
    if not isinstance(document.get("users"), dict):
        return f"users must be an object, not {shown(document.get('users'))}"
    for name, expected in (("modelVersion", run_id), ("shards", shards), ("schemaVersion", SCHEMA_VERSION)):
        if document.get(name) != expected:
            return f"{name} must be {expected}, not {str(document.get(name))[:80]!r}"
    return None


def pointer(run_id: str, prefix: str, shards: int, num_results: int, written_at: str) -> dict[str, Any]:
    """Return the content of `serving/batch.json`."""
    return {
        "schemaVersion": SCHEMA_VERSION,
        "runId": run_id,
        "prefix": prefix,
        "shards": shards,
        "numResults": num_results,
        "writtenAt": written_at,
    }
