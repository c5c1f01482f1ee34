"""Comparison of two answers of the model server to the same request.

Scores may differ by `TOLERANCE`, because processors sum in different orders. An item's score must be within `TOLERANCE`
of its own recorded score and of the recorded score at its rank, so only items with nearly equal scores may change
places. An item that is not in the recorded list must tie with the list's last item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from contracts.values import is_number, shown

TOLERANCE = 1e-4


def differences(recorded: Iterable[dict[str, Any]], answer: Callable[[Any], Any]) -> list[str]:
    """Return a sentence for each recorded `{"request", "response"}` for which `answer(request)` gives another response.

    The sentences name a request by its position and contain no user ids.
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


def difference(expected: dict[str, Any], actual: Any) -> str | None:
    """Return a sentence on how the answer `actual` differs from the recorded `expected`, without user ids; None if they
    are equal.
    """
    if not isinstance(actual, dict) or not isinstance(actual.get("itemList"), list):
        return "the answer has no itemList"
    for name in sorted(expected.keys() | actual.keys()):
        if name != "itemList" and expected.get(name) != actual.get(name):
            if name == "userId":
                return "userId differs"
            return f"{name} is {shown(actual.get(name))}, not {shown(expected.get(name))}"
    return _list_difference(expected["itemList"], actual["itemList"])


def _list_difference(expected: list[dict[str, Any]], actual: list[Any]) -> str | None:
    if len(actual) != len(expected):
        return f"{len(actual)} items were answered, not {len(expected)}"
    recorded = {entry["itemId"]: entry["score"] for entry in expected}
    seen: set[str] = set()
    for rank, (wanted, found) in enumerate(zip(expected, actual, strict=True), start=1):
        item, score = (found.get("itemId"), found.get("score")) if isinstance(found, dict) else (None, None)
        if not is_number(score):
            return f"the score at rank {rank} is {shown(score)}, not a finite number"
        if abs(score - wanted["score"]) > TOLERANCE:
            return f"the score at rank {rank} is {score:.6f}, not {wanted['score']:.6f} within {TOLERANCE:g}"
        own = recorded.get(item, expected[-1]["score"]) if isinstance(item, str) else None
        if own is None or item in seen or abs(score - own) > TOLERANCE:
            return f"the item at rank {rank} is {shown(item)}, not {shown(wanted['itemId'])}"
        seen.add(str(item))
    return None
