"""Logits of a user for items, from the prepared or from the plain model.

`Fused` has everything that does not depend on the user computed at load:

    GMF    hᵀ(p_u ⊙ q_i) = (h ⊙ p_u)ᵀ q_i                        one matrix-vector product
    MLP    W_1 [p_u ; q_i] + b_1 = (W_1p p_u + b_1) + W_1q q_i    W_1q q_i is kept for every item

and the further layers in one compiled loop. Beside the model's own tensors, which it shares, it keeps 4 · items ·
(width of the MLP's second layer) bytes. The sums are taken in another order than in `ncf.model`, so logits may differ
from it in the last digits of float32.

`Plain` asks the model itself. It serves every model on every device; products and sums have nothing to prepare.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import kernels
from ncf.interface import Model
from ncf.model import PerceptronTower, ProductTower, Recommender

Rows = NDArray[np.int64]
Floats = NDArray[Any]


class Logits(Protocol):
    """Where logits come from; `name` is for the log."""

    name: str

    def of(self, users: list[int], rows: Rows | None = None) -> Floats:
        """[users, items] of the items with indices `rows` (None: all), on the CPU; the caller may overwrite them."""


def logits_of(model: Model) -> Logits:
    """The fastest that gives this model's logits where it is."""
    return Fused(model) if isinstance(model, Recommender) and model.device.type == "cpu" else Plain(model)


class Plain:
    name = "plain"

    def __init__(self, model: Model) -> None:
        self._model = model

    @torch.inference_mode()
    def of(self, users: list[int], rows: Rows | None = None) -> Floats:
        own = torch.tensor(users, device=self._model.device)
        if rows is None:
            scores = self._model.catalogue(own)
        else:
            items = torch.as_tensor(rows, device=self._model.device)
            scores = self._model.pairs(own, items.expand(len(users), -1))
        return scores.cpu().numpy()


class Fused:
    name = "fused"

    @torch.no_grad()
    def __init__(self, model: Recommender) -> None:
        self._bias = float(model.output.bias)
        self._parts: list[_Product | _Perceptron | _Linear] = []
        weights = model.output.weight.squeeze(0).split(model.widths)
        for tower, weight in zip(model.towers, weights, strict=True):
            if isinstance(tower, ProductTower):
                self._parts.append(_Product(tower, weight))
            else:
                assert isinstance(tower, PerceptronTower)
                self._parts.append((_Perceptron if len(tower.hidden) else _Linear)(tower, weight))
        # The product, if there is one, makes the array that the others add to.
        self._items = int(model.towers[0].item.weight.shape[0])  # type: ignore[union-attr, index, arg-type]

    def of(self, users: list[int], rows: Rows | None = None) -> Floats:
        first, *others = self._parts
        if isinstance(first, _Product):
            logits = first.of(users, rows)
            logits += self._bias
        else:
            others = self._parts
            logits = np.full((len(users), self._items if rows is None else rows.size), self._bias, np.float32)
        for part in others:
            assert not isinstance(part, _Product)
            part.add(users, rows, logits)
        return logits


class _Product:
    def __init__(self, tower: ProductTower, weight: Tensor) -> None:
        self._users, self._weight = tower.user.weight.detach(), weight.detach()  # [users, factors], [factors]
        self._items = tower.item.weight.detach()  # [items, factors]
        self._few = self._users.numpy(), self._weight.numpy(), self._items.numpy()

    def of(self, users: list[int], rows: Rows | None) -> Floats:
        if rows is not None:  # a call of numpy's costs less than one of torch's
            user, weight, item = self._few
            return (user[users] * weight) @ item[rows].T  # [users, rows]
        if len(users) == 1:
            return torch.mv(self._items, self._users[users[0]] * self._weight).numpy()[None]  # [1, items]
        return torch.mm(self._users[users] * self._weight, self._items.T).numpy()  # [users, items]


class _Linear:
    """A perceptron of one width has no hidden layer: its φ is [p_u ; q_i]."""

    def __init__(self, tower: PerceptronTower, weight: Tensor) -> None:
        own, other = weight.split(tower.user.weight.shape[1])
        self._users = (tower.user.weight @ own).numpy()  # [users]
        self._items = (tower.item.weight @ other).numpy()  # [items]

    def add(self, users: list[int], rows: Rows | None, logits: Floats) -> None:
        logits += self._users[users][:, None] + (self._items if rows is None else self._items[rows])


class _Perceptron:
    def __init__(self, tower: PerceptronTower, weight: Tensor) -> None:
        first, *others = [_linear(layer) for layer in tower.hidden]
        own, other = first.weight.split(tower.user.weight.shape[1], dim=1)
        self._users = tower.user.weight.detach().numpy()  # [users, d]
        self._own, self._bias = own.numpy(), first.bias.numpy()  # [layers[1], d], [layers[1]]
        self._first = np.ascontiguousarray((other @ tower.item.weight.T).numpy())  # [layers[1], items]
        none = np.empty(0, np.float32)
        self._weights = np.concatenate([none, *(layer.weight.numpy().ravel() for layer in others)])
        self._biases = np.concatenate([none, *(layer.bias.numpy() for layer in others)])
        self._widths = np.array([layer.out_features for layer in (first, *others)], np.int64)
        self._head = weight.numpy().copy()  # [layers[-1]]

    def add(self, users: list[int], rows: Rows | None, logits: Floats) -> None:
        first = self._first if rows is None else np.ascontiguousarray(self._first[:, rows])
        for place, user in enumerate(users):
            from_user = self._own @ self._users[user] + self._bias  # [layers[1]]
            kernels.perceptron(first, from_user, self._weights, self._biases, self._widths, self._head, logits[place])


def _linear(layer: torch.nn.Module) -> torch.nn.Linear:
    assert isinstance(layer, torch.nn.Linear), "the hidden layers of a perceptron are linear"
    return layer
