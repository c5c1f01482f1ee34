"""Fitting the recent part of a model (`ncf/recent.py`): neighbours in closed form, and weights chosen on validation.

The neighbours are those of `ncf/neighbours.py`, divided by SCALE. The fading (l + 1)^-p after l later interactions and
the gain are chosen together, by NDCG@10 over the whole catalogue, on a cut that is like the test: each user's last
interaction in train is held out, or, where the data are cut in time, all at their last time. There the stored part is
ALS, fitted without those interactions and brought to the scale of the model, because a second training of the model
would cost as much as the first. The scale is how far a user's best item is above the middle one: the part competes with
the best, and models with equal standard deviations may differ by half in that. If no gain is better than none by two
standard errors, it is LEAST_GAIN: known people keep the order of the stored part, and strangers still get what follows
from their history. The cost is bounded by INTERACTIONS and CELLS.

The gain of what people choose again is chosen for their last visit, of which nothing is known, with their own items in
the ranking; it is 0 if none is better by two standard errors. A dataset tells of a pair the last time alone. So an
item of the last visit that was chosen several times counts as chosen before, once less often, at an unknown time.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contracts.splits import GLOBAL_TIME
from ncf.csr import cells
from ncf.dataset import BrokenDataset, Dataset, History, Pairs
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
"""How much an interaction of the last 30 days counts more there, and in `again`."""
REPEAT_GAINS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""In standard deviations of a user's scores."""
REPEAT_LAST = 100
"""The last items of a user that can be chosen again. Of 50, recall is lower by .004, of 255 not higher."""
REPEAT = 10.0
REPEAT_EXPONENT = 0.25
"""`repeats` is REPEAT · (later + 1)^-REPEAT_EXPONENT."""
AGAIN_EXPONENT = 2 / 3
"""`again` is this power of an item's popularity, recent interactions counted more, as a share of the mean."""
LEAST_REPEATED = 0.01
"""Share of the pairs in train with several interactions from which on people choose items again."""
INTERACTIONS = 1_000_000
"""Most interactions on which weights are chosen: those of a sample of users."""
REPEAT_INTERACTIONS = 200_000
"""Most interactions on which the weight of what people choose again is chosen."""
CELLS = 20_000_000
"""Most scores that are compared for one choice of weights."""
GREATEST_LOGIT = 20.0
"""Where people choose items again, scores are scaled so that none is above: σ of them would be equal."""
_K = 10
_USERS_AT_ONCE = 64


Factors = Callable[[Dataset], tuple[Tensor, Tensor]]
"""Fits what stands for the stored part on validation: factors [users, factors] and [items, factors], on the CPU."""
Scaled = Callable[[float, float], Model]
"""Returns the model with its scores multiplied by the first number, and the second added."""


def fit(dataset: Dataset, model: Model, factors: Factors, scaled: Scaled, *, neighbours: int, seed: int) -> Model:
    """Return `model`, fitted to `dataset`, with a recent part of at most `neighbours` neighbours an item; without one
    if no interaction can be spared for validation.

    The sum of both parts is brought to the range of the model's own scores, and its best to the height of the model's
    own best, among items that are new to a person: with a large gain, σ would be near 1 for all of the best items.
    """
    sample = _sample(dataset, seed, INTERACTIONS)
    try:
        cut = sample.last_visits() if dataset.split.protocol == GLOBAL_TIME else sample.validation()
    except BrokenDataset:
        return model
    own_best, own_range = _best(model.catalogue, dataset, model.device)
    p, q, rows = _stand_in(cut, factors, own_range, seed)
    exponent, gain = _choose(cut, part(cut, neighbours, 0.0, 1.0), p, q, rows)
    repeat_gain, number = 0.0, LAST_ITEMS
    if (dataset.events > 1).mean() >= LEAST_REPEATED:
        number = REPEAT_LAST
        fitted = partial(part, neighbours=neighbours, exponent=exponent, gain=gain)
        repeat_gain = _repeat_gain(dataset, factors, own_range, _spread(model, dataset.users), fitted, seed)
    found = part(dataset, neighbours, exponent, gain, repeat_gain, number).to(model.device)
    factor, shift, of_strangers = 1.0, 0.0, 0.0
    others = WithRecent(model, dataclasses.replace(found, repeat_gain=0.0))
    best, spanned = _best(others.catalogue, dataset, model.device)
    if gain > LEAST_GAIN:
        factor = min(1.0, own_range / spanned)
    if repeat_gain:
        factor = min(factor, GREATEST_LOGIT / _highest(WithRecent(model, found), dataset.users))
    if gain > LEAST_GAIN:
        shift = min(0.0, own_best - factor * best)
        best, _ = _best(lambda users: found.prior + others.recent.added_for(users), dataset, model.device)
        of_strangers = min(0.0, own_best - factor * best)
    return WithRecent(
        scaled(factor, shift),
        dataclasses.replace(
            found,
            gain=gain * factor,
            repeat_gain=repeat_gain * factor,
            prior=found.prior * factor + of_strangers,
        ),
    )


def part(
    dataset: Dataset,
    neighbours: int,
    exponent: float,
    gain: float,
    repeat_gain: float = 0.0,
    number: int = LAST_ITEMS,
) -> Recent:
    """Return the recent part of `dataset.train` with these weights and `number` last items a user, on the CPU."""
    state = neighbours_of(dataset, WINDOW, neighbours, BETA)
    indptr, indices, after = last_interactions(dataset, number)
    popular = dataset.popularity + PRIOR_RECENT * dataset.recent.get(30, np.zeros(dataset.items))
    again = (popular / max(1.0, popular.mean())) ** AGAIN_EXPONENT
    return Recent(
        gain=gain,
        repeat_gain=repeat_gain,
        neighbour_indptr=torch.as_tensor(state["neighbour_indptr"]),
        neighbours=torch.as_tensor(state["neighbours"]),
        weights=torch.as_tensor(state["weights"]) / SCALE,
        fading=_fading(exponent, number),
        repeats=REPEAT * (torch.arange(number) + 1.0) ** -REPEAT_EXPONENT,
        again=torch.as_tensor(again, dtype=torch.float32),
        prior=torch.as_tensor(gain * PRIOR * np.log1p(popular), dtype=torch.float32),
        indptr=torch.as_tensor(indptr),
        indices=torch.as_tensor(indices),
        later=torch.as_tensor(after),
        often=torch.as_tensor(_of_pairs(dataset, indptr, indices, np.asarray(dataset.events, dtype=np.float32))),
    )


def _fading(exponent: float, number: int) -> Tensor:
    """Return the weights of `number` interactions by later ones [number]: only LAST_ITEMS are above 0."""
    later = torch.arange(number, dtype=torch.float32)
    return torch.where(later < LAST_ITEMS, (later + 1.0) ** -exponent, 0.0)


def _of_pairs(
    dataset: Dataset, indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the values, which are aligned to train, of the users' last items [last items of all users]."""
    user = np.repeat(np.arange(dataset.users), np.diff(indptr))
    keys = dataset.train.user * dataset.items + dataset.train.item
    found: NDArray[np.float32] = values[np.searchsorted(keys, user * dataset.items + indices)]
    return found


def _sample(dataset: Dataset, seed: int, most: int) -> Dataset:
    """Return the dataset with a sample of its users, so that it has at most about `most` interactions."""
    if len(dataset.train) <= most:
        return dataset
    order = np.random.default_rng(stream(seed, "recent users")).permutation(dataset.users)
    total = np.cumsum(np.diff(dataset.train.indptr)[order])
    users = np.sort(order[: max(1, int(np.searchsorted(total, most)))])
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
def _best(scores: Callable[[Tensor], Tensor], dataset: Dataset, device: torch.device) -> tuple[float, float]:
    """Return the score of a user's best item that is not in train, and how far it is above the middle one, at least
    1e-12: means over a sample of users. Of users who have everything, 0.
    """
    sample = torch.linspace(0, dataset.users - 1, min(512, dataset.users), device=device).long()
    indptr, items = torch.as_tensor(dataset.train.indptr), torch.as_tensor(dataset.train.item)
    found = []
    for some in sample.split(_USERS_AT_ONCE):
        own = scores(some).clone()
        middle = own.median(dim=1).values
        row, place = cells(indptr, some.cpu())
        own[row.to(device), items[place].to(device)] = -math.inf
        found.append(torch.stack([own.amax(dim=1), middle]))
    pairs = torch.cat(found, dim=1)
    pairs = pairs[:, pairs[0] > -math.inf]
    best, between = (float(row.mean()) for row in (pairs[0], pairs[0] - pairs[1])) if pairs.numel() else (0.0, 0.0)
    return best, max(between, 1e-12)


@torch.no_grad()
def _highest(model: Model, users: int) -> float:
    """Return the highest score of a sample of users, at least 1."""
    sample = torch.linspace(0, users - 1, min(512, users), device=model.device).long()
    return max(1.0, *(float(model.catalogue(some).max()) for some in sample.split(_USERS_AT_ONCE)))


@torch.no_grad()
def _stand_in(cut: Dataset, factors: Factors, above: float, seed: int) -> tuple[Tensor, Tensor, NDArray[np.int64]]:
    """Return p and q, fitted to `cut`, by whose scores p qᵀ the best item of a user is as far above the middle one; and
    a sample of the held-out pairs, so that about CELLS scores are compared.
    """
    p, q = factors(cut)
    most = max(_USERS_AT_ONCE, CELLS // cut.items)
    rows = np.sort(np.random.default_rng(stream(seed, "recent validation")).permutation(len(cut.test))[:most])
    _, own = _best(lambda users: p[users] @ q.T, cut, p.device)
    return p * (above / own), q, rows


@torch.no_grad()
def _choose(cut: Dataset, recent: Recent, p: Tensor, q: Tensor, rows: NDArray[np.int64]) -> tuple[float, float]:
    """Return the exponent of the fading and the gain that are best on the held-out pairs `rows` of `cut`. The stored
    part is p qᵀ.
    """
    users, items = torch.as_tensor(cut.test.user[rows]), torch.as_tensor(cut.test.item[rows])
    parts = [dataclasses.replace(recent, fading=_fading(one, recent.fading.numel())) for one in EXPONENTS]
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
    exponent, gain = EXPONENTS[best // len(GAINS)], GAINS[best % len(GAINS)]
    return exponent, gain if _is_better(measured[1 + best], measured[0], users) else LEAST_GAIN


def _is_better(measured: Tensor, other: Tensor, users: Tensor) -> bool:
    """Whether the mean difference is above two standard errors. The items of one user are one observation: they are
    chosen together. All have the shape [held-out items].
    """
    _, place, number = users.unique(return_inverse=True, return_counts=True)
    difference = torch.zeros(number.numel()).double().index_add_(0, place, measured - other) / number
    return bool(difference.mean() > 2 * difference.std(correction=0) / difference.numel() ** 0.5)


def _with_chosen_before(dataset: Dataset, cut: Dataset) -> Dataset:
    """Return `cut` with the held-out pairs that were chosen several times also in train: once less often, and before
    everything else.
    """
    keys = dataset.train.user * dataset.items + dataset.train.item
    again = dataset.events[np.searchsorted(keys, cut.test.user * cut.items + cut.test.item)] > 1
    user, item = cut.test.user[again], cut.test.item[again]
    train = Pairs.of(
        np.concatenate([cut.train.user, user]), np.concatenate([cut.train.item, item]), cut.users, cut.items
    )
    learned = train.user * cut.items + train.item
    place, is_back = np.searchsorted(keys, learned), np.isin(learned, user * cut.items + item, assume_unique=True)
    events = dataset.events[place] - is_back
    order = np.argsort(np.concatenate([user, cut.train.user]), kind="stable")
    history = History(
        np.concatenate([item.astype(np.int32), cut.history.item])[order],
        np.concatenate([np.diff(user, prepend=-1) == 0, cut.history.is_tied])[order],
    )
    return dataclasses.replace(
        cut,
        train=train,
        popularity=np.bincount(train.item, minlength=cut.items),
        history=history,
        events=events,
        worth=dataset.worth[place] * (events / dataset.events[place]).astype(np.float32),
        is_bought=dataset.is_bought[place],
    )


@torch.no_grad()
def _repeat_gain(
    dataset: Dataset, factors: Factors, above: float, spread: float, fitted: Callable[..., Recent], seed: int
) -> float:
    """Return the best of REPEAT_GAINS, times `spread`, for all that people chose at their last time, ranked among all
    items; 0 if it is not clearly better than none. How long ago an item was chosen has no effect in it: of what was
    chosen again it is not known. `fitted` makes the recent part of a dataset.
    """
    sample = _sample(dataset, seed, REPEAT_INTERACTIONS)
    try:
        cut = _with_chosen_before(sample, sample.last_visits())
    except BrokenDataset:
        return 0.0
    p, q, rows = _stand_in(cut, factors, above, seed)
    recent = fitted(cut, number=REPEAT_LAST)
    own = dataclasses.replace(recent, gain=0.0, repeat_gain=spread, repeats=torch.full_like(recent.repeats, REPEAT))
    users, items = torch.as_tensor(cut.test.user[rows]), torch.as_tensor(cut.test.item[rows])
    gains: list[Tensor] = []
    for some, wanted in zip(users.split(_USERS_AT_ONCE), items.split(_USERS_AT_ONCE), strict=True):
        scores, added = p[some] @ q.T + recent.added_for(some), own.added_for(some)  # [some, items]
        gains.append(torch.stack([_gains(torch.add(scores, added, alpha=gain), wanted) for gain in REPEAT_GAINS]))
    measured = torch.cat(gains, dim=1).double()  # [gains, held-out items]
    best = int(measured.mean(dim=1).argmax())
    return REPEAT_GAINS[best] * spread if _is_better(measured[best], measured[0], users) else 0.0


def _gains(scores: Tensor, wanted: Tensor) -> Tensor:
    """Return NDCG@10 of one held-out item a row [rows]; ties count against it."""
    own = scores.gather(1, wanted[:, None])
    rank = (scores >= own).sum(dim=1) - 1
    return torch.where(rank < _K, 1.0 / torch.log2(rank + 2.0), 0.0)
