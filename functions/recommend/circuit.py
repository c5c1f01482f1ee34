"""A circuit breaker: after several failures in a row the endpoint is not called for a while, so customers do not wait.

Pure; the clock is passed in. It needs no lock: each execution environment has one and handles one request at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

FAILURES_TO_OPEN = 5
OPEN_SECONDS = 5.0


class Circuit:
    """Closed: all calls pass. Open: no calls for `OPEN_SECONDS`, then one at a time until one succeeds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._next_try = 0.0

    @property
    def is_open(self) -> bool:
        """True if calls should be skipped now."""
        return self._failures >= FAILURES_TO_OPEN and self._clock() < self._next_try

    def succeeded(self) -> None:
        """Record an answer."""
        self._failures = 0

    def failed(self) -> None:
        """Record a failure that costs callers time."""
        self._failures += 1
        self._next_try = self._clock() + OPEN_SECONDS
