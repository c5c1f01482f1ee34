"""Data parallelism: the processes that torchrun started to train one model together, or this one alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class Processes:
    """`size` processes, of which this is number `rank`. A method marked "collective" must be called by all of them."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Processes:
        """The processes that `join` brought together; this one alone where it did not."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        """True for the process that reports and writes."""
        return self.rank == 0

    def any(self, here: bool, device: torch.device) -> bool:
        """True if `here` is true in any process. Collective."""
        if self.size == 1:
            return here
        flag = torch.tensor([float(here)], device=device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    def total(self, *here: float, device: torch.device) -> list[float]:
        """The sum over all processes of each number. Collective."""
        numbers = torch.tensor(here, dtype=torch.float64, device=device)
        if self.size > 1:
            dist.all_reduce(numbers)
        return numbers.tolist()

    def align(self, module: nn.Module) -> None:
        """Give every process the parameters of the first. Collective."""
        if self.size > 1:
            for parameter in module.parameters():
                dist.broadcast(parameter.data, 0)

    def sharing_gradients(self, module: nn.Module) -> nn.Module:
        """`module` with a backward pass that ends with the mean gradients of all processes."""
        return nn.parallel.DistributedDataParallel(module) if self.size > 1 else module


def join(environment: Mapping[str, str], device: torch.device) -> Processes:
    """Join the processes that torchrun's variables name, if there are several."""
    if _are_several(environment) and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Processes.current()


def leave() -> None:
    """Leave the processes that `join` joined, if any."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def end(status: int, environment: Mapping[str, str]) -> NoReturn:
    """End this process, after it has left the others and written everything.

    One of several processes ends without the interpreter's cleanup. Gloo's threads live on while
    DistributedDataParallel holds the group. A thread that releases a tensor during that cleanup asks for the
    interpreter's lock, which aborts the process ("terminate called without an active exception"); torchrun then stops
    the first process, which may not have written the model yet.
    """
    if _are_several(environment):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _are_several(environment: Mapping[str, str]) -> bool:
    return int(environment.get("WORLD_SIZE", "1")) > 1
