"""The check of a ranked list names the kind of fault and its place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import lists
from contracts.lists import BadList


def items(*pairs: Any) -> list[Any]:
    return [{"itemId": item, "score": score} for item, score in pairs]


@pytest.mark.parametrize(
    ("listed", "reason", "message"),
    [
        (None, "garbled", "itemList must be a list, not null"),
        ({"a": 1}, "garbled", "itemList must be a list, not an object"),
        (["a"], "garbled", "itemList[0].itemId must be a string, not null"),
        (items(("a", 1), (7, 1)), "garbled", "itemList[1].itemId must be a string, not a number"),
        (items(({"a": 1}, 1)), "garbled", "itemList[0].itemId must be a string, not an object"),
        (items((["a"], 1)), "garbled", "itemList[0].itemId must be a string, not a list"),
        (items(("\ud800", 1)), "garbled",
         "itemList[0].itemId must be valid Unicode, without half of a surrogate pair"),
        ([{"itemId": "a"}], "garbled", "itemList[0].score must be a finite number, not null"),
        (items(("a", "1")), "garbled", "itemList[0].score must be a finite number, not a string"),
        (items(("a", True)), "garbled", "itemList[0].score must be a finite number, not a boolean"),
        (items(("a", [1])), "garbled", "itemList[0].score must be a finite number, not a list"),
        (items(("a", 2), ("b", float("nan"))), "not_finite", "itemList[1].score must be a finite number, not nan"),
        (items(("a", float("-inf"))), "not_finite", "itemList[0].score must be a finite number, not -inf"),
        (items(("a", 10**400)), "not_finite",
         "itemList[0].score must be a finite number, not a number beyond the range of a double"),
    ],
)  # fmt: skip
def test_an_entry_that_is_none_is_named(listed: Any, reason: str, message: str) -> None:
    with pytest.raises(BadList) as caught:
        lists.of_items(listed)
    assert (caught.value.reason, str(caught.value)) == (reason, message)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("a list", "the list must be a list, not a string"),
        ([["a"]], "the list[0][1] must be a finite number, not null"),
        ([["a", 1], [5, 1]], "the list[1][0] must be a string, not a number"),
        ([{"itemId": "a", "score": 1}], "the list[0][0] must be a string, not null"),
        (["ab"], "the list[0][1] must be a finite number, not a string"),
        ([["a", "0.9"]], "the list[0][1] must be a finite number, not a string"),
    ],
)
def test_a_pair_that_is_none_is_named(listed: Any, message: str) -> None:
    with pytest.raises(BadList) as caught:
        lists.of_pairs(listed)
    assert (caught.value.reason, str(caught.value)) == ("garbled", message)


@pytest.mark.parametrize(
    ("ids", "scores", "reason", "message"),
    [
        ("abc", [3.0, 2.0, 1.0], "too_long", "3 items, more than 2"),
        ("aa", [2.0, 1.0], "duplicates", "item 2 is in the list twice"),
        ("ab", [1.0, 2.0], "unsorted", "the score of item 2 is above that of the item before it"),
        ("ab", [0.5, 0.5000001], "unsorted", "the score of item 2 is above that of the item before it"),
        ("ab", [-2.0, -1.0], "unsorted", "the score of item 2 is above that of the item before it"),
    ],
)
def test_a_list_that_must_not_be_shown_is_refused(ids: str, scores: list[float], reason: str, message: str) -> None:
    with pytest.raises(BadList) as caught:
        lists.check([*ids], scores, 2)
    assert (caught.value.reason, str(caught.value)) == (reason, message)


def test_equal_scores_and_those_that_a_processor_rounds_apart_are_in_order() -> None:
    lists.check(["a", "b", "c"], [0.5, 0.5, 0.5000000000000001], 3)
    lists.check([], [], 1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["itemId", "score"]), inner),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=4) | json_values)
def test_whatever_is_in_a_list_is_read_or_refused(listed: Any) -> None:
    for read in (lists.of_items, lists.of_pairs):
        try:
            ids, scores = read(listed)
        except BadList as error:
            assert error.reason in ("garbled", "not_finite") and "cannot be read" not in str(error)
        else:
            assert all(isinstance(item, str) for item in ids) and all(isinstance(score, float) for score in scores)
