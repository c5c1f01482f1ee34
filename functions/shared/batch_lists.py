"""Forgotten people in the lists of batches: their entries are removed, with the earlier versions of the objects."""

from __future__ import annotations

import json

from contracts import documents
from contracts.documents import Unfit
from contracts.forgotten import Forgotten
from contracts.lists import part_of
from shared.errors import InvalidInput
from shared.objects import Bucket


def strike_one(artifacts: Bucket, user_id: str, people: Forgotten) -> int:
    """Remove a forgotten person's entry from the lists of every batch; returns how many lists had one."""
    struck = 0
    for folder in artifacts.folders("batch/"):
        parts = len(artifacts.sizes(f"{folder}input/"))
        if parts:
            struck += strike(artifacts, f"{folder}lists/{part_of(user_id, parts):04d}.json.out", people)
    return struck


def strike(artifacts: Bucket, key: str, people: Forgotten) -> int:
    """Remove the entries of forgotten people from one part; returns how many it had. A part that is not there has
    none. Raises InvalidInput if it cannot be read.

    Of calls at the same time, the one that writes last reads the part once more afterwards.
    """
    struck = 0
    while (found := artifacts.get(key)) is not None and found.size:
        try:
            part = documents.read_object(found.content, key, has_schema=True)
        except Unfit as error:
            # The key may be a user id.
            raise InvalidInput(str(error) if error.key is None else f"{key} has a key twice") from None
        if not isinstance(part.get("users"), dict):
            raise InvalidInput(f"{key}: users must be an object")
        rest = people.without(part)
        if rest is None:
            break
        struck += len(part["users"]) - len(rest["users"])
        artifacts.put(key, json.dumps(rest, separators=(",", ":")).encode())
    if struck:
        artifacts.delete_earlier(key)
    return struck
