"""The time budget of a request, and calls that are abandoned when it is used up."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Answer = TypeVar("Answer")

# An abandoned call keeps its thread until its socket times out, at most a few seconds later. The circuit breaker opens
# long before all threads are in use.
CALLS = ThreadPoolExecutor(max_workers=8, thread_name_prefix="call")


class Budget:
    """A budget of `seconds` from now."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """Remaining seconds, at least 0."""
        return max(0.0, self._end - self._clock())

    def at_least(self, seconds: float) -> Budget:
        """Return this budget, or a new one of `seconds` if less is left."""
        return self if self.left >= seconds else Budget(seconds, self._clock)

    def spend(self, call: Callable[[], Answer]) -> Answer:
        """Return what `call` returns, within the budget. Raises TimeoutError; the call continues, its result is lost.

        Socket timeouts are not enough: they restart with every byte that arrives.
        """
        future = CALLS.submit(call)
        try:
            return future.result(timeout=self.left)
        except TimeoutError:
            future.cancel()
            raise
