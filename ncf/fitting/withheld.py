"""The rank of one withheld item of each of some users among the whole catalogue, and whether a difference is clear.

It costs a comparison with each item, without the lists of the best items that an evaluation makes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ncf.dataset import Pairs

K = 10
USERS_AT_ONCE = 10


@torch.no_grad()
def gains_of(
    scores_of: Callable[[Tensor], Tensor], train: Pairs, users: NDArray[np.int64], withheld: NDArray[np.int64]
) -> Tensor:
    """Return the NDCG@10 of each of `users`, float64 on the CPU: [users]. An item with the same score ranks above.

    `scores_of` returns the scores of every item for users [n], which are on the CPU: [n, items].
    """
    ranks = []
    for begin in range(0, users.size, USERS_AT_ONCE):
        part = slice(begin, begin + USERS_AT_ONCE)
        own = users[part]
        scores = scores_of(torch.as_tensor(own)).cpu()  # [n, items]
        score = scores[torch.arange(own.size), torch.as_tensor(withheld[part])]
        lengths = train.indptr[own + 1] - train.indptr[own]
        where = np.concatenate([np.arange(train.indptr[user], train.indptr[user + 1]) for user in own])
        row = np.repeat(np.arange(own.size), lengths)
        scores[torch.as_tensor(row), torch.as_tensor(train.item[where])] = -torch.inf
        ranks.append((scores >= score[:, None]).sum(dim=1) - 1)
    rank = torch.cat(ranks)
    return torch.where(rank < K, 1.0 / torch.log2(rank.double() + 2.0), 0.0)


def is_clear(differences: Tensor) -> bool:
    """True if the mean of `differences` [users] is above zero by more than two standard errors."""
    users = differences.numel()
    return users > 1 and bool(differences.mean() > 2.0 * differences.std() / users**0.5)
