"""Requests that wait while others are computed, and are then computed together.

No request waits on purpose: one that arrives while nothing is computed is computed at once; those that arrive meanwhile
form the next batch. So the size of a batch follows the load.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

Answers = Callable[[Sequence[Any]], list[Any]]
"""An answer, or an exception, for each request, in their order."""
Computed = Callable[[int], None]
"""Called with the size of each batch."""
Deliver = Callable[[Any], None]
"""Called in the event loop with the answer, or with the exception that computing it raised."""
_Batch = list[tuple[Any, Deliver]]


class Batcher(Protocol):
    def answer(self, request: Any, deliver: Deliver) -> None:
        """Has `request` answered. Called in the event loop; `deliver` is called in a later turn of it."""


class InLoop:
    """Computes in the event loop, at most `most` requests in one turn of it.

    For rankings that take less time than handing them to a thread and back, which costs about half a millisecond of
    processor time.
    """

    def __init__(self, answers: Answers, most: int, computed: Computed) -> None:
        self._answers, self._most, self._computed = answers, most, computed
        self._waiting: _Batch = []

    def answer(self, request: Any, deliver: Deliver) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._turn)
        self._waiting.append((request, deliver))

    def _turn(self) -> None:
        batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        if self._waiting:  # in the loop's next turn: others want to be read and answered in between
            asyncio.get_running_loop().call_soon(self._turn)
        self._computed(len(batch))
        _deliver(batch, _answered(self._answers, batch))


class InThreads:
    """Computes in `workers` threads, each `most` requests at a time."""

    def __init__(self, answers: Answers, workers: int, most: int, computed: Computed = lambda size: None) -> None:
        self._answers, self._most, self._computed = answers, most, computed
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, tuple[Any, Deliver]]] = deque()
        self._condition = threading.Condition()
        for number in range(workers):
            threading.Thread(target=self._work, name=f"answering-{number}", daemon=True).start()

    def answer(self, request: Any, deliver: Deliver) -> None:
        with self._condition:
            self._waiting.append((asyncio.get_running_loop(), (request, deliver)))
            self._condition.notify()

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._waiting:
                    self._condition.wait()
                taken = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            batch = [waiting for _, waiting in taken]
            self._computed(len(batch))
            given = _answered(self._answers, batch)
            try:
                taken[0][0].call_soon_threadsafe(_deliver, batch, given)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return


def _answered(answers: Answers, batch: _Batch) -> list[Any]:
    try:
        return answers([request for request, _ in batch])
    except Exception as error:
        return [error] * len(batch)


def _deliver(batch: _Batch, given: list[Any]) -> None:
    for (_, deliver), answer in zip(batch, given, strict=True):
        deliver(answer)
