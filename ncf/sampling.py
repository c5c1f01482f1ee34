"""Sampling of negatives, the items that a user has not interacted with: exactly uniform, without a loop over users.

Let p_0 < p_1 < … be a user's positives. The r-th item that is *not* among them is r + #{j : p_j - j ≤ r}. The numbers
p_j - j never decrease, so one binary search turns a uniform r into a uniform negative. No draw is rejected, so the cost
does not depend on the number of the user's positives.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ncf.dataset import Pairs


class NegativeSampler:
    """Draws items, out of `items`, that are not among a user's `positives`; every tensor is on `device`."""

    def __init__(self, positives: Pairs, items: int, device: torch.device | str = "cpu") -> None:
        self._stride = items + 1
        self._begin = torch.as_tensor(positives.indptr, device=device)  # [users + 1]
        self.available = items - torch.diff(self._begin)  # [users], number of negatives of each
        place = np.arange(len(positives)) - positives.indptr[positives.user]  # j within the user
        keys = positives.user * self._stride + positives.item - place
        self._keys = torch.as_tensor(keys, device=device)  # [pairs], sorted

    def nth(self, users: Tensor, r: Tensor) -> Tensor:
        """Return the r-th negative (from 0, ascending) of each user; `users` and `r` are int64 of the same shape."""
        before = torch.searchsorted(self._keys, users * self._stride + r, right=True) - self._begin[users]
        return r + before

    def draw(self, users: Tensor, number: int, generator: torch.Generator) -> Tensor:
        """Draw `number` negatives of each of `users` with replacement: int64 [users, number].

        Every user must have at least one negative.
        """
        chance = torch.rand(users.shape[0], number, generator=generator, device=users.device, dtype=torch.float64)
        available = self.available[users][:, None]
        # The product may round up to `available`, and the item with that number would be a positive.
        r = torch.minimum((chance * available).long(), available - 1)
        return self.nth(users[:, None].expand(-1, number).contiguous(), r)

    def draw_distinct(self, users: Tensor, number: int, generator: torch.Generator) -> Tensor:
        """Draw `number` different negatives for each of `users`: int64 [users, number].

        A user with fewer negatives gets all of them, and the rest of the row is -1. The algorithm is R. W. Floyd's
        sampling without replacement (Bentley and Floyd, "A sample of brilliance", CACM 30(9), 1987), for all users at
        once: the k-th draw is from the first m - n + k + 1 of m negatives; if it was drawn before, the last of these is
        taken instead.
        """
        available = self.available[users]
        wanted = available.clamp(max=number)  # [users]
        drawn = torch.full((users.shape[0], number), -1, dtype=torch.int64, device=users.device)
        for k in range(number):
            last = (available - wanted + k).clamp(min=0)
            chance = torch.rand(users.shape[0], generator=generator, device=users.device, dtype=torch.float64)
            r = torch.minimum((chance * (last + 1)).long(), last)
            again = (drawn[:, :k] == r[:, None]).any(dim=1)
            drawn[:, k] = torch.where(k < wanted, torch.where(again, last, r), -1)
        items = self.nth(users[:, None].expand(-1, number).contiguous(), drawn.clamp(min=0))
        return torch.where(drawn >= 0, items, -1)
