"""Logits of a user for items, from a prepared copy of the model or from the model itself.

`Fused` computes at load everything that does not depend on the user:

    GMF    hᵀ(p_u ⊙ q_i) = (h ⊙ p_u)ᵀ q_i                        one matrix-vector product
    MLP    W_1 [p_u ; q_i] + b_1 = (W_1p p_u + b_1) + W_1q q_i    W_1q q_i is kept for every item

A whole ranking, including the selection of the best, is one compiled loop. Both tables are stored factor by factor, so
that a loop over items reads memory in order. `Fused` shares the model's tensors (GMF's item embeddings are transposed
in place). It adds 4 · items · (width of the MLP's second layer) bytes, with items padded to a multiple of 64. An MLP
without a hidden layer becomes 2 more factors; in that case GMF's embeddings are stored twice. Sums are computed in a
different order than in `ncf.network`, so logits may differ from it in the last digits of float32.

`Plain` calls the model itself. It works for every model on every device.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ncf.interface import Model
from ncf.network import PerceptronTower, ProductTower, Recommender
from serving import kernels

Rows = NDArray[np.int64]
"""Indices of the items that are ranked."""
Floats = NDArray[Any]
Places = NDArray[np.int32]
"""Indices of the items that are left out, sorted."""
_ALL: Rows = np.empty(0, np.int64)
NOTHING: Places = np.empty(0, np.int32)
_NONE, _NO_LOGITS = np.empty(0, np.float64), np.empty(0, np.float32)
Added = NDArray[np.float32]
"""Terms that are added to a user's logits: one for each item of the catalogue, or none (empty)."""
NOTHING_ADDED: Added = np.empty(0, np.float32)


class Logits(Protocol):
    """A source of logits; `name` is for the log. `is_faster_together` is true if one call for several users takes less
    time than several calls.
    """

    name: str
    is_faster_together: bool

    def of(self, users: list[int], rows: Rows | None = None) -> Floats:
        """[users, items] of the items with indices `rows` (None: all), on the CPU; the caller may overwrite them."""

    def best(
        self, user: int, number: int, excluded: Places, rows: Rows | None = None, added: Added = NOTHING_ADDED
    ) -> tuple[Rows, Floats]:
        """The `number` best of the items `rows` (sorted; None: all) without `excluded` (sorted), and their scores:
        (items, σ(logits) in float64), where `added` is part of the logits. Ordered by logit, equal ones by item.
        """


def with_added(logits: Floats, added: Added, rows: Rows | None = None) -> Floats:
    """`logits` [rows] (None: all items) of one user, with what is added to them. Overwrites `logits`."""
    if added.size:
        logits += added if rows is None else added[rows]
    return logits


def logits_of(model: Model) -> Logits:
    """The fastest source of `model`'s logits on its device."""
    return Fused(model) if isinstance(model, Recommender) and model.device.type == "cpu" else Plain(model)


class Plain:
    name = "plain"
    is_faster_together = True

    def __init__(self, model: Model) -> None:
        self._model = model

    @torch.inference_mode()
    def of(self, users: list[int], rows: Rows | None = None) -> Floats:
        user_indices = torch.tensor(users, device=self._model.device)
        if rows is None:
            scores = self._model.catalogue(user_indices)
        else:
            items = torch.as_tensor(rows, device=self._model.device)
            scores = self._model.pairs(user_indices, items.expand(len(users), -1))
        return scores.cpu().numpy()

    def best(
        self, user: int, number: int, excluded: Places, rows: Rows | None = None, added: Added = NOTHING_ADDED
    ) -> tuple[Rows, Floats]:
        logits = with_added(self.of([user], rows)[0], added, rows)
        if rows is not None:
            excluded = np.flatnonzero(np.isin(rows, excluded, assume_unique=True)).astype(np.int32)
        first = kernels.best(logits, excluded, number)
        return first if rows is None else rows[first], kernels.sigmoid(logits[first])


class Fused:
    name = "fused"
    is_faster_together = False

    @torch.no_grad()
    def __init__(self, model: Recommender) -> None:
        self._items = int(model.towers[0].item.weight.shape[0])  # type: ignore[union-attr, index, arg-type]
        products: list[tuple[Tensor, Tensor, Tensor]] = []
        layers = _no_layers(self._items)
        for tower, weight in zip(model.towers, model.output.weight.squeeze(0).split(model.widths), strict=True):
            if isinstance(tower, ProductTower):
                by_factor = _padded(tower.item.weight.T, 1, kernels.TILE)
                tower.item.weight.data = by_factor[:, : self._items].T
                products.append((tower.user.weight, weight, by_factor))
                continue
            assert isinstance(tower, PerceptronTower)
            if len(tower.hidden):
                layers = _layers(tower, weight)
            else:
                products.append(_linear(tower, weight))
        users, weights, factors = _joined(products, self._items)
        inputs, first, widths, constants = layers
        constants = np.concatenate([model.output.bias.numpy(), weights, constants])
        self._network = users, inputs, factors, first, constants, np.array([self._items, *widths])

    def of(self, users: list[int], rows: Rows | None = None) -> Floats:
        whole = rows is None
        logits = np.empty((len(users), self._items if rows is None else rows.size), np.float32)
        for user, user_logits in zip(users, logits, strict=True):
            chosen = _ALL if whole else rows
            kernels.ranking(*self._network, user, chosen, whole, user_logits, NOTHING, _ALL, _NONE, NOTHING_ADDED)
        return logits

    def best(
        self, user: int, number: int, excluded: Places, rows: Rows | None = None, added: Added = NOTHING_ADDED
    ) -> tuple[Rows, Floats]:
        whole = rows is None
        items, scores = np.empty(number, np.int64), np.empty(number, np.float64)
        found = kernels.ranking(
            *self._network, user, _ALL if whole else rows, whole, _NO_LOGITS, excluded, items, scores, added
        )
        return (items, scores) if found == number else (items[:found], scores[:found])


def _joined(products: list[tuple[Tensor, Tensor, Tensor]], items: int) -> tuple[Floats, Floats, Floats]:
    """Join several products to one: users [users, factors], weights [factors], items [factors, items]."""
    if not products:
        return np.empty((0, 0), np.float32), np.empty(0, np.float32), np.empty((0, items), np.float32)
    users, weights, factors = zip(*products, strict=True)
    is_single = len(products) == 1  # nothing is copied
    return (
        (users[0] if is_single else torch.cat(users, dim=1)).numpy(),
        torch.cat(weights).numpy(),
        (factors[0] if is_single else torch.cat(factors)).numpy(),
    )


def _linear(tower: PerceptronTower, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A perceptron with one width has no hidden layer: its φ is [p_u ; q_i], so its logit is a product of 2 factors."""
    user_weight, item_weight = weight.split(tower.user.weight.shape[1])
    of_users, of_items = tower.user.weight @ user_weight, tower.item.weight @ item_weight  # [users], [items]
    users = torch.stack([of_users, torch.ones_like(of_users)], dim=1)
    items = torch.stack([torch.ones_like(of_items), of_items])
    return users, torch.ones(2), _padded(items, 1, kernels.TILE)


def _layers(tower: PerceptronTower, weight: Tensor) -> tuple[Floats, Floats, Rows, Floats]:
    """The inputs of users, the first layer of items, the widths, and the constants in the order of `kernels`. Units
    that are always 0 pad the widths to multiples of 4.
    """
    first, *others = [_checked(layer) for layer in tower.hidden]
    user_weight, item_weight = first.weight.split(tower.user.weight.shape[1], dim=1)
    constants = [_padded(first.bias, 0), _padded(user_weight, 0), _padded(weight, 0)]
    constants += [_padded(layer.bias, 0) for layer in others]
    constants += [_padded(_padded(layer.weight, 0), 1) for layer in others]
    return (
        tower.user.weight.numpy(),
        _padded(_padded(item_weight, 0) @ tower.item.weight.T, 1, kernels.TILE).numpy(),
        np.array([_padded(layer.bias, 0).numel() for layer in (first, *others)], np.int64),
        np.concatenate([values.numpy().ravel() for values in constants]),
    )


def _padded(values: Tensor, axis: int, multiple: int = 4) -> Tensor:
    """`values` padded with zeros along `axis` to a multiple of `multiple`."""
    padding = list(values.shape)
    padding[axis] = -padding[axis] % multiple
    return torch.cat([values, values.new_zeros(padding)], dim=axis).contiguous()


def _no_layers(items: int) -> tuple[Floats, Floats, Rows, Floats]:
    return np.empty((0, 0), np.float32), np.empty((0, items), np.float32), _ALL, _NO_LOGITS


def _checked(layer: torch.nn.Module) -> torch.nn.Linear:
    assert isinstance(layer, torch.nn.Linear), "the hidden layers of a perceptron are linear"
    return layer
