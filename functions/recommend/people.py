"""People whom the shop has forgotten: they are answered as strangers."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from functools import lru_cache
from typing import TypeVar

from contracts.documents import Unfit
from contracts.forgotten import KEY, NOBODY, Forgotten
from recommend.budget import CALLS, Budget
from recommend.documents import Document
from recommend.garbled import GarbledAnswer
from shared.signed import Bucket

REFRESH_SECONDS = 5.0
"""Seconds between two reads of the tombstones."""
STALE_SECONDS = 10.0
"""Age in seconds from which the known tombstones do not count without a look: a request waits for the read then. A busy
environment always knows younger ones, so none of its requests waits.
"""

Answer = TypeVar("Answer")


class People:
    """The tombstones in `serving/forgotten.json`, which are read while the endpoint answers."""

    def __init__(self, bucket: Bucket, clock: Callable[[], float] = time.monotonic) -> None:
        self._document = Document(bucket, KEY, _parsed, clock, NOBODY, REFRESH_SECONDS)
        self._clock = clock
        self._known = NOBODY
        self._known_at = float("-inf")
        self._reading: Future[Forgotten] | None = None

    @property
    def problem(self) -> str | None:
        """Why the tombstones cannot be read, while the last known ones count; otherwise None."""
        return self._document.problem if self._document.unreadable else None

    def begin(self) -> None:
        """Begin to read the tombstones if they are due."""
        if self._reading is None and self._document.is_due:
            self._reading = CALLS.submit(self._document.current)

    def is_forgotten(self, user_id: str) -> bool:
        """Whether the known tombstones have this person."""
        return self._known.digest_of(user_id) is not None

    def as_known(self, user_id: str, budget: Budget, answer: Callable[[str], Answer]) -> Answer:
        """Return `answer(user_id)`; for a forgotten person that of a stranger, whose id is the tombstone's hash.

        Tombstones that cannot be read within the budget count from the next request on.
        """
        self.begin()
        name = self._known.digest_of(user_id) or user_id
        found = answer(name)
        if self._reading is not None:
            self._reading = self._taken(self._reading, budget)
            stranger = self._known.digest_of(user_id)
            if stranger is not None and stranger != name:
                return answer(stranger)
        return found

    def _taken(self, reading: Future[Forgotten], budget: Budget) -> Future[Forgotten] | None:
        """Take what was read, if it has been; otherwise return the reading again."""
        is_stale = self._clock() - self._known_at >= STALE_SECONDS
        wait_for([reading], budget.left if is_stale else 0)
        if not reading.done():
            return reading
        self._known, self._known_at = reading.result(), self._clock()
        return None


@lru_cache(maxsize=1)  # the document seldom changes between two reads
def _parsed(content: bytes) -> Forgotten:
    try:
        return Forgotten.from_json(content)
    except Unfit as error:
        raise GarbledAnswer(str(error)) from None
