"""The comparison of an answer with a recorded one."""

from __future__ import annotations

from typing import Any

import pytest

from ncf.answers import difference, differences


def response(*items: Any, **other: Any) -> Any:
    listed = [{"itemId": item, "score": score} for item, score in items]
    return {
        "userId": "u",
        "itemList": listed,
        "source": "personalized",
        "modelVersion": "r1",
        "unknownItems": 0,
        **other,
    }


EXPECTED = response(("a", 0.9), ("b", 0.5), ("c", 0.49995))


@pytest.mark.parametrize(
    "actual",
    [
        EXPECTED,
        response(("a", 0.90005), ("b", 0.5), ("c", 0.49995)),
        response(("a", 0.9), ("c", 0.49999), ("b", 0.49996)),  # a tie within the tolerance, decided the other way
        response(("a", 0.9), ("b", 0.5), ("d", 0.49994)),  # a tie at the edge of the list
    ],
)
def test_the_same_within_the_tolerance(actual: Any) -> None:
    assert difference(EXPECTED, actual) is None


@pytest.mark.parametrize(
    ("actual", "reason"),
    [
        (response(("a", 0.9), ("b", 0.5)), "2 items, expected 3"),
        (response(("a", 0.9), ("b", 0.4), ("c", 0.3)), "score 0.4 at rank 2, expected 0.5"),
        (response(("a", float("nan")), ("b", 0.5), ("c", 0.49995)), "score nan at rank 1, expected 0.9"),
        (response(("b", 0.9), ("a", 0.5), ("c", 0.49995)), "item 'b' at rank 1, expected 'a'"),
        (response(("d", 0.9), ("b", 0.5), ("c", 0.49995)), "item 'd' at rank 1, expected 'a'"),
        (response(("a", 0.9), ("c", 0.5), ("c", 0.49995)), "item 'c' at rank 3, expected 'c'"),
        ({**EXPECTED, "source": "popular"}, "source is 'popular', expected 'personalized'"),
        ({**EXPECTED, "modelVersion": "r2"}, "modelVersion is 'r2', expected 'r1'"),
        ({**EXPECTED, "userId": "v"}, "userId is another"),
        ({**EXPECTED, "extra": 1}, "extra is 1, expected None"),
    ],
)  # fmt: skip
def test_says_what_differs(actual: Any, reason: Any) -> None:
    assert difference(EXPECTED, actual) == reason


def test_names_the_recorded_requests_whose_answers_differ() -> None:
    def answer(request: Any) -> Any:
        if request["userId"] == "boom":
            raise KeyError("boom")
        return response(("a", 0.1))

    recorded = [
        {"request": {"userId": "u"}, "response": response(("a", 0.1))},
        {"request": {"userId": "boom"}, "response": response(("a", 0.1))},
        {"request": {"userId": "u"}, "response": response(("a", 0.2))},
    ]
    assert differences(recorded, answer) == [
        "golden request 1: no answer: KeyError",
        "golden request 2: score 0.1 at rank 1, expected 0.2",
    ]
