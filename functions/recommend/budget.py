"""How long a request may take, and calls that are given up when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Answer = TypeVar("Answer")

# A call that was given up holds its thread until its socket gives up too, some seconds later at most; the circuit
# breaker stops asking long before there are many.
_CALLS = ThreadPoolExecutor(max_workers=8, thread_name_prefix="call")


class Budget:
    """`seconds` from now."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds, 0 when there are none."""
        return max(0.0, self._end - self._clock())

    def at_least(self, seconds: float) -> Budget:
        """This one, or one of `seconds` from now where less is left."""
        return self if self.left >= seconds else Budget(seconds, self._clock)

    def spend(self, call: Callable[[], Answer]) -> Answer:
        """What `call` returns or raises, if it does so in time. Raises TimeoutError; the call goes on unheard.

        A socket's own time-outs are not enough: they begin anew with every byte that trickles in.
        """
        future = _CALLS.submit(call)
        try:
            return future.result(timeout=self.left)
        except TimeoutError:
            future.cancel()
            raise
