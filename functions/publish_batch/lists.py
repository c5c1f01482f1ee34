"""Checks of a finished batch's lists, and the pointer to them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts import documents, limits, lists
from contracts.documents import Unfit
from contracts.lists import BadList
from contracts.values import is_integer, shown

SCHEMA_VERSION = "1.0"


def missing(inputs: Mapping[str, int], written: Mapping[str, int]) -> list[str]:
    """Return the inputs (name: bytes) without an answer, or with an empty one, in `written` (name: bytes)."""
    return [name for name in sorted(inputs) if written.get(f"{name}.out", 0) == 0]


def num_results(content: bytes) -> int:
    """Return the number of items per user that the request for a part asks for. Raises Unfit."""
    number = documents.read_object(content, "the request").get("numResults")
    if not is_integer(number, 1, limits.RESULTS):
        raise Unfit(f"the request: numResults must be an integer from 1 to {limits.RESULTS}, not {shown(number)}")
    return number


def problem(content: bytes, run_id: str, shards: int, most: int) -> str | None:
    """Return the fault of one part, without user ids; None if it is valid, by this run's model, one of `shards` parts,
    and if each of its lists is one of at most `most` items.
    """
    try:
        document = documents.read_object(content, "the part", has_schema=True)
    except Unfit as error:
        return str(error) if error.key is None else "the part has a key twice"  # a key may be a user id
    if not isinstance(document.get("users"), dict):
        return f"users must be an object, not {shown(document.get('users'))}"
    for name, expected in (("modelVersion", run_id), ("shards", shards), ("schemaVersion", SCHEMA_VERSION)):
        if document.get(name) != expected:
            return f"{name} must be {expected}, not {str(document.get(name))[:80]!r}"
    for place, listed in enumerate(document["users"].values(), start=1):
        try:
            lists.check(*lists.of_pairs(listed), most)
        except BadList as error:
            return f"the list of user {place} of {len(document['users'])}: {error}"
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
