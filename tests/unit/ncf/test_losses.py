"""The block losses, compared with their sums over each user and item."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ncf import dataset_files
from ncf.dataset import Dataset, Pairs
from ncf.fitting.losses import LEAST_STEPS, Objective, Samples, SharedNegatives, objective
from ncf.interface import CannotFit
from ncf.network import Architecture, Recommender
from ncf.plan import Plan

VERSION = "v20260102t030405z-0a1b2c3d"
CPU = torch.device("cpu")
EVERYTHING = Plan(batch_size=1 << 20, negatives_per_positive=3, shared_negatives=60)


@pytest.fixture(scope="module")
def shop(shop_dataset: Path) -> Dataset:
    return dataset_files.load(shop_dataset, VERSION)


@pytest.fixture(scope="module")
def model() -> Recommender:
    model = Recommender(Architecture("neumf", 4, (8, 4)), 120, 60)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.7, generator=torch.Generator().manual_seed(1))
    return model


def of_the_whole(steps: Objective, model: Recommender, samples: Samples) -> tuple[torch.Tensor, int]:
    """Return the loss of a step by a model that has all rows."""
    users, items = len(model.state()["towers.0.user.weight"]), len(model.state()["towers.0.item.weight"])
    return steps.loss(model, samples.within(torch.arange(users), torch.arange(items)), None)


def of_an_epoch(steps: SharedNegatives, model: Recommender, interactions: int, seed: int) -> float:
    """Return the mean loss over all interactions of an epoch."""
    generator = torch.Generator().manual_seed(seed)
    steps.begin(generator)
    total = 0.0
    for step in range(steps.steps):
        samples = steps.draw(step, generator)
        total += of_the_whole(steps, model, samples)[0].item() * samples.item.numel()
    return total / interactions


def softplus(value: float) -> float:
    return math.log1p(math.exp(-abs(value))) + max(value, 0.0)


def written_out(dataset: Dataset, model: Recommender, softmax: bool) -> float:
    logits = model.catalogue(torch.arange(dataset.users)).tolist()
    total = 0.0
    for user in range(dataset.users):
        own = set(dataset.train.item[dataset.train.indptr[user] : dataset.train.indptr[user + 1]].tolist())
        others = [logits[user][item] for item in range(dataset.items) if item not in own]
        if softmax:
            against = math.log(sum(math.exp(score) for score in others))
            total += sum(softplus(against - logits[user][item]) for item in own)
        else:
            weight = EVERYTHING.negatives_per_positive * len(own) / len(others)
            total += sum(softplus(-logits[user][item]) for item in own) + weight * sum(map(softplus, others))
    return total / len(dataset.train)


@pytest.mark.parametrize("loss", ["block_bce", "block_softmax"])
def test_over_the_whole_catalogue_it_is_the_sum_of_its_definition(loss: str, shop: Dataset, model: Recommender) -> None:
    steps = objective(shop, replace(EVERYTHING, loss=loss), CPU)
    assert isinstance(steps, SharedNegatives)
    expected = written_out(shop, model, softmax=loss == "block_softmax")
    assert of_an_epoch(steps, model, len(shop.train), seed=1) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_sampled_negatives_give_the_same_sum_in_expectation(shop: Dataset, model: Recommender) -> None:
    """Popular items are drawn more often, but have a smaller weight."""
    steps = objective(shop, replace(EVERYTHING, shared_negatives=12), CPU)
    assert isinstance(steps, SharedNegatives)
    means = torch.tensor([of_an_epoch(steps, model, len(shop.train), seed) for seed in range(40)])
    error = means.std() / math.sqrt(len(means))
    expected = written_out(shop, model, softmax=False)
    assert abs(means.mean() - expected) < 4 * error
    assert error < 0.01 * expected, "the test would detect a wrong correction"


@pytest.mark.parametrize("loss", ["bce", "block_bce", "block_softmax"])
def test_an_epoch_has_enough_steps_and_looks_at_every_interaction(loss: str, shop: Dataset, model: Recommender) -> None:
    steps = objective(shop, replace(EVERYTHING, loss=loss), CPU)
    generator = torch.Generator().manual_seed(1)
    steps.begin(generator)
    samples = sum(of_the_whole(steps, model, steps.draw(step, generator))[1] for step in range(steps.steps))
    assert steps.steps >= LEAST_STEPS
    every = shop.users * shop.items if loss != "bce" else 4 * len(shop.train)
    assert samples == every


@pytest.mark.parametrize("loss", ["bce", "block_bce", "block_softmax"])
def test_there_must_be_a_negative(loss: str, shop: Dataset) -> None:
    user, item = torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij")
    full = Pairs.of(user.reshape(-1).numpy(), item.reshape(-1).numpy(), 3, 4)
    dataset = Dataset("v", "", ["a", "b", "c"], list("wxyz"), full, full, shop.popularity[:4], shop.latest[:3])
    with pytest.raises(CannotFit, match="every user has interacted with every item"):
        objective(dataset, replace(EVERYTHING, loss=loss), CPU)
