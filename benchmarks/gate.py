"""How often the gate is wrong: pairs of models in simulated shops, whose real difference is known.

In a simulated shop each user's next purchase has a known distribution: a softmax over the items of a utility that a
user's and an item's factors and the item's popularity make. A model is that utility with errors, some of them shared
with the other model, as models of the same data share theirs. Its real NDCG is the expectation under the distribution,
without sampling; the errors of the candidate are scaled until it differs from the incumbent's by the wanted share.

The gate sees what a run sees: one held-out purchase of each of 5,000 users, measured by `ncf.evaluation`. Conditions:
- plain;
- repetitions: a fifth of the held-out pairs are purchases that the incumbent learned, and it ranks them first;
- ties: three purchases of a user have the same time; the greatest item id decided, and a hash of user and item decides
  now. The candidate is better on one half of the ids and worse on the other;
- new people: the incumbent does not know a fifth of the users and gives them the popular items;
- few people: as plain, with 600 users;
- three each: three held-out purchases of each user, as a test by time has them;
- a baseline: with 600 users, the candidate is compared with a baseline, of which it may lose a tenth; by the mean
  before, and beyond chance now.

A second table has the power at a real gain of 5 %: how often the test against the incumbent is sure of it, by the
number of held-out purchases of each user, and how often it lets a model through that is worse by 2 %. Leave-last-out
has one held-out purchase; a test by time has all that a user buys after the moment. In a simulated shop these do not
depend on each other, in a real one those of a visit do.

"Before" is the rule of version 0.2.0: not worse in the means of the sampled hit rate and NDCG over everybody, with
lower ends of the 95 % intervals of at least -0.08 and -0.05. "Now" is `evaluate.gate` with its default policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Group
from rich.progress import track
from rich.table import Table
from torch import Tensor

from evaluate import gate
from evaluate.policy import Policy
from ncf.dataset import Dataset, Pairs
from ncf.evaluation import Evaluation, Outcome
from training.report import against, difference

USERS, ITEMS, FACTORS, SEEN, K = 5_000, 400, 8, 20, 10
REAL_DIFFERENCES = (-0.2, -0.1, -0.05, -0.02, 0.0, 0.02, 0.05, 0.1)
CONDITIONS = ("plain", "repetitions", "ties", "new people", "few people", "three each", "a baseline")
REPEATED_ONE_IN, UNKNOWN_ONE_IN, FEW_USERS, SEVERAL = 5, 5, 600, 3
PAIRS = 336
"""Pairs of models: six for each condition and real difference."""
GAIN, LOSS, HELD_OUT, SHOPS = 0.05, 0.02, (1, 2, 3, 5), 50
"""The second table: the real gain and loss, held-out purchases of a user, pairs of models for each number of them."""
VERSION, RUN, INCUMBENT = "v20260102t000000z-00000000", "v20260102t000000z-00000000-r1", "v20260101t000000z-00000000-r1"


class Scores:
    """A model that is its scores [users, items]."""

    def __init__(self, scores: NDArray[np.float32]) -> None:
        self._scores = torch.as_tensor(scores)

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        return self._scores[users[:, None], items]

    def catalogue(self, users: Tensor) -> Tensor:
        return self._scores[users].clone()


@dataclass(frozen=True)
class Shop:
    """A simulated shop; `chance` is 0 for items that the user has."""

    utility: NDArray[np.float32]  # [users, items]
    chance: NDArray[np.float64]  # [users, items], of the next purchase
    seen: NDArray[np.int64]  # [users, SEEN]

    def real_ndcg(self, scores: NDArray[np.float32]) -> float:
        """Return the expected NDCG at K over the next purchases of all users."""
        hidden = scores.copy()
        np.put_along_axis(hidden, self.seen, -np.inf, axis=1)
        best = torch.topk(torch.as_tensor(hidden), K, dim=1).indices.numpy()
        gains = 1.0 / np.log2(np.arange(K) + 2.0)
        return float((np.take_along_axis(self.chance, best, axis=1) * gains).sum(axis=1).mean())


def open_shop(random: np.random.Generator, users: int) -> Shop:
    """Make a shop in which a perfect model has an NDCG of about 0.15."""
    tastes = random.normal(size=(users, FACTORS)) @ random.normal(size=(FACTORS, ITEMS)) / np.sqrt(FACTORS)
    utility = (tastes + random.normal(size=ITEMS)).astype(np.float32)
    seen = _draw(random, _softmax(utility), SEEN)
    chance = _softmax(utility)
    np.put_along_axis(chance, seen, 0.0, axis=1)
    return Shop(utility, chance / chance.sum(axis=1, keepdims=True), seen)


def _softmax(utility: NDArray[np.float32]) -> NDArray[np.float64]:
    weights = np.exp(utility.astype(np.float64) - utility.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _draw(random: np.random.Generator, chance: NDArray[np.float64], number: int) -> NDArray[np.int64]:
    """Draw `number` different items of each user, one after the other by `chance` (Efraimidis and Spirakis 2006)."""
    keys = np.log(random.random(chance.shape)) / np.maximum(chance, 1e-300)
    return np.asarray(torch.topk(torch.as_tensor(keys), number, dim=1).indices.numpy())


def models(
    random: np.random.Generator, shop: Shop, condition: str, real: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the scores of the incumbent and of a candidate whose real NDCG differs by `real` of the incumbent's."""
    shape = shop.utility.shape
    shared = random.normal(scale=0.5, size=shape)
    incumbent = (shop.utility + shared + random.normal(scale=0.5, size=shape)).astype(np.float32)
    if condition == "new people":
        unknown = np.arange(shape[0]) % UNKNOWN_ONE_IN == 0
        incumbent[unknown] = shop.utility.mean(axis=0)
    tilt = np.where(np.arange(ITEMS) < ITEMS // 2, 0.7, 1.4) if condition == "ties" else np.ones(ITEMS)
    own = random.normal(size=shape) * tilt
    wanted, low, high = shop.real_ndcg(incumbent) * (1 + real), 0.0, 8.0
    for _ in range(16):
        scale = (low + high) / 2
        candidate = (shop.utility + shared * min(scale * 2, 1.0) + own * scale).astype(np.float32)
        if shop.real_ndcg(candidate) > wanted:
            low = scale
        else:
            high = scale
    return incumbent, candidate


def run(random: np.random.Generator, condition: str, real: float) -> tuple[bool, bool]:
    """Return whether the candidate of one run is deployed by the rule of before, and by the gate now."""
    users = FEW_USERS if condition in ("few people", "a baseline") else USERS
    shop = open_shop(random, users)
    incumbent, candidate = models(random, shop, condition, real)
    last = _draw(random, shop.chance, SEVERAL if condition in ("ties", "three each") else 1)
    learned = np.zeros(users, dtype=bool)
    if condition == "repetitions":
        learned = np.arange(users) % REPEATED_ONE_IN == 0
        incumbent[learned, last[learned, 0]] = 1e6
    greatest = last.max(axis=1, keepdims=True) if condition == "ties" else last[:, :1]
    before = _outcomes(shop, greatest, np.ones(users, dtype=bool), candidate, incumbent)
    tested = last if condition == "three each" else last[:, :1]
    now = _outcomes(shop, tested, ~learned, candidate, incumbent)
    if condition == "a baseline":
        return _allowed_loss(*now)
    return _accepted_before(*before), _accepted_now(*now, users, int(learned.sum()))


def _outcomes(
    shop: Shop,
    item: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    ours: NDArray[np.float32],
    theirs: NDArray[np.float32],
) -> tuple[Outcome, Outcome]:
    """Measure both models on the `chosen` users [users], whose held-out items are `item` [users, held out]."""
    users, each = item.shape
    train = Pairs.of(np.repeat(np.arange(users), SEEN), shop.seen.ravel(), users, ITEMS)
    test = Pairs.of(np.repeat(np.arange(users), each), item.ravel(), users, ITEMS)
    names = ([f"u{user}" for user in range(users)], [f"i{place}" for place in range(ITEMS)])
    popularity = np.bincount(train.item, minlength=ITEMS)
    dataset = Dataset(VERSION, "", *names, train, test, popularity, np.full(users, -1))
    measured = Pairs.of(np.repeat(np.flatnonzero(chosen), each), item[chosen].ravel(), users, ITEMS)
    evaluation = Evaluation(dataset, k=K, negatives=99, seed=1, device="cpu", test=measured)
    return evaluation.measure(Scores(ours)), evaluation.measure(Scores(theirs))


def _accepted_before(candidate: Outcome, incumbent: Outcome) -> bool:
    found = difference(candidate, incumbent, seed=1)
    hits, gains = found["sampledHitRate"], found["sampledNdcg"]
    return bool(hits["mean"] >= 0 and gains["mean"] >= 0 and hits["lower"] >= -0.08 and gains["lower"] >= -0.05)


def _accepted_now(candidate: Outcome, incumbent: Outcome, users: int, learned: int) -> bool:
    report = _report(candidate, users, learned) | {
        "incumbent": {"runId": INCUMBENT, "datasetVersion": INCUMBENT[:-3], "model": "neumf", **incumbent.to_dict()},
        "difference": difference(candidate, incumbent, seed=1),
    }
    verdict = gate.judge(report, Policy.from_document({}), gate.Run(RUN, VERSION, INCUMBENT))
    return bool(verdict.outcome == gate.ACCEPTED)


def _allowed_loss(candidate: Outcome, baseline: Outcome) -> tuple[bool, bool]:
    """Return whether the candidate passes a baseline by the mean alone, and with what chance explains."""
    report = _report(candidate, FEW_USERS, 0)
    passed = []
    for measured in (baseline.to_dict(), against(candidate, baseline)):
        report["baselines"]["ease"] = measured
        checks = gate.judge(report, Policy.from_document({}), gate.Run(RUN, VERSION)).checks
        passed.append(all(check.passed for check in checks if check.name.startswith("baseline.ease")))
    return passed[0], passed[1]


def _report(candidate: Outcome, users: int, learned: int) -> dict[str, Any]:
    figures = candidate.to_dict()
    nothing = {**figures, "sampled": {"hitRate": 0.0, "ndcg": 0.0}, "full": {"hitRate": 0.0, "ndcg": 0.0}}
    like = dict.fromkeys(("formerUsers", "formerItems", "users", "items", "interactions"), 1.0)
    return {
        "schemaVersion": "2.0",
        "runId": RUN,
        "datasetVersion": VERSION,
        "codeVersion": "benchmark",
        "bundleDigest": "0" * 64,
        "protocol": {
            "split": "leave-last-out", "moment": None, "k": K, "negatives": 99, "fewestNegatives": 99, "seed": 1,
            "ties": "against", "testUsers": candidate.full_gains.size, "fullCatalogue": "seen items excluded",
            "epoch": "last",
        },
        "people": {
            "withTest": users, "learnedAgain": learned, "learnedWhenNew": 0, "notDrawn": 0,
            "fair": candidate.full_gains.size,
        },
        "data": {**like, "itemShift": 0.0, "eventShift": None},
        "candidate": {"model": "neumf", **figures},
        "incumbent": None,
        "baselines": {"popularity": nothing},
        "difference": None,
        "serving": {"answers": 1, "p50Milliseconds": 1.0, "p99Milliseconds": 1.0},
    }  # fmt: skip


def tables(pairs: int = PAIRS) -> Group:
    """Return both tables."""
    return Group(table(pairs), power())


def power(users: int = USERS, shops: int = SHOPS) -> Table:
    """Return how often a real gain of GAIN is seen with `users` test users, counted and as it is expected, how often a
    loss of LOSS would pass, and how many users see the gain 80 and 90 % of the times, by held-out purchases of a user.
    All but the count by the normal distribution, from the standard error of a user's difference as a share of the
    incumbent's NDCG: the mean over the shops.
    """
    normal, asked = NormalDist(), NormalDist().inv_cdf(Policy.from_document({}).better.confidence)
    result = Table(title=f"Seen real gains of {GAIN:.0%} with {users} test users, {shops} pairs of models a line")
    for column in (
        "held-out items of a user", "error of a user", "seen", "expected", f"{LOSS:.0%} worse passes",
        "users for 80 %", "users for 90 %",
    ):  # fmt: skip
        result.add_column(column, justify="right")
    for each in track(HELD_OUT, "power", transient=True):
        found = [_gain_and_error(np.random.default_rng(seed), users, each) for seed in range(shops)]
        error = float(np.mean([error for _, error in found]))
        seen = float(np.mean([gain * users**0.5 / error > asked for gain, error in found]))
        passing = [normal.cdf(real * users**0.5 / error - asked) for real in (GAIN, -LOSS)]
        needed = [((asked + normal.inv_cdf(share)) * error / GAIN) ** 2 for share in (0.8, 0.9)]
        shares = (f"{error:.0%}", f"{seen:.0%}", f"{passing[0]:.0%}", f"{passing[1]:.1%}")
        result.add_row(str(each), *shares, *(f"{number:,.0f}" for number in needed))
    return result


def _gain_and_error(random: np.random.Generator, users: int, each: int) -> tuple[float, float]:
    """Return the measured gain, and the standard error of one user's difference, as shares of the incumbent's NDCG, in
    a shop of its own.
    """
    shop = open_shop(random, users)
    incumbent, candidate = models(random, shop, "plain", GAIN)
    held_out = _draw(random, shop.chance, each)
    ours, theirs = _outcomes(shop, held_out, np.ones(users, dtype=bool), candidate, incumbent)
    found, before = difference(ours, theirs, seed=1)["fullNdcg"], theirs.full_gains.mean()
    return float(found["mean"] / before), float(found["standardError"] * users**0.5 / before)


def table(pairs: int = PAIRS) -> Table:
    """Return the share of runs that deploy the candidate, by condition and real difference: before, and now."""
    result = Table(
        title=f"Deployed candidates by real difference of NDCG: rule of 0.2.0 / now, {pairs} pairs of models"
    )
    result.add_column("condition")
    for real in REAL_DIFFERENCES:
        result.add_column(f"{real:+.0%}", justify="right")
    each = max(1, pairs // (len(CONDITIONS) * len(REAL_DIFFERENCES)))
    cells = [(condition, real) for condition in CONDITIONS for real in REAL_DIFFERENCES]
    found = {}
    for place, (condition, real) in enumerate(track(cells, "gate", transient=True)):
        runs = [run(np.random.default_rng((place, seed)), condition, real) for seed in range(each)]
        found[condition, real] = np.array(runs, dtype=float).mean(axis=0)
    for condition in CONDITIONS:
        shares = [found[condition, real] for real in REAL_DIFFERENCES]
        result.add_row(condition, *(f"{before:.0%} / {now:.0%}" for before, now in shares))
    return result
