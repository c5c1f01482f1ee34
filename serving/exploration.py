"""Places of a list for items that few people know, so that the shop learns who likes them.

`share` · n of the n places of a list, rounded down, are for items with fewer interactions than `fewer_than`. Items of
that kind that the model ranks there anyway count. The others are drawn from the best of them for this person, POOL for
each place, and for a person of whom nothing is known from all of them. The draw depends on the user's id and the day in
UTC: a page that is loaded again shows the same items, and tomorrow others have their turn.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

POOL = 10


@dataclass(frozen=True)
class Exploration:
    """share: of the places, 0 to 0.5; fewer_than: interactions."""

    share: float
    fewer_than: int

    def places(self, number: int) -> int:
        """Return how many of `number` places are for items that few people know."""
        return math.floor(self.share * number + 1e-9)


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def order(user_id: str, day: str, size: int) -> NDArray[np.int64]:
    """Return the numbers below `size` in the order in which they are drawn for this person on this day."""
    digest = hashlib.sha256(f"{day}\n{user_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big")).permutation(size)
