"""A dataset in memory: the interactions of each user, and the interactions held out as test set.

`ncf/dataset_files.py` reads it from files. This module needs only numpy, so models do not depend on pyarrow.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts import splits
from ncf.item_fields import ItemFields

RECENT_DAYS = (7, 30)
"""The last days of train whose popular items are baselines."""
VALIDATION_SHARE = 0.05
"""Share of train that `split_again` takes by global time, as a preparation does by default."""


class BrokenDataset(Exception):
    """The dataset differs from its manifest, or it has too little data. `file` names the file or folder at fault."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"dataset file {file}: {reason}")
        self.file = file
        self.reason = reason


@dataclass(frozen=True)
class Pairs:
    """Distinct (user, item) pairs, sorted by user and then by item. User u has the pairs indptr[u] to indptr[u + 1]."""

    user: NDArray[np.int64]  # [pairs]
    item: NDArray[np.int64]  # [pairs]
    indptr: NDArray[np.int64]  # [users + 1]

    @classmethod
    def of(cls, user: NDArray[Any], item: NDArray[Any], users: int, items: int) -> Pairs:
        """Make pairs from interactions in any order; repeated interactions count once."""
        keys = np.sort(user.astype(np.int64) * items + item)
        keys = keys[np.diff(keys, prepend=-1) > 0]  # like np.unique, which hashes and is many times slower
        user, item = np.divmod(keys, items)
        return cls(user, item, np.searchsorted(user, np.arange(users + 1)))

    @classmethod
    def none(cls, users: int = 0) -> Pairs:
        """No pair of `users` users."""
        return cls.of(np.empty(0, np.int64), np.empty(0, np.int64), users, items=1)

    def __len__(self) -> int:
        return self.user.size


@dataclass(frozen=True)
class Split:
    """How train and test were separated: `protocol` is one of `contracts.splits.PROTOCOLS`."""

    protocol: str = splits.LEAVE_LAST_OUT
    moment: int | None = None
    """By global time, epoch seconds: what is before is in train, and what is at or after it in test and repeats."""
    seed: int = splits.SEED
    """Seed of the draw among a user's interactions at the same time."""


@dataclass(frozen=True)
class History:
    """The items of each user in train in the order of time, oldest first; `train.indptr` divides them."""

    item: NDArray[np.int32]  # [pairs in train]
    is_tied: NDArray[np.bool_]  # [pairs in train], at the same time as the one before of the same user
    hour: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    """[pairs in train], hours since 1970; empty if they are not known."""

    @classmethod
    def unknown(cls, train: Pairs) -> History:
        """The history without times: all interactions of a user are at the same time."""
        return cls(train.item.astype(np.int32), np.diff(train.user, prepend=-1) == 0)

    def at(self, rows: NDArray[np.bool_]) -> History:
        """Return the history of some pairs."""
        visit = np.cumsum(~self.is_tied)[rows]
        return History(
            self.item[rows], np.diff(visit, prepend=0) == 0, self.hour[rows] if self.hour.size else self.hour
        )

    def recent(self, items: int) -> dict[int, NDArray[np.int64]]:
        """Return the interactions of each item in the last days [items], by the number of days; empty without times."""
        if not self.hour.size:
            return {}
        newest = self.hour.max()
        return {days: np.bincount(self.item[self.hour >= newest - days * 24], minlength=items) for days in RECENT_DAYS}

    @property
    def tied_share(self) -> float:
        """Share of the interactions at the same time as another one of the same user: their order is not known."""
        return float((self.is_tied | np.append(self.is_tied[1:], False)).mean())


@dataclass(frozen=True)
class Dataset:
    """A dataset version in memory. Indices are positions in `user_ids` and `item_ids`.

    Of timestamps, the order of each user's interactions is used, and what is recent, for baselines; the column of
    weights is not used. `events`, `worth` and `is_bought` tell what is known of each pair of `train`, in its order; a
    dataset that does not have them has 1, 1.0 and True.
    """

    version: str
    fingerprint: str
    """sha256 of manifest.json, which holds the sha256 of every file."""
    user_ids: list[str]
    item_ids: list[str]
    train: Pairs
    test: Pairs
    """No pair is in train. By leave-last-out at most one pair per user; by global time also of users without train."""
    popularity: NDArray[np.int64]  # [items], interactions in train
    latest: NDArray[np.int64]  # [users], item of the last interaction in train, -1 where there is none
    categories: list[list[str]] = field(default_factory=list)
    """The categories of each item, sorted; an empty list if no item has any."""
    split: Split = Split()
    repeats: Pairs = field(default_factory=Pairs.none)
    """By global time, the pairs in train that occur again at or after the moment; otherwise empty."""
    recent: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    """By number of days: [items], interactions in train that are at most so many days older than the newest one."""
    history: History = field(default_factory=lambda: History.unknown(Pairs.none()))

    parent_version: str | None = None
    """The version whose indices this one continues."""
    event_types: dict[str, int] = field(default_factory=dict)
    """Rows of the drop by event type; empty if the manifest does not tell them."""
    events: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    """[pairs in train], how many events of the pair in train were worth more than 0, at least 1."""
    worth: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    """[pairs in train], above 0: the sum of what these events are worth by type, value and age, less refunds."""
    is_bought: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    """[pairs in train], whether one of these events is a purchase."""
    withdrawn: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """The items that the shop no longer offers, sorted: models learn from them, and nobody is recommended them."""
    learned_until: int | None = None
    """Epoch seconds: every interaction in train is earlier. None: not known."""
    fields: ItemFields = field(default_factory=ItemFields)
    """Title, category and further columns of each item; without any, if the catalogue tells none."""

    def __post_init__(self) -> None:
        for name, known in (("events", 1), ("worth", 1.0), ("is_bought", True)):
            values = getattr(self, name)
            if not values.size:
                object.__setattr__(self, name, np.full(len(self.train), known, values.dtype))
            elif values.size != len(self.train):
                raise ValueError(f"{name} has {values.size} values, train has {len(self.train)} pairs")
        if not self.history.item.size:
            object.__setattr__(self, "history", History.unknown(self.train))
        if not len(self.repeats):
            object.__setattr__(self, "repeats", Pairs.none(self.users))

    @property
    def users(self) -> int:
        return len(self.user_ids)

    @property
    def items(self) -> int:
        return len(self.item_ids)

    @property
    def learned_items(self) -> int:
        """The number of items with interactions in train."""
        return int(np.count_nonzero(self.popularity))

    def everything(self) -> Pairs:
        """Return the pairs of train and test together."""
        return Pairs.of(
            np.concatenate([self.train.user, self.test.user]),
            np.concatenate([self.train.item, self.test.item]),
            self.users,
            self.items,
        )

    def everything_bought(self) -> NDArray[np.bool_]:
        """Return whether each pair of `everything` is a purchase. A pair that occurs after train counts as one, because
        it is not known of what kind that event was.
        """
        everything, learned = self.everything(), self.train.user * self.items + self.train.item
        later = self.repeats.user * self.items + self.repeats.item
        not_bought = np.setdiff1d(learned[~self.is_bought], later, assume_unique=True)
        return ~np.isin(everything.user * self.items + everything.item, not_bought, assume_unique=True)

    def validation(self, most_users: int | None = None) -> Dataset:
        """Return the dataset for early stopping: its test set is each user's last interaction in train, or that of
        `most_users` users drawn at random.

        It is leave-last-out for every protocol: the best epoch needs a fair comparison of epochs, not of moments.
        The real test set is not used. A user keeps their only interaction, and an item its only one, because nothing
        could be learned about them otherwise. Raises BrokenDataset if no user is left to validate on.
        """
        has_more = np.diff(self.train.indptr) > 1
        user = np.flatnonzero(has_more & (self.latest >= 0))
        item = self.latest[user]
        order = np.argsort(item, kind="stable")
        nth = np.arange(order.size) - np.searchsorted(item[order], item[order])  # earlier users with this last item
        kept = np.sort(order[nth < self.popularity[item[order]] - 1])
        if most_users is not None and kept.size > most_users:
            kept = np.sort(np.random.default_rng(self.split.seed).choice(kept, most_users, replace=False))
        user, item = user[kept], item[kept]
        if user.size == 0:
            raise BrokenDataset("train/", "has no user with an interaction to spare for validation: set patience to 0")
        return self._tested_on(user, item)

    def last_visits(self) -> Dataset:
        """Return the dataset with each user's interactions at their last time in train as its test set.

        It is like a test after a moment: nothing at the same time is known. A user with one time keeps all. The real
        test set is not used. Raises BrokenDataset if no user has two times.
        """
        begin = np.flatnonzero(~self.history.is_tied)  # [visits], the first interaction of each
        visit = np.cumsum(~self.history.is_tied) - 1  # [pairs in train]
        last = np.flatnonzero(np.diff(self.train.user[begin], append=-1) != 0)
        last = last[begin[last] > self.train.indptr[self.train.user[begin[last]]]]
        is_last = np.isin(visit, last)
        if not is_last.any():
            raise BrokenDataset("train/", "has no user with interactions at two times")
        return self._tested_on(self.train.user[is_last], self.history.item[is_last].astype(np.int64))

    def split_again(self) -> Dataset:
        """Return the dataset split by its own protocol once more: its test set is a part of train.

        By leave-last-out that is `validation`. By global time it is the newest VALIDATION_SHARE of train, of all users,
        new ones too, with the items that the rest has. A newest pair with several events may be a repeat, so it is in
        neither part. The real test set is not used. Raises BrokenDataset if nothing can be spared.
        """
        hour, count = self.history.hour, len(self.train)
        if self.split.protocol != splits.GLOBAL_TIME or not hour.size:
            cut = self.validation()
        else:
            place = count - math.ceil(VALIDATION_SHARE * count)
            moment = np.partition(hour, place)[place]
            if moment == hour.min():
                raise BrokenDataset("train/", "has one hour of interactions: there is nothing to spare for validation")
            late = hour >= moment
            user, item = self.train.user[late], self.history.item[late].astype(np.int64)
            cut = self._tested_on(user, item)
            keys = self.train.user * self.items + self.train.item
            once = self.events[np.searchsorted(keys, user * self.items + item)] == 1
            fair = once & (cut.popularity[item] > 0)
            if not fair.any():
                raise BrokenDataset("train/", "has no new pair of known items in its newest part to validate on")
            test = Pairs.of(user[fair], item[fair], self.users, self.items)
            cut = dataclasses.replace(
                cut, test=test, split=Split(splits.GLOBAL_TIME, int(moment) * 3600, self.split.seed)
            )
        return dataclasses.replace(cut, recent=cut.history.recent(self.items))

    def _tested_on(self, user: NDArray[np.int64], item: NDArray[np.int64]) -> Dataset:
        """Return the dataset with these pairs of train as its test set."""
        keys = self.train.user * self.items + self.train.item
        rest = ~np.isin(keys, user * self.items + item, assume_unique=True)
        train = Pairs.of(self.train.user[rest], self.train.item[rest], self.users, self.items)
        in_order = ~np.isin(self.train.user * self.items + self.history.item, user * self.items + item)
        history = self.history.at(in_order)
        latest = np.full(self.users, -1)
        latest[train.user] = history.item  # of equal indices, numpy keeps the last value
        return dataclasses.replace(
            self,
            train=train,
            test=Pairs.of(user, item, self.users, self.items),
            popularity=np.bincount(train.item, minlength=self.items),
            latest=latest,
            split=Split(seed=self.split.seed),
            repeats=Pairs.none(self.users),
            recent={},
            history=history,
            events=self.events[rest],
            worth=self.worth[rest],
            is_bought=self.is_bought[rest],
        )
