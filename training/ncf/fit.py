"""Fitting: Adam on the interactions and, drawn anew in each epoch, their negatives.

Every random number comes from a generator that is seeded here and kept in the checkpoint, so a training that was
stopped and resumed ends in the same weights as one that was not. The last epoch is the model; the learning rate falls
linearly to zero, so that there is nothing to be gained from picking an epoch, and no test or validation set to pick by.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ncf.data import Dataset
from ncf.losses import binary_cross_entropy
from ncf.model import Architecture, Recommender, build
from ncf.sampling import NegativeSampler

CHECKPOINT = "checkpoint.safetensors"
LEAST_STEPS = 50
"""An epoch has at least this many steps, whatever the batch size (unless it has fewer samples)."""
DIVERGED = 1e3
"""No model is learning whose mean loss is above this: one that knows nothing is at ln 2."""


class Diverged(Exception):
    """The loss or a weight is no longer a number that training can go on from."""


class Stopped(Exception):
    """`stop` said so; a checkpoint has been written if there is a place for it."""


@dataclass(frozen=True)
class Plan:
    """How to fit; see `hyperparameters.py` for the meaning of each."""

    architecture: Architecture
    epochs: int
    batch_size: int
    learning_rate: float
    negatives_per_positive: int
    l2: float
    dropout: float
    seed: int


@dataclass(frozen=True)
class Progress:
    """One epoch, done."""

    epoch: int
    epochs: int
    loss: float
    samples_per_second: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"epoch={self.epoch}/{self.epochs} train_loss={self.loss:.4f} "
            f"samples_per_second={self.samples_per_second:.0f} seconds={self.seconds:.2f}"
        )


def fit(
    dataset: Dataset,
    plan: Plan,
    *,
    device: torch.device,
    checkpoints: Path | None = None,
    fingerprint: str = "",
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[Progress], None] = lambda progress: None,
    warn: Callable[[str], None] = lambda message: print(message, file=sys.stderr, flush=True),
) -> Recommender:
    """Fit a model to `dataset.train`.

    With `checkpoints`, the state is written there after each epoch and when `stop` says so, and a checkpoint of the
    same `fingerprint` (of the data and of everything in `plan`) is gone on from; another one is left with a warning.
    `stop` is asked before each step. Raises Diverged and Stopped.
    """
    training = _Training(dataset, plan, device)
    if checkpoints is not None:
        checkpoints.mkdir(parents=True, exist_ok=True)
        training.resume(checkpoints / CHECKPOINT, fingerprint, warn)
    while training.epoch < plan.epochs:
        progress = training.run_epoch(stop)
        if progress is not None:
            report(progress)
        if checkpoints is not None:
            training.save(checkpoints / CHECKPOINT, fingerprint)
        if progress is None:
            raise Stopped(f"stopped in epoch {training.epoch + 1} of {plan.epochs}, after {training.step} steps of it")
    return training.model.eval()


class _Training:
    """The state of a training between two steps: all that a checkpoint holds."""

    def __init__(self, dataset: Dataset, plan: Plan, device: torch.device) -> None:
        self._plan, self._device = plan, device
        # Drawn on the CPU, so that every device starts from the same weights.
        self.model = build(plan.architecture, dataset.users, dataset.items, plan.dropout)
        self.model.reset_parameters(torch.Generator().manual_seed(_stream(plan.seed, "weights")))
        self.model.to(device).train()
        linear = [module for module in self.model.modules() if isinstance(module, torch.nn.Linear)]
        embeddings = [module for module in self.model.modules() if isinstance(module, torch.nn.Embedding)]
        groups: list[dict[str, Any]] = [
            {"params": [module.weight for module in embeddings], "weight_decay": plan.l2},
            {"params": [weight for module in linear for weight in module.parameters()]},
        ]
        self._optimizer = torch.optim.Adam(groups, lr=plan.learning_rate, fused=True)
        # Two generators: an epoch gone on from draws its samples again, but not the dropout of the steps it has made.
        self._sampling = torch.Generator(device).manual_seed(_stream(plan.seed, "samples"))
        self._dropout = torch.Generator(device).manual_seed(_stream(plan.seed, "dropout"))
        self._sampler = NegativeSampler(dataset.train, dataset.items, device)
        users = torch.as_tensor(dataset.train.user, device=device)
        # Who has interacted with every item has no negative; such a user tells nothing about what to prefer.
        useful = self._sampler.available[users] > 0
        self._users = users[useful]  # [positives]
        self._items = torch.as_tensor(dataset.train.item, device=device)[useful]  # [positives]
        if self._users.numel() == 0:
            raise Diverged("every user has interacted with every item: there is no negative to learn from")
        self._samples = self._users.numel() * (1 + plan.negatives_per_positive)
        self._batch = max(1, min(plan.batch_size, self._samples // LEAST_STEPS))
        self._steps = math.ceil(self._samples / self._batch)
        self.epoch = 0
        """Epochs done."""
        self.step = 0
        """Steps done in the epoch after those."""
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._seconds = 0.0

    def run_epoch(self, stop: Callable[[], bool]) -> Progress | None:
        """Do what is left of the epoch; None if `stop` came in between."""
        began = time.perf_counter()
        state = self._sampling.get_state()
        users, items, labels = self._draw()
        done_before = self.step
        for step in range(self.step, self._steps):
            if stop():
                self._sampling.set_state(state)
                self._seconds += time.perf_counter() - began
                return None
            batch = slice(step * self._batch, (step + 1) * self._batch)
            self._set_rate()
            self._optimizer.zero_grad(set_to_none=True)
            logits = self.model(users[batch], items[batch], self._dropout)  # [batch]
            loss = binary_cross_entropy(logits, labels[batch])
            loss.backward()
            self._optimizer.step()
            self._loss_sum += loss.detach().double() * logits.numel()
            self.step = step + 1
        loss_mean = self._loss_sum.item() / self._samples
        self._check(loss_mean)
        seconds = time.perf_counter() - began
        done = self._samples - done_before * self._batch
        self.epoch, self.step = self.epoch + 1, 0
        self._loss_sum.zero_()
        progress = Progress(self.epoch, self._plan.epochs, loss_mean, done / seconds, self._seconds + seconds)
        self._seconds = 0.0
        return progress

    def _draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """The samples of an epoch in random order: users, items, labels, each [samples]."""
        number = self._plan.negatives_per_positive
        negatives = self._sampler.draw(self._users, number, self._sampling)  # [positives, number]
        users = self._users[:, None].expand(-1, 1 + number).reshape(-1)  # [samples]
        items = torch.cat([self._items[:, None], negatives], dim=1).reshape(-1)  # [samples]
        order = torch.randperm(self._samples, generator=self._sampling, device=self._device)
        labels = (order % (1 + number) == 0).float()  # the first of each row is the positive
        return users[order], items[order], labels

    def _set_rate(self) -> None:
        share = (self.epoch * self._steps + self.step) / (self._plan.epochs * self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.learning_rate * (1.0 - share)

    def _check(self, loss: float) -> None:
        where = f"in epoch {self.epoch + 1} of {self._plan.epochs}, with learning_rate {self._plan.learning_rate:g}"
        if not loss <= DIVERGED:  # true for NaN
            raise Diverged(f"the training loss is {loss:g} {where}: it diverged; try a smaller learning_rate")
        for name, weight in self.model.named_parameters():
            if not torch.isfinite(weight).all():
                raise Diverged(f"{name} holds NaN or infinity {where}: it diverged; try a smaller learning_rate")

    def save(self, path: Path, fingerprint: str) -> None:
        """Write the checkpoint whole or not at all."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
        tensors |= {
            "generator.sampling": self._sampling.get_state(),
            "generator.dropout": self._dropout.get_state(),
            "loss_sum": self._loss_sum,
        }
        position = {"fingerprint": fingerprint, "epoch": self.epoch, "step": self.step, "seconds": self._seconds}
        content = safetensors.torch.save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            metadata={"position": json.dumps(position)},
        )
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def resume(self, path: Path, fingerprint: str, warn: Callable[[str], None]) -> None:
        """Go on from the checkpoint at `path`, if there is one and it is of this training."""
        if not path.exists():
            return
        try:
            with safe_open(path, framework="pt") as file:
                position = json.loads((file.metadata() or {})["position"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            found = position["fingerprint"]
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            warn(f"warning: the checkpoint cannot be read and training starts anew: {error}")
            return
        if found != fingerprint:
            warn("warning: the checkpoint is of other data or hyperparameters and training starts anew")
            return
        self.model.load_state_dict(_under("model.", tensors))
        optimizer = self._optimizer.state_dict()
        for name, tensor in _under("optimizer.", tensors).items():
            index, part = name.split(".")
            optimizer["state"].setdefault(int(index), {})[part] = tensor
        self._optimizer.load_state_dict(optimizer)
        self._sampling.set_state(tensors["generator.sampling"])
        self._dropout.set_state(tensors["generator.dropout"])
        self._loss_sum.copy_(tensors["loss_sum"])
        self.epoch, self.step, self._seconds = position["epoch"], position["step"], position["seconds"]


def _stream(seed: int, purpose: str) -> int:
    """The seed of one of several generators that must not repeat each other's numbers."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:8], "big") >> 1


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
