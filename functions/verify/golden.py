"""Golden requests and their exact answers, as the training job wrote them. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from shared.errors import GoldenRequestMismatch

TOLERANCE = 1e-4
MAXIMUM_REQUESTS = 100


@dataclass(frozen=True)
class Example:
    """One request to `/invocations` and the answer that the model gave when it was made."""

    request: dict[str, Any]
    response: dict[str, Any]


def parse(document: Any) -> list[Example]:
    """The examples in `golden.json`. Raises GoldenRequestMismatch when there is nothing to compare with."""
    if not isinstance(document, list) or not document or len(document) > MAXIMUM_REQUESTS:
        raise GoldenRequestMismatch(
            f"golden.json must be an array of 1 to {MAXIMUM_REQUESTS} requests with their answers"
        )
    examples = []
    for position, entry in enumerate(document):
        parts = (entry.get("request"), entry.get("response")) if isinstance(entry, dict) else (None, None)
        if (
            not isinstance(parts[0], dict)
            or not isinstance(parts[1], dict)
            or not isinstance(parts[1].get("itemList"), list)
        ):
            raise GoldenRequestMismatch(f"golden.json[{position}] must have a request and a response with an itemList")
        examples.append(Example(parts[0], parts[1]))
    return examples


def sameness(examples: list[Example], answers: list[dict[str, Any]]) -> str | None:
    """That everybody gets one list, as a sentence; None when two users have different ones, or only one is asked for
    (the models of before this check).
    """
    lists: dict[str, list[Any]] = {}
    for example, answer in zip(examples, answers, strict=True):
        if "candidates" not in example.request and example.response.get("source") == "personalized":
            lists[str(example.request.get("userId"))] = [item["itemId"] for item in answer["itemList"]]
    if len(lists) > 1 and all(one == next(iter(lists.values())) for one in lists.values()):
        return f"{len(lists)} users get one list"
    return None


def difference(expected: dict[str, Any], actual: Any, run_id: str) -> str | None:
    """How `actual` differs from `expected`, as a sentence without user ids; None when it does not."""
    if not isinstance(actual, dict) or not isinstance(actual.get("itemList"), list):
        return "the answer has no itemList"
    if actual.get("modelVersion") != run_id:
        return f"modelVersion is {str(actual.get('modelVersion'))[:80]!r}, not {run_id}"
    for field in ("source", "unknownItems"):
        if field in expected and actual.get(field) != expected[field]:
            return f"{field} is {str(actual.get(field))[:80]!r}, not {expected[field]!r}"
    return _list_difference(expected["itemList"], actual["itemList"])


def _list_difference(wanted: list[Any], got: list[Any]) -> str | None:
    if len(got) != len(wanted):
        return f"{len(got)} items were answered, not {len(wanted)}"
    recorded = {item["itemId"]: item["score"] for item in wanted}
    seen: set[Any] = set()
    for position, (expected, found) in enumerate(zip(wanted, got, strict=True)):
        item, score = (found.get("itemId"), found.get("score")) if isinstance(found, dict) else (None, None)
        if isinstance(score, bool) or not isinstance(score, (int, float)) or not math.isfinite(score):
            return f"the score of item {position} is {str(score)[:80]!r}, not a finite number"
        if abs(score - expected["score"]) > TOLERANCE:
            return f"the score of item {position} is {score:.6f}, not {expected['score']:.6f} within {TOLERANCE:g}"
        # Another processor sums in another order: items this close may change places, also with one below the list.
        if (
            not isinstance(item, str)
            or item in seen
            or abs(recorded.get(item, wanted[-1]["score"]) - score) > 2 * TOLERANCE
        ):
            return f"item {position} is {str(item)[:80]!r}, not {expected['itemId']!r}"
        seen.add(item)
    return None
