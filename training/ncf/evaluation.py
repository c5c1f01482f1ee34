"""Evaluation by leave-last-out: each test user's held-out item is ranked among items they never interacted with.

Two protocols, both with HR@k and NDCG@k (one relevant item, so NDCG = 1 / log2(rank + 2), rank from 0):

- *sampled*, as in He et al. 2017: among `negatives` items drawn with a seed from those that the user has in neither
  train nor test;
- *full*: among the whole catalogue, without the user's items in train.

Nothing is given away: an item whose score equals the held-out item's is ranked above it, as is one whose score is not
finite; a held-out item whose own score is not finite is a miss. Every scorer is asked about the same users and the same
negatives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ncf.bundle import Bundle
from ncf.data import Dataset
from ncf.model import Recommender
from ncf.sampling import NegativeSampler

CONFIDENCE = 0.95
RESAMPLES = 1000
# Scores of a catalogue are made for as many users at a time as fit in this many floats (64 MiB).
_FLOATS = 1 << 24
LAST = torch.finfo(torch.float32).min
"""The score of an item that a scorer does not know: finite, and below every score of an item it knows."""


class Scorer(Protocol):
    """Gives scores to a dataset's items; greater is better. Indices are the dataset's, tensors on the given device."""

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        """Scores of `items` [users, n] for `users` [users]: [users, n]."""

    def catalogue(self, users: Tensor) -> Tensor:
        """Scores of every item for `users` [users]: [users, items], which the caller may overwrite."""


class ModelScorer:
    """A model trained on this dataset."""

    def __init__(self, model: Recommender) -> None:
        self._model = model

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        return self._model(users[:, None].expand_as(items), items)  # [users, n]

    def catalogue(self, users: Tensor) -> Tensor:
        return self._model.catalogue(users)  # [users, items]


class PopularityScorer:
    """The same scores for everyone: interactions in train."""

    def __init__(self, popularity: NDArray[np.int64], device: torch.device) -> None:
        self._scores = torch.as_tensor(popularity, dtype=torch.float64, device=device)  # [items]

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        return self._scores[items]  # [users, n]

    def catalogue(self, users: Tensor) -> Tensor:
        return self._scores.repeat(users.shape[0], 1)  # [users, items]


class IncumbentScorer:
    """A bundle trained on another dataset version, as it would serve this dataset's users.

    Ids are matched by string. A user it does not know gets its popular items; an item it does not know ranks last.
    """

    def __init__(self, bundle: Bundle, user_ids: list[str], item_ids: list[str], device: torch.device) -> None:
        self._model = bundle.model.to(device)
        known = {user: index for user, index in bundle.user_index.items() if bundle.seen(index).size}
        self._user = torch.tensor([known.get(user, -1) for user in user_ids], device=device)  # [users]
        self._item = torch.tensor([bundle.item_index.get(item, -1) for item in item_ids], device=device)  # [items]
        self._popularity = torch.as_tensor(bundle.popularity, dtype=torch.float32, device=device)  # [its items]

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        own_users, own_items = self._user[users], self._item[items]
        at = own_items.clamp(min=0)
        scores = self._model(own_users.clamp(min=0)[:, None].expand_as(at), at)
        return self._complete(scores, self._popularity[at], own_users, own_items)  # [users, n]

    def catalogue(self, users: Tensor) -> Tensor:
        own_users, at = self._user[users], self._item.clamp(min=0)
        scores = self._model.catalogue(own_users.clamp(min=0))[:, at]
        return self._complete(scores, self._popularity[at].expand_as(scores), own_users, self._item)  # [users, items]

    @staticmethod
    def _complete(scores: Tensor, popular: Tensor, own_users: Tensor, own_items: Tensor) -> Tensor:
        scores = torch.where(own_users[:, None] >= 0, scores, popular)
        return torch.where(own_items >= 0, scores, LAST)


@dataclass(frozen=True)
class Outcome:
    """What one scorer achieved, user by user, in the order of the test set."""

    sampled_hits: NDArray[np.float64]  # [test users]
    sampled_gains: NDArray[np.float64]  # [test users]
    full_hits: NDArray[np.float64]  # [test users]
    full_gains: NDArray[np.float64]  # [test users]
    coverage: float
    """Share of the catalogue that is in at least one test user's first k (items in train excluded)."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "sampled": {"hitRate": float(self.sampled_hits.mean()), "ndcg": float(self.sampled_gains.mean())},
            "full": {"hitRate": float(self.full_hits.mean()), "ndcg": float(self.full_gains.mean())},
            "coverage": self.coverage,
        }


class Evaluation:
    """One test set with its negatives, drawn once from `seed`: what every scorer is measured on."""

    def __init__(self, dataset: Dataset, *, k: int, negatives: int, seed: int, device: torch.device | str) -> None:
        self.k, self.negatives, self.seed = k, negatives, seed
        self.device = torch.device(device)
        self._dataset = dataset
        self._users = torch.as_tensor(dataset.test.user, device=self.device)  # [test users]
        self._held_out = torch.as_tensor(dataset.test.item, device=self.device)  # [test users]
        # On the CPU whatever the device: the same seed must draw the same negatives everywhere.
        sampler = NegativeSampler(dataset.everything(), dataset.items)
        generator = torch.Generator().manual_seed(seed)
        drawn = sampler.draw_distinct(torch.as_tensor(dataset.test.user), negatives, generator)
        self._fewest = int((drawn >= 0).sum(dim=1).min())
        self._negatives = drawn.to(self.device)  # [test users, negatives], -1 where there are no more

    def protocol(self) -> dict[str, Any]:
        return {
            "split": "leave-last-out",
            "k": self.k,
            "negatives": self.negatives,
            "fewestNegatives": self._fewest,
            "seed": self.seed,
            "ties": "against",
            "testUsers": len(self._dataset.test),
            "fullCatalogue": "seen items excluded",
            "epoch": "last",
        }

    @torch.inference_mode()
    def measure(self, scorer: Scorer) -> Outcome:
        sampled = self._sampled_ranks(scorer)
        full, coverage = self._full_ranks(scorer)
        return Outcome(*hits_and_gains(sampled, self.k), *hits_and_gains(full, self.k), coverage)

    def _sampled_ranks(self, scorer: Scorer) -> Tensor:
        ranks = []
        at_once = max(1, _FLOATS // (64 * (self.negatives + 1)))
        for users, held_out, negatives in zip(
            self._users.split(at_once), self._held_out.split(at_once), self._negatives.split(at_once), strict=True
        ):
            scores = scorer.pairs(users, torch.cat([held_out[:, None], negatives.clamp(min=0)], dim=1))
            ranks.append(ranks_against(scores[:, 0], scores[:, 1:], counted=negatives >= 0))
        return torch.cat(ranks)  # [test users]

    def _full_ranks(self, scorer: Scorer) -> tuple[Tensor, float]:
        items, train = self._dataset.items, self._dataset.train
        covered = torch.zeros(items, dtype=torch.bool, device=self.device)
        ranks = []
        for users, held_out in zip(
            self._users.split(max(1, _FLOATS // items)), self._held_out.split(max(1, _FLOATS // items)), strict=True
        ):
            scores = scorer.catalogue(users)  # [chunk, items]
            counted = torch.ones(scores.shape, dtype=torch.bool, device=self.device)
            rows = users.cpu().numpy()
            lengths = train.indptr[rows + 1] - train.indptr[rows]
            seen = np.concatenate([train.item[train.indptr[user] : train.indptr[user + 1]] for user in rows])
            counted[
                torch.as_tensor(np.repeat(np.arange(rows.size), lengths), device=self.device),
                torch.as_tensor(seen, device=self.device),
            ] = False
            listed = torch.where(counted & torch.isfinite(scores), scores, -math.inf)
            best = listed.topk(min(self.k, items), dim=1)
            covered[best.indices[best.values > -math.inf]] = True
            counted.scatter_(1, held_out[:, None], False)
            ranks.append(ranks_against(scores.gather(1, held_out[:, None]).squeeze(1), scores, counted))
        return torch.cat(ranks), float(covered.double().mean())


def ranks_against(held_out: Tensor, others: Tensor, counted: Tensor) -> Tensor:
    """Ranks (from 0) of `held_out` [users] among those of `others` [users, n] that are `counted` [users, n].

    Equal scores and scores that are not finite are ranked above it; if its own is not finite it comes after everything.
    """
    above = (others >= held_out[:, None]) | ~torch.isfinite(others)  # [users, n]
    ranks = (above & counted).sum(dim=1)  # [users]
    return torch.where(torch.isfinite(held_out), ranks, torch.iinfo(torch.int64).max)


def hits_and_gains(ranks: Tensor, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Per user: whether the rank is among the first k (HR@k), and 1 / log2(rank + 2) if so, else 0 (NDCG@k)."""
    hits = ranks < k
    gains = torch.where(hits, 1.0 / torch.log2(ranks.clamp(max=k).double() + 2.0), 0.0)
    return hits.double().cpu().numpy(), gains.cpu().numpy()


def difference(candidate: Outcome, incumbent: Outcome, seed: int) -> dict[str, Any]:
    """Candidate minus incumbent, user by user, with the interval of a paired bootstrap over users."""
    return {
        "sampledNdcg": bootstrap(candidate.sampled_gains - incumbent.sampled_gains, seed),
        "sampledHitRate": bootstrap(candidate.sampled_hits - incumbent.sampled_hits, seed),
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
    }


def bootstrap(differences: NDArray[np.float64], seed: int) -> dict[str, float]:
    """Mean of `differences` [users] and the percentile interval of its bootstrap distribution.

    A resample of n users is a multinomial draw over the distinct differences, of which there are at most a few hundred:
    the same distribution as drawing n users with replacement, without n draws.
    """
    values, counts = np.unique(differences, return_counts=True)
    size = differences.size
    resamples = np.random.default_rng(seed).multinomial(size, counts / size, size=RESAMPLES)  # [resamples, values]
    means = resamples @ values / size  # [resamples]
    lower, upper = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return {"mean": float(differences.mean()), "lower": float(lower), "upper": float(upper)}
