"""EASE: a linear item-to-item model in closed form. On small catalogues it is the best of the simple models.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data" (WWW 2019): with X the users × items matrix of
interactions, P = (XᵀX + Λ)⁻¹ and B_ij = -P_ij / P_jj off the diagonal, 0 on it; the scores are X B. Λ = λI is EASE.
Dropping interactions at random adds a part proportional to the diagonal of XᵀX (Steck, "Autoencoders that don't overfit
towards the Identity", NeurIPS 2020, section 3).

B is dense. Its memory grows with the square of the number of items, and its time with the cube, so `MAXIMUM_ITEMS`
limits the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ncf import parameters
from ncf.cores import cores, threads
from ncf.csr import cells, check
from ncf.dataset import Dataset, Pairs
from ncf.interface import CannotFit, Context, Kind, Tensors, require_keys
from ncf.parameters import Between, number, parameter
from ncf.seeds import stream
from ncf.worth import relative

NAME = "ease"
MAXIMUM_ITEMS = 20_000
"""Maximum number of items: B then has 1.6 GB, and computing it needs three matrices of that size."""
_FLOATS = 1 << 22
"""Maximum number of floats in a block of X."""


@dataclass(frozen=True, kw_only=True)
class Parameters(parameters.Parameters):
    ease_l2: float = parameter(
        "L2 penalty of ease, above 0 and at most 1000000 (λ in ncf/models/ease.py). 500 with ease_dropout 0.2 had the "
        "best full-catalogue NDCG on validation for ease's scores as a product of 160 factors; ease itself was "
        "slightly better with 1000 and no dropout.",
        number("a number above 0 and at most 1000000", lambda value: 0 < value <= 1e6),
        500.0,
        search=Between(20.0, 5000.0, log=True),
    )
    ease_dropout: float = parameter(
        "Share of interactions dropped at random, as modelled by ease's regularization, 0 to below 1 (see "
        "ncf/models/ease.py).",
        number("a number from 0 to below 1", lambda value: 0 <= value < 1),
        0.2,
        search=Between(0.0, 0.6),
    )
    ease_worth: float = parameter(
        "Value of a pair in ease's least squares: its worth as a share of the median, to this power, 0 to 1 (see "
        "als_worth). 0: 1 for each pair.",
        number("a number from 0 to 1", lambda value: 0 <= value <= 1),
        0.5,
    )


class Ease:
    """A fitted EASE: B [items, items], and each user's interactions in train as CSR."""

    name = NAME

    def __init__(self, item_item: Tensor, indptr: Tensor, indices: Tensor) -> None:
        self._item_item, self._indptr, self._indices = item_item, indptr, indices

    @property
    def device(self) -> torch.device:
        return self._item_item.device

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        scores = torch.empty(items.shape, device=self.device)  # [users, n]
        for row, user in enumerate(users.tolist()):  # history × n sums, far fewer than a product with B
            scores[row] = self._item_item[self._history(user)[:, None], items[row]].sum(dim=0)
        return scores

    def _history(self, user: int) -> Tensor:
        return self._indices[int(self._indptr[user]) : int(self._indptr[user + 1])].long()

    def catalogue(self, users: Tensor) -> Tensor:
        size = self._indptr[users + 1] - self._indptr[users]
        _, where = cells(self._indptr, users)
        # A sum of rows of B for each user: a product with the dense history would have many zeros.
        return _sums(self._item_item, self._indices[where].long(), size.cumsum(0) - size)  # [users, items]

    def related(self, item: int) -> Tensor | None:
        """How much an interaction with `item` adds to the score of each item: row `item` of B."""
        return self._item_item[item].clone()  # [items]

    def describe(self) -> dict[str, Any]:
        return {"model": NAME}

    def state(self) -> dict[str, Tensor]:
        return {"item_item": self._item_item, "indptr": self._indptr, "indices": self._indices}

    def to(self, device: torch.device) -> Ease:
        return Ease(self._item_item.to(device), self._indptr.to(device), self._indices.to(device))


def item_item(
    train: Pairs,
    items: int,
    l2: float,
    dropout: float,
    device: torch.device,
    values: NDArray[np.float32] | None = None,
) -> Tensor:
    """Return B [items, items], 0 for items without interactions. `values` are those of X at `train`, by default 1.
    Raises CannotFit for more than MAXIMUM_ITEMS items with interactions, and if the penalty is too small.
    """
    is_learned = np.bincount(train.item, minlength=items) > 0
    learned = np.flatnonzero(is_learned)
    if learned.size < items:
        place = np.cumsum(is_learned) - 1
        compact = Pairs.of(train.user, place[train.item], train.indptr.size - 1, learned.size)
        rows = torch.as_tensor(learned, device=device)
        found = torch.zeros(items, items, device=device)
        found[rows[:, None], rows] = item_item(compact, learned.size, l2, dropout, device, values)
        return found
    if items > MAXIMUM_ITEMS:
        raise CannotFit(
            f"ease is for catalogues of up to {MAXIMUM_ITEMS} items and this one has {items}: choose als or neumf"
        )
    users = train.indptr.size - 1
    counts = torch.bincount(torch.as_tensor(train.item), minlength=items).to(device)
    penalty = l2 + dropout / (1.0 - dropout) * counts  # [items], the diagonal of Λ
    try:
        inverse = (_inverse_by_users if users < items else _inverse_by_items)(train, penalty, values)
    except torch.linalg.LinAlgError as error:
        raise CannotFit(f"ease cannot be solved with ease_l2 {l2:g}: choose a greater value ({error})") from error
    inverse.div_(-inverse.diagonal().clone())
    inverse.fill_diagonal_(0.0)
    return inverse


def _inverse_by_items(train: Pairs, penalty: Tensor, values: NDArray[np.float32] | None) -> Tensor:
    """Return (XᵀX + Λ)⁻¹ [items, items], computed directly."""
    users, items = train.indptr.size - 1, penalty.numel()
    gram = torch.diag(penalty)
    users_per_block = max(1, _FLOATS // items)
    for begin in range(0, users, users_per_block):
        block = _dense(train, begin, min(begin + users_per_block, users), penalty, values)
        gram.addmm_(block.T, block)
    return torch.cholesky_inverse(torch.linalg.cholesky(gram))


def _inverse_by_users(train: Pairs, penalty: Tensor, values: NDArray[np.float32] | None) -> Tensor:
    """Return (XᵀX + Λ)⁻¹ by Woodbury's identity, Λ⁻¹ - Λ⁻¹Xᵀ (I + XΛ⁻¹Xᵀ)⁻¹ XΛ⁻¹.

    The time grows with the cube of the number of users, not of items.
    """
    users = train.indptr.size - 1
    interactions = _dense(train, 0, users, penalty, values)  # [users, items]
    weighted = interactions / penalty
    kernel = weighted @ interactions.T
    kernel.diagonal().add_(1.0)
    half = torch.linalg.solve_triangular(torch.linalg.cholesky(kernel), weighted, upper=False)  # [users, items]
    inverse = half.T @ half
    inverse.neg_().diagonal().add_(1.0 / penalty)
    found: Tensor = inverse
    return found


def _dense(train: Pairs, begin: int, end: int, like: Tensor, values: NDArray[np.float32] | None) -> Tensor:
    """Return rows `begin` to `end` of X as a dense matrix, on the device of `like` [items]."""
    block = torch.zeros(end - begin, like.numel(), device=like.device)
    own = slice(train.indptr[begin], train.indptr[end])
    block[torch.as_tensor(train.user[own] - begin), torch.as_tensor(train.item[own])] = (
        torch.ones((), device=like.device) if values is None else torch.as_tensor(values[own], device=like.device)
    )
    return block


def factors_of(weights: Tensor, train: Pairs, factors: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the best approximation of the scores X B by p qᵀ, p [users, factors], q [items, factors].

    p and q have the same norm. The method is randomized subspace iteration (Halko, Martinsson and Tropp, SIAM Review
    53(2), 2011, algorithm 4.4) with two rounds and 16 additional directions. X B is computed where it has at most half
    the rows of B: each product with it costs less than one with B. If the matrix has fewer rows or columns than
    `factors`, the remaining factors are zero.
    """
    users, items = train.indptr.size - 1, weights.shape[0]
    transposed = Pairs.of(train.item, train.user, items, users)
    scores = _product(train, weights) if 2 * users <= items else None  # [users, items]

    def times(basis: Tensor) -> Tensor:
        return _product(train, weights @ basis) if scores is None else scores @ basis

    def transposed_times(left: Tensor) -> Tensor:
        return weights.T @ _product(transposed, left) if scores is None else scores.T @ left

    rank = min(factors, users, items)
    directions = min(rank + 16, users, items)
    generator = torch.Generator().manual_seed(stream(seed, "ease factors"))
    basis = torch.randn(items, directions, generator=generator).to(weights.device)
    for _ in range(3):
        left = torch.linalg.qr(times(basis))[0]  # [users, directions]
        basis = torch.linalg.qr(transposed_times(left))[0]  # [items, directions]
    u, s, vt = torch.linalg.svd(times(basis), full_matrices=False)
    root = s[:rank].clamp(min=0.0).sqrt()
    p, q = u[:, :rank] * root, (basis @ vt[:rank].T) * root
    return _padded(p, factors), _padded(q, factors)


def _product(pairs: Pairs, rows: Tensor) -> Tensor:
    """Return the product of X (1 for each of `pairs`, else 0) [users, items] and `rows` [items, n]: [users, n]."""
    others = torch.as_tensor(pairs.item, device=rows.device)
    return _sums(rows, others, torch.as_tensor(pairs.indptr[:-1], device=rows.device))


def _sums(rows: Tensor, chosen: Tensor, begin: Tensor) -> Tensor:
    """Return the sum of the rows `chosen` of each group [groups, n]; group g begins at begin[g] of `chosen`."""
    return torch.nn.functional.embedding_bag(chosen, rows, begin, mode="sum")


def _padded(matrix: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(matrix, (0, width - matrix.shape[1]))


def weights_of(dataset: Dataset, parameters: Parameters, context: Context) -> Tensor:
    """Return B of `dataset.train`, computed once for each `context`. Raises CannotFit."""
    l2, dropout, power = parameters.ease_l2, parameters.ease_dropout, parameters.ease_worth
    values = relative(dataset, power)
    with threads(cores()):
        found: Tensor = context.once(
            (NAME, l2, dropout, power),
            dataset.train,
            lambda: item_item(dataset.train, dataset.items, l2, dropout, context.device, values),
        )
    return found


def fit(dataset: Dataset, parameters: Parameters, context: Context) -> Ease:
    weights = weights_of(dataset, parameters, context)
    indptr = torch.as_tensor(dataset.train.indptr)
    return Ease(weights.cpu(), indptr, torch.as_tensor(dataset.train.item.astype(np.int32))).to(context.device)


def layout(description: Mapping[str, Any], users: int, items: int) -> dict[str, Tensors]:
    require_keys(description)
    return {
        "item_item": Tensors(torch.float32, (items, items)),
        "indptr": Tensors(torch.int64, (users + 1,)),
        "indices": Tensors(torch.int32, (-1,)),
    }


def restore(description: Mapping[str, Any], state: Mapping[str, Tensor], users: int, items: int) -> Ease:
    indptr, indices = state["indptr"], state["indices"]
    check(indptr, indices, items)
    return Ease(state["item_item"], indptr, indices)


KINDS = (Kind(NAME, Parameters, fit, layout, restore),)
