"""Co-occurrence with recency: what people chose around the items that this person chose last. In closed form.

With the items i_1 … i_n of a user in the order of time, each two of them at most `cooccurrence_window` places apart are
neighbours. The later one, at distance d, counts 1 / d for the earlier one, and the earlier one BACKWARD / d for the
later one. Two at the same time are one visit without an order, and count 1 for each other. Let c_ij be the sum over all
users, and n_i the number of interactions of i. The score of item j for a user with the items i is

    Σ_i decay^(interactions of the user after i) · c_ij / ((n_i + 1)^(1 - BETA) (n_j + 1)^BETA)

Items at the same time have the same weight, so without any order this is a plain item-to-item model. Neighbours of
items with decay: Jannach and Ludewig, "When Recurrent Neural Networks meet the Neighborhood for Session-Based
Recommendation" (RecSys 2017); Garg et al., "Sequence and Time Aware Neighborhood for Session-based Recommendations:
STAN" (SIGIR 2019). The time of a fit is linear in the interactions, and its memory is bounded by
`cooccurrence_neighbours` for each item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contracts.values import is_number
from ncf import parameters
from ncf.csr import cells
from ncf.dataset import Dataset
from ncf.interface import Context, Kind, Tensors, require_keys
from ncf.parameters import integer, number, parameter

NAME = "cooccurrence"
BACKWARD = 0.5
"""Weight of the earlier of two neighbours for the later one, as a share of the other direction."""
BETA = 0.3
"""Exponent of the recommended item's popularity in the normalization, 0 to 1; 0 keeps the most popular neighbours."""
LAST_ITEMS = 50
"""The last interactions of a user that have a part in the scores."""
PRIOR = 1e-6
"""Weight of an item's share of the greatest popularity: it orders items that are no neighbours, and little else."""
LARGE_TIED_SHARE = 0.5
"""Above this share of interactions without a known order, a fit warns."""
_OCCURRENCES = 1 << 16
"""Maximum number of interactions that are counted together; of an item with more, evenly spaced ones are counted."""
_USERS_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Parameters(parameters.Parameters):
    cooccurrence_decay: float = parameter(
        "Weight of a user's interaction for each later one, above 0 and at most 1. 0.8 was among the best of 0.3 to "
        "0.9 on Online Retail and MovieLens (docs/decisions/0028-baselines-that-hurt.md).",
        number("a number above 0 and at most 1", lambda value: 0 < value <= 1),
        0.8,
    )
    cooccurrence_window: int = parameter(
        "Maximum number of places between two neighbours in a user's history, 1 to 100. The time of a fit grows with "
        "it.",
        integer(1, 100),
        10,
    )
    cooccurrence_neighbours: int = parameter(
        "Maximum number of neighbours of an item that the model keeps, those with the greatest weight, 1 to 10000.",
        integer(1, 10_000),
        100,
    )


class Cooccurrence:
    """A fitted co-occurrence: the neighbours of each item and the last interactions of each user, both as CSR.

    - `neighbour_indptr` [items + 1], `neighbours` and their `weights` [neighbours of all items];
    - `indptr` [users + 1], `indices`, the last items, and `later`, the number of interactions after each
      [last interactions of all users];
    - `prior` [items].
    """

    name = NAME

    def __init__(self, decay: float, state: Mapping[str, Tensor]) -> None:
        self._decay, self._state = decay, dict(state)

    @property
    def device(self) -> torch.device:
        return self._state["prior"].device

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        return pairs_of(self.catalogue, users, items)  # [users, n]

    def catalogue(self, users: Tensor) -> Tensor:
        state, items = self._state, self._state["prior"].shape[0]
        scores = state["prior"].repeat(users.shape[0], 1)  # [users, items]
        for begin in range(0, users.shape[0], _USERS_AT_ONCE):
            row, last = cells(state["indptr"], users[begin : begin + _USERS_AT_ONCE])  # [last interactions]
            weight = self._decay ** state["later"][last].float()
            which, cell = cells(state["neighbour_indptr"], state["indices"][last].long())  # [their neighbours]
            place = (row[which] + begin) * items + state["neighbours"][cell]
            scores.view(-1).index_add_(0, place, state["weights"][cell] * weight[which])
        return scores

    def related(self, item: int) -> Tensor | None:
        """How much an interaction with `item` adds to the score of each item."""
        begin, end = self._state["neighbour_indptr"][item : item + 2].tolist()
        weights = torch.zeros_like(self._state["prior"])
        weights[self._state["neighbours"][begin:end].long()] = self._state["weights"][begin:end]
        return weights  # [items]

    def describe(self) -> dict[str, Any]:
        return {"model": NAME, "decay": self._decay}

    def state(self) -> dict[str, Tensor]:
        return dict(self._state)

    def to(self, device: torch.device) -> Cooccurrence:
        return Cooccurrence(self._decay, {name: tensor.to(device) for name, tensor in self._state.items()})


def pairs_of(catalogue: Callable[[Tensor], Tensor], users: Tensor, items: Tensor) -> Tensor:
    """Return the scores of `items` [users, n] for `users` [users] from those of the whole catalogue: [users, n].

    A user who is several times in succession is scored once.
    """
    distinct, counts = torch.unique_consecutive(users, return_counts=True)
    parts = zip(distinct.split(1), items.split(counts.tolist()), strict=True)
    return torch.cat([catalogue(user)[0, own] for user, own in parts])


def fit(dataset: Dataset, parameters: Parameters, context: Context) -> Cooccurrence:
    tied = dataset.history.tied_share
    if tied > LARGE_TIED_SHARE:
        context.warn(
            f"warning: {tied:.0%} of the interactions have the same time as another one of their user, so "
            f"{NAME} does not know their order among themselves"
        )
    indptr, indices, later = last_interactions(dataset)
    state = {
        **neighbours_of(dataset, parameters.cooccurrence_window, parameters.cooccurrence_neighbours),
        "prior": (PRIOR * dataset.popularity / max(1, dataset.popularity.max())).astype(np.float32),
        "indptr": indptr,
        "indices": indices,
        "later": later,
    }
    model = Cooccurrence(parameters.cooccurrence_decay, {name: torch.as_tensor(array) for name, array in state.items()})
    return model.to(context.device)


def neighbours_of(dataset: Dataset, window: int, number: int, beta: float = BETA) -> dict[str, NDArray[Any]]:
    """Return the neighbours of each item, at most `number`: `neighbour_indptr` [items + 1], `neighbours` and their
    `weights` [neighbours of all items].
    """
    found = list(_neighbours(dataset, window, number, beta))
    return {
        "neighbour_indptr": np.concatenate([[0], np.cumsum(np.concatenate([sizes for sizes, _, _ in found]))]),
        "neighbours": np.concatenate([items for _, items, _ in found]),
        "weights": np.concatenate([weights for _, _, weights in found]),
    }


def last_interactions(dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]]:
    """Return boundaries [users + 1], items, and numbers of later interactions, of each user's LAST_ITEMS last ones."""
    history, train = dataset.history, dataset.train
    end = train.indptr[train.user + 1]  # [pairs in train]
    visit = np.cumsum(~history.is_tied) - 1
    visit_end = np.append(np.flatnonzero(~history.is_tied)[1:], len(train))
    kept = np.flatnonzero(end - np.arange(len(train)) <= LAST_ITEMS)
    indptr = np.searchsorted(kept, train.indptr)
    return indptr, history.item[kept], (end[kept] - visit_end[visit[kept]]).astype(np.uint8)


def _neighbours(
    dataset: Dataset, window: int, number: int, beta: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]]:
    """Yield the neighbours of some items after those before: how many each has, which, and their weights."""
    history, user, items = dataset.history, dataset.train.user, dataset.items
    visit = np.cumsum(~history.is_tied)  # [pairs in train]
    by_item = np.argsort(history.item, kind="stable")
    begin = np.searchsorted(history.item, np.arange(items + 1), sorter=by_item)
    size = np.diff(begin)  # [items]
    # The weight of a neighbour is looked up by the last digits of its key.
    distance = np.arange(1, window + 1)
    table = np.concatenate([[1.0], 1.0 / distance, BACKWARD / distance])
    penalty = (size + 1.0) ** -beta  # [items]
    for first, last in _groups(np.minimum(size, _OCCURRENCES)):
        places = [_spaced(by_item[begin[item] : begin[item + 1]]) for item in range(first, last)]
        counted = np.array([place.size for place in places])
        row = np.repeat(np.arange(last - first), counted)  # [occurrences]
        place = np.concatenate(places)
        keys = []
        for code in range(1, 2 * window + 1):
            step = code if code <= window else window - code
            other = np.clip(place + step, 0, user.size - 1)
            is_own = np.flatnonzero((user[other] == user[place]) & (other == place + step))
            codes = np.where(visit[other[is_own]] == visit[place[is_own]], 0, code)
            keys.append((row[is_own] * items + history.item[other[is_own]]) * table.size + codes)
        cell, value = _summed(np.concatenate(keys), table)
        row, item = np.divmod(cell, items)
        # The counted interactions of an item stand for all of them.
        scale = size[first:last] / np.maximum(counted, 1) * (size[first:last] + 1.0) ** (beta - 1)
        value *= scale[row] * penalty[item]
        kept = _greatest(np.searchsorted(row, np.arange(last - first + 1)), value, number)
        sizes = np.bincount(row[kept], minlength=last - first)
        yield sizes, item[kept].astype(np.int32), value[kept].astype(np.float32)


def _groups(sizes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield the first and the end of groups of consecutive items with at most _OCCURRENCES interactions together."""
    total = np.cumsum(sizes)
    first = 0
    while first < sizes.size:
        before = total[first] - sizes[first]
        last = max(first + 1, int(np.searchsorted(total, before + _OCCURRENCES, side="right")))
        yield first, last
        first = last


def _spaced(places: NDArray[np.int64]) -> NDArray[np.int64]:
    if places.size <= _OCCURRENCES:
        return places
    return places[np.arange(_OCCURRENCES) * places.size // _OCCURRENCES]


def _summed(keys: NDArray[np.int64], table: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the distinct keys without their last digit, ascending, and the sum of `table` at the digits of each."""
    keys.sort()
    cell, code = np.divmod(keys, table.size)
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    sums = np.add.reduceat(table[code], first) if first.size else np.empty(0)
    return cell[first], sums


def _greatest(indptr: NDArray[np.int64], values: NDArray[np.float64], number: int) -> NDArray[np.int64]:
    """Return the places of the `number` greatest values of each row, ascending."""
    is_kept = np.ones(values.size, dtype=bool)
    for row in np.flatnonzero(np.diff(indptr) > number):
        own = slice(indptr[row], indptr[row + 1])
        is_kept[own] = False
        is_kept[indptr[row] + np.argpartition(-values[own], number)[:number]] = True
    return np.flatnonzero(is_kept)


def layout(description: Mapping[str, Any], users: int, items: int) -> dict[str, Tensors]:
    require_keys(description, "decay")
    decay = description["decay"]
    if not is_number(decay) or not 0 < decay <= 1:
        raise ValueError(f"decay must be a number above 0 and at most 1, not {decay!r}")
    return {
        "neighbour_indptr": Tensors(torch.int64, (items + 1,)),
        "neighbours": Tensors(torch.int32, (-1,)),
        "weights": Tensors(torch.float32, (-1,)),
        "prior": Tensors(torch.float32, (items,)),
        "indptr": Tensors(torch.int64, (users + 1,)),
        "indices": Tensors(torch.int32, (-1,)),
        "later": Tensors(torch.uint8, (-1,)),
    }


def restore(description: Mapping[str, Any], state: Mapping[str, Tensor], users: int, items: int) -> Cooccurrence:
    for boundaries, *parts in (("neighbour_indptr", "neighbours", "weights"), ("indptr", "indices", "later")):
        indptr, indices = state[boundaries], state[parts[0]]
        for name in parts:
            entries = state[name].numel()
            if indptr[0] != 0 or indptr[-1] != entries or bool((indptr.diff() < 0).any()):
                raise ValueError(f"{boundaries} does not divide {entries} entries of {name}")
        if indices.numel() and (int(indices.min()) < 0 or int(indices.max()) >= items):
            raise ValueError(f"{parts[0]} must be from 0 to {items - 1}")
    return Cooccurrence(float(description["decay"]), state)


KINDS = (Kind(NAME, Parameters, fit, layout, restore),)
