"""Where users have fewer interactions than factors, training ends when validation is clearly worse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ncf import dataset_files
from ncf.dataset import Dataset
from ncf.fitting.withheld import is_clear
from ncf.interface import Context, Stopped
from ncf.models import neural
from ncf.registry import kind_named

VERSION = "v20260102t030405z-0a1b2c3d"
# A high learning rate learns the few interactions by heart.
SETTINGS: dict[str, Any] = {
    "recent_neighbours": 0,
    "factors": 16,
    "epochs": 40,
    "learning_rate": 0.02,
    "start_rate": 1.0,
    "fusion": 0,
    "als_unobserved_weight": 1.0,
}


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory, write: Callable[..., Path]) -> Dataset:
    """600 people with five of the twelve items of their taste."""
    random = np.random.default_rng(2)
    pairs = [
        (f"u{user:04d}", f"i{item * 30 + user % 30:04d}")
        for user in range(600)
        for item in random.choice(12, 5, replace=False)
    ]
    return dataset_files.load(write(tmp_path_factory.mktemp("sparse"), pairs), VERSION)


def fitted(dataset: Dataset, context: Context, **values: Any) -> Any:
    kind = kind_named("gmf")
    return kind.fit(dataset, kind.parameters.of(**(SETTINGS | values)), context)


@pytest.mark.slow
def test_training_ends_with_the_best_epoch_and_says_so(sparse: Dataset) -> None:
    notes: list[str] = []
    scores: list[float] = []
    context = Context(warn=notes.append, report=lambda epoch: scores.append(epoch.validation_ndcg or 0.0))
    model = fitted(sparse, context)
    assert 2 < len(scores) < 40
    (note,) = [note for note in notes if "training ended" in note]
    assert note.startswith(f"note: training ended after epoch {len(scores)} of 40: the model is ")
    parameters = kind_named("gmf").parameters.of(**SETTINGS)
    held_out = neural._held_out(sparse, parameters)
    assert held_out is not None
    values = neural._validate(held_out, parameters, Context())(model)
    assert f"NDCG {values.mean():.4f}, {scores[-1]:.4f} after the last epoch" in note
    assert values.mean() >= max(scores[:-1]) - 1e-12 > scores[-1]
    assert kind_named("gmf").epoch(parameters, sparse) == "validation-best"


@pytest.mark.slow
def test_stopped_and_resumed_it_ends_with_the_same_weights(sparse: Dataset, tmp_path: Path) -> None:
    whole = fitted(sparse, Context(warn=lambda note: None))
    calls = iter(range(1_000_000))
    with pytest.raises(Stopped):
        # The start's six iterations ask before the steps do.
        fitted(sparse, Context(checkpoints=tmp_path, stop=lambda: next(calls) >= 86, warn=lambda note: None))
    resumed = fitted(sparse, Context(checkpoints=tmp_path, warn=lambda note: None))
    assert all(torch.equal(whole.state()[name], tensor) for name, tensor in resumed.state().items())


def test_with_more_interactions_than_factors_the_last_epoch_is_the_model(sparse: Dataset) -> None:
    scores: list[Any] = []
    context = Context(report=lambda epoch: scores.append(epoch.validation_ndcg), warn=lambda note: None)
    fitted(sparse, context, factors=2, epochs=2)
    assert scores == [None, None]
    assert kind_named("gmf").epoch(kind_named("gmf").parameters.of(factors=2), sparse) == "last"


def test_some_users_are_validated_on(sparse: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neural, "GUARD_USERS", 50)
    held_out = neural._held_out(sparse, kind_named("gmf").parameters.of(**SETTINGS))
    assert held_out is not None
    assert len(held_out.test) == 50
    assert len(held_out.train) == len(sparse.train) - 50
    assert np.array_equal(held_out.test.item, sparse.latest[held_out.test.user])


def test_a_difference_is_clear_above_two_standard_errors() -> None:
    assert is_clear(torch.tensor([1.0, 1.0, 1.0, 0.0]))
    assert not is_clear(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    assert not is_clear(torch.tensor([-1.0, -1.0, -1.0]))
    assert not is_clear(torch.tensor([1.0]))
