"""The cores for work that is large enough for all of them. The steps of a training are short and use fewer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread, local
from typing import TypeVar

import torch

T = TypeVar("T")

_here = local()
"""`cores` of a thread that was started by `beside`."""


def cores() -> int:
    """Return the number of cores to use: OMP_NUM_THREADS or, without it, those that this process may use. In work
    that is done `beside` other work, those that the other leaves.
    """
    beside = getattr(_here, "cores", 0)
    return beside or int(os.environ.get("OMP_NUM_THREADS", 0)) or len(os.sched_getaffinity(0))


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch's operations use `number` threads in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def beside(work: Callable[[], T]) -> Callable[[], T]:
    """Return a function that returns what `work` returns, or raises what it raises. If the caller's operations leave
    cores of this process free, `work` begins at once, in a thread that uses those; otherwise when it is asked for.
    """
    free = cores() - torch.get_num_threads()
    if free < 1:
        return work
    future = Future[T]()

    def run() -> None:
        _here.cores = free
        torch.set_num_threads(free)
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, name="beside").start()
    return future.result
