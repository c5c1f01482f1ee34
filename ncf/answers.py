"""The comparison of an answer with a recorded one, for golden requests in training and in the server.

Scores may differ by `TOLERANCE`, because another processor sums in another order. Items may change places only if their
recorded scores differ by no more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

TOLERANCE = 1e-4
"""Maximum absolute difference between two equal scores."""


def differences(recorded: Iterable[dict[str, Any]], answer: Callable[[Any], dict[str, Any]]) -> list[str]:
    """Return one sentence per recorded request for which `answer` (request document → response document) differs.

    The sentences name a request by its position and contain no user id.
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
    """Return the first difference between two responses of `/invocations` as text, or None."""
    for name in sorted(expected.keys() | actual.keys()):
        if name != "itemList" and expected.get(name) != actual.get(name):
            if name == "userId":
                return "userId is another"
            return f"{name} is {actual.get(name)!r}, expected {expected.get(name)!r}"
    expected_items, items = expected["itemList"], actual["itemList"]
    if len(expected_items) != len(items):
        return f"{len(items)} items, expected {len(expected_items)}"
    recorded_scores = {item["itemId"]: item["score"] for item in expected_items}
    seen = set()
    for rank, (recorded, item) in enumerate(zip(expected_items, items, strict=True), start=1):
        if not abs(recorded["score"] - item["score"]) <= TOLERANCE:  # a NaN differs from everything
            return f"score {item['score']:.6g} at rank {rank}, expected {recorded['score']:.6g}"
        # An item that is not in the recorded list can only tie with the last item of the list.
        recorded_score = recorded_scores.get(item["itemId"], expected_items[-1]["score"])
        if item["itemId"] in seen or abs(recorded_score - recorded["score"]) > TOLERANCE:
            return f"item {item['itemId']!r} at rank {rank}, expected {recorded['itemId']!r}"
        seen.add(item["itemId"])
    return None
