"""Negatives: items that a user has not interacted with, drawn uniformly, exactly and without a loop over users.

Let p_0 < p_1 < … be a user's positives. The r-th item that is *not* among them is r + #{j : p_j - j ≤ r}, and the
numbers p_j - j never decrease, so one binary search turns a uniform r into a uniform negative: nothing is rejected or
drawn again, and a user who has nearly everything costs no more than one who has nearly nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ncf.dataset import Pairs


class NegativeSampler:
    """Draws from the complement of `positives` among `items` items; every tensor is on `device`."""

    def __init__(self, positives: Pairs, items: int, device: torch.device | str = "cpu") -> None:
        self._stride = items + 1
        self._begin = torch.as_tensor(positives.indptr, device=device)  # [users + 1]
        self.available = items - torch.diff(self._begin)  # [users], how many negatives each has
        place = np.arange(len(positives)) - positives.indptr[positives.user]  # j within the user
        keys = positives.user * self._stride + positives.item - place
        self._keys = torch.as_tensor(keys, device=device)  # [pairs], sorted

    def nth(self, users: Tensor, r: Tensor) -> Tensor:
        """The r-th negative (from 0, ascending) of each user; `users` and `r` are int64 of one shape."""
        before = torch.searchsorted(self._keys, users * self._stride + r, right=True) - self._begin[users]
        return r + before

    def draw(self, users: Tensor, number: int, generator: torch.Generator) -> Tensor:
        """`number` independent draws for each of `users`, all of whom must have a negative: int64 [users, number]."""
        chance = torch.rand(users.shape[0], number, generator=generator, device=users.device, dtype=torch.float64)
        available = self.available[users][:, None]
        # Rounding up to the bound itself is possible in principle and would be a positive.
        r = torch.minimum((chance * available).long(), available - 1)
        return self.nth(users[:, None].expand(-1, number).contiguous(), r)

    def draw_distinct(self, users: Tensor, number: int, generator: torch.Generator) -> Tensor:
        """`number` different negatives for each of `users`, or all there are: int64 [users, number], filled with -1.

        R. W. Floyd's sampling without replacement (Bentley and Floyd, "A sample of brilliance", CACM 30(9), 1987), all
        users at once: the k-th draw is from the first m - n + k + 1 of m, and one that was drawn before gives way to
        the last of them.
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
