"""How the data of a run differ from those of the incumbent."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.unit.training.test_people import FIRST, LATER, Rows, dataset, served
from training.data_change import LEAST_SHARE, compare, item_shift


def test_equal_data_do_not_differ(tmp_path: Path) -> None:
    data = dataset(tmp_path, FIRST)
    figures = compare(data, served(tmp_path, data))
    assert figures == {
        "formerUsers": 1.0, "formerItems": 1.0, "users": 1.0, "items": 1.0, "interactions": 1.0, "itemShift": 0.0
    }  # fmt: skip


def test_data_without_any_former_user_are_recognised(tmp_path: Path) -> None:
    incumbent = served(tmp_path, dataset(tmp_path, FIRST))
    renamed: Rows = [(f"other-{user}", item) for user, item in FIRST]
    figures = compare(dataset(tmp_path, renamed, LATER), incumbent)
    assert (figures["formerUsers"], figures["formerItems"], figures["users"]) == (0.0, 1.0, 1.0)


def test_data_without_any_former_item_are_recognised(tmp_path: Path) -> None:
    incumbent = served(tmp_path, dataset(tmp_path, FIRST))
    renamed: Rows = [(user, f"other-{item}") for user, item in FIRST]
    figures = compare(dataset(tmp_path, renamed, LATER), incumbent)
    assert (figures["formerUsers"], figures["formerItems"]) == (1.0, 0.0)
    assert figures["itemShift"] > 1


def test_a_part_of_the_data_is_recognised_by_its_size(tmp_path: Path) -> None:
    incumbent = served(tmp_path, dataset(tmp_path, FIRST))
    figures = compare(dataset(tmp_path, FIRST[:6], LATER), incumbent)
    assert figures["interactions"] == pytest.approx(6 / 13)
    assert figures["formerUsers"] == 2 / 4


def test_the_stability_index_by_hand(tmp_path: Path) -> None:
    """Two items with 3 interactions each before; one has 3 of 4 now. The shares 1/2, 1/2 became 3/4, 1/4."""
    before = [(f"u{number}", item) for number in range(3) for item in "ab"]
    incumbent = served(tmp_path, dataset(tmp_path, before))
    now = [("u0", "a"), ("u1", "b"), ("u1", "a"), ("u2", "a")]
    expected = 0.25 * math.log(1.5) + -0.25 * math.log(0.5)
    assert item_shift(dataset(tmp_path, now, LATER), incumbent) == pytest.approx(expected)


def test_items_that_the_incumbent_does_not_know_are_a_group_of_their_own(tmp_path: Path) -> None:
    """Before: items a and b with half of the interactions each. Now a third each, and a third of the new item z."""
    before = [(f"u{number}", item) for number in range(3) for item in "ab"]
    incumbent = served(tmp_path, dataset(tmp_path, before))
    now = [("u0", "z"), ("u1", "a"), ("u2", "b")]
    third, new = math.log((1 / 3) / 0.5), math.log((1 / 3) / LEAST_SHARE)
    expected = 2 * (1 / 3 - 1 / 2) * third + (1 / 3 - LEAST_SHARE) * new
    assert item_shift(dataset(tmp_path, [*now, ("u0", "a"), ("u1", "b"), ("u2", "z")], LATER), incumbent) == (
        pytest.approx(expected)
    )
