"""A circuit breaker: when the endpoint has failed several times in a row, customers stop waiting for it.

Pure; the clock is passed in. One per execution environment, which handles one request at a time, so it needs no lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable

FAILURES_TO_OPEN = 5
OPEN_SECONDS = 5.0


class Circuit:
    """Closed: all calls pass. Open: none, for `OPEN_SECONDS`. Then one call at a time tries, until one succeeds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._next_try = 0.0

    @property
    def is_open(self) -> bool:
        """Whether calls are to be left out now."""
        return self._failures >= FAILURES_TO_OPEN and self._clock() < self._next_try

    def succeeded(self) -> None:
        """The endpoint answered."""
        self._failures = 0

    def failed(self) -> None:
        """The endpoint failed in a way that costs its callers time."""
        self._failures += 1
        self._next_try = self._clock() + OPEN_SECONDS
