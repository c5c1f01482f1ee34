"""The losses, and the samples of each training step.

`bce`            Equation (7) of He et al. 2017: binary cross-entropy. Each interaction has its own negatives, drawn
                 uniformly in each epoch.
`block_bce`      The same objective for blocks of users that share their negatives. A step is a few matrix products
                 instead of a lookup per sample: Σ softplus(-s_ui) + w_u Σ_j softplus(s_uj) / π_j. The weight w_u gives
                 the negatives of a user `negatives_per_positive` times the weight of their interactions.
`block_softmax`  Sampled softmax over the same blocks (Bengio and Senécal, "Adaptive Importance Sampling to Accelerate
                 Training of a Neural Probabilistic Language Model", 2008): each interaction against all items that the
                 user has not interacted with, -log e^s_ui / (e^s_ui + Σ_j e^s_uj / π_j).

Shared negatives are drawn with a probability proportional to the square root of the item's popularity. π_j is the
probability that item j is among them; dividing by it makes the expected value of both sums that over the whole
catalogue. If there are as many shared negatives as items, every item is used, π is 1, and nothing is sampled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ncf.csr import cells
from ncf.dataset import Dataset
from ncf.interface import CannotFit
from ncf.network import Recommender
from ncf.plan import Plan
from ncf.sampling import NegativeSampler

LEAST_STEPS = 50
"""Minimum number of steps in an epoch; the batch is made smaller to reach it, down to one sample or user."""
_MASKED = -1e4
"""The logit of an item that is not a negative: its exponential is 0, and its gradient is 0 where -inf gives NaN."""


def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of -(y log σ(x) + (1-y) log(1-σ(x))) over logits x and labels y of the same shape.

    It is numerically stable for any finite x.
    """
    return F.binary_cross_entropy_with_logits(logits, labels)


@dataclass(frozen=True)
class Samples:
    """The samples of a step: (user, item) pairs of positives, and negatives.

    A step uses some rows of the tables of embeddings. Users and items are numbered by their place among these rows.
    """

    users: Tensor
    """[users], int64, the rows of the users' tables, distinct."""
    items: Tensor | None
    """[items], int64, the rows of the items' tables, distinct and ascending; None: all."""
    user: Tensor
    """[pairs], each pair's place in `users`."""
    item: Tensor
    """[pairs], each pair's place in `items`."""
    labels: Tensor | None = None
    """[pairs], 1 for a positive, 0 for a negative. None: each pair is a positive."""
    negatives: Tensor | None = None
    """[negatives], the places in `items` of the negatives that all `users` share, ascending. None: all items."""
    log_included: Tensor | None = None
    """[negatives], log π."""

    def within(self, users: Tensor, items: Tensor | None) -> Samples:
        """Return the same samples by their places among more rows, distinct and ascending."""
        user = torch.searchsorted(users, self.users)  # [users]
        found = replace(self, users=user, user=user[self.user])
        if self.items is None or items is None:
            return found
        item = torch.searchsorted(items, self.items)  # [items]
        negatives = None if self.negatives is None else item[self.negatives]
        return replace(found, items=item, item=item[self.item], negatives=negatives)


class Objective(Protocol):
    """The loss in each step of an epoch. All random draws use the passed generators."""

    steps: int
    """Number of steps in an epoch."""

    def begin(self, generator: torch.Generator) -> None:
        """Draw the order of an epoch."""

    def draw(self, step: int, generator: torch.Generator) -> Samples:
        """Return the samples of a step after `begin`."""

    def loss(self, model: Recommender, samples: Samples, dropout: torch.Generator | None) -> tuple[Tensor, int]:
        """Return the mean loss of a step, and its number of (user, item) samples. `model` has the rows of `samples`."""


def objective(dataset: Dataset, plan: Plan, device: torch.device, processes: int = 1) -> Objective:
    """Return the objective that `plan.loss` names. Each of `processes` makes at least LEAST_STEPS steps.

    Raises CannotFit if there is no negative to learn from.
    """
    kind = IndependentNegatives if plan.loss == "bce" else SharedNegatives
    return kind(dataset, plan, device, LEAST_STEPS * processes)


class IndependentNegatives:
    """The objective `bce`."""

    def __init__(self, dataset: Dataset, plan: Plan, device: torch.device, least_steps: int = LEAST_STEPS) -> None:
        self._sampler = NegativeSampler(dataset.train, dataset.items, device)
        self._number, self._device = plan.negatives_per_positive, device
        users = torch.as_tensor(dataset.train.user, device=device)
        # A user who has interacted with every item has no negative.
        useful = self._sampler.available[users] > 0
        self._users = users[useful].int()  # [positives]
        self._items = torch.as_tensor(dataset.train.item, device=device)[useful].int()  # [positives]
        positives = _require_positives(self._users)
        self._positives_per_step = max(1, min(plan.batch_size // (1 + self._number), positives // least_steps))
        self.steps = math.ceil(positives / self._positives_per_step)
        self._order: Tensor | None = None

    def begin(self, generator: torch.Generator) -> None:
        self._order = torch.randperm(self._users.numel(), generator=generator, device=self._device, dtype=torch.int32)

    def draw(self, step: int, generator: torch.Generator) -> Samples:
        assert self._order is not None, "an epoch begins with its order"
        positives = self._order[step * self._positives_per_step : (step + 1) * self._positives_per_step].long()
        users, items = self._users[positives].long(), self._items[positives].long()
        negatives = self._sampler.draw(users, self._number, generator)  # [positives, number]
        row, user = users.unique(return_inverse=True)
        column, item = torch.cat([items[:, None], negatives], dim=1).reshape(-1).unique(return_inverse=True)
        labels = torch.zeros(positives.numel(), 1 + self._number, device=self._device)
        labels[:, 0] = 1.0
        return Samples(row, column, user.repeat_interleave(1 + self._number), item, labels.view(-1))

    def loss(self, model: Recommender, samples: Samples, dropout: torch.Generator | None) -> tuple[Tensor, int]:
        assert samples.labels is not None, "samples are drawn with labels"
        logits = model(samples.user, samples.item, dropout).float()
        return binary_cross_entropy(logits, samples.labels), samples.labels.numel()


class SharedNegatives:
    """The objectives `block_bce` and `block_softmax`."""

    def __init__(self, dataset: Dataset, plan: Plan, device: torch.device, least_steps: int = LEAST_STEPS) -> None:
        train, self._items_count = dataset.train, dataset.items
        self._softmax, self._device = plan.loss == "block_softmax", device
        self._ratio = plan.negatives_per_positive
        self._indptr = torch.as_tensor(train.indptr, device=device)  # [users + 1]
        self._items = torch.as_tensor(train.item, device=device, dtype=torch.int32)  # [positives]
        lengths = self._indptr.diff()
        self._users = torch.nonzero((lengths > 0) & (lengths < dataset.items)).squeeze(1)  # [users with both]
        users = _require_positives(self._users)
        self._number = min(plan.shared_negatives, dataset.items)
        samples_per_user = self._number + int(lengths[self._users].float().mean())
        self._users_per_step = max(1, min(plan.batch_size // samples_per_user, users // least_steps))
        self.steps = math.ceil(users / self._users_per_step)
        weight = (torch.as_tensor(dataset.popularity, device=device) + 1.0).sqrt().double()
        probability = weight / weight.sum()  # [items], of one draw
        self._cumulative = probability.cumsum(0)  # [items]
        # log π: π = 1 - (1 - probability)^number, computed accurately for small probabilities
        self._log_included = torch.log(-torch.expm1(self._number * torch.log1p(-probability))).float()  # [items]
        self._order: Tensor | None = None

    def begin(self, generator: torch.Generator) -> None:
        self._order = self._users[torch.randperm(self._users.numel(), generator=generator, device=self._device)]

    def draw(self, step: int, generator: torch.Generator) -> Samples:
        assert self._order is not None, "an epoch begins with its order"
        users = self._order[step * self._users_per_step : (step + 1) * self._users_per_step]  # [users]
        row, where = cells(self._indptr, users)  # [positives] each
        items = self._items[where].long()  # [positives]
        if self._number == self._items_count:
            return Samples(users, None, row, items)
        chance = torch.rand(self._number, generator=generator, device=self._device, dtype=torch.float64)
        drawn = torch.searchsorted(self._cumulative, chance).clamp(max=self._items_count - 1).unique()
        used, place = torch.cat([drawn, items]).unique(return_inverse=True)
        negatives, item = place.split([drawn.numel(), items.numel()])
        return Samples(users, used, row, item, negatives=negatives, log_included=self._log_included[drawn])

    def loss(self, model: Recommender, samples: Samples, dropout: torch.Generator | None) -> tuple[Tensor, int]:
        row, item, negatives = samples.user, samples.item, samples.negatives
        users, positives_of = row.unique_consecutive(return_counts=True)  # [users] each; every user has a positive
        nth = torch.arange(users.numel(), device=self._device).repeat_interleave(positives_of)  # [positives]
        grid = model.grid(users, negatives, dropout).float()  # [users, negatives]
        if negatives is None:
            place, is_drawn = item, torch.ones_like(item, dtype=torch.bool)
            positives = grid[nth, item]  # [positives]
        else:
            place = torch.searchsorted(negatives, item).clamp(max=negatives.numel() - 1)
            is_drawn = negatives[place] == item  # [positives], those that are among the negatives too
            positives = model(row, item, dropout).float()  # [positives]
        mask = torch.zeros_like(grid, dtype=torch.bool)
        mask[nth[is_drawn], place[is_drawn]] = True
        loss = self._listwise if self._softmax else self._pointwise
        found = loss(positives_of, nth, positives, grid, mask, samples.log_included)
        return found / item.numel(), grid.numel() - int(is_drawn.sum()) + item.numel()

    @staticmethod
    def _listwise(
        positives_of: Tensor, row: Tensor, positives: Tensor, grid: Tensor, mask: Tensor, log_included: Tensor | None
    ) -> Tensor:
        corrected = grid if log_included is None else grid - log_included
        against = torch.logsumexp(corrected.masked_fill(mask, _MASKED), dim=1)  # [users]
        return F.softplus(against[row] - positives).sum()

    def _pointwise(
        self,
        positives_of: Tensor,
        row: Tensor,
        positives: Tensor,
        grid: Tensor,
        mask: Tensor,
        log_included: Tensor | None,
    ) -> Tensor:
        lengths = positives_of.float()
        weight = self._ratio * lengths / (self._items_count - lengths)  # [users]
        against = F.softplus(grid.masked_fill(mask, _MASKED))  # [users, negatives]
        if log_included is not None:
            against = against * torch.exp(-log_included)
        return F.softplus(-positives).sum() + (weight * against.sum(dim=1)).sum()


def _require_positives(users: Tensor) -> int:
    """Return the number of `users`."""
    if users.numel() == 0:
        raise CannotFit("every user has interacted with every item: there is no negative to learn from")
    return users.numel()
