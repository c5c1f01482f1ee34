"""Fitting the recent part of a model (`ncf/recent.py`): neighbours in closed form, and weights chosen on validation.

The neighbours are those of `ncf/neighbours.py`, divided by SCALE. The fading (l + 1)^-p after l later
interactions and the gain are chosen together, by NDCG@10 over the whole catalogue, on a cut that is like the test: each
user's last interaction in train is held out, or, where the data are cut in time, all at their last time. There the
stored part is ALS, fitted without those interactions and brought to the scale of the model, because a second training
of the model would cost as much as the first. If no gain is better than none by two standard errors, it is LEAST_GAIN:
known people keep the order of the stored part, and strangers still get what follows from their history. The cost is
bounded by INTERACTIONS and CELLS.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contracts.splits import GLOBAL_TIME
from ncf.dataset import BrokenDataset, Dataset, Pairs
from ncf.interface import Model
from ncf.neighbours import LAST_ITEMS, last_interactions, neighbours_of
from ncf.recent import Recent, WithRecent
from ncf.seeds import stream

BETA = 0.1
"""As in cooccurrence, where 0.3 is best alone; beside a stored part, which knows what is popular, 0.1 was better."""
WINDOW = 10
SCALE = 0.01
"""A weight of neighbours that counts as 1 in log(1 + x)."""
EXPONENTS = (0.0, 0.5, 1.0, 1.5)
GAINS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
LEAST_GAIN = 0.01
PRIOR = 0.15
"""Weight of log(1 + popularity) of a stranger's stored part, as a share of the gain."""
PRIOR_RECENT = 10
"""How much an interaction of the last 30 days counts more there."""
REPEAT = 10.0
"""What one interaction adds to x of its own item, if people choose items again, divided by the root of later + 1."""
LEAST_REPEATED = 0.01
"""Share of the pairs in train with several interactions from which on people choose items again."""
INTERACTIONS = 1_000_000
"""Most interactions on which weights are chosen: those of a sample of users."""
CELLS = 20_000_000
"""Most scores that are compared for one choice of weights."""
_K = 10
_USERS_AT_ONCE = 64


Factors = Callable[[Dataset], tuple[Tensor, Tensor]]
"""Fits what stands for the stored part on validation: factors [users, factors] and [items, factors], on the CPU."""
Scaled = Callable[[float], Model]
"""Returns the model with its scores multiplied by a number."""


def fit(dataset: Dataset, model: Model, factors: Factors, scaled: Scaled, *, neighbours: int, seed: int) -> Model:
    """Return `model`, fitted to `dataset`, with a recent part of at most `neighbours` neighbours an item; without one
    if no interaction can be spared for validation.

    The sum of both parts is scaled to the range of the model's own scores: with a large gain, σ would be 1 for all of
    the best items, and their order lost in the answers.
    """
    sample = _sample(dataset, seed)
    try:
        cut = sample.last_visits() if dataset.split.protocol == GLOBAL_TIME else sample.validation()
    except BrokenDataset:
        return model
    spread = _spread(model, dataset.users)
    exponent, gain = _choose(cut, part(cut, neighbours, 0.0, 1.0), spread, factors, seed)
    found = part(dataset, neighbours, exponent, gain).to(model.device)
    factor = 1.0
    if gain > LEAST_GAIN:
        factor = min(1.0, _range(model, dataset.users) / _range(WithRecent(model, found), dataset.users))
    return WithRecent(scaled(factor), dataclasses.replace(found, gain=gain * factor, prior=found.prior * factor))


def part(dataset: Dataset, neighbours: int, exponent: float, gain: float) -> Recent:
    """Return the recent part of `dataset.train` with these weights, on the CPU."""
    state = neighbours_of(dataset, WINDOW, neighbours, BETA)
    later = torch.arange(LAST_ITEMS, dtype=torch.float32)
    often = np.asarray(dataset.events, dtype=np.float32)
    indptr, indices, after = last_interactions(dataset)
    is_repeated = (often > 1).mean() >= LEAST_REPEATED
    popular = dataset.popularity + PRIOR_RECENT * dataset.recent.get(30, np.zeros(dataset.items))
    return Recent(
        gain=gain,
        neighbour_indptr=torch.as_tensor(state["neighbour_indptr"]),
        neighbours=torch.as_tensor(state["neighbours"]),
        weights=torch.as_tensor(state["weights"]) / SCALE,
        fading=(later + 1.0) ** -exponent,
        repeats=REPEAT * is_repeated * (later + 1.0).rsqrt(),
        prior=torch.as_tensor(gain * PRIOR * np.log1p(popular), dtype=torch.float32),
        indptr=torch.as_tensor(indptr),
        indices=torch.as_tensor(indices),
        later=torch.as_tensor(after),
        often=torch.as_tensor(_of_pairs(dataset, indptr, indices, often)),
    )


def _of_pairs(
    dataset: Dataset, indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the values, which are aligned to train, of the users' last items [last items of all users]."""
    user = np.repeat(np.arange(dataset.users), np.diff(indptr))
    keys = dataset.train.user * dataset.items + dataset.train.item
    found: NDArray[np.float32] = values[np.searchsorted(keys, user * dataset.items + indices)]
    return found


def _sample(dataset: Dataset, seed: int) -> Dataset:
    """Return the dataset with a sample of its users, so that it has at most about INTERACTIONS."""
    if len(dataset.train) <= INTERACTIONS:
        return dataset
    order = np.random.default_rng(stream(seed, "recent users")).permutation(dataset.users)
    total = np.cumsum(np.diff(dataset.train.indptr)[order])
    users = np.sort(order[: max(1, int(np.searchsorted(total, INTERACTIONS)))])
    kept = np.isin(dataset.train.user, users)
    train = dataset.train
    chosen = Pairs.of(np.searchsorted(users, train.user[kept]), train.item[kept], users.size, dataset.items)
    aligned = ("events", "worth", "is_bought")
    changes: dict[str, Any] = {name: getattr(dataset, name)[kept] for name in aligned}
    return dataclasses.replace(
        dataset,
        user_ids=[dataset.user_ids[user] for user in users],
        train=chosen,
        test=Pairs.none(users.size),
        repeats=Pairs.none(users.size),
        popularity=np.bincount(chosen.item, minlength=dataset.items),
        latest=dataset.latest[users],
        history=type(dataset.history)(dataset.history.item[kept], dataset.history.is_tied[kept]),
        **changes,
    )


@torch.no_grad()
def _spread(model: Model, users: int) -> float:
    """Return the standard deviation of a user's scores over the catalogue, as a mean over a sample of users."""
    sample = torch.linspace(0, users - 1, min(512, users), device=model.device).long()
    return float(torch.cat([model.catalogue(some).std(dim=1) for some in sample.split(_USERS_AT_ONCE)]).mean())


@torch.no_grad()
def _range(model: Model, users: int) -> float:
    """Return how far the best item of a user is above the middle one, as a mean over a sample of users."""
    sample = torch.linspace(0, users - 1, min(512, users), device=model.device).long()
    scores = (model.catalogue(some) for some in sample.split(_USERS_AT_ONCE))
    found = torch.cat([own.amax(dim=1) - own.median(dim=1).values for own in scores])
    return max(float(found.mean()), 1e-12)


@torch.no_grad()
def _choose(cut: Dataset, recent: Recent, spread: float, factors: Factors, seed: int) -> tuple[float, float]:
    """Return the exponent of the fading and the gain that are best on the held-out items of `cut`."""
    p, q = factors(cut)
    generator = np.random.default_rng(stream(seed, "recent validation"))
    most = max(_USERS_AT_ONCE, CELLS // cut.items)
    rows = np.sort(generator.permutation(len(cut.test))[:most])
    users, items = torch.as_tensor(cut.test.user[rows]), torch.as_tensor(cut.test.item[rows])
    stored = torch.cat([(p[some] @ q.T).std(dim=1) for some in users.split(_USERS_AT_ONCE)]).mean()
    p = p * (spread / stored.clamp(min=1e-12))
    parts = [dataclasses.replace(recent, fading=(torch.arange(LAST_ITEMS) + 1.0) ** -one) for one in EXPONENTS]
    gains: list[Tensor] = []
    for some, wanted in zip(users.split(_USERS_AT_ONCE), items.split(_USERS_AT_ONCE), strict=True):
        scores = p[some] @ q.T  # [some, items]
        for row, user in enumerate(some.tolist()):
            scores[
                row, torch.as_tensor(cut.train.item[cut.train.indptr[user] : cut.train.indptr[user + 1]])
            ] = -math.inf
        grid = [_gains(scores, wanted)]
        for one in parts:
            added = one.added_for(some)
            grid += [_gains(torch.add(scores, added, alpha=gain), wanted) for gain in GAINS]
        gains.append(torch.stack(grid))
    measured = torch.cat(gains, dim=1).double()  # [1 + exponents × gains, held-out items]
    best = int(measured[1:].mean(dim=1).argmax())
    # The items of one user are one observation: they are chosen together.
    _, place, number = users.unique(return_inverse=True, return_counts=True)
    difference = torch.zeros(number.numel()).double().index_add_(0, place, measured[1 + best] - measured[0]) / number
    exponent, gain = EXPONENTS[best // len(GAINS)], GAINS[best % len(GAINS)]
    error = difference.std(correction=0) / difference.numel() ** 0.5
    return exponent, gain if difference.mean() > 2 * error else LEAST_GAIN


def _gains(scores: Tensor, wanted: Tensor) -> Tensor:
    """Return NDCG@10 of one held-out item a row [rows]; ties count against it."""
    own = scores.gather(1, wanted[:, None])
    rank = (scores >= own).sum(dim=1) - 1
    return torch.where(rank < _K, 1.0 / torch.log2(rank + 2.0), 0.0)
