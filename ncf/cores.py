"""The cores for work that is large enough for all of them. The steps of a training are short and use fewer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def cores() -> int:
    """Return the number of cores to use: OMP_NUM_THREADS or, without it, those that this process may use."""
    return int(os.environ.get("OMP_NUM_THREADS", 0)) or len(os.sched_getaffinity(0))


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch's operations use `number` threads in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
