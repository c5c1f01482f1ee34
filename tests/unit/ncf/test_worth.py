"""Weights of pairs in ALS and EASE by their worth: they change nothing where all pairs are worth the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ncf
from ncf import dataset_files
from ncf.dataset import Dataset, Pairs
from ncf.models import ease
from ncf.worth import GREATEST_RATIO, relative
from tests.unit.ncf.datasets import VERSION

SETTINGS: dict[str, dict[str, Any]] = {
    "als": {"als_worth": 0.5},
    "ease": {"ease_worth": 0.5},
    "cooccurrence": {},
    "popularity": {},
    "neumf": {"als_worth": 0.5, "ease_worth": 0.5, "epochs": 2, "fusion_factors": 8},
}


@pytest.fixture(scope="module")
def small_shop(shop_dataset: Path) -> Dataset:
    return dataset_files.load(shop_dataset, VERSION)


def valued(data: Dataset, worth: np.ndarray[Any, Any] | float) -> Dataset:
    return dataclasses.replace(data, worth=np.broadcast_to(np.float32(worth), len(data.train)).copy())


@pytest.mark.parametrize("model", SETTINGS)
@pytest.mark.parametrize("worth", [1.0, 5.0])
def test_a_model_is_the_same_where_all_pairs_are_worth_the_same(model: str, worth: float, small_shop: Dataset) -> None:
    settings = {"seed": 3} | ({} if model in ("cooccurrence", "popularity", "ease") else {"factors": 8})
    without = SETTINGS[model] | dict.fromkeys([name for name in SETTINGS[model] if name.endswith("_worth")], 0.0)
    plain = ncf.fit(model, small_shop, **settings, **without).state()
    weighted = ncf.fit(model, valued(small_shop, worth), **settings, **SETTINGS[model]).state()
    assert plain.keys() == weighted.keys()
    assert all(torch.equal(plain[name], weighted[name]) for name in plain)


def test_als_fits_best_the_pairs_that_are_worth_most(small_shop: Dataset) -> None:
    worth = np.where(np.arange(len(small_shop.train)) % 2, 0.25, 4.0).astype(np.float32)
    settings = {"seed": 3, "factors": 8, "als_unobserved_weight": 0.3}
    users, items = torch.as_tensor(small_shop.train.user), torch.as_tensor(small_shop.train.item)[:, None]
    plain = ncf.fit("als", small_shop, **settings).pairs(users, items)[:, 0]
    weighted = ncf.fit("als", valued(small_shop, worth), als_worth=1.0, **settings).pairs(users, items)[:, 0]
    difference = (weighted - plain).numpy()
    assert difference[worth > 1].mean() > 0.05 and difference[worth < 1].mean() < -0.05


@pytest.mark.parametrize("users", [20, 200])
def test_ease_solves_for_the_values_of_its_pairs(users: int, small_shop: Dataset) -> None:
    """With fewer users than items, and with more."""
    kept = small_shop.train.user < users
    train = Pairs.of(small_shop.train.user[kept], small_shop.train.item[kept], users, small_shop.items)
    values = np.random.default_rng(1).uniform(0.2, 3.0, len(train)).astype(np.float32)
    interactions = torch.zeros(users, small_shop.items, dtype=torch.float64)
    interactions[torch.as_tensor(train.user), torch.as_tensor(train.item)] = torch.as_tensor(values).double()
    inverse = torch.linalg.inv(
        interactions.T @ interactions + torch.diag(5.0 + 0.25 / 0.75 * (interactions > 0).sum(dim=0).double())
    )
    expected = -inverse / inverse.diagonal()
    expected.fill_diagonal_(0)
    found = ease.item_item(train, small_shop.items, 5.0, 0.25, torch.device("cpu"), values)
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-3)


def test_worth_counts_as_a_share_of_the_median_within_bounds(small_shop: Dataset) -> None:
    worth = np.full(len(small_shop.train), 8.0, np.float32)
    worth[:4] = 2.0, 32.0, 3e38, 1e-38
    found = relative(valued(small_shop, worth), 0.5)
    assert found is not None
    assert found[:5].tolist() == pytest.approx([0.5, 2.0, GREATEST_RATIO**0.5, GREATEST_RATIO**-0.5, 1.0])
    assert relative(valued(small_shop, worth), 0.0) is None
    assert relative(valued(small_shop, 7.0), 1.0) is None


def test_how_many_events_a_pair_has_is_no_weight_by_itself(small_shop: Dataset) -> None:
    events = np.arange(len(small_shop.train), dtype=np.int32) % 3 + 1
    counted = dataclasses.replace(small_shop, events=events, worth=events.astype(np.float32))
    assert relative(counted, 1.0) is None
    assert relative(dataclasses.replace(counted, worth=counted.worth / np.float32(2)), 1.0) is not None


@pytest.mark.parametrize("name", ["als_worth", "ease_worth"])
@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), "much"])
def test_refuses_a_power_by_name(name: str, value: Any, small_shop: Dataset) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a number from 0 to 1"):
        ncf.fit("neumf", small_shop, **{name: value})
