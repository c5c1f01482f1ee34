"""Data parallelism: one model is trained by all processes that torchrun started, or by this process alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import NoReturn, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

P = ParamSpec("P")
T = TypeVar("T")


class Disconnected(Exception):
    """Another process of the training ended or cannot be reached, so this one cannot go on."""


def collective(function: Callable[P, T]) -> Callable[P, T]:
    """Make `function`, which every process must call, raise Disconnected if another process does not."""

    @wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return function(*arguments, **named)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # of gloo, NCCL and the store, which have no class in common
            raise Disconnected(
                "another process of this training ended, or cannot be reached; the log of its machine says why "
                f"({error})"
            ) from error

    return call


@dataclass(frozen=True)
class Processes:
    """The `size` processes of a training; this one has number `rank`. Every process must call a collective method."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Processes:
        """Return the processes after `join`, or this process alone without it."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        """True for the process that reports and writes."""
        return self.rank == 0

    @collective
    def any(self, here: bool, device: torch.device) -> bool:
        """True if `here` is true in any process. Collective."""
        if self.size == 1:
            return here
        flag = torch.tensor([float(here)], device=device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    @collective
    def total(self, *here: float, device: torch.device) -> list[float]:
        """Return the sum of each number over all processes. Collective."""
        numbers = torch.tensor(here, dtype=torch.float64, device=device)
        if self.size > 1:
            dist.all_reduce(numbers)
        return numbers.tolist()

    @collective
    def from_first(self, here: T) -> T:
        """Return `here` of the first process. Collective."""
        if self.size == 1:
            return here
        box = [here]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    @collective
    def align(self, module: nn.Module) -> None:
        """Copy the parameters of the first process to all others. Collective."""
        if self.size > 1:
            for parameter in module.parameters():
                dist.broadcast(parameter.data, 0)

    @collective
    def union(self, rows: Tensor) -> Tensor:
        """Return the distinct numbers of `rows` [n] of all processes, ascending. Collective."""
        length = torch.tensor([rows.numel()], device=rows.device)
        lengths = [torch.empty_like(length) for _ in range(self.size)]
        dist.all_gather(lengths, length)
        padded = torch.full((max(int(each) for each in lengths),), -1, dtype=rows.dtype, device=rows.device)
        padded[: rows.numel()] = rows
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        found: Tensor = torch.cat(parts).unique()
        return found[1:] if found[0] < 0 else found

    @collective
    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over all processes. Collective."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        together = torch.cat([gradient.reshape(-1) for gradient in gradients]) / self.size
        dist.all_reduce(together)
        for gradient, mean in zip(gradients, together.split([each.numel() for each in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


@collective
def join(environment: Mapping[str, str], device: torch.device) -> Processes:
    """Join the processes that torchrun's environment variables describe, if there are several."""
    if _are_several(environment) and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Processes.current()


def leave() -> None:
    """Leave the processes, if `join` has joined them."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def end(status: int) -> NoReturn:
    """End this process; call it after `leave` and after all files are written.

    The interpreter's cleanup is skipped. Work that a failed or stopped fit began beside it (`ncf/cores.py`) would
    delay it, and a thread of gloo that releases a tensor during the cleanup requests the interpreter's lock, which
    aborts the process ("terminate called without an active exception"): torchrun then stops the first process, which
    may not have written the model yet.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _are_several(environment: Mapping[str, str]) -> bool:
    return int(environment.get("WORLD_SIZE", "1")) > 1
