"""The people on whom a candidate, the incumbent and the baselines are compared.

A comparison is fair on a held-out pair that no model has learned. The candidate and the baselines learn from `train`,
which has none of them; the incumbent learned from an earlier dataset, in which the pair may have been in train: the
user has bought the item again since, or nobody else had the item then, so it could not be tested.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ncf.bundle import Bundle
from ncf.dataset import Dataset, Pairs

REPEATS_ONE_IN = 4


@dataclass(frozen=True)
class People:
    """The held-out pairs that are measured, and how many test users are left out for which reason."""

    test: Pairs
    with_test: int
    """Users with a held-out pair in the dataset."""
    learned_again: int
    """Users left out because the incumbent learned their pairs: they had the items before and came back to them."""
    learned_when_new: int
    """Users left out because the incumbent learned their pairs: the items were new then and could not be tested."""
    not_drawn: int
    """Users left out because the evaluation takes a sample."""
    fair: int
    """Users that are left: those of `test`, or 0 if the incumbent learned the pairs of everybody."""
    with_repeats: Pairs
    """The fair pairs and the dataset's repeats; empty if the dataset has no repeats. Its sample has one user in
    REPEATS_ONE_IN of the other one's size, because it is a second test of every model.
    """

    def to_dict(self) -> dict[str, int]:
        """Return `people` of evaluation.json."""
        return {
            "withTest": self.with_test,
            "learnedAgain": self.learned_again,
            "learnedWhenNew": self.learned_when_new,
            "notDrawn": self.not_drawn,
            "fair": self.fair,
        }


def choose(dataset: Dataset, incumbent: Bundle | None, size: int, seed: int) -> People:
    """Choose the held-out pairs to measure on: those that the incumbent has not learned, of at most `size` users.

    If the incumbent has learned all pairs, `test` has them all, so that the candidate's own figures are still known,
    and `fair` is 0: such figures compare nothing.
    """
    test = dataset.test
    learned = np.zeros(len(test), dtype=bool) if incumbent is None else _learned(dataset, incumbent)
    fair = _of(test, ~learned, dataset)
    everybody, left = np.unique(test.user), np.unique(fair.user)
    again, when_new = 0, 0
    if incumbent is not None:
        gone = np.setdiff1d(everybody, left, assume_unique=True)
        tested = set(incumbent.held_out_user.tolist())
        sizes = np.diff(incumbent.seen_indptr)
        own = [incumbent.user_index[dataset.user_ids[user]] for user in gone]
        when_new = sum(1 for user in own if user not in tested and sizes[user] > 1)
        again = gone.size - when_new
    chosen = fair if len(fair) else test
    drawn = draw(chosen, dataset, size, seed)
    together = Pairs.none(dataset.users)
    if len(dataset.repeats):
        together = draw(_united(chosen, dataset.repeats, dataset), dataset, math.ceil(size / REPEATS_ONE_IN), seed)
    return People(
        test=drawn,
        with_test=everybody.size,
        learned_again=again,
        learned_when_new=when_new,
        not_drawn=np.unique(chosen.user).size - np.unique(drawn.user).size,
        fair=np.unique(drawn.user).size if len(fair) else 0,
        with_repeats=together,
    )


def draw(test: Pairs, dataset: Dataset, size: int, seed: int) -> Pairs:
    """Return the pairs of `size` users of `test`, or `test` if it has no more.

    The sample is systematic: of the users in the order of their number of interactions in train (ties at random), every
    n-th from a random start. So light and heavy users have their shares in it, as in a stratified sample (Cochran,
    Sampling Techniques, chapter 8).
    """
    users = np.unique(test.user)
    if users.size <= size:
        return test
    random = np.random.default_rng(seed)
    shuffled = random.permutation(users)
    interactions = dataset.train.indptr[shuffled + 1] - dataset.train.indptr[shuffled]
    ordered = shuffled[np.argsort(interactions, kind="stable")]
    places = ((np.arange(size) + random.random()) * users.size / size).astype(np.int64)
    return _of(test, np.isin(test.user, ordered[places]), dataset)


def _learned(dataset: Dataset, incumbent: Bundle) -> NDArray[np.bool_]:
    """Return a mask of the held-out pairs that the incumbent was trained on [held-out pairs]."""
    test, items = dataset.test, len(incumbent.item_ids)
    users = np.array([incumbent.user_index.get(name, -1) for name in dataset.user_ids])[test.user]
    own = np.array([incumbent.item_index.get(name, -1) for name in dataset.item_ids])[test.item]
    return np.isin(users * items + own, incumbent.learned()) & (users >= 0) & (own >= 0)


def _united(test: Pairs, repeats: Pairs, dataset: Dataset) -> Pairs:
    return Pairs.of(
        np.concatenate([test.user, repeats.user]),
        np.concatenate([test.item, repeats.item]),
        dataset.users,
        dataset.items,
    )


def _of(test: Pairs, chosen: NDArray[np.bool_], dataset: Dataset) -> Pairs:
    return Pairs.of(test.user[chosen], test.item[chosen], dataset.users, dataset.items)
