"""Every model fits data without times, of one event type, and whatever the events are worth."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ncf import dataset_files
from ncf.dataset import Dataset, History
from ncf.registry import kinds
from tests.unit.ncf.test_every_model import fitted

pytestmark = pytest.mark.slow
EVERY = sorted(kinds())
GREATEST = float(np.finfo(np.float32).max)


@pytest.fixture(scope="module")
def shop(shop_dataset: Path) -> Dataset:
    return dataset_files.load(shop_dataset)


@pytest.mark.parametrize("model", EVERY)
@pytest.mark.parametrize("worth", [1e-38, GREATEST])
def test_views_alone_without_times_and_of_any_worth_give_finite_scores(model: str, worth: float, shop: Dataset) -> None:
    pairs = len(shop.train)
    views = dataclasses.replace(
        shop,
        history=History.unknown(shop.train),
        recent={},
        event_types={"view": pairs},
        worth=np.full(pairs, worth, np.float32),
        is_bought=np.zeros(pairs, dtype=np.bool_),
    )
    scores = fitted(model, views, epochs=1).catalogue(torch.arange(views.users))
    assert torch.isfinite(scores).all()
    assert scores.std(dim=1).min() > 0, "the items are ranked"
