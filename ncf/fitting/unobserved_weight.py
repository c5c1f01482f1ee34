"""The choice of α, the weight of the pairs without interaction in ALS (`ncf/models/als.py`), for one dataset.

α also scales the regularization: that of a user with n interactions is λ (n + α items). In a large shop of people with
few interactions, α = 1 makes it so strong that the scores are those of popularity; in a dense dataset, 1 is best.
So some powers of ten are tried on a part of the users: of each, one interaction is withheld and ranked among the whole
catalogue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ncf.dataset import Pairs
from ncf.fitting.withheld import gains_of, is_clear

PAIRS = 500_000
"""Maximum number of interactions to try with; all of a user's, or none."""
USERS = 3000
"""Maximum number of users with a withheld interaction that is ranked."""
MOST = 1000
"""The greatest α to begin with is the greatest power of ten with at most this many times α items / n, n per user."""

Factorize = Callable[[Pairs, float], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Choice:
    """The chosen α, and the NDCG@10 over the full catalogue on validation for each α that was tried."""

    weight: float
    figures: dict[float, float]


def candidates(pairs: int, users: int, items: int) -> list[float]:
    """Return the weights to try, 1 first."""
    likely = 1.0
    while likely * items * users > MOST * pairs and likely > 1e-6:
        likely = round(likely / 10, 7)
    return sorted({1.0, min(1.0, likely * 10), likely, likely / 10}, reverse=True)


def choose(train: Pairs, items: int, seed: int, factorize: Factorize) -> Choice:
    """Return the best of `candidates` for `train`. 1 is left only for a weight that is better by two standard errors.

    `factorize` returns the factors of users and items for pairs and a weight.
    """
    some = _some_users(train, items, seed)
    rest, users, withheld = _withhold(some, items, seed)
    if users.size == 0:
        return Choice(1.0, {})
    gains = {}
    for weight in candidates(len(rest), some.indptr.size - 1, items):
        p, q = factorize(rest, weight)
        gains[weight] = gains_of(partial(_scores, p, q), rest, users, withheld)
    best = max(gains, key=lambda weight: float(gains[weight].mean()))
    difference = gains[best] - gains[1.0]
    return Choice(best if is_clear(difference) else 1.0, {weight: float(each.mean()) for weight, each in gains.items()})


def _some_users(train: Pairs, items: int, seed: int) -> Pairs:
    """Return the pairs of some users, who are numbered anew."""
    if len(train) <= PAIRS:
        return train
    order = np.random.default_rng(seed).permutation(train.indptr.size - 1)
    lengths = np.diff(train.indptr)[order]
    chosen = order[np.cumsum(lengths) <= PAIRS]
    number = np.full(train.indptr.size - 1, -1)
    number[chosen] = np.arange(chosen.size)
    own = number[train.user] >= 0
    return Pairs.of(number[train.user[own]], train.item[own], chosen.size, items)


def _withhold(train: Pairs, items: int, seed: int) -> tuple[Pairs, NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs without one of each user who has more, some of these users, and the withheld items."""
    random = np.random.default_rng(seed)
    lengths = np.diff(train.indptr)
    users = np.flatnonzero(lengths > 1)
    drawn = train.indptr[users] + (random.random(users.size) * lengths[users]).astype(np.int64)
    rest = np.ones(len(train), dtype=bool)
    rest[drawn] = False
    remaining = np.bincount(train.item[rest], minlength=items)
    ranked = np.flatnonzero(remaining[train.item[drawn]] > 0)  # of an item without users nothing can be learned
    ranked = random.permutation(ranked)[:USERS]
    pairs = Pairs.of(train.user[rest], train.item[rest], train.indptr.size - 1, items)
    return pairs, users[ranked], train.item[drawn[ranked]]


def _scores(p: Tensor, q: Tensor, users: Tensor) -> Tensor:
    return p[users] @ q.T  # [users, items]
