"""evaluation.json: the figures of the candidate, the incumbent and the baselines on the same test set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ncf.bundle import Bundle
from ncf.dataset import Dataset
from ncf.evaluation import FIGURES, ByUser, Evaluation, Outcome, Scorer, standard_error
from ncf.interface import Context
from ncf.models import als, cooccurrence, ease, popularity
from ncf.registry import kind_named
from training.hyperparameters import Hyperparameters
from training.incumbent import IncumbentScorer
from training.own_items import OwnItems

CONFIDENCE = 0.95
"""Confidence level of the bootstrap intervals."""
RESAMPLES = 1000
"""Number of bootstrap resamples."""


def evaluate(
    hyperparameters: Hyperparameters,
    dataset: Dataset,
    evaluation: Evaluation,
    candidate: Bundle,
    incumbent: Bundle | None,
    context: Context | None = None,
    machines: int = 1,
) -> dict[str, Any]:
    """Return evaluation.json without `serving`, which the training job adds after it has installed the bundle.

    Baselines use what the candidate's fit has computed in `context`.
    """
    device = evaluation.device
    outcome = evaluation.measure(AsServed(candidate.model.to(device), dataset, device))
    kind = kind_named(hyperparameters.model)
    report: dict[str, Any] = {
        "schemaVersion": "2.0",
        "runId": hyperparameters.run_id,
        "datasetVersion": hyperparameters.dataset_version,
        "codeVersion": hyperparameters.code_version,
        "bundleDigest": candidate.digest,
        "protocol": evaluation.protocol(epoch=kind.epoch(hyperparameters.chosen, dataset)),
        "candidate": {"model": candidate.model.name, **outcome.to_dict()},
        "incumbent": None,
        "baselines": {
            name: against(outcome, evaluation.measure(AsServed(scorer, dataset, device)))
            for name, scorer in baselines(hyperparameters, dataset, context or Context(device=device))
        },
        "difference": None,
        "device": device.type,
        "machines": machines,
        "serving": None,
    }
    if incumbent is not None:
        incumbent_outcome = evaluation.measure(IncumbentScorer(incumbent, dataset.user_ids, dataset.item_ids, device))
        report["incumbent"] = {
            "runId": incumbent.run_id,
            "datasetVersion": incumbent.dataset_version,
            "model": incumbent.model.name,
            **incumbent_outcome.to_dict(),
        }
        report["difference"] = difference(outcome, incumbent_outcome, hyperparameters.seed)
    return report


class AsServed:
    """The scores of a scorer as in service: a user without an interaction in train gets the popular items."""

    def __init__(self, scorer: Scorer, dataset: Dataset, device: torch.device) -> None:
        self._scorer = scorer
        self._is_unknown = torch.as_tensor(np.diff(dataset.train.indptr) == 0, device=device)  # [users]
        self._popularity = torch.as_tensor(dataset.popularity, dtype=torch.float32, device=device)  # [items]

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        return self._complete(users, self._scorer.pairs(users, items), self._popularity[items])

    def catalogue(self, users: Tensor) -> Tensor:
        return self._complete(users, self._scorer.catalogue(users), self._popularity)

    def _complete(self, users: Tensor, scores: Tensor, popular: Tensor) -> Tensor:
        is_unknown = self._is_unknown[users]
        if not is_unknown.any():
            return scores
        return torch.where(is_unknown[:, None], popular.to(scores.dtype), scores)


def baselines(hyperparameters: Hyperparameters, dataset: Dataset, context: Context) -> Iterator[tuple[str, Scorer]]:
    """Yield the baselines one by one, so that only one is in memory."""
    for days, counts in dataset.recent.items():
        # Where all of train is so recent, this is popularity itself.
        if not np.array_equal(counts, dataset.popularity):
            recent = replace(dataset, popularity=counts)
            yield f"{popularity.NAME}_{days}_days", popularity.fit(recent, context=context)
    linear = ease.NAME if dataset.learned_items <= ease.MAXIMUM_ITEMS else als.NAME
    for name in (popularity.NAME, linear, cooccurrence.NAME):
        yield name, kind_named(name).fit(dataset, hyperparameters.of(name), context)
    if len(dataset.repeats):
        yield OwnItems.name, OwnItems(dataset, context.device)


def against(candidate: Outcome, baseline: Outcome) -> dict[str, Any]:
    """Return a baseline's figures, and candidate minus baseline, paired by user."""
    return {**baseline.to_dict(), "difference": _means_and_errors(candidate.by_user(), baseline.by_user())}


def better_baselines(report: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence for each baseline with a better NDCG than the candidate."""
    candidate = report["candidate"]
    for name, baseline in report["baselines"].items():
        for protocol, words in (("sampled", "NDCG"), ("full", "full-catalogue NDCG")):
            theirs, ours = baseline[protocol]["ndcg"], candidate[protocol]["ndcg"]
            if theirs > ours:
                yield f"note: {words} is {theirs:.4f} for the baseline {name}, {ours:.4f} for this {candidate['model']}"


def difference(candidate: Outcome, incumbent: Outcome, seed: int) -> dict[str, Any]:
    """Return candidate minus incumbent, paired by user, with the interval of a bootstrap over users, and the same of
    each slice without the interval.
    """
    ours, theirs = candidate.by_user(), incumbent.by_user()
    slices = {name: _means_and_errors(candidate.slices[name], incumbent.slices[name]) for name in candidate.slices}
    return {
        **{figure: bootstrap(mine - other, seed) for figure, mine, other in zip(FIGURES, ours, theirs, strict=True)},
        "slices": slices,
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
    }


def _means_and_errors(ours: ByUser, theirs: ByUser) -> dict[str, dict[str, float]]:
    return {figure: _mean_and_error(mine - other) for figure, mine, other in zip(FIGURES, ours, theirs, strict=True)}


def _mean_and_error(differences: NDArray[np.float64]) -> dict[str, float]:
    return {"mean": float(differences.mean()), "standardError": standard_error(differences)}


def bootstrap(differences: NDArray[np.float64], seed: int) -> dict[str, float]:
    """Return the mean of `differences` [users], its standard error, and the percentile interval of its bootstrap
    distribution.

    There are at most a few hundred distinct differences. A resample of n users is one multinomial draw over them, with
    the same distribution as n draws of a user with replacement.
    """
    values, counts = np.unique(differences, return_counts=True)
    size = differences.size
    resamples = np.random.default_rng(seed).multinomial(size, counts / size, size=RESAMPLES)  # [resamples, values]
    means = resamples @ values / size  # [resamples]
    lower, upper = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return {**_mean_and_error(differences), "lower": float(lower), "upper": float(upper)}
