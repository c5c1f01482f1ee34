"""The comparison of two answers to one request."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from contracts.golden import difference, differences


def answer(*items: tuple[str, Any], **other: Any) -> dict[str, Any]:
    return {
        "userId": "42",
        "itemList": [{"itemId": item, "score": score} for item, score in items],
        "source": "personalized",
        "modelVersion": "r1",
        "unknownItems": 0,
        **other,
    }


EXPECTED = answer(("a", 0.9), ("b", 0.5), ("c", 0.49995))


@pytest.mark.parametrize(
    "actual",
    [
        copy.deepcopy(EXPECTED),
        answer(("a", 0.90005), ("b", 0.5), ("c", 0.49995)),
        answer(("a", 0.9), ("c", 0.49999), ("b", 0.49996)),  # a tie within the tolerance, decided the other way
        answer(("a", 0.9), ("b", 0.5), ("d", 0.49994)),  # a tie at the edge of the list
    ],
)
def test_scores_within_the_tolerance_and_ties_in_another_order_do_not_differ(actual: dict[str, Any]) -> None:
    assert difference(EXPECTED, actual) is None


def test_two_items_change_places_where_each_score_moved_by_less_than_the_tolerance() -> None:
    """Recorded 1.5 tolerances apart; 0.9 tolerances of error in each can put the second first."""
    expected = answer(("a", 0.5), ("b", 0.49985))
    assert difference(expected, answer(("b", 0.49994), ("a", 0.49991))) is None
    assert difference(expected, answer(("b", 0.49997), ("a", 0.49991))) == "the item at rank 1 is 'b', not 'a'"


@pytest.mark.parametrize(
    ("actual", "reason"),
    [
        (None, "the answer has no itemList"),
        ({"error": {"code": "InvalidInput"}}, "the answer has no itemList"),
        (answer(("a", 0.9), ("b", 0.5)), "2 items were answered, not 3"),
        (answer(("a", 0.9002), ("b", 0.5), ("c", 0.49995)),
         "the score at rank 1 is 0.900200, not 0.900000 within 0.0001"),
        (answer(("a", float("nan")), ("b", 0.5), ("c", 0.49995)), "the score at rank 1 is nan, not a finite number"),
        (answer(("a", 10**400), ("b", 0.5), ("c", 0.49995)),
         "the score at rank 1 is a number beyond the range of a double, not a finite number"),
        (answer(("a", "0.9"), ("b", 0.5), ("c", 0.49995)), "the score at rank 1 is '0.9', not a finite number"),
        ({**EXPECTED, "itemList": [None] * 3}, "the score at rank 1 is None, not a finite number"),
        (answer(("b", 0.9), ("a", 0.5), ("c", 0.49995)), "the item at rank 1 is 'b', not 'a'"),
        (answer(("d", 0.9), ("b", 0.5), ("c", 0.49995)), "the item at rank 1 is 'd', not 'a'"),
        (answer(([], 0.9), ("b", 0.5), ("c", 0.49995)), "the item at rank 1 is [], not 'a'"),
        (answer(("a", 0.9), ("c", 0.5), ("c", 0.49995)), "the item at rank 3 is 'c', not 'c'"),
        ({**EXPECTED, "source": "popular"}, "source is 'popular', not 'personalized'"),
        ({**EXPECTED, "modelVersion": "r2"}, "modelVersion is 'r2', not 'r1'"),
        ({**EXPECTED, "unknownItems": 1}, "unknownItems is 1, not 0"),
        ({**EXPECTED, "userId": "43"}, "userId differs"),
        ({**EXPECTED, "extra": 1}, "extra is 1, not None"),
    ],
)  # fmt: skip
def test_says_how_an_answer_differs(actual: Any, reason: str) -> None:
    assert difference(EXPECTED, actual) == reason


def test_tells_which_recorded_request_is_answered_otherwise() -> None:
    def reply(request: dict[str, Any]) -> dict[str, Any]:
        if request["userId"] == "boom":
            raise KeyError("boom")
        return answer(("a", 0.1))

    recorded = [
        {"request": {"userId": "42"}, "response": answer(("a", 0.1))},
        {"request": {"userId": "boom"}, "response": answer(("a", 0.1))},
        {"request": {"userId": "42"}, "response": answer(("a", 0.2))},
    ]
    assert differences(recorded, reply) == [
        "golden request 1: no answer: KeyError",
        "golden request 2: the score at rank 1 is 0.100000, not 0.200000 within 0.0001",
    ]
