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

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from contracts.values import is_number
from ncf import parameters
from ncf.csr import cells
from ncf.dataset import Dataset
from ncf.interface import Context, Kind, Tensors, require_keys
from ncf.neighbours import last_interactions, neighbours_of
from ncf.parameters import Among, Between, integer, number, parameter

NAME = "cooccurrence"
BETA = 0.3
"""Exponent of the recommended item's popularity in the normalization, 0 to 1; 0 keeps the most popular neighbours."""
PRIOR = 1e-6
"""Weight of an item's share of the greatest popularity: it orders items that are no neighbours, and little else."""
LARGE_TIED_SHARE = 0.5
"""Above this share of interactions without a known order, a fit warns."""
_USERS_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Parameters(parameters.Parameters):
    cooccurrence_decay: float = parameter(
        "Weight of a user's interaction for each later one, above 0 and at most 1. 0.8 was among the best of 0.3 to "
        "0.9 on Online Retail and MovieLens (docs/decisions/0028-baselines-that-hurt.md).",
        number("a number above 0 and at most 1", lambda value: 0 < value <= 1),
        0.8,
        search=Between(0.3, 1.0),
    )
    cooccurrence_window: int = parameter(
        "Maximum number of places between two neighbours in a user's history, 1 to 100. The time of a fit grows with "
        "it.",
        integer(1, 100),
        10,
        search=Between(1, 40, log=True),
    )
    cooccurrence_neighbours: int = parameter(
        "Maximum number of neighbours of an item that the model keeps, those with the greatest weight, 1 to 10000.",
        integer(1, 10_000),
        100,
        search=Among(50, 100, 200, 400),
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
        **neighbours_of(dataset, parameters.cooccurrence_window, parameters.cooccurrence_neighbours, BETA),
        "prior": (PRIOR * dataset.popularity / max(1, dataset.popularity.max())).astype(np.float32),
        "indptr": indptr,
        "indices": indices,
        "later": later,
    }
    model = Cooccurrence(parameters.cooccurrence_decay, {name: torch.as_tensor(array) for name, array in state.items()})
    return model.to(context.device)


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
