"""The memory of a training's tables follows the formula of docs/decisions/0042-tables-too-large-for-one-machine.md."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ncf import dataset_files
from ncf.fitting.loop import _Training
from ncf.network import Architecture
from ncf.plan import Plan
from tests.unit.ncf.datasets import VERSION
from tests.unit.serving.test_memory import kept

CONSTANT = 20_000
"""Bytes of the layers' weights and moments, and of padding: the same for any number of users and items."""


@pytest.mark.parametrize(
    ("model", "numbers", "towers"), [("gmf", 32, 1), ("mlp", 8, 1), ("neumf", 40, 2)], ids=["gmf", "mlp", "neumf"]
)
def test_the_tables_take_what_the_formula_says(model: str, numbers: int, towers: int, shop_dataset: Path) -> None:
    dataset = dataset_files.load(shop_dataset, VERSION)
    plan = Plan(epochs=1)
    training = _Training(dataset, Architecture(model, 32, (16, 8)), plan, torch.device("cpu"), is_started=False)
    expected = (dataset.users + dataset.items) * (12 * numbers + 8 * towers)
    tables = kept([training.model, training._users, training._items])
    assert expected <= tables <= expected + CONSTANT
    training.validate(lambda network: torch.zeros(3))
    best = 4 * numbers * (dataset.users + dataset.items)
    assert best <= kept(training._best) <= best + CONSTANT
