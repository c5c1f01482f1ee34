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


class Objective(Protocol):
    """The loss in each step of an epoch. All random draws use the passed generators."""

    steps: int
    """Number of steps in an epoch."""

    def begin(self, generator: torch.Generator) -> None:
        """Draw the samples, or the order of users, of an epoch."""

    def loss(
        self, model: Recommender, step: int, generator: torch.Generator, dropout: torch.Generator | None
    ) -> tuple[Tensor, int]:
        """Return the mean loss of a step after `begin`, and its number of (user, item) samples."""


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
        self._number = plan.negatives_per_positive
        users = torch.as_tensor(dataset.train.user, device=device)
        # A user who has interacted with every item has no negative.
        useful = self._sampler.available[users] > 0
        self._users = users[useful]  # [positives]
        self._items = torch.as_tensor(dataset.train.item, device=device)[useful]  # [positives]
        _require_positives(self._users)
        self._samples = self._users.numel() * (1 + self._number)
        self._batch = max(1, min(plan.batch_size, self._samples // least_steps))
        self.steps = math.ceil(self._samples / self._batch)
        self._drawn: tuple[Tensor, Tensor, Tensor] | None = None

    def begin(self, generator: torch.Generator) -> None:
        negatives = self._sampler.draw(self._users, self._number, generator)  # [positives, number]
        users = self._users[:, None].expand(-1, 1 + self._number).reshape(-1)  # [samples]
        items = torch.cat([self._items[:, None], negatives], dim=1).reshape(-1)  # [samples]
        order = torch.randperm(self._samples, generator=generator, device=users.device)
        labels = (order % (1 + self._number) == 0).float()  # the first of each row is the positive
        self._drawn = users[order], items[order], labels

    def loss(
        self, model: Recommender, step: int, generator: torch.Generator, dropout: torch.Generator | None
    ) -> tuple[Tensor, int]:
        assert self._drawn is not None, "an epoch begins with its samples"
        batch = slice(step * self._batch, (step + 1) * self._batch)
        users, items, labels = (drawn[batch] for drawn in self._drawn)
        return binary_cross_entropy(model(users, items, dropout).float(), labels), labels.numel()


class SharedNegatives:
    """The objectives `block_bce` and `block_softmax`."""

    def __init__(self, dataset: Dataset, plan: Plan, device: torch.device, least_steps: int = LEAST_STEPS) -> None:
        train, self._items_count = dataset.train, dataset.items
        self._softmax, self._device = plan.loss == "block_softmax", device
        self._ratio = plan.negatives_per_positive
        self._indptr = torch.as_tensor(train.indptr, device=device)  # [users + 1]
        self._items = torch.as_tensor(train.item, device=device)  # [positives]
        lengths = self._indptr.diff()
        self._users = torch.nonzero((lengths > 0) & (lengths < dataset.items)).squeeze(1)  # [users with both]
        _require_positives(self._users)
        self._number = min(plan.shared_negatives, dataset.items)
        samples_per_user = self._number + int(lengths[self._users].float().mean())
        self._users_per_step = max(1, min(plan.batch_size // samples_per_user, self._users.numel() // least_steps))
        self.steps = math.ceil(self._users.numel() / self._users_per_step)
        weight = (torch.as_tensor(dataset.popularity, device=device) + 1.0).sqrt()
        self._probability = weight / weight.sum()  # [items], of one draw
        # log π: π = 1 - (1 - probability)^number, computed accurately for small probabilities
        self._log_included = torch.log(-torch.expm1(self._number * torch.log1p(-self._probability)))  # [items]
        self._place = torch.full((dataset.items,), -1, device=device)  # [items], position among the negatives, or -1
        self._order: Tensor | None = None

    def begin(self, generator: torch.Generator) -> None:
        self._order = self._users[torch.randperm(self._users.numel(), generator=generator, device=self._device)]

    def loss(
        self, model: Recommender, step: int, generator: torch.Generator, dropout: torch.Generator | None
    ) -> tuple[Tensor, int]:
        assert self._order is not None, "an epoch begins with its samples"
        users = self._order[step * self._users_per_step : (step + 1) * self._users_per_step]  # [users]
        row, where = cells(self._indptr, users)  # [positives] each
        items = self._items[where]  # [positives]
        negatives, log_included = self._negatives(generator)  # [negatives] each, or None for all items
        grid = model.grid(users, negatives, dropout).float()  # [users, negatives]
        if negatives is None:
            place = items
            positives = grid[row, items]  # [positives]
        else:
            self._place[negatives] = torch.arange(negatives.numel(), device=self._device)
            place = self._place[items]
            self._place[negatives] = -1
            positives = model(users[row], items, dropout).float()  # [positives]
        is_drawn = place >= 0  # [positives], those that are among the negatives too
        mask = torch.zeros_like(grid, dtype=torch.bool)
        mask[row[is_drawn], place[is_drawn]] = True
        loss = (self._listwise if self._softmax else self._pointwise)(users, row, positives, grid, mask, log_included)
        return loss / row.numel(), grid.numel() - int(is_drawn.sum()) + row.numel()

    def _negatives(self, generator: torch.Generator) -> tuple[Tensor | None, Tensor | None]:
        if self._number == self._items_count:
            return None, None
        drawn = torch.multinomial(self._probability, self._number, replacement=True, generator=generator).unique()
        return drawn, self._log_included[drawn]

    @staticmethod
    def _listwise(
        users: Tensor, row: Tensor, positives: Tensor, grid: Tensor, mask: Tensor, log_included: Tensor | None
    ) -> Tensor:
        corrected = grid if log_included is None else grid - log_included
        against = torch.logsumexp(corrected.masked_fill(mask, _MASKED), dim=1)  # [users]
        return F.softplus(against[row] - positives).sum()

    def _pointwise(
        self, users: Tensor, row: Tensor, positives: Tensor, grid: Tensor, mask: Tensor, log_included: Tensor | None
    ) -> Tensor:
        lengths = (self._indptr[users + 1] - self._indptr[users]).float()
        weight = self._ratio * lengths / (self._items_count - lengths)  # [users]
        against = F.softplus(grid.masked_fill(mask, _MASKED))  # [users, negatives]
        if log_included is not None:
            against = against * torch.exp(-log_included)
        return F.softplus(-positives).sum() + (weight * against.sum(dim=1)).sum()


def _require_positives(users: Tensor) -> None:
    if users.numel() == 0:
        raise CannotFit("every user has interacted with every item: there is no negative to learn from")
