"""The training loop of GMF, MLP and NeuMF: Adam minimises an objective step by step, with checkpoints.

Every generator is seeded by `seed` and the position in the training. So the same seed gives the same model, and a
training that was stopped and resumed ends with the same weights as one without a stop.

The learning rate falls linearly to zero. The model is that of the last epoch or, with `patience`, of the epoch that was
best on a validation set, which is part of train. With a validation set and no `patience`, training ends when an epoch
is clearly worse than an earlier one, or than the start, which then is the model. The test set is not used.

Several processes under torchrun (`ncf/fitting/distributed.py`) divide the steps of an epoch and update the weights with
the mean of their gradients: n processes have n times the batch size and 1/n of the steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from contracts.lines import Epoch
from ncf.dataset import Dataset
from ncf.fitting.checkpoint import Checkpoints
from ncf.fitting.distributed import Processes
from ncf.fitting.losses import Samples, objective
from ncf.fitting.precision import Precision
from ncf.fitting.row_adam import RowAdam, Schedule, Table
from ncf.fitting.withheld import is_clear
from ncf.interface import Context, Diverged, Stopped
from ncf.network import Architecture, PerceptronTower, ProductTower, Recommender
from ncf.plan import Plan
from ncf.seeds import stream

DIVERGED = 1e3
"""A mean loss above this means divergence: an untrained model is at ln 2, or at ln of the catalogue's size."""

Start = Callable[[], tuple[Tensor, Tensor]]
Validate = Callable[[Recommender], Tensor]
"""Returns a value for each user of a validation set, greater is better: [users]."""


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

    With `validate` and `plan.patience`, the model is that of the epoch with the highest mean value, and training ends
    after so many epochs without a higher one. With `validate` alone, training ends when an epoch is worse than the best
    one, by two standard errors of the mean; the start counts as epoch 0. Raises CannotFit, Diverged and Stopped.
    """
    training = _Training(dataset, architecture, plan, context.device, is_started=start is not None)
    checkpoints = Checkpoints(context.checkpoints, context.warn) if context.checkpoints else None
    if not (checkpoints and training.resume(checkpoints, fingerprint)) and start is not None:
        training.start(*start())
        if validate and plan.patience == 0:
            training.validate(validate)
    training.align()
    while training.epoch < plan.epochs and not (validate and training.is_exhausted()):
        progress = training.run_epoch(context.stop, validate)
        if progress is not None:
            context.report(progress)
        if checkpoints:
            training.save(checkpoints, fingerprint)
        if progress is None:
            raise Stopped(f"stopped in epoch {training.epoch + 1} of {plan.epochs}, after {training.step} of its steps")
    if plan.patience == 0 and training.is_exhausted():
        context.warn(f"note: {training.end()}")
    return training.result()


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
        self._precision = Precision(plan.precision, device)
        self._processes = Processes.current()
        self._objective = objective(dataset, plan, device, self._processes.size)
        self._steps = math.ceil(self._objective.steps / self._processes.size)
        # The part of the model that a step uses: its own rows of the embeddings, and the same layers.
        self._part = Recommender(architecture, 1, 1, plan.dropout).to(device).train()
        self._users, self._items, layers = self._tables(Schedule(plan.learning_rate, plan.epochs * self._steps, device))
        self._layers = len(layers)
        self._optimizer = RowAdam([*self._users, *self._items, *layers])
        self.epoch = 0
        """Number of finished epochs."""
        self.step = 0
        """Number of finished steps in the current epoch."""
        self._best: dict[str, Tensor] = {}
        self._best_epoch, self._best_score, self._score = 0, -1.0, -1.0
        self._best_values = torch.empty(0, dtype=torch.float64)
        self._is_worse = False
        """True if the last epoch is clearly worse than the best one."""
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._samples = 0
        self._seconds = 0.0

    def _tables(self, schedule: Schedule) -> tuple[list[Table], list[Table], list[Table]]:
        """Return the tables of users and items and the weights of the layers, each with its share of the learning rate
        and its L2 penalty. The layers are also those of the part.
        """
        users, items = [], []
        for tower, part in zip(self.model.towers, self._part.towers, strict=True):
            assert isinstance(tower, (ProductTower, PerceptronTower))
            assert isinstance(part, (ProductTower, PerceptronTower))
            share = self._plan.start_rate if self._is_started and isinstance(tower, ProductTower) else 1.0
            users.append(Table(tower.user.weight.data, schedule, share=share, l2=self._plan.l2))
            items.append(Table(tower.item.weight.data, schedule, share=share, l2=self._plan.l2))
            if isinstance(tower, PerceptronTower) and isinstance(part, PerceptronTower):
                part.hidden = tower.hidden
        self._part.output = self.model.output
        linear = [module for module in self.model.modules() if isinstance(module, torch.nn.Linear)]
        weights = [weight for module in linear for weight in module.parameters()]
        return users, items, [Table(weight.data, schedule, parameter=weight) for weight in weights]

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
            samples = self._take(self._objective.draw(own_step, generator), self.epoch * self._steps + step + 1)
            with self._precision.forward():
                loss, number = self._objective.loss(self._part, samples, dropout)
            self._precision.step(loss, self._optimizer, self._average)
            self._loss_sum += loss.detach().double() * number
            self._samples += number
            self.step = step + 1
        loss_sum, in_all, done = self._processes.total(
            self._loss_sum.item(), self._samples, self._samples - samples_before, device=self._device
        )
        loss_mean = loss_sum / in_all
        self._check(loss_mean)
        seconds = time.perf_counter() - began
        self.epoch, self.step, self._samples = self.epoch + 1, 0, 0
        self._loss_sum.zero_()
        score = self.validate(validate) if validate else None
        progress = Epoch(self.epoch, self._plan.epochs, loss_mean, done / seconds, self._seconds + seconds, score)
        self._seconds = 0.0
        return progress

    def _take(self, samples: Samples, number: int) -> Samples:
        """Take the rows of step `number` of the training, from 1, for all processes, and return the samples by their
        places among these rows. Collective.
        """
        users, items = samples.users, samples.items
        if self._processes.size > 1:
            users = self._processes.union(users)
            items = None if items is None else self._processes.union(items)
            samples = samples.within(users, items)
        own_rows = [users] * len(self._users) + [items] * len(self._items) + [None] * self._layers
        self._optimizer.take(own_rows, number)
        for part, of_users, of_items in zip(self._part.towers, self._users, self._items, strict=True):
            assert isinstance(part, (ProductTower, PerceptronTower))
            part.user.weight, part.item.weight = of_users.parameter, of_items.parameter
        return samples

    def _average(self) -> None:
        self._processes.average(self._part.parameters())

    @torch.no_grad()
    def _settle(self) -> None:
        """Bring all rows up to date, after a whole epoch."""
        self._optimizer.settle(self.epoch * self._steps + 1)

    def validate(self, validate: Validate) -> float:
        """Return the mean value of the model on validation, and keep the weights if it is the best so far."""
        self._settle()
        values = validate(self.model).double().cpu()
        self._score = float(values.mean())
        self._is_worse = bool(self._best) and is_clear(self._best_values - values)
        if self._score > self._best_score:
            self._best_epoch, self._best_score, self._best_values = self.epoch, self._score, values
            self._best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        return self._score

    def is_exhausted(self) -> bool:
        """True after `patience` epochs without a better one; without `patience`, after an epoch that is clearly worse
        than the best one.
        """
        if self._plan.patience == 0:
            return self._is_worse
        return self.epoch - self._best_epoch >= self._plan.patience and self.epoch > 0

    def end(self) -> str:
        """Return why the best epoch is the model, not the last one."""
        best = f"that of epoch {self._best_epoch}" if self._best_epoch else "the start"
        return (
            f"training ended after epoch {self.epoch} of {self._plan.epochs}: the model is {best}, which is better on "
            f"validation (NDCG {self._best_score:.4f}, {self._score:.4f} after the last epoch)"
        )

    def result(self) -> Recommender:
        if self._best and (self._plan.patience or self._is_worse):
            self.model.load_state_dict(self._best)
        else:
            self._settle()
        return self.model.eval().requires_grad_(False)

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
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self._optimizer.state_of_tables().items()}
        tensors["best_values"] = self._best_values
        tensors["loss_sum"] = torch.tensor(loss_sum, dtype=torch.float64)
        position = {
            "fingerprint": fingerprint,
            "epoch": self.epoch,
            "step": self.step,
            "samples": int(samples),
            "seconds": self._seconds,
            "bestEpoch": self._best_epoch,
            "bestScore": self._best_score,
            "score": self._score,
            "isWorse": self._is_worse,
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
        self._optimizer.load_tables(_with_prefix("optimizer.", tensors))
        if self._processes.is_first:  # the saved sums are those of all processes
            self._loss_sum.copy_(tensors["loss_sum"])
            self._samples = position["samples"]
        self.epoch, self.step, self._seconds = position["epoch"], position["step"], position["seconds"]
        self._best_epoch, self._best_score = position["bestEpoch"], position["bestScore"]
        self._best_values, self._score, self._is_worse = tensors["best_values"], position["score"], position["isWorse"]
        self._precision.load_state(position["precision"])
        return True


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose name begins with `prefix`, without the prefix."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
