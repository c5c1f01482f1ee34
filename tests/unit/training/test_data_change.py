"""How the data of a run differ from those of the incumbent."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.forgotten import PLACEHOLDER
from ncf.dataset import BrokenDataset
from tests.unit.ncf.datasets import VERSION
from tests.unit.training.test_people import FIRST, LATER, Rows, dataset, served
from training.data_change import LEAST_SHARE, compare, event_shift, item_shift, require_appended


def test_equal_data_do_not_differ(tmp_path: Path) -> None:
    data = dataset(tmp_path, FIRST)
    figures = compare(data, served(tmp_path, data))
    assert figures == {
        "formerUsers": 1.0, "formerItems": 1.0, "users": 1.0, "items": 1.0, "interactions": 1.0, "itemShift": 0.0,
        "eventShift": None, "withdrawnItems": 0.0,
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


def test_items_that_the_data_withdraw_are_a_share_of_those_that_were_recommended(tmp_path: Path) -> None:
    before = [(f"u{number}", item) for number in range(3) for item in "abcd"]
    data = dataset(tmp_path, before)
    incumbent = served(tmp_path, data)
    later = replace(data, withdrawn=np.array([0, 3]))
    assert compare(later, incumbent)["withdrawnItems"] == 2 / 4
    incumbent.withdrawn = np.array([0], np.int32)
    assert compare(later, incumbent)["withdrawnItems"] == 1 / 3


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


def test_the_mix_of_event_types_by_hand(tmp_path: Path) -> None:
    """Half of the rows were purchases, now a quarter is; a new type has a share of its own."""
    data = dataset(tmp_path, FIRST)
    incumbent = served(tmp_path, replace(data, event_types={"buy": 10, "view": 10}))
    assert event_shift(data, incumbent) is None
    assert event_shift(replace(data, event_types={"view": 5, "buy": 5}), incumbent) == 0
    assert event_shift(replace(data, event_types={"buy": 1, "view": 3}), incumbent) == pytest.approx(
        0.25 * math.log(1.5) - 0.25 * math.log(0.5)
    )
    half, new = 0.5 * math.log(0.5 / LEAST_SHARE), (0.5 - LEAST_SHARE) * math.log(0.5 / LEAST_SHARE)
    assert event_shift(replace(data, event_types={"buy": 9, "play": 9}), incumbent) == pytest.approx(
        half - LEAST_SHARE * math.log(0.5 / LEAST_SHARE) + new
    )


NOT_APPENDED: dict[str, tuple[dict[str, Any], str]] = {
    "fewer users": (
        {"user_ids": ["u1", "u2", "u3"]},
        f"users/: has 3 users, fewer than the 4 of its parent {VERSION}, whose indices it continues",
    ),
    "fewer items": (
        {"item_ids": ["a", "b", "c"]},
        f"items/: has 3 items, fewer than the 4 of its parent {VERSION}, whose indices it continues",
    ),
    "another user": (
        {"user_ids": ["u1", "u2", "u4", "u3", "new"]},
        f"users/: user_index 2 is another user than in its parent {VERSION}, whose indices it continues",
    ),
    "another item": (
        {"item_ids": ["a", "b", "c", "z", "d"]},
        f"items/: item_index 3 is another item than in its parent {VERSION}, whose indices it continues",
    ),
}


@pytest.mark.parametrize("ids", NOT_APPENDED)
@pytest.mark.fault("E15")
def test_indices_that_do_not_continue_those_of_the_parent_are_refused(tmp_path: Path, ids: str) -> None:
    before = dataset(tmp_path, FIRST)
    changed, reason = NOT_APPENDED[ids]
    with pytest.raises(BrokenDataset, match=reason) as refused:
        require_appended(replace(before, parent_version=VERSION, **changed), served(tmp_path, before))
    assert str(refused.value).endswith(": prepare the data again")


@pytest.mark.parametrize("parent", [None, LATER])
def test_indices_are_compared_with_those_of_the_parent_alone(tmp_path: Path, parent: str | None) -> None:
    before = dataset(tmp_path, FIRST)
    require_appended(replace(before, user_ids=["other"], parent_version=parent), served(tmp_path, before))


def test_new_users_and_items_are_appended(tmp_path: Path) -> None:
    before = dataset(tmp_path, FIRST)
    longer = replace(before, user_ids=[*before.user_ids, "new"], item_ids=[*before.item_ids, "new"])
    for now in (before, longer):
        require_appended(replace(now, parent_version=VERSION), served(tmp_path / str(now.users), before))


def test_the_slot_of_a_person_who_was_forgotten_continues_the_index(tmp_path: Path) -> None:
    before = dataset(tmp_path, FIRST)
    users = [before.user_ids[0], f"{PLACEHOLDER}1", *before.user_ids[2:]]
    require_appended(replace(before, user_ids=users, parent_version=VERSION), served(tmp_path, before))
