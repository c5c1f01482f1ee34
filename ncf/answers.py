"""When an answer equals a recorded one: the rule for golden requests, in training and in the server.

Pure. Scores may differ by `TOLERANCE`, since another processor sums in another order; items may then change places
only where their recorded scores are that close.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

TOLERANCE = 1e-4


def differences(recorded: Iterable[dict[str, Any]], answer: Callable[[Any], dict[str, Any]]) -> list[str]:
    """One sentence per recorded request that `answer` (request document → response document) answers otherwise.

    The sentences tell requests apart by position and hold no ids of users.
    """
    found = []
    for position, entry in enumerate(recorded):
        try:
            reason = difference(entry["response"], answer(entry["request"]))
        except Exception as error:
            reason = f"no answer: {type(error).__name__}"
        if reason:
            found.append(f"golden request {position}: {reason}")
    return found


def difference(expected: dict[str, Any], actual: dict[str, Any]) -> str | None:
    """What differs between two responses of `/invocations`, or None."""
    for name in sorted(expected.keys() | actual.keys()):
        if name != "itemList" and expected.get(name) != actual.get(name):
            if name == "userId":
                return "userId is another"
            return f"{name} is {actual.get(name)!r}, expected {expected.get(name)!r}"
    wanted, given = expected["itemList"], actual["itemList"]
    if len(wanted) != len(given):
        return f"{len(given)} items, expected {len(wanted)}"
    recorded_scores = {item["itemId"]: item["score"] for item in wanted}
    seen = set()
    for rank, (want, have) in enumerate(zip(wanted, given, strict=True), start=1):
        if not abs(want["score"] - have["score"]) <= TOLERANCE:  # a NaN differs from everything
            return f"score {have['score']:.6g} at rank {rank}, expected {want['score']:.6g}"
        # An item from below the recorded list may only tie with the last of it.
        recorded = recorded_scores.get(have["itemId"], wanted[-1]["score"])
        if have["itemId"] in seen or abs(recorded - want["score"]) > TOLERANCE:
            return f"item {have['itemId']!r} at rank {rank}, expected {want['itemId']!r}"
        seen.add(have["itemId"])
    return None
