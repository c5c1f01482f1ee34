"""The exact ranking of `ncf.ranking.rank`, with everything that does not depend on the user computed once, at start-up.

    GMF    hᵀ(p_u ⊙ q_i) = (h ⊙ p_u)ᵀ q_i                        h ⊙ p_u is kept for every user
    MLP    W_1 [p_u ; q_i] + b_1 = (W_1p p_u + b_1) + W_1q q_i    W_1q q_i is kept for every item

so a request costs one matrix-vector product for GMF, and for MLP the layers after the first. The sums are taken in
another order than in `ncf.model`, so logits may differ from it in the last digits of float32.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invocation import Invocation
from ncf.bundle import Bundle
from ncf.interface import Model
from ncf.model import PerceptronTower, ProductTower, Recommender
from ncf.ranking import best_first, popular_scores

# Items whose hidden layers are computed at a time: small enough for the processor's cache, whatever the catalogue.
_ITEMS_AT_ONCE = 16_384


class _Logits(Protocol):
    def logits(self, user: int, items: Tensor | None) -> Tensor: ...


class _Product:
    def __init__(self, tower: ProductTower, weight: Tensor) -> None:
        self._users = tower.user.weight * weight  # [users, factors]
        self._items = tower.item.weight  # [items, factors]

    def logits(self, user: int, items: Tensor | None) -> Tensor:
        catalogue = self._items if items is None else self._items[items]
        return catalogue @ self._users[user]  # [items]


class _Linear:
    """A perceptron of one width has no hidden layer: its φ is [p_u ; q_i]."""

    def __init__(self, tower: PerceptronTower, weight: Tensor) -> None:
        own, other = weight.split(tower.user.weight.shape[1])
        self._users = tower.user.weight @ own  # [users]
        self._items = tower.item.weight @ other  # [items]

    def logits(self, user: int, items: Tensor | None) -> Tensor:
        return self._users[user] + (self._items if items is None else self._items[items])  # [items]


class _Perceptron:
    def __init__(self, tower: PerceptronTower, weight: Tensor) -> None:
        first, *others = [_linear(layer) for layer in tower.hidden]
        own, other = first.weight.split(tower.user.weight.shape[1], dim=1)
        self._users = tower.user.weight  # [users, d]
        self._first, self._bias = own, first.bias  # [layers[1], d], [layers[1]]
        self._items = tower.item.weight @ other.T  # [items, layers[1]]
        self._hidden = [(layer.weight.T.contiguous(), layer.bias) for layer in others]
        self._weight = weight  # [layers[-1]]

    def logits(self, user: int, items: Tensor | None) -> Tensor:
        from_user = torch.addmv(self._bias, self._first, self._users[user])  # [layers[1]]
        catalogue = self._items if items is None else self._items[items]
        parts = [self._layers(chunk + from_user) for chunk in catalogue.split(_ITEMS_AT_ONCE)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)  # [items]

    def _layers(self, z: Tensor) -> Tensor:
        z.relu_()  # [chunk, layers[1]]
        for weight, bias in self._hidden:
            z = torch.addmm(bias, z, weight).relu_()  # [chunk, layers[l]]
        return z @ self._weight  # [chunk]


def _linear(layer: torch.nn.Module) -> torch.nn.Linear:
    assert isinstance(layer, torch.nn.Linear), "the hidden layers of a perceptron are linear"
    return layer


def _prepared(tower: torch.nn.Module, weight: Tensor) -> _Logits:
    if isinstance(tower, ProductTower):
        return _Product(tower, weight)
    if isinstance(tower, PerceptronTower):
        return _Perceptron(tower, weight) if len(tower.hidden) else _Linear(tower, weight)
    raise TypeError(f"no scorer for a tower of type {type(tower).__name__}")


class _Factored:
    """A neural model: its towers, prepared."""

    def __init__(self, model: Recommender) -> None:
        self._bias = model.output.bias  # [1]
        weights = model.output.weight.squeeze(0).split(model.widths)
        self._towers = [_prepared(tower, weight) for tower, weight in zip(model.towers, weights, strict=True)]

    def logits(self, user: int, items: Tensor | None) -> Tensor:
        logits: Tensor = self._bias
        for tower in self._towers:
            logits = logits + tower.logits(user, items)
        return logits  # [items]


class _AsItIs:
    """Any other model: there is nothing to prepare in a product or a sum."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def logits(self, user: int, items: Tensor | None) -> Tensor:
        users = torch.tensor([user], device=self._model.device)
        scores = self._model.catalogue(users) if items is None else self._model.pairs(users, items[None])
        return scores[0]  # [items]


class Scorer:
    """Answers invocations from a bundle. Keeps no state between them, so threads may share it."""

    @torch.inference_mode()
    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._device = bundle.model.device
        self._logits = _Factored(bundle.model) if isinstance(bundle.model, Recommender) else _AsItIs(bundle.model)

    def answer(self, invocation: Invocation) -> dict[str, Any]:
        """The response of `POST /invocations`.

        A user whom the bundle does not know, or of whom it has no interaction, gets popular items. There are fewer
        items than asked for where the catalogue, the candidates, or what the user has not seen of them, are fewer.
        """
        bundle = self._bundle
        user = bundle.user_index.get(invocation.user_id)
        seen = bundle.seen(user) if user is not None else np.empty(0, dtype=np.int32)
        personal = user is not None and seen.size > 0

        items: NDArray[np.int64] | None = None
        unknown = 0
        if invocation.candidates is not None:
            indices = [bundle.item_index[item] for item in invocation.candidates if item in bundle.item_index]
            unknown = len(invocation.candidates) - len(indices)
            items = np.array(sorted(indices), dtype=np.int64)
            if personal and invocation.exclude_seen:
                items = items[~np.isin(items, seen)]

        scores = self.scores(user, items) if user is not None and personal else popular_scores(bundle, items)
        number = scores.size if invocation.num_results is None else min(invocation.num_results, scores.size)
        if items is None and personal and invocation.exclude_seen:
            scores[seen] = -np.inf
            number = min(number, scores.size - seen.size)
        best = best_first(scores, number)
        ids = bundle.item_ids
        return {
            "userId": invocation.user_id,
            "itemList": [
                {"itemId": ids[row if items is None else items[row]], "score": float(scores[row])} for row in best
            ],
            "source": "personalized" if personal else "popular",
            "modelVersion": bundle.run_id,
            "unknownItems": unknown,
        }

    @torch.inference_mode()
    def scores(self, user: int, items: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """σ(logit) of the items with these indices (None: all, by index) for the user with index `user`."""
        rows = None if items is None else torch.as_tensor(items, device=self._device)
        logits = self._logits.logits(user, rows)
        # In float64 the sigmoid keeps apart what float32 would round to 1.
        return torch.sigmoid(logits.cpu().double()).numpy()
