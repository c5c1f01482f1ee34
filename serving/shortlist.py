"""Large catalogues: a cheap approximation selects candidates, and only these are ranked exactly.

For any model, the matrix of logits of all users and items is close to a product of few factors. At load, the logits of
some users are factorized, S ≈ A Bᵀ with B [items, rank], by the eigenvectors of S Sᵀ (computed for a part of the
catalogue at a time, because S does not fit in memory). For a request, the user's exact logits for ANCHORS items give
the coefficients c by least squares; B c, with B in 8 bits, ranks the catalogue; the LENGTH best items are ranked
exactly. The recall of the exact first ten is measured on other users. If it is below RECALL for each of RANKS, or no
time is saved, the whole catalogue is ranked for every request.

Memory: `rank` bytes for each item, with the number of items rounded up to a multiple of 256.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving import kernels
from serving.logits import NOTHING_ADDED, Added, Logits, Rows

LEAST_ITEMS = 50_000
"""Minimum number of items for a shortlist: ranking fewer items takes about 1 ms."""
RANKS = (16, 64)
"""Numbers of factors to try, in order."""
ANCHORS = 256
"""Number of items whose exact logits give a user's coefficients."""
LENGTH = 1000
"""Number of candidates that are ranked exactly."""
SAMPLE = 128
"""Maximum number of users whose logits are factorized."""
CHECKED = 50
"""Maximum number of users on whom recall and time are measured."""
RECALL = 0.99
"""Minimum share of the exact first items that the shortlist must find."""
FIRST = 10
"""Number of first items for which recall is measured."""
_ITEMS_AT_ONCE = 65_536
"""Number of items in a part of the catalogue."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Verdict:
    """Measurements at load, with `rank` factors: `recall` of the exact first ten, and the median times in milliseconds
    of a ranking with the shortlist and of an exact ranking.
    """

    rank: int
    recall: float
    milliseconds: float
    exact_milliseconds: float

    @property
    def is_worth_it(self) -> bool:
        return self.recall >= RECALL and self.milliseconds < self.exact_milliseconds


class Shortlist:
    """Approximation of `logits` for a catalogue of `items` items, computed from the logits of `users` (indices)."""

    def __init__(self, logits: Logits, items: int, users: list[int], rank: int) -> None:
        self._logits = logits
        parts = [np.arange(begin, min(begin + _ITEMS_AT_ONCE, items)) for begin in range(0, items, _ITEMS_AT_ONCE)]
        gram = np.zeros((len(users), len(users)))
        for rows in parts:
            block = logits.of(users, rows).astype(np.float64)  # [users, part]
            gram += block @ block.T
        directions = np.linalg.eigh(gram)[1][:, -rank:].astype(np.float32)  # [users, at most rank]
        factors = np.zeros((rank, items), np.float32)
        for rows in parts:
            factors[: directions.shape[1], rows] = directions.T @ logits.of(users, rows)
        self._anchors: Rows = np.sort(np.random.default_rng(0).choice(items, min(ANCHORS, items), replace=False))
        self._solve = np.linalg.pinv(factors[:, self._anchors].T).astype(np.float32)  # [rank, anchors]
        self._scale = np.maximum(np.abs(factors).max(axis=1), 1e-12) / 127  # [rank]
        self._items = items
        whole = np.zeros((rank, -(-items // kernels.BLOCK) * kernels.BLOCK), np.int8)
        whole[:, :items] = np.rint(factors / self._scale[:, None])
        by_block = whole.reshape(rank, -1, kernels.BLOCK).transpose(1, 0, 2)
        self._factors: NDArray[np.int8] = np.ascontiguousarray(by_block)  # [blocks, rank, BLOCK]

    def of(self, user: int, excluded: NDArray[np.int32], added: Added = NOTHING_ADDED) -> Rows:
        """Sorted indices of the LENGTH items that the approximation, with `added`, ranks first, without those in
        `excluded`.
        """
        known = self._logits.of([user], self._anchors)[0]  # [anchors]
        coefficients = (self._solve @ known) * self._scale  # [rank]
        found = kernels.shortlist(self._factors, coefficients.astype(np.float32), self._items, excluded, LENGTH, added)
        return np.sort(found)

    def verdict(self, users: list[int], items: int, clock: Clock = time.perf_counter) -> Verdict:
        """Measures the shortlist on `users`, which should not be the users that it was computed from."""
        nothing = np.empty(0, np.int32)
        found, seconds, exact_seconds = 0, [], []
        for user in users:
            began = clock()
            approximate = self._logits.best(user, FIRST, nothing, self.of(user, nothing))[0]
            middle = clock()
            exact = self._logits.best(user, FIRST, nothing)[0]
            exact_seconds.append(clock() - middle)
            seconds.append(middle - began)
            found += np.intersect1d(approximate, exact).size
        recall = found / (len(users) * min(FIRST, items))
        return Verdict(
            self._factors.shape[1], recall, float(np.median(seconds)) * 1000, float(np.median(exact_seconds)) * 1000
        )


def shortlist_of(logits: Logits, items: int, users: int) -> tuple[Shortlist | None, Verdict | None]:
    """The first shortlist that saves time with enough recall (None if none does), and the last measurements.

    (None, None) for a small catalogue.
    """
    if items < LEAST_ITEMS or users < 2:
        return None, None
    drawn = np.random.default_rng(0).permutation(users)[: SAMPLE + CHECKED].tolist()
    half = max(1, min(SAMPLE, len(drawn) // 2))
    verdict = None
    for rank in RANKS:
        candidate = Shortlist(logits, items, drawn[:half], rank)
        verdict = candidate.verdict(drawn[half:][:CHECKED], items)
        if verdict.is_worth_it:
            return candidate, verdict
    return None, verdict
