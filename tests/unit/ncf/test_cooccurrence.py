"""Co-occurrence with recency against its definition, on a few histories."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from ncf import neighbours
from ncf.dataset import Dataset, History, Pairs
from ncf.interface import Context
from ncf.models import cooccurrence
from ncf.models.cooccurrence import BETA, PRIOR, Cooccurrence, Parameters
from ncf.neighbours import BACKWARD

Visits = Sequence[Sequence[int]]
"""A user's items in the order of time; those of one visit are at the same time."""


def dataset(histories: Sequence[Visits], items: int) -> Dataset:
    user = np.repeat(np.arange(len(histories)), [sum(map(len, visits)) for visits in histories])
    item = np.array([item for visits in histories for visit in visits for item in visit])
    is_tied = np.array([place > 0 for visits in histories for visit in visits for place in range(len(visit))])
    return Dataset(
        "v",
        "",
        [f"u{number}" for number in range(len(histories))],
        [f"i{number}" for number in range(items)],
        Pairs.of(user, item, len(histories), items),
        Pairs.none(len(histories)),
        np.bincount(item, minlength=items),
        np.full(len(histories), -1),
        history=History(item.astype(np.int32), is_tied),
    )


def fitted(data: Dataset, context: Context | None = None, **parameters: Any) -> Cooccurrence:
    return cooccurrence.fit(data, Parameters(**parameters), context or Context(warn=lambda message: None))


def by_definition(histories: Sequence[Visits], items: int, window: int, decay: float) -> tuple[Any, Any]:
    """Return the scores of the definition in the module's docstring [users, items], and the weights [items, items]."""
    counts = np.zeros((items, items))
    popularity = np.zeros(items)
    flat = [[(time, item) for time, visit in enumerate(visits) for item in visit] for visits in histories]
    for own in flat:
        for place, (time, item) in enumerate(own):
            popularity[item] += 1
            for distance in range(1, window + 1):
                if place + distance < len(own):
                    later, other = own[place + distance]
                    counts[item, other] += 1.0 if later == time else 1 / distance
                    counts[other, item] += 1.0 if later == time else BACKWARD / distance
    weights = counts * ((popularity + 1) ** (BETA - 1))[:, None] * ((popularity + 1) ** -BETA)[None]
    scores = np.tile(PRIOR * popularity / popularity.max(), (len(histories), 1))
    for user, own in enumerate(flat):
        for time, item in own:
            scores[user] += decay ** sum(other > time for other, _ in own) * weights[item]
    return scores, weights


HISTORIES: list[Visits] = [
    [[0], [1], [2], [3]],
    [[1, 2], [0, 3], [4]],
    [[4], [3], [2], [1], [0]],
    [[5, 0, 1]],
    [[6]],
]


@pytest.mark.parametrize(("window", "decay"), [(1, 0.5), (2, 0.8), (10, 1.0)])
def test_the_scores_are_those_of_the_definition(window: int, decay: float) -> None:
    model = fitted(dataset(HISTORIES, 8), cooccurrence_window=window, cooccurrence_decay=decay)
    expected, weights = by_definition(HISTORIES, 8, window, decay)
    users = torch.arange(len(HISTORIES))
    np.testing.assert_allclose(model.catalogue(users), expected, rtol=1e-5, atol=1e-9)
    some = torch.tensor([[7, 0], [1, 1], [2, 3], [4, 5], [6, 0]])
    np.testing.assert_allclose(model.pairs(users, some), np.take_along_axis(expected, some.numpy(), 1), rtol=1e-5)
    for item in range(8):
        related = model.related(item)
        assert related is not None
        np.testing.assert_allclose(related.numpy(), weights[item], rtol=1e-5)


@pytest.mark.parametrize("together", [1, 3, 1 << 16])
def test_however_many_items_are_counted_together_the_model_is_the_same(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fitted(dataset(HISTORIES, 8)).state()
    monkeypatch.setattr(
        neighbours, "_groups", lambda sizes: [(at, min(at + together, 8)) for at in range(0, 8, together)]
    )
    parts = fitted(dataset(HISTORIES, 8)).state()
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


def test_what_was_chosen_after_the_last_item_comes_first() -> None:
    histories: list[Visits] = [[[0], [1]], [[0], [1]], [[2], [3]], [[2], [3]], [[0], [2]], [[2], [0]]]
    scores = fitted(dataset(histories, 4)).catalogue(torch.tensor([4, 5]))
    assert scores[0, 3] > scores[0, 1], "2 was last"
    assert scores[1, 1] > scores[1, 3], "0 was last"


def test_without_any_order_the_place_in_the_history_changes_nothing() -> None:
    forward, backward = ([[visit[::step]] for visit in ([0, 1, 2], [1, 2, 3], [3, 0])] for step in (1, -1))
    found = [fitted(dataset(histories, 4)).catalogue(torch.arange(3)) for histories in (forward, backward)]
    torch.testing.assert_close(found[0], found[1])


def test_a_fit_says_when_the_order_is_not_known() -> None:
    warnings: list[str] = []
    context = Context(warn=warnings.append)
    fitted(dataset([[[0], [1, 2, 3]]], 4), context)
    assert warnings == [
        "warning: 75% of the interactions have the same time as another one of their user, so cooccurrence does not "
        "know their order among themselves"
    ]
    fitted(dataset([[[0], [1], [2, 3]]], 4), context)
    assert len(warnings) == 1


def test_an_item_keeps_its_greatest_neighbours() -> None:
    whole, capped = (fitted(dataset(HISTORIES, 8), cooccurrence_neighbours=most) for most in (10, 2))
    for item in range(8):
        full, kept = whole.related(item), capped.related(item)
        assert full is not None and kept is not None
        assert (kept > 0).sum() <= 2
        assert (kept == 0).logical_or(kept == full).all()
        assert kept.sum() == pytest.approx(float(full.sort(descending=True).values[:2].sum()))


def test_the_interactions_that_are_counted_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    histories: list[Visits] = [[[0], [1]]] * 60
    monkeypatch.setattr(neighbours, "_OCCURRENCES", 20)
    counted = fitted(dataset(histories, 2)).state()
    monkeypatch.setattr(neighbours, "_OCCURRENCES", 1000)
    torch.testing.assert_close(counted, fitted(dataset(histories, 2)).state())


def test_only_the_last_items_of_a_user_have_a_part() -> None:
    model = fitted(dataset([[[item] for item in range(120)], [[0]]], 120))
    state = model.state()
    assert state["indptr"].tolist() == [0, 50, 51]
    assert state["indices"].tolist() == [*range(70, 120), 0]
    assert state["later"].tolist() == [*range(49, -1, -1), 0]


def test_a_description_or_boundaries_that_cannot_be_are_refused() -> None:
    state = fitted(dataset(HISTORIES, 8)).state()
    for decay in (0, 1.5, True, "0.8", None):
        with pytest.raises(ValueError, match="decay must be a number above 0 and at most 1, not"):
            cooccurrence.layout({"model": "cooccurrence", "decay": decay}, 5, 8)
    changes: list[tuple[str, Callable[[torch.Tensor], torch.Tensor], str]] = [
        ("neighbours", lambda tensor: tensor + 8, "neighbours must be from 0 to 7"),
        ("indices", lambda tensor: -1 - tensor, "indices must be from 0 to 7"),
        ("later", lambda tensor: tensor[1:], "indptr does not divide 17 entries of later"),
        ("neighbour_indptr", lambda tensor: tensor.flip(0), "neighbour_indptr does not divide"),
    ]
    for name, change, message in changes:
        with pytest.raises(ValueError, match=message):
            cooccurrence.restore({"decay": 0.8}, {**state, name: change(state[name])}, 5, 8)


def test_a_dataset_without_times_is_one_visit_for_each_user() -> None:
    data = dataset(HISTORIES, 8)
    without = dataclasses.replace(data, history=History.unknown(Pairs.none()))
    assert without.history.item.tolist() == data.train.item.tolist()
    assert without.history.is_tied.tolist() == (np.diff(data.train.user, prepend=-1) == 0).tolist()
