"""Which protocol foresees better which model earns more: leave-last-out or global time.

At several moments of a file of real interactions, everything before the moment is what a shop knows. Both protocols
split it, and rank the same models, each fitted to its own part for training. The truth is what these models, fitted to
all of it, earn on the days after the moment: NDCG@10 over the people who come then, new ones too, for items that they
have not had and that the models know. The models differ in kind, in parameters, and in the time they learn from.

Agreement is the share of pairs of models that a protocol puts in the order of the truth (Kendall's τ is twice that,
less 1). Regret is the NDCG that the model it puts first loses to the best one, as a share of the best one's. Served is
the NDCG of that model on the same later days, if it serves as it was judged: fitted to the protocol's train, without
the test; as a share of the best one's. Means over the moments, ± their standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table

from ncf.dataset import Dataset, Pairs
from ncf.evaluation import Evaluation
from ncf.interface import Context
from ncf.registry import kind_named
from training.people import draw
from training.report import AsServed

DAY = 86_400
VERSION = "v20260101t000000z-00000000"
USERS = 5_000
"""Test users at most, a sample as in the evaluation of a training."""
RECENT_DAYS = 60
WINDOWS = ((0, None), (0, RECENT_DAYS), (RECENT_DAYS, None))
"""What models learn from, in days before the end of train: everything, what is recent, what a model from then knew."""
KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("popularity", {}),
    ("ease", {"ease_l2": 50.0}),
    ("ease", {}),
    ("als", {"factors": 16}),
    ("als", {}),
)
MODELS = (*product(KINDS, WINDOWS), (("neumf", {"factors": 16, "fusion": 0.0}), WINDOWS[0]))
FIRST_MOMENT = 0.35
"""Share of the interactions before the first moment."""


@dataclass(frozen=True)
class Events:
    """Interactions as arrays of one length: indices of user and item, and epoch seconds."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    time: NDArray[np.int64]

    def __len__(self) -> int:
        return self.user.size

    def at(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Events:
        return Events(self.user[rows], self.item[rows], self.time[rows])

    def and_then(self, later: Events) -> Events:
        parts = ((self.user, later.user), (self.item, later.item), (self.time, later.time))
        return Events(*(np.concatenate(part) for part in parts))

    def last_of(self, keys: NDArray[np.int64], *, first: bool = False) -> Events:
        """The last row of each key by time; the earlier in the arrays if equal."""
        order = np.lexsort((np.arange(keys.size), self.time if first else -self.time, keys))
        return self.at(order[np.diff(keys[order], prepend=-1) != 0])


def read(path: Path, columns: tuple[str, str, str]) -> Events:
    """Read a csv (also .gz) or Parquet file; `columns` name user, item and time. Rows without a user are left out."""
    parquet = path.suffix == ".parquet"
    table = pyarrow.parquet.read_table(path) if parquet else pyarrow.csv.read_csv(path)
    user, item, time = (table[name].combine_chunks() for name in columns)
    present = pc.and_(pc.is_valid(user), pc.is_valid(pc.cast(user, pa.string())))
    codes = [np.unique(part.filter(present).to_numpy(False), return_inverse=True)[1] for part in (user, item)]
    seconds = pc.cast(time.filter(present), pa.timestamp("s"), safe=False) if pa.types.is_temporal(time.type) else time
    return Events(codes[0], codes[1], pc.cast(seconds, pa.int64()).to_numpy(False))


def by_moment(events: Events, moment: int) -> tuple[Events, Events]:
    """Return train and test of global time, as the preparation makes them: of each pair the last row before the
    moment, of users with two of them, and the first row from it on, if its item is in train and its pair is not.
    """
    before, after = events.at(events.time < moment), events.at(events.time >= moment)
    train = before.last_of(_pair(before))
    train = train.at(np.bincount(train.user)[train.user] > 1)
    test = after.last_of(_pair(after), first=True)
    return train, test.at(np.isin(test.item, train.item) & ~np.isin(_pair(test), _pair(train)))


def last_out(events: Events, seed: int) -> tuple[Events, Events]:
    """Return train and test of leave-last-out: the last row of each user with two; a draw decides among equals."""
    rows = events.at(np.random.default_rng(seed).permutation(len(events)))
    rows = rows.last_of(_pair(rows))
    rows = rows.at(np.bincount(rows.user)[rows.user] > 1)
    rows = rows.at(np.random.default_rng(seed).permutation(len(rows)))
    test = rows.last_of(rows.user)
    train = rows.at(~np.isin(_pair(rows), _pair(test)))
    return train, test.at(np.isin(test.item, train.item))


def last_times_out(events: Events, seed: int) -> tuple[Events, Events]:
    """As last_out, but all rows of a user's last time are held out: a whole basket."""
    rows = events.last_of(_pair(events))
    last = np.zeros(rows.user.max() + 1, dtype=np.int64)
    np.maximum.at(last, rows.user, rows.time)
    is_last = rows.time == last[rows.user]
    has_more = np.isin(rows.user, rows.user[~is_last])
    train, test = rows.at(~is_last | ~has_more), rows.at(is_last & has_more)
    return train, test.at(np.isin(test.item, train.item))


def by_share(share: float, events: Events, seed: int) -> tuple[Events, Events]:
    """Return train and test of global time, with at least `share` of the rows for testing."""
    time = np.sort(events.time)
    return by_moment(events, int(time[len(time) - math.ceil(share * len(time))]))


def _pair(events: Events) -> NDArray[np.int64]:
    return (events.user << 32) + events.item


PROTOCOLS: dict[str, Callable[[Events, int], tuple[Events, Events]]] = {
    "leave-last-out": last_out,
    "all of the last time out": last_times_out,
    "global time, 5 %": partial(by_share, 0.05),
    "global time, 10 %": partial(by_share, 0.1),
}


def figures(train: Events, test: Events, later: Events, seed: int) -> NDArray[np.float64]:
    """Return for every model that is fitted to `train`: its NDCG on `test`, and on `later`, when it serves
    [models, 2].
    """
    users = np.unique(np.concatenate([train.user, test.user, later.user]))
    items = np.unique(np.concatenate([train.item, test.item, later.item]))
    tested = _evaluation(_dataset(train, test, users, items), seed)
    # A bundle hides test items too.
    served = _evaluation(_dataset(train.and_then(test), later, users, items), seed) if test is not later else tested
    found, age = [], train.time.max() - train.time
    for (name, options), (begin, length) in MODELS:
        is_learned = (age >= begin * DAY) & (age <= (math.inf if length is None else length * DAY))
        part, kind = _dataset(train.at(is_learned), test, users, items), kind_named(name)
        model = AsServed(kind.fit(part, kind.parameters.of(**options, seed=seed), Context()), part, tested.device)
        ndcg = float(tested.measure(model).full_gains.mean())
        found.append((ndcg, ndcg if served is tested else float(served.measure(model).full_gains.mean())))
    return np.array(found)


def _evaluation(dataset: Dataset, seed: int) -> Evaluation:
    chosen = draw(dataset.test, dataset, USERS, seed)
    return Evaluation(dataset, k=10, negatives=1, seed=seed, device="cpu", test=chosen)


def _dataset(train: Events, test: Events, users: NDArray[np.int64], items: NDArray[np.int64]) -> Dataset:
    def pairs(events: Events) -> Pairs:
        user, item = np.searchsorted(users, events.user), np.searchsorted(items, events.item)
        return Pairs.of(user, item, users.size, items.size)

    learned, nobody = pairs(train), np.full(users.size, -1)
    popularity = np.bincount(learned.item, minlength=items.size)
    names = ([str(user) for user in users], [str(item) for item in items])
    return Dataset(VERSION, "", *names, learned, pairs(test), popularity, nobody)


def compare(estimate: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[float, float]:
    """Return agreement and regret of `estimate` [models]. A tie in either is half an agreement."""
    pairs = combinations(range(truth.size), 2)
    signs = [np.sign(estimate[one] - estimate[other]) * np.sign(truth[one] - truth[other]) for one, other in pairs]
    return (float(np.mean(signs)) + 1) / 2, float(1 - truth[estimate.argmax()] / truth.max())


def at_moment(events: Events, moment: int, days: int, seed: int) -> NDArray[np.float64]:
    """Return for each protocol agreement, regret, served and test users [protocols, 4]."""
    history = events.at(events.time < moment)
    everything, later = by_moment(events.at(events.time < moment + days * DAY), moment)
    truth = figures(everything, later, later, seed)[:, 0]
    found = []
    for split in PROTOCOLS.values():
        train, test = split(history, seed)
        estimate, served = figures(train, test, later, seed).T
        best = served[estimate.argmax()] / truth.max()
        found.append((*compare(estimate, truth), best, np.unique(test.user).size))
    return np.array(found)


def moments(events: Events, number: int, days: int) -> list[int]:
    """Return `number` moments at equal numbers of interactions, the last one `days` before the latest interaction.

    Raises ValueError where the file is too short for that.
    """
    time = np.sort(events.time)
    last = int(np.searchsorted(time, time[-1] - days * DAY))
    first = int(FIRST_MOMENT * len(events))
    if last <= first:
        raise ValueError(f"{days} days before the last interaction are {last} of {len(events)} interactions, too few")
    return [int(time[place]) for place in np.linspace(first, last, number).astype(int)]


def table(path: Path, columns: tuple[str, str, str], number: int, days: int) -> Table:
    """Return agreement, regret and served of every protocol, over `number` moments of the file."""
    events = read(path, columns)
    found = np.array(
        [
            at_moment(events, moment, days, seed)
            for seed, moment in enumerate(track(moments(events, number, days), "protocol", transient=True))
        ]
    )  # [moments, protocols, 4]
    result = Table(title=f"{path.name}: {number} moments, truth of {days} days, {len(MODELS)} models")
    for column in ("protocol", "agreement", "more than by leave-last-out", "regret", "served", "test users"):
        result.add_column(column, justify="left" if column == "protocol" else "right")
    for place, name in enumerate(PROTOCOLS):
        agreement, regret, served, users = found[:, place].T
        more = _mean(agreement - found[:, 0, 0]) if place else ""
        result.add_row(name, _mean(agreement), more, _mean(regret), _mean(served), f"{users.mean():.0f}")
    return result


def _mean(shares: NDArray[np.float64]) -> str:
    return f"{shares.mean():.1%} ± {shares.std(ddof=1) / math.sqrt(shares.size):.1%}"
