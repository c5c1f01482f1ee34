"""Evaluation: each held-out item of a test user is ranked among items that the user does not have in train.

Two protocols, both with HR@k and NDCG@k:

- *full*: the held-out items are ranked among the whole catalogue without the user's items in train. A user is a hit if
  one of them is in the first k. NDCG is that of binary relevance (Järvelin and Kekäläinen 2002): the sum of
  1 / log2(rank + 2), rank from 0, over the first k, divided by its greatest possible value;
- *sampled*, as in He et al. 2017: each held-out item is ranked among `negatives` items, drawn with a seed from the
  items that some user has and that this user has in neither train nor test. A user's figures are the means over their
  held-out items. These figures depend on the draw and favour popular items (Krichene and Rendle 2020).

With one held-out item, NDCG is 1 / log2(rank + 2) in both.

Ties count against the model: an item with the held-out item's score ranks above it, and so does an item whose score is
not finite; a held-out item whose own score is not finite is a miss. Every scorer gets the same users and negatives.

The figures are also given for slices of the test users (`slices_of`), because users and items with many interactions
dominate a mean over all of them. The slice WITH_REPEATS is a test of its own: its held-out items may be in the user's
train, so the user's items are ranked too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ncf.dataset import Dataset, Pairs
from ncf.sampling import NegativeSampler

NEW_USER_INTERACTIONS = 5
"""Maximum number of interactions in train of a test user in the slice `newUsers`."""
HEAVY_USERS_ONE_IN = 10
"""The slice `heavyUsers` has one test user in 10, rounded up."""
TAIL_PERCENT = 20
"""The tail is the least popular items: together they have at most this percentage of the interactions in train."""
WITH_REPEATS = "withRepeats"
"""The slice of users with a held-out item, among those that they had before and the others."""
MISS = torch.iinfo(torch.int64).max
"""The rank of a held-out item whose score is not finite."""
# Users are scored in chunks of at most this many floats: 4 MiB stay in the cache.
_FLOATS = 1 << 20
# Negatives are drawn for at most this many held-out pairs at once.
_PAIRS_AT_ONCE = 20_000


ByUser = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""The figures of each user [users]: sampled hits and gains, and full hits and gains."""


class Scorer(Protocol):
    """A scorer gives each item of a dataset a score for a user: a float of any precision, greater is better.

    Every model is a scorer. Indices are those of the dataset, int64, on the evaluation's device.
    """

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        """Scores of `items` [users, n] for `users` [users]: [users, n]."""

    def catalogue(self, users: Tensor) -> Tensor:
        """Scores of every item for `users` [users]: [users, items], which the caller may overwrite."""


@dataclass(frozen=True)
class Outcome:
    """The result of one scorer for each test user, in ascending order of their indices."""

    sampled_hits: NDArray[np.float64]  # [test users]
    sampled_gains: NDArray[np.float64]  # [test users]
    full_hits: NDArray[np.float64]  # [test users]
    full_gains: NDArray[np.float64]  # [test users]
    coverage: float
    """Share of the catalogue that is in the top k of at least one test user (without the user's items in train)."""
    exposure: float
    """Share of the test users who have the most recommended item in their top k."""
    slices: Mapping[str, ByUser]
    """The same four arrays for the users of each slice; at least one user."""

    def by_user(self) -> ByUser:
        """Return the figures of each user, in the order of FIGURES."""
        return self.sampled_hits, self.sampled_gains, self.full_hits, self.full_gains

    def to_dict(self) -> dict[str, Any]:
        """Return the figures of one model as in evaluation.json."""
        errors = {name: standard_error(part) for name, part in zip(FIGURES, self.by_user(), strict=True)}
        return {
            **_figures(*self.by_user()),
            "standardErrors": errors,
            "coverage": self.coverage,
            "largestExposure": self.exposure,
            "slices": {name: {"users": parts[0].size, **_figures(*parts)} for name, parts in self.slices.items()},
        }


FIGURES = ("sampledHitRate", "sampledNdcg", "fullHitRate", "fullNdcg")
"""The names of the figures that are means over test users, in the order of Outcome's first fields."""


def standard_error(values: NDArray[np.float64]) -> float:
    """Return the standard error of the mean of `values` [users]: 0 for a single user, about whom it says nothing."""
    return float(values.std(ddof=1) / math.sqrt(values.size)) if values.size > 1 else 0.0


class Evaluation:
    """One test set and its negatives, drawn once from `seed`. Every scorer is measured on it."""

    def __init__(
        self,
        dataset: Dataset,
        *,
        k: int,
        negatives: int,
        seed: int,
        device: torch.device | str,
        test: Pairs | None = None,
        given: Tensor | None = None,
        with_repeats: Pairs | None = None,
        rank_seen: bool = False,
    ) -> None:
        """`test`: the held-out pairs to measure on, by default all of the dataset's. `given`: the negatives, instead of
        drawn ones, [held-out pairs, negatives], -1 where there are fewer. `with_repeats`: held-out pairs of which some
        are in train, for the slice WITH_REPEATS. `rank_seen`: the user's items in train are ranked too.
        """
        self.k, self.negatives, self.seed = k, negatives, seed
        self.device = torch.device(device)
        self._dataset, self._test = dataset, dataset.test if test is None else test
        users, row = np.unique(self._test.user, return_inverse=True)
        self._row = row  # [held-out pairs], the position of the pair's user among the test users
        self._begin = np.searchsorted(row, np.arange(users.size + 1)).tolist()  # of each test user's pairs
        self._users = torch.as_tensor(users, device=self.device)  # [test users]
        self._pair_users = torch.as_tensor(self._test.user, device=self.device)  # [held-out pairs]
        self._held_out = torch.as_tensor(self._test.item, device=self.device)  # [held-out pairs]
        drawn = given if given is not None else self._draw_negatives()
        self._fewest = int((drawn >= 0).sum(dim=1).min())
        self._negatives = drawn.to(self.device)  # [held-out pairs, negatives], -1 where there are no more
        nothing = np.empty(0, np.int64), np.zeros(users.size + 1, np.int64)
        cells, begin = nothing if rank_seen else _seen_cells(dataset, users)
        self._seen_cells = torch.as_tensor(cells, device=self.device)  # [interactions in train of test users]
        self._seen_begin = begin.tolist()
        self._slices = slices_of(dataset, self._test)
        self._with_repeats = None
        if with_repeats is not None and len(with_repeats):
            self._with_repeats = Evaluation(
                dataset, k=k, negatives=negatives, seed=seed, device=device, test=with_repeats, rank_seen=True
            )

    def _draw_negatives(self) -> Tensor:
        """Draw negatives from the items that some user has.

        The catalogue keeps ids without any interaction. Compared with such items, every model looks good.
        """
        both, items = (self._dataset.train, self._dataset.test), self._dataset.items
        in_train, in_test = (np.bincount(part.item, minlength=items) for part in both)
        alive = np.flatnonzero(in_train + in_test)  # [items with an interaction]
        theirs = [_of_users(part, self._test.user, self._dataset.users) for part in both]
        user, item = (np.concatenate(arrays) for arrays in zip(*theirs, strict=True))
        known = Pairs.of(user, np.searchsorted(alive, item), self._dataset.users, alive.size)
        # Always on the CPU: the same seed must draw the same negatives on every device.
        generator = torch.Generator().manual_seed(self.seed)
        sampler, index = NegativeSampler(known, alive.size), torch.as_tensor(alive.astype(np.int32))
        parts = []
        for users in torch.as_tensor(self._test.user).split(_PAIRS_AT_ONCE):
            drawn = sampler.draw_distinct(users, self.negatives, generator)
            parts.append(torch.where(drawn >= 0, index[drawn.clamp(min=0)], -1))
        return torch.cat(parts)

    def protocol(self, *, epoch: str = "last") -> dict[str, Any]:
        """Return `protocol` of evaluation.json. `epoch` names the epoch of the candidate, declared before training."""
        return {
            "split": self._dataset.split.protocol,
            "moment": self._dataset.split.moment,
            "k": self.k,
            "negatives": self.negatives,
            "fewestNegatives": self._fewest,
            "seed": self.seed,
            "ties": "against",
            "testUsers": len(self._users),
            "fullCatalogue": "seen items excluded",
            "epoch": epoch,
            "tiedInteractions": self._dataset.history.tied_share,
            "repeats": self._with_repeats.repeats if self._with_repeats else 0,
        }

    @property
    def repeats(self) -> int:
        """The number of held-out pairs that are in train."""
        train, items = self._dataset.train, self._dataset.items
        user, item = _of_users(train, self._test.user, self._dataset.users)
        return int(np.isin(self._test.user * items + self._test.item, user * items + item).sum())

    @torch.inference_mode()
    def measure(self, scorer: Scorer) -> Outcome:
        """Rank the held-out items of every test user by the scores of `scorer`, by both protocols."""
        sampled = hits_and_gains(self._sampled_ranks(scorer), self.k)
        ranks, listed = self._full_ranks(scorer)
        full = hits_and_gains(ranks, self.k)

        def by_user(chosen: NDArray[np.bool_]) -> ByUser:
            """Return sampled hits and gains, and full hits and gains, of the users of the `chosen` pairs."""
            row = self._row[chosen]
            first = np.flatnonzero(np.diff(row, prepend=-1))
            pairs = np.diff(first, append=row.size)  # [users], the number of chosen pairs of each
            sampled_means = [np.add.reduceat(part[chosen], first) / pairs for part in sampled]
            best = np.cumsum(1.0 / np.log2(np.arange(self.k) + 2.0))[np.minimum(pairs, self.k) - 1]
            hits, gains = (part[chosen] for part in full)
            means = (sampled_means[0], sampled_means[1])
            return *means, np.maximum.reduceat(hits, first), np.add.reduceat(gains, first) / best

        slices = {name: by_user(chosen) for name, chosen in self._slices.items()}
        if self._with_repeats:
            slices[WITH_REPEATS] = self._with_repeats.measure(scorer).by_user()
        return Outcome(
            *by_user(np.ones(self._row.size, dtype=bool)),
            coverage=float((listed > 0).double().mean()),
            exposure=int(listed.max()) / len(self._users),
            slices=slices,
        )

    def _sampled_ranks(self, scorer: Scorer) -> Tensor:
        ranks = []
        # A scorer may need 64 floats for each pair.
        for chunk in _chunks(len(self._test), 64 * (self.negatives + 1)):
            negatives, is_drawn = self._negatives[chunk].long().clamp(min=0), self._negatives[chunk] >= 0
            scores = scorer.pairs(self._pair_users[chunk], torch.cat([self._held_out[chunk, None], negatives], dim=1))
            others = scores[:, 1:].masked_fill(~is_drawn, math.nan)  # [chunk, negatives]
            ranks.append(ranks_against(scores[:, 0], others, is_drawn.sum(dim=1)))
        return torch.cat(ranks)  # [held-out pairs]

    def _full_ranks(self, scorer: Scorer) -> tuple[Tensor, Tensor]:
        """Return the ranks of the held-out items [held-out pairs], k or more where they are not below k, and for each
        item the number of test users who have it in their top k [items].
        """
        items = self._dataset.items
        ranks = torch.empty(len(self._test), dtype=torch.int64, device=self.device)
        listed = torch.zeros(items, dtype=torch.int64, device=self.device)
        for chunk in _chunks(len(self._users), items):
            scores = scorer.catalogue(self._users[chunk]).contiguous()  # [chunk, items]
            pairs = slice(self._begin[chunk.start], self._begin[chunk.stop])
            rows = torch.as_tensor(self._row[pairs] - chunk.start, device=self.device)
            held_out = scores[rows, self._held_out[pairs]]
            seen = self._seen_cells[self._seen_begin[chunk.start] : self._seen_begin[chunk.stop]]
            scores.nan_to_num_(math.inf, math.inf, math.inf).view(-1).index_fill_(
                0, seen - chunk.start * items, -math.inf
            )
            # The first k + 1 decide whether fewer than k items have at least the score of a held-out one.
            best = scores.topk(min(self.k + 1, items), dim=1)
            above = (best.values[rows] >= held_out[:, None]).sum(dim=1) - 1
            ranks[pairs] = torch.where(torch.isfinite(held_out), above, MISS)
            if bool((best.values[:, 0] == math.inf).any()):
                best = scores.masked_fill_(scores == math.inf, -math.inf).topk(min(self.k, items), dim=1)
            is_listed = best.values[:, : self.k] > -math.inf
            listed += torch.bincount(best.indices[:, : self.k][is_listed], minlength=items)
        return ranks, listed


def _figures(
    sampled_hits: NDArray[np.float64],
    sampled_gains: NDArray[np.float64],
    full_hits: NDArray[np.float64],
    full_gains: NDArray[np.float64],
) -> dict[str, dict[str, float]]:
    return {
        "sampled": {"hitRate": float(sampled_hits.mean()), "ndcg": float(sampled_gains.mean())},
        "full": {"hitRate": float(full_hits.mean()), "ndcg": float(full_gains.mean())},
    }


def _chunks(rows: int, floats: int) -> Iterator[slice]:
    """Yield `rows` rows in chunks that fit in _FLOATS, if one row needs `floats` floats."""
    size = max(1, _FLOATS // floats)
    for begin in range(0, rows, size):
        yield slice(begin, min(begin + size, rows))


def _of_users(pairs: Pairs, users: NDArray[np.int64], number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return user and item of the pairs of `users`, of `number` users in all. The sample is small, the dataset is not:
    nothing else of an evaluation may need more than a byte a pair.
    """
    is_chosen = np.zeros(number, dtype=bool)
    is_chosen[users] = True
    rows = np.flatnonzero(is_chosen[pairs.user])
    return pairs.user[rows], pairs.item[rows]


def _seen_cells(dataset: Dataset, users: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the cells of a matrix [users, items] whose item the user has in train.

    A cell is row × items + item. The cells are ascending; the second array is the begin of each row among them
    [users + 1].
    """
    train = dataset.train
    user, item = _of_users(train, users, dataset.users)
    cells = np.searchsorted(users, user) * dataset.items + item
    return cells, np.concatenate([[0], np.cumsum(train.indptr[users + 1] - train.indptr[users])])


def slices_of(dataset: Dataset, test: Pairs) -> dict[str, NDArray[np.bool_]]:
    """Return a mask of the held-out pairs for each slice [held-out pairs]; empty slices are omitted.

    - `unknownUsers`: the user has no interaction in train, which happens in a test by time;
    - `knownUsers`: the user has one, if others have none;
    - `newUsers`: the user has at most NEW_USER_INTERACTIONS interactions in train (an item counts once);
    - `heavyUsers`: the user is in the tenth of the test users, rounded up, with most interactions in train; ties by
      index;
    - `headItems`: the held-out item is in the head, the smallest set of most popular items (ties by index) that has at
      least 100 - TAIL_PERCENT per cent of the interactions in train;
    - `tailItems`: the held-out item is in the tail, which is the rest of the catalogue;
    - `newItems`: nobody has the held-out item in train. They are in the tail too.
    """
    users, popularity = np.unique(test.user), dataset.popularity
    interactions = dataset.train.indptr[users + 1] - dataset.train.indptr[users]  # [test users]
    heaviest = users[np.argsort(-interactions, kind="stable")[: math.ceil(users.size / HEAVY_USERS_ONE_IN)]]

    most_popular = np.argsort(-popularity, kind="stable")  # [items]
    more_popular = np.cumsum(popularity[most_popular]) - popularity[most_popular]  # interactions of the items before
    head = most_popular[more_popular * 100 < (100 - TAIL_PERCENT) * popularity.sum()]
    in_head = np.isin(test.item, head)  # [held-out pairs]

    unknown = np.isin(test.user, users[interactions == 0])
    slices = {
        "unknownUsers": unknown,
        "knownUsers": ~unknown & unknown.any(),
        "newUsers": np.isin(test.user, users[interactions <= NEW_USER_INTERACTIONS]),
        "heavyUsers": np.isin(test.user, heaviest),
        "tailItems": ~in_head,
        "headItems": in_head,
        "newItems": popularity[test.item] == 0,
    }
    return {name: chosen for name, chosen in slices.items() if chosen.any()}


def ranks_against(held_out: Tensor, others: Tensor, number: Tensor) -> Tensor:
    """Return the ranks (from 0) of the scores `held_out` [users] among `number` [users] scores in `others` [users, n].

    A held-out item ranks above every item with a finite smaller score, and below all others. It is a MISS if its own
    score is not finite. An entry of `others` that does not count must be NaN or at least `held_out`, and must not be
    included in `number`.
    """
    finite = others.nan_to_num(math.nan, math.nan, math.nan)  # a comparison with NaN is false
    beaten = (finite < held_out[:, None]).sum(dim=1, dtype=torch.int32)  # [users]
    return torch.where(torch.isfinite(held_out), number - beaten, MISS)


def hits_and_gains(ranks: Tensor, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return HR@k and NDCG@k of each user: 1 and 1 / log2(rank + 2) if the rank is below k, else 0."""
    hits = ranks < k
    gains = torch.where(hits, 1.0 / torch.log2(ranks.clamp(max=k).double() + 2.0), 0.0)
    return hits.double().cpu().numpy(), gains.cpu().numpy()
