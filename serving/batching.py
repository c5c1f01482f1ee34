"""Requests that wait while others are computed, and are then computed together.

Nobody waits on purpose: who comes when nothing is computed is computed at once; what comes meanwhile is taken together
by the next batch. So the size of a batch follows the load by itself.
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
"""Told the size of each batch."""
_Batch = list[tuple[Any, "asyncio.Future[Any]"]]


class Batcher(Protocol):
    async def answer(self, request: Any) -> Any:
        """The answer to `request`. Raises what computing it raised."""


class InLoop:
    """Computes in the event loop itself, `most` requests at a time, what came in one turn of the loop.

    For what takes less than handing it to a thread and back, which costs about half a millisecond of processor time.
    """

    def __init__(self, answers: Answers, most: int, computed: Computed) -> None:
        self._answers, self._most, self._computed = answers, most, computed
        self._waiting: _Batch = []

    async def answer(self, request: Any) -> Any:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._turn)
        self._waiting.append((request, future))
        return await future

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
        self._waiting: deque[tuple[Any, asyncio.Future[Any]]] = deque()
        self._condition = threading.Condition()
        for number in range(workers):
            threading.Thread(target=self._work, name=f"answering-{number}", daemon=True).start()

    async def answer(self, request: Any) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        with self._condition:
            self._waiting.append((request, future))
            self._condition.notify()
        return await future

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._waiting:
                    self._condition.wait()
                batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            self._computed(len(batch))
            given = _answered(self._answers, batch)
            try:
                batch[0][1].get_loop().call_soon_threadsafe(_deliver, batch, given)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return


def _answered(answers: Answers, batch: _Batch) -> list[Any]:
    try:
        return answers([request for request, _ in batch])
    except Exception as error:
        return [error] * len(batch)


def _deliver(batch: _Batch, given: list[Any]) -> None:
    for (_, future), answer in zip(batch, given, strict=True):
        if future.cancelled():  # the client has gone
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
