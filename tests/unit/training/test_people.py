"""The people on whom models are compared: nobody whose held-out pair the incumbent learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ncf import bundle as bundles
from ncf import dataset_files
from ncf.bundle import Bundle
from ncf.dataset import Dataset, Pairs, Split
from ncf.golden import golden
from ncf.interface import Context
from ncf.models import popularity
from tests.unit.ncf.datasets import VERSION, write_dataset
from training.people import choose, draw

LATER = "v20260103t030405z-0a1b2c3d"
Rows = list[tuple[str, str]]


def dataset(folder: Path, rows: Rows, version: str = VERSION) -> Dataset:
    return dataset_files.load(write_dataset(folder / version, rows, version=version))


def served(folder: Path, data: Dataset, tells_held_out: bool = True) -> Bundle:
    """Return the bundle of a model that was trained on `data`."""
    seen = data.everything()
    return bundles.write(
        folder / "bundle",
        model=popularity.KINDS[0].fit(data, popularity.KINDS[0].parameters(), Context()),
        user_ids=data.user_ids,
        item_ids=data.item_ids,
        seen_indptr=seen.indptr,
        seen_indices=seen.item.astype("int32"),
        popularity=data.popularity,
        run_id=f"{data.version}-r1",
        dataset_version=data.version,
        code_version="test",
        golden=golden,
        held_out=data.test if tells_held_out else None,
        event_types=data.event_types,
    )


def pairs_of(data: Dataset, test: Pairs) -> Rows:
    return [(data.user_ids[user], data.item_ids[item]) for user, item in zip(test.user, test.item, strict=True)]


def by_time(data: Dataset, rows: Rows, late: Rows) -> Dataset:
    """Return `data` with the `late` rows as its test, and the other rows as its train."""

    def pairs(of: Rows) -> Pairs:
        user = np.array([data.user_ids.index(user) for user, _ in of])
        item = np.array([data.item_ids.index(item) for _, item in of])
        return Pairs.of(user, item, data.users, data.items)

    train = pairs([row for row in rows if row not in late])
    unknown: dict[str, Any] = {name: np.empty(0) for name in ("events", "worth", "is_bought")}
    return replace(data, train=train, test=pairs(late), split=Split("global-time", 1_700_000_000), **unknown)


FIRST: Rows = [
    *(("u1", item) for item in "abc"), *(("u2", item) for item in "abd"), *(("u3", item) for item in "dcb"),
    *(("u4", item) for item in "cdba"),
]  # fmt: skip


def test_without_an_incumbent_everybody_is_tested(tmp_path: Path) -> None:
    data = dataset(tmp_path, FIRST)
    people = choose(data, None, 100, seed=1)
    assert pairs_of(data, people.test) == pairs_of(data, data.test)
    assert people.to_dict() == {"withTest": 4, "learnedAgain": 0, "learnedWhenNew": 0, "notDrawn": 0, "fair": 4}


@pytest.mark.fault("D21")
def test_a_pair_that_moves_to_the_end_by_a_repetition_is_left_out(tmp_path: Path) -> None:
    incumbent = served(tmp_path, dataset(tmp_path, FIRST))
    # u1 has come back to a, which the incumbent learned; u2 has bought c, which is new to u2; u3 and u4 did nothing.
    again = [row for row in FIRST if row != ("u1", "a")] + [("u1", "a"), ("u2", "c")]
    data = dataset(tmp_path, again, LATER)
    people = choose(data, incumbent, 100, seed=1)
    assert pairs_of(data, people.test) == [("u2", "c"), ("u3", "b"), ("u4", "a")]
    assert people.to_dict() == {"withTest": 4, "learnedAgain": 1, "learnedWhenNew": 0, "notDrawn": 0, "fair": 3}


@pytest.mark.fault("D21")
def test_an_item_that_was_too_new_to_test_and_is_not_any_more_is_left_out(tmp_path: Path) -> None:
    before = dataset(tmp_path, FIRST)
    # The preparation keeps a last item that nobody else has in train: here, u1 with c.
    cold = Pairs.of(before.train.user, before.train.item, before.users, before.items)
    is_u1 = before.test.user == before.user_ids.index("u1")
    learned = Pairs.of(
        np.append(cold.user, before.test.user[is_u1]), np.append(cold.item, before.test.item[is_u1]), 4, 4
    )
    kept = Pairs.of(before.test.user[~is_u1], before.test.item[~is_u1], 4, 4)
    before = Dataset(VERSION, "sha", before.user_ids, before.item_ids, learned, kept, before.popularity, before.latest)
    incumbent = served(tmp_path, before)
    data = dataset(tmp_path, [*(row for row in FIRST if row != ("u4", "c")), ("u4", "c")], LATER)
    people = choose(data, incumbent, 100, seed=1)
    assert "u1" not in {user for user, _ in pairs_of(data, people.test)}
    assert (people.learned_when_new, people.learned_again) == (1, 1)  # u4 had c before


def test_a_single_interaction_of_before_that_is_repeated_is_no_new_item(tmp_path: Path) -> None:
    """u5 had only a, so nothing of u5 was held out; now u5 has come back to a after c."""
    incumbent = served(tmp_path, dataset(tmp_path, [*FIRST, ("u5", "a")]))
    people = choose(dataset(tmp_path, [*FIRST, ("u5", "c"), ("u5", "a")], LATER), incumbent, 100, seed=1)
    assert (people.learned_again, people.learned_when_new) == (1, 0)


def test_users_and_items_that_the_incumbent_does_not_know_are_tested(tmp_path: Path) -> None:
    incumbent = served(tmp_path, dataset(tmp_path, FIRST))
    data = dataset(tmp_path, [*FIRST, ("u1", "z"), ("new", "a"), ("new", "b"), ("u3", "z")], LATER)
    assert choose(data, incumbent, 100, seed=1).fair == 5


def test_the_same_data_again_are_fair_because_both_held_out_the_same(tmp_path: Path) -> None:
    incumbent = served(tmp_path, dataset(tmp_path, FIRST))
    assert choose(dataset(tmp_path, FIRST, LATER), incumbent, 100, seed=1).fair == 4


def test_after_leave_last_out_a_test_by_time_leaves_out_the_pairs_that_the_serving_model_learned(
    tmp_path: Path,
) -> None:
    """The serving model learned all of u1 to u4 but the last; now what came after a moment is the test."""
    before = dataset(tmp_path, FIRST)
    incumbent = served(tmp_path, before)
    assert pairs_of(before, before.test) == [("u1", "c"), ("u2", "d"), ("u3", "b"), ("u4", "a")]
    rows = [*FIRST, ("u1", "d"), ("new", "a")]
    # From the moment on: u1 with b, c and d, u2 with d, u3 with c, and a new user.
    late = [("u1", "b"), ("u1", "c"), ("u1", "d"), ("u2", "d"), ("u3", "c"), ("new", "a")]
    data = by_time(dataset(tmp_path, rows, LATER), rows, late)
    people = choose(data, incumbent, 100, seed=1)
    assert pairs_of(data, people.test) == [("new", "a"), ("u1", "c"), ("u1", "d"), ("u2", "d")]
    assert people.to_dict() == {"withTest": 4, "learnedAgain": 1, "learnedWhenNew": 0, "notDrawn": 0, "fair": 3}


def test_after_a_test_by_time_leave_last_out_leaves_out_the_pairs_that_the_serving_model_learned(
    tmp_path: Path,
) -> None:
    """The serving model learned all but what came after a moment: a of u4, and all of a new user."""
    rows = [*FIRST, ("new", "a"), ("new", "b")]
    incumbent = served(tmp_path, by_time(dataset(tmp_path, rows), rows, [("u4", "a"), ("new", "a"), ("new", "b")]))
    data = dataset(tmp_path, [*rows, ("u1", "d")], LATER)
    people = choose(data, incumbent, 100, seed=1)
    assert pairs_of(data, people.test) == [("new", "b"), ("u1", "d"), ("u4", "a")]
    assert (people.fair, people.learned_again + people.learned_when_new) == (3, 2)  # u2 and u3 did nothing since


def test_a_bundle_that_does_not_tell_what_was_held_out_counts_as_having_learned_all(tmp_path: Path) -> None:
    incumbent = served(tmp_path, dataset(tmp_path, FIRST), tells_held_out=False)
    people = choose(dataset(tmp_path, FIRST, LATER), incumbent, 100, seed=1)
    assert people.fair == 0
    assert len(people.test) == 4  # so that the candidate's own figures are known


def crowd(sizes: list[int]) -> Dataset:
    users, items = len(sizes), max(sizes) + 1
    user = np.repeat(np.arange(users), sizes)
    item = np.concatenate([np.arange(size) for size in sizes])
    train = Pairs.of(user, item, users, items)
    test = Pairs.of(np.arange(users), np.array(sizes), users, items)
    names = ([f"u{place}" for place in range(users)], [f"i{place}" for place in range(items)])
    return Dataset(VERSION, "sha", *names, train, test, np.bincount(item, minlength=items), np.full(users, -1))


@pytest.mark.parametrize("seed", range(5))
def test_a_sample_has_light_and_heavy_users_in_their_shares(seed: int) -> None:
    data = crowd([2] * 600 + [5] * 300 + [20] * 100)
    users = np.unique(draw(data.test, data, 100, seed).user)
    assert users.size == 100
    counts = [int(((users >= low) & (users < high)).sum()) for low, high in ((0, 600), (600, 900), (900, 1000))]
    assert np.abs(np.array(counts) - [60, 30, 10]).max() <= 1


def test_a_sample_depends_on_the_seed_alone_and_has_all_pairs_of_its_users() -> None:
    data = crowd([3] * 50)
    test = Pairs.of(np.repeat(np.arange(50), 2), np.tile([2, 3], 50), 50, 4)
    first, same, other = (draw(test, data, 10, seed) for seed in (1, 1, 2))
    assert first.user.tolist() == same.user.tolist() != other.user.tolist()
    assert len(first) == 20
    people = choose(data, None, 10, seed=1)
    assert (people.not_drawn, people.fair, people.with_test) == (40, 10, 50)


def test_of_a_large_dataset_the_test_with_repeats_has_a_quarter_of_the_users(tmp_path: Path) -> None:
    rows = [(f"u{number:03d}", item) for number in range(40) for item in "abc"[number % 3 :] + "de"]
    data = dataset(tmp_path, rows)
    data = replace(data, repeats=Pairs.of(data.train.user, data.train.item, data.users, data.items))
    people = choose(data, None, 16, seed=1)
    assert np.unique(people.test.user).size == 16
    assert np.unique(people.with_repeats.user).size == 4
    chosen = set(zip(people.with_repeats.user, people.with_repeats.item, strict=True))
    assert chosen & set(zip(data.test.user, data.test.item, strict=True))
    assert chosen & set(zip(data.repeats.user, data.repeats.item, strict=True))
    assert not len(choose(replace(data, repeats=Pairs.none()), None, 16, seed=1).with_repeats)
