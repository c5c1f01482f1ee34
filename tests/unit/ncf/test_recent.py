"""The part of a score that is made from a person's last items: its definition, and unusual histories."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ncf
from ncf import bundle as bundles
from ncf import recent as parts
from ncf.bundle import BrokenBundle, Bundle
from ncf.golden import golden
from ncf.models import neural
from ncf.models.popularity import Popularity
from ncf.network import Architecture, Recommender
from ncf.ranking import rank
from ncf.recent import Recent, WithRecent

ITEMS = [f"i{item}" for item in range(6)]


def part(**changes: Any) -> Recent:
    """Neighbours: i0 → i1 (2) and i2 (1), i3 → i2 (4). User 0 chose i4 and then i0; user 1 nothing."""
    made = Recent(
        gain=2.0,
        repeat_gain=2.0,
        neighbour_indptr=torch.tensor([0, 2, 2, 2, 3, 3, 3]),
        neighbours=torch.tensor([1, 2, 2], dtype=torch.int32),
        weights=torch.tensor([2.0, 1.0, 4.0]),
        fading=torch.tensor([1.0, 0.5, 0.25]),
        repeats=torch.tensor([0.125, 0.0625, 0.0]),
        again=torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 2.0]),
        prior=torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        indptr=torch.tensor([0, 2, 2]),
        indices=torch.tensor([4, 0], dtype=torch.int32),
        later=torch.tensor([1, 0], dtype=torch.uint8),
        often=torch.tensor([3.0, 1.0]),
    )
    return dataclasses.replace(made, **changes)


def plain() -> Recommender:
    made = Recommender(Architecture("gmf", 2, (2,)), 2, 6)
    made.reset_parameters(torch.Generator().manual_seed(1))
    return made.requires_grad_(False).eval()


def write(directory: Path, recent: Recent) -> Bundle:
    return bundles.write(
        directory,
        model=WithRecent(plain(), recent),
        user_ids=["u0", "u1"],
        item_ids=ITEMS,
        seen_indptr=np.array([0, 2, 2]),
        seen_indices=np.array([0, 4], np.int32),
        popularity=np.array([3, 1, 1, 1, 2, 0]),
        run_id="r1",
        dataset_version="v1",
        code_version="test",
        golden=golden,
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write(tmp_path / "model", part())


def logs(*x: float) -> torch.Tensor:
    return 2.0 * torch.tensor([math.log(1.0 + value) for value in x])


def history(*items: str) -> list[dict[str, Any]]:
    return [{"itemId": item} for item in items]


def best(answer: dict[str, Any]) -> list[str]:
    return [entry["itemId"] for entry in answer["itemList"]]


def test_neighbours_of_the_last_items_count_by_the_number_of_later_ones() -> None:
    recent = part()
    torch.testing.assert_close(recent.added(recent.last(None, [0, 3])), logs(0.0625, 1.0, 0.5 + 4.0, 0.125, 0, 0))
    torch.testing.assert_close(recent.added(recent.last(None, [3, 0])), logs(0.125, 2.0, 1.0 + 2.0, 0.0625, 0, 0))


def test_what_is_chosen_again_counts_by_itself() -> None:
    """Item 5 counts twice as much (`again`); its gain is not that of the neighbours."""
    recent = part(repeat_gain=3.0, gain=1.0)
    added = recent.added(recent.last(None, [5, 0]))
    assert added.tolist() == pytest.approx(
        [3 * math.log(1.125), math.log(3.0), math.log(2.0), 0, 0, 3 * math.log(1.0 + 2 * 0.0625)]
    )
    assert (
        recent.added(recent.last(None, [5, 0]))[1:3].tolist()
        == part(repeat_gain=0.0, gain=1.0).added(recent.last(None, [5, 0]))[1:3].tolist()
    )


def test_what_is_stored_of_a_user_is_older_than_the_history_of_a_request() -> None:
    recent = part()
    stored = logs(0.125, 2.0, 1.0, 0, 3 * 0.0625, 0)
    torch.testing.assert_close(recent.added(recent.last(0)), stored)
    torch.testing.assert_close(recent.added_for(torch.tensor([0, 1])), torch.stack([stored, torch.zeros(6)]))
    together = recent.added(recent.last(0, [3]))
    torch.testing.assert_close(together, logs(0.0625, 1.0, 0.5 + 4.0, 0.125, 0, 0))


def test_items_of_one_age_are_one_visit_and_ages_order_the_history() -> None:
    recent = part()
    one_visit = recent.last(None, [0, 3], [60, 60])
    assert (one_visit.items.tolist(), one_visit.later.tolist()) == ([0, 3], [0, 0])
    ordered = recent.last(None, [3, 0, 1], [5, 90.5, 5])
    assert (ordered.items.tolist(), ordered.later.tolist()) == ([0, 1, 3], [2, 0, 0])


def test_a_repeated_item_has_its_last_place_and_counts_as_often_as_it_is_there() -> None:
    last = part().last(0, [3, 0, 3, 4])
    assert last.items.tolist() == [0, 3, 4]
    assert last.later.tolist() == [2, 1, 0]
    assert last.often.tolist() == [2.0, 2.0, 4.0]


def test_of_ten_thousand_items_the_last_ones_count() -> None:
    recent = part()
    many = recent.last(None, [1, 2, 4, 5] * 2_500 + [5, 0, 3])
    torch.testing.assert_close(recent.added(many)[:4], recent.added(recent.last(None, [0, 3]))[:4])
    assert recent.last(0, [5] * 10_000).later.tolist() == [10_000, 10_001, 0]


@pytest.mark.parametrize(
    ("items", "ages", "message"),
    [
        ([0, 6], None, r"history\[1\] must be an index from 0 to 5, not 6"),
        ([-1], None, r"history\[0\] must be an index from 0 to 5, not -1"),
        ([0, 1], [3, -1], r"ages\[1\] must be a number of at least 0, not -1"),
        ([0], [math.nan], r"ages\[0\] must be a number of at least 0, not nan"),
        ([0], [math.inf], r"ages\[0\] must be a number of at least 0, not inf"),
        ([0, 1], [3], r"ages must be as many as history, 2, not 1"),
    ],
)
def test_an_index_without_item_and_an_age_in_the_future_are_named(
    items: list[int], ages: list[float] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        part().last(None, items, ages)


def test_the_scores_are_the_sum_of_both_parts() -> None:
    stored, recent = plain(), part()
    model = WithRecent(stored, recent)
    users = torch.tensor([1, 0, 0])
    expected = stored.catalogue(users) + recent.added_for(users)
    torch.testing.assert_close(model.catalogue(users), expected)
    wanted = torch.tensor([[5, 0], [2, 2], [4, 1]])
    torch.testing.assert_close(model.pairs(users, wanted), expected.gather(1, wanted))
    torch.testing.assert_close(model.scores_of(0, recent.last(0)), expected[1])
    torch.testing.assert_close(model.scores_of(None, recent.last(None)), recent.prior)


def test_the_best_items_are_among_those_of_the_stored_part_and_those_that_the_recent_part_touches() -> None:
    stored, recent = plain(), part()
    added = recent.added(recent.last(0))
    best_stored = set(stored.catalogue(torch.tensor([0]))[0].topk(2).indices.tolist())
    found = WithRecent(stored, recent).catalogue(torch.tensor([0]))[0].topk(2).indices.tolist()
    assert set(found) <= best_stored | set(added.nonzero().flatten().tolist())


def test_any_model_takes_a_recent_part() -> None:
    model = WithRecent(Popularity(torch.zeros(6)), part(repeats=torch.zeros(3)))
    torch.testing.assert_close(model.catalogue(torch.tensor([0]))[0], logs(0, 2.0, 1.0, 0, 0, 0))
    assert model.related(0) is None


def test_a_stranger_with_a_history_gets_what_follows_from_it(bundle: Bundle) -> None:
    assert best(rank(bundle, {"userId": "nobody", "numResults": 1})) == ["i0"]
    answer = rank(bundle, {"userId": "nobody", "numResults": 2, "history": history("i5", "i3")})
    assert (best(answer), answer["source"], answer["isStranger"]) == (["i2", "i4"], "personalized", True)
    assert "isStranger" not in rank(bundle, {"userId": "u0", "history": history("i5")})
    assert ncf.recommend(bundle, "nobody", 2, history=["i5", "i3"]) == ["i2", "i4"]
    asked = {"userId": "nobody", "candidates": ["i5", "i1"], "history": history("i0")}
    assert best(rank(bundle, asked)) == ["i1", "i5"]


def test_items_of_the_history_are_seen(bundle: Bundle) -> None:
    everything = {"userId": "u0", "numResults": 6, "history": history("i1")}
    assert sorted(best(rank(bundle, everything))) == ["i2", "i3", "i5"]
    assert sorted(best(rank(bundle, everything | {"excludeSeen": False}))) == ITEMS


def test_unknown_items_of_a_history_are_counted_and_ignored(bundle: Bundle) -> None:
    asked = {"userId": "nobody", "numResults": 2, "history": history("i5", "x", "i3", "y", "x")}
    answer = rank(bundle, asked)
    assert (best(answer), answer["unknownItems"]) == (["i2", "i4"], 2)
    nothing = rank(bundle, asked | {"history": history("x")})
    assert (nothing["source"], nothing["unknownItems"]) == ("popular", 1)


def test_a_history_with_ages_is_ordered_by_them(bundle: Bundle) -> None:
    aged = [{"itemId": "i3", "ageSeconds": 9}, {"itemId": "i5", "ageSeconds": 700}]
    first = rank(bundle, {"userId": "nobody", "history": aged})
    assert first["itemList"] == rank(bundle, {"userId": "nobody", "history": history("i5", "i3")})["itemList"]


def test_a_bundle_keeps_the_part_and_records_answers_with_a_history(bundle: Bundle) -> None:
    assert isinstance(bundle.model, WithRecent)
    again, recent = bundle.model.recent.tensors(), part().tensors()
    assert all(torch.equal(again[name], recent[name]) for name in recent)
    assert bundle.model.describe()["recent"] == {"gain": 2.0, "repeat_gain": 2.0, "last": 3}
    assert [case["request"]["userId"] for case in bundle.golden if "history" in case["request"]] == [
        "u0",
        "unknown-user",
    ]


def test_a_bundle_without_the_part_is_read_as_before() -> None:
    network = {"model": "gmf", "factors": 2, "mlpLayers": [2]}
    assert parts.split(network) == (network, None)
    assert isinstance(neural.restore(network, plain().state(), 2, 6), Recommender)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gain": -1.0}, r"bundle\.json: architecture: recent\.gain must be a number of at least 0, not -1\.0"),
        ({"weights": torch.tensor([1.0, -1.0, 1.0])}, r"weights\.safetensors: recent\.weights must not be negative"),
        ({"weights": torch.ones(2)}, r"recent\.neighbour_indptr does not divide 2 entries of recent\.weights"),
        ({"indices": torch.tensor([6, 0], dtype=torch.int32)}, r"recent\.indices must be from 0 to 5"),
        ({"prior": torch.zeros(5)}, r"recent\.prior has shape \[5\], not \[6\]"),
    ],
)
def test_a_part_that_does_not_fit_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(BrokenBundle, match=message):
        write(tmp_path / "model", part(**changes))
