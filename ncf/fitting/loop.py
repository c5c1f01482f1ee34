"""The training loop of GMF, MLP and NeuMF: Adam minimises an objective step by step, with checkpoints.

Every generator is seeded by `seed` and the position in the training. So the same seed gives the same model, and a
training that was stopped and resumed ends with the same weights as one without a stop.

The learning rate falls linearly to zero. The model is that of the last epoch or, with `patience`, of the epoch that was
best on a validation set, which is part of train. The test set is not used.

Several processes under torchrun (`ncf/fitting/distributed.py`) divide the steps of an epoch and update the weights with
the mean of their gradients: n processes have n times the batch size and 1/n of the steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from contracts.lines import Epoch
from ncf.dataset import Dataset
from ncf.fitting.checkpoint import Checkpoints
from ncf.fitting.distributed import Processes
from ncf.fitting.losses import Objective, objective
from ncf.fitting.precision import Precision
from ncf.interface import Context, Diverged, Stopped
from ncf.network import Architecture, ProductTower, Recommender
from ncf.plan import Plan
from ncf.seeds import stream

DIVERGED = 1e3
"""A mean loss above this means divergence: an untrained model is at ln 2, or at ln of the catalogue's size."""

Start = Callable[[], tuple[Tensor, Tensor]]
Validate = Callable[[Recommender], float]


def fit(
    dataset: Dataset,
    architecture: Architecture,
    plan: Plan,
    context: Context,
    *,
    fingerprint: str = "",
    start: Start | None = None,
    validate: Validate | None = None,
) -> Recommender:
    """Fit a model to `dataset.train`.

    `start` returns the factors from which the GMF half starts: [users, factors], [items, factors].

    With `context.checkpoints`, the state is written to that folder after each epoch and when `context.stop` returns
    true; the last two are kept. Training resumes from the latest one with the same `fingerprint` (of the data and all
    parameters). One that is damaged, or has another fingerprint, is ignored with a warning.

    With `validate`, the model is that of the epoch with the highest value, and training ends after `plan.patience`
    epochs without a higher value. Raises CannotFit, Diverged and Stopped.
    """
    training = _Training(dataset, architecture, plan, context.device, is_started=start is not None)
    checkpoints = Checkpoints(context.checkpoints, context.warn) if context.checkpoints else None
    if not (checkpoints and training.resume(checkpoints, fingerprint)) and start is not None:
        training.start(*start())
    training.align()
    while training.epoch < plan.epochs and not (validate and training.is_exhausted()):
        progress = training.run_epoch(context.stop, validate)
        if progress is not None:
            context.report(progress)
        if checkpoints:
            training.save(checkpoints, fingerprint)
        if progress is None:
            raise Stopped(f"stopped in epoch {training.epoch + 1} of {plan.epochs}, after {training.step} of its steps")
    return training.result()


class _Step(torch.nn.Module):
    """The loss of a step as a forward pass, because DistributedDataParallel wraps forward passes."""

    def __init__(self, model: Recommender, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self._objective = objective

    def forward(self, step: int, generator: torch.Generator, dropout: torch.Generator | None) -> tuple[Tensor, int]:
        return self._objective.loss(self.model, step, generator, dropout)


class _Training:
    """The state of a training between two steps, as a checkpoint stores it."""

    def __init__(
        self, dataset: Dataset, architecture: Architecture, plan: Plan, device: torch.device, *, is_started: bool
    ) -> None:
        self._plan, self._device, self._is_started = plan, device, is_started
        # Weights are drawn on the CPU, so that they are the same on every device.
        self.model = Recommender(architecture, dataset.users, dataset.items, plan.dropout)
        self.model.reset_parameters(torch.Generator().manual_seed(stream(plan.seed, "weights")))
        self.model.to(device).train()
        self._optimizer = torch.optim.Adam(self._groups(), lr=plan.learning_rate, fused=True)
        self._precision = Precision(plan.precision, device)
        self._processes = Processes.current()
        self._objective = objective(dataset, plan, device, self._processes.size)
        self._step = self._processes.sharing_gradients(_Step(self.model, self._objective))
        self._steps = math.ceil(self._objective.steps / self._processes.size)
        self.epoch = 0
        """Number of finished epochs."""
        self.step = 0
        """Number of finished steps in the current epoch."""
        self._best: dict[str, Tensor] = {}
        self._best_epoch, self._best_score = 0, -1.0
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._samples = 0
        self._seconds = 0.0

    def _groups(self) -> list[dict[str, Any]]:
        """Return the optimizer's parameter groups, each with its share of the learning rate and its L2 penalty."""
        started: list[Tensor] = []
        embeddings: list[Tensor] = []
        for tower in self.model.towers:
            is_started = self._is_started and isinstance(tower, ProductTower)
            (started if is_started else embeddings).extend([tower.user.weight, tower.item.weight])  # type: ignore[union-attr, list-item]
        linear = [module for module in self.model.modules() if isinstance(module, torch.nn.Linear)]
        groups = [
            {"params": started, "weight_decay": self._plan.l2, "rate": self._plan.start_rate},
            {"params": embeddings, "weight_decay": self._plan.l2, "rate": 1.0},
            {"params": [weight for module in linear for weight in module.parameters()], "rate": 1.0},
        ]
        return [group for group in groups if group["params"]]

    def start(self, p: Tensor, q: Tensor) -> None:
        """Start the GMF half from these factors, with their product multiplied by `start_scale`."""
        scale = self._plan.start_scale**0.5
        self.model.start_product(p.to(self._device) * scale, q.to(self._device) * scale)

    def align(self) -> None:
        """Copy the weights of the first process to all others. Collective."""
        self._processes.align(self.model)

    def run_epoch(self, stop: Callable[[], bool], validate: Validate | None) -> Epoch | None:
        """Run the remaining steps of the epoch. Returns None if `stop` returned true before the end."""
        began = time.perf_counter()
        generator = torch.Generator(self._device)
        self._objective.begin(generator.manual_seed(stream(self._plan.seed, f"samples of epoch {self.epoch}")))
        samples_before = self._samples
        for step in range(self.step, self._steps):
            if self._processes.any(stop(), self._device):
                self._seconds += time.perf_counter() - began
                return None
            own_step = (step * self._processes.size + self._processes.rank) % self._objective.steps
            position = f"of step {own_step} of epoch {self.epoch}"
            generator.manual_seed(stream(self._plan.seed, f"negatives {position}"))
            dropout = None
            if self._plan.dropout:
                dropout = torch.Generator(self._device).manual_seed(stream(self._plan.seed, f"dropout {position}"))
            self._set_rate()
            self._optimizer.zero_grad(set_to_none=True)
            with self._precision.forward():
                loss, samples = self._step(own_step, generator, dropout)
            self._precision.step(loss, self._optimizer)
            self._loss_sum += loss.detach().double() * samples
            self._samples += samples
            self.step = step + 1
        loss_sum, samples, done = self._processes.total(
            self._loss_sum.item(), self._samples, self._samples - samples_before, device=self._device
        )
        loss_mean = loss_sum / samples
        self._check(loss_mean)
        seconds = time.perf_counter() - began
        self.epoch, self.step, self._samples = self.epoch + 1, 0, 0
        self._loss_sum.zero_()
        score = self._validate(validate)
        progress = Epoch(self.epoch, self._plan.epochs, loss_mean, done / seconds, self._seconds + seconds, score)
        self._seconds = 0.0
        return progress

    def _validate(self, validate: Validate | None) -> float | None:
        """Return the epoch's value on validation, and keep the weights if it is the best so far."""
        if validate is None:
            return None
        score = validate(self.model)
        if score > self._best_score:
            self._best_epoch, self._best_score = self.epoch, score
            self._best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        return score

    def is_exhausted(self) -> bool:
        """True after `patience` epochs without a better one."""
        return self.epoch - self._best_epoch >= self._plan.patience and self.epoch > 0

    def result(self) -> Recommender:
        if self._best:
            self.model.load_state_dict(self._best)
        return self.model.eval().requires_grad_(False)

    def _set_rate(self) -> None:
        share = (self.epoch * self._steps + self.step) / (self._plan.epochs * self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.learning_rate * group["rate"] * (1.0 - share)

    def _check(self, loss: float) -> None:
        where = f"in epoch {self.epoch + 1} of {self._plan.epochs}, with learning_rate {self._plan.learning_rate:g}"
        if not loss <= DIVERGED:  # true for NaN
            raise Diverged(f"the training loss is {loss:g} {where}: it diverged; try a smaller learning_rate")
        for name, weight in self.model.named_parameters():
            if not torch.isfinite(weight).all():
                raise Diverged(f"{name} holds NaN or infinity {where}: it diverged; try a smaller learning_rate")

    def save(self, checkpoints: Checkpoints, fingerprint: str) -> None:
        """Write a checkpoint; only the first process writes. Collective."""
        loss_sum, samples = self._processes.total(self._loss_sum.item(), self._samples, device=self._device)
        if not self._processes.is_first:
            return
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        for index, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
        tensors["loss_sum"] = torch.tensor(loss_sum, dtype=torch.float64)
        position = {
            "fingerprint": fingerprint,
            "epoch": self.epoch,
            "step": self.step,
            "samples": int(samples),
            "seconds": self._seconds,
            "bestEpoch": self._best_epoch,
            "bestScore": self._best_score,
            "precision": self._precision.state(),
        }
        checkpoints.write(position, tensors)

    def resume(self, checkpoints: Checkpoints, fingerprint: str) -> bool:
        """Resume from the latest checkpoint that can be used. Returns False if there is none. Collective."""
        checkpoint = checkpoints.latest(fingerprint, self._processes, self._device)
        if checkpoint is None:
            return False
        position, tensors = checkpoint.position, checkpoint.tensors
        self.model.load_state_dict(_with_prefix("model.", tensors))
        self._best = {name: tensor.to(self._device) for name, tensor in _with_prefix("best.", tensors).items()}
        optimizer = self._optimizer.state_dict()
        for name, tensor in _with_prefix("optimizer.", tensors).items():
            index, part = name.split(".")
            optimizer["state"].setdefault(int(index), {})[part] = tensor
        self._optimizer.load_state_dict(optimizer)
        if self._processes.is_first:  # the saved sums are those of all processes
            self._loss_sum.copy_(tensors["loss_sum"])
            self._samples = position["samples"]
        self.epoch, self.step, self._seconds = position["epoch"], position["step"], position["seconds"]
        self._best_epoch, self._best_score = position["bestEpoch"], position["bestScore"]
        self._precision.load_state(position["precision"])
        return True


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose name begins with `prefix`, without the prefix."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
