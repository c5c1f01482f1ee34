"""The processes that train one model together: what torchrun started, or this one alone."""

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
class World:
    """`size` processes, of which this is number `rank`."""

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> World:
        """The processes that `join` brought together; this one alone where it did not."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that reports and writes."""
        return self.rank == 0

    def any(self, here: bool, device: torch.device) -> bool:
        """Whether it is so in any process. All must ask."""
        if self.size == 1:
            return here
        flag = torch.tensor([float(here)], device=device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    def total(self, *here: float, device: torch.device) -> list[float]:
        """The sum over all processes of each number. All must ask."""
        numbers = torch.tensor(here, dtype=torch.float64, device=device)
        if self.size > 1:
            dist.all_reduce(numbers)
        return numbers.tolist()

    def align(self, module: nn.Module) -> None:
        """Give every process the parameters of the first."""
        if self.size > 1:
            for parameter in module.parameters():
                dist.broadcast(parameter.data, 0)

    def sharing_gradients(self, module: nn.Module) -> nn.Module:
        """`module`, whose backward pass ends with the mean of every process's gradients."""
        return nn.parallel.DistributedDataParallel(module) if self.size > 1 else module


def join(environment: Mapping[str, str], device: torch.device) -> World:
    """Join the processes that torchrun's variables name, if there are several."""
    if _are_several(environment) and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World.here()


def leave() -> None:
    """Leave them, if `join` joined any."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def end(status: int, environment: Mapping[str, str]) -> NoReturn:
    """End this process, which has left the others; whatever it was to write is written.

    One of several ends at once. Gloo's threads live on while DistributedDataParallel holds the group, and one that lets
    go of a tensor while the interpreter is ending asks for its lock, which aborts the process ("terminate called
    without an active exception"); torchrun then stops the first one, which may still have the model to write.
    """
    if _are_several(environment):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _are_several(environment: Mapping[str, str]) -> bool:
    return int(environment.get("WORLD_SIZE", "1")) > 1
