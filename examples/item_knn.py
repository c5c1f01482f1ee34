"""Item-kNN, a model in one file: an item is recommended because people who had your items had it too.

    similarity(i, j) = n(i, j) / (√(n(i) n(j)) + shrinkage)
    score(u, j)      = Σ similarity(i, j), for the items i of person u that have j among their nearest neighbours

n(i) people had item i, and n(i, j) had both. The cosine of two items that few people had is mostly chance; the
shrinkage makes it smaller. M. Deshpande and G. Karypis, "Item-based top-N recommendation algorithms" (ACM TOIS 22(1),
2004).

To use it: `cp examples/item_knn.py ncf/models/`, then `make train DATASET=… MODEL=item_knn`.
`docs/how-to/add-a-model.md` says what such a file has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from contracts.values import is_integer
from ncf import csr, parameters
from ncf.dataset import Dataset
from ncf.interface import Context, Kind, Tensors, require_keys
from ncf.models.cooccurrence import pairs_of
from ncf.parameters import Among, Between, integer, number, parameter

NAME = "item_knn"
_ITEMS_AT_ONCE = 64
_USERS_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Parameters(parameters.Parameters):
    knn_neighbours: int = parameter(
        "Number of neighbours of an item that the model keeps, 1 to 1000.",
        integer(1, 1000),
        100,
        search=Among(50, 100, 200, 400),
    )
    knn_shrinkage: float = parameter(
        "Added to the divisor of a similarity, 0 or more: greater values favour items that many people had.",
        number("a number of 0 or more", lambda value: value >= 0),
        10.0,
        search=Between(1.0, 100.0, log=True),
    )


class ItemKnn:
    """A fitted item-kNN.

    - `neighbours` [items, kept] and their `similarity` [items, kept], the greatest first;
    - `indptr` [users + 1] and `indices` [pairs in train]: the items of each user.
    """

    name = NAME

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._state = dict(state)

    @property
    def device(self) -> torch.device:
        return self._state["similarity"].device

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        return pairs_of(self.catalogue, users, items)  # [users, n]

    def catalogue(self, users: Tensor) -> Tensor:
        state, items = self._state, self._state["neighbours"].shape[0]
        scores = torch.zeros(users.shape[0], items, device=self.device)
        for some, own in zip(users.split(_USERS_AT_ONCE), scores.split(_USERS_AT_ONCE), strict=True):
            row, cell = csr.cells(state["indptr"], some)
            had = state["indices"][cell].long()  # [items of these users]
            place = row[:, None] * items + state["neighbours"][had]  # [items of these users, kept]
            own.view(-1).index_add_(0, place.view(-1), state["similarity"][had].view(-1))
        return scores  # [users, items]

    def related(self, item: int) -> Tensor | None:
        similarity = torch.zeros(self._state["neighbours"].shape[0], device=self.device)
        similarity[self._state["neighbours"][item].long()] = self._state["similarity"][item]
        return similarity  # [items]

    def describe(self) -> dict[str, Any]:
        return {"model": NAME, "kept": self._state["neighbours"].shape[1]}

    def state(self) -> dict[str, Tensor]:
        return dict(self._state)

    def to(self, device: torch.device) -> ItemKnn:
        return ItemKnn({name: tensor.to(device) for name, tensor in self._state.items()})


def fit(dataset: Dataset, parameters: Parameters, context: Context) -> ItemKnn:
    train, users, items = dataset.train, dataset.users, dataset.items
    user, item = torch.as_tensor(train.user), torch.as_tensor(train.item)
    pairs, ones = torch.stack([item, user]), torch.ones(len(train))
    had = torch.sparse_coo_tensor(pairs, ones, (items, users), check_invariants=True)
    count = torch.bincount(item, minlength=items).float()  # [items]
    kept = min(parameters.knn_neighbours, items)
    neighbours, similarity = [], []
    for begin in range(0, items, _ITEMS_AT_ONCE):
        own = torch.arange(begin, min(begin + _ITEMS_AT_ONCE, items))
        is_own = (item >= begin) & (item < begin + own.numel())
        people = torch.zeros(users, own.numel())
        people[user[is_own], item[is_own] - begin] = 1.0
        both = (had @ people).T  # [own, items]
        cosine = both / ((count[own, None] * count).sqrt() + parameters.knn_shrinkage).clamp(min=1e-6)
        cosine[torch.arange(own.numel()), own] = 0.0  # an item is no neighbour of itself
        best = cosine.topk(kept)
        similarity.append(best.values)
        neighbours.append(best.indices.int())
    state = {
        "neighbours": torch.cat(neighbours),
        "similarity": torch.cat(similarity),
        "indptr": torch.as_tensor(train.indptr),
        "indices": item.int(),
    }
    return ItemKnn(state).to(context.device)


def layout(description: Mapping[str, Any], users: int, items: int) -> dict[str, Tensors]:
    require_keys(description, "kept")
    kept = description["kept"]
    if not is_integer(kept, 1, items):
        raise ValueError(f"kept must be an integer from 1 to {items}, not {kept!r}")
    return {
        "neighbours": Tensors(torch.int32, (items, kept)),
        "similarity": Tensors(torch.float32, (items, kept)),
        "indptr": Tensors(torch.int64, (users + 1,)),
        "indices": Tensors(torch.int32, (-1,)),
    }


def restore(description: Mapping[str, Any], state: Mapping[str, Tensor], users: int, items: int) -> ItemKnn:
    csr.check(state["indptr"], state["indices"], items)
    csr.check(torch.tensor([0, state["neighbours"].numel()]), state["neighbours"].view(-1), items)
    return ItemKnn(state)


KINDS = (Kind(NAME, Parameters, fit, layout, restore),)
