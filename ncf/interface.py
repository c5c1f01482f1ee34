"""The interface of every model. To add a model, write a file in `ncf/models/` that ends with `KINDS = (Kind(…),)`.

The file declares the model's parameters. A model is fitted to a dataset, scores items, and is stored as tensors with a
small JSON object that describes it. The command line, the bundle, golden requests, evaluation, serving and the gate use
only this interface. `tests/unit/ncf/test_every_model.py` tests every file in the folder.

A model may also have a part that is made when a person asks, from their last items: its `fit` returns
`ncf.recent.WithRecent`, which adds the part to any model, and its `layout` and `restore` read it, as in
`ncf/models/neural.py`.

The server loads these files too, so a file imports the modules for fitting inside `fit`.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from contracts.lines import Epoch
from ncf.dataset import Dataset
from ncf.parameters import Parameters

P = TypeVar("P", bound=Parameters)
T = TypeVar("T")


class CannotFit(Exception):
    """This model cannot be fitted to this dataset; the message says why, and what to choose instead."""


class Diverged(Exception):
    """The loss or a weight is no longer a finite number of a sensible size."""


class Stopped(Exception):
    """`Context.stop` returned true. A checkpoint is written if the context has a folder and the model has a state."""


class Model(Protocol):
    """A fitted model. Indices are int64, those of a dataset, on the model's device. Scores are logits: greater is
    better, and σ of a logit is the score in an answer.
    """

    @property
    def name(self) -> str:
        """Name of its kind."""

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        """Scores of `items` [users, n] for `users` [users]: [users, n], finite."""

    def catalogue(self, users: Tensor) -> Tensor:
        """Scores of every item for `users` [users]: [users, items], finite; the caller may overwrite them."""

    def related(self, item: int) -> Tensor | None:
        """The similarity of every item to the one with index `item`: [items], finite. None if the model has none."""

    def describe(self) -> dict[str, Any]:
        """`architecture` of bundle.json: the model's name as `model`, and the fields that `Kind.layout` needs."""

    def state(self) -> dict[str, Tensor]:
        """The tensors of weights.safetensors."""

    def to(self, device: torch.device) -> Model:
        """The same model on `device`."""


@dataclass(frozen=True)
class Context:
    """Where and how a fit runs. The result does not depend on it, apart from rounding."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    checkpoints: Path | None = None
    """The folder in which an iterative fit saves its state after each epoch, and from which it resumes."""
    stop: Callable[[], bool] = lambda: False
    """A fit calls it before each step. If it returns true, the fit saves its state and raises Stopped."""
    report: Callable[[Epoch], None] = lambda epoch: None
    warn: Callable[[str], None] = lambda message: print(message, file=sys.stderr, flush=True)
    _results: dict[Hashable, tuple[object, Any]] = field(default_factory=dict, repr=False)

    def once(self, name: Hashable, data: object, compute: Callable[[], T]) -> T:
        """Return what `compute` returned for this `name` and this object `data`, computed at the first call.

        A model and a baseline in the same context share what both need. The results are kept as long as the context.
        """
        key = (name, id(data))
        if key not in self._results:
            self._results[key] = data, compute()  # `data` is kept, so that no other object gets its id
        found: T = self._results[key][1]
        return found

    def fork(self) -> Context:
        """Return a context that has the results so far, and keeps the further ones to itself."""
        return dataclasses.replace(self, _results=dict(self._results))


@dataclass(frozen=True)
class Tensors:
    """The type and shape of one tensor of a model. A length of -1 in `shape` stands for any length."""

    dtype: torch.dtype
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Kind(Generic[P]):
    """A kind of model. `--model` selects it by name."""

    name: str
    parameters: type[P]
    """Its parameters, a frozen dataclass: see `ncf/parameters.py`."""
    fit: Callable[[Dataset, P, Context], Model]
    """Fits a model to `dataset.train`; the test set is not used. The same data and parameters, including the seed, give
    the same model. Raises CannotFit, Diverged and Stopped."""
    layout: Callable[[Mapping[str, Any], int, int], dict[str, Tensors]]
    """The tensors of a model with this description and these numbers of users and items. Raises ValueError for a
    description that `describe` never writes."""
    restore: Callable[[Mapping[str, Any], Mapping[str, Tensor], int, int], Model]
    """Rebuilds a model from its `describe` and `state`. The caller has checked that the tensors have the layout and are
    finite. Raises ValueError if they do not fit together."""
    epoch: Callable[[P, Dataset], str] = lambda parameters, dataset: "closed-form"
    """Which epoch is the model, declared before the fit: `closed-form`, `last` or `validation-best`."""
    trains_together: bool = False
    """True if `fit` is faster in several processes (`ncf/fitting/distributed.py`). A job on several machines trains any
    other kind on the first of them."""


def require_keys(description: Mapping[str, Any], *keys: str) -> None:
    """Raise ValueError unless the keys of `description` are `model` and `keys`."""
    if set(description) != {"model", *keys}:
        raise ValueError(f"must have exactly {', '.join(('model', *keys))}")
