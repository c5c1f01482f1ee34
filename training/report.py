"""evaluation.json: the candidate beside the incumbent and the baselines, all on one test set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ncf.bundle import Bundle
from ncf.dataset import Dataset
from ncf.evaluation import Evaluation, Outcome, Scorer
from ncf.interface import Context
from ncf.models import als, ease, popularity
from ncf.registry import kind_named
from training.hyperparameters import Hyperparameters
from training.incumbent import IncumbentScorer

CONFIDENCE = 0.95
RESAMPLES = 1000


def evaluate(
    hyperparameters: Hyperparameters,
    dataset: Dataset,
    evaluation: Evaluation,
    candidate: Bundle,
    incumbent: Bundle | None,
) -> dict[str, Any]:
    """evaluation.json, but for `serving`: the training job fills it in once the bundle is in its place."""
    device = evaluation.device
    outcome = evaluation.measure(candidate.model.to(device))
    kind = kind_named(hyperparameters.model)
    report: dict[str, Any] = {
        "schemaVersion": "1.1",
        "runId": hyperparameters.run_id,
        "datasetVersion": hyperparameters.dataset_version,
        "codeVersion": hyperparameters.code_version,
        "protocol": evaluation.protocol(epoch=kind.epoch(hyperparameters.chosen)),
        "candidate": {"model": candidate.model.name, **outcome.to_dict()},
        "incumbent": None,
        "baselines": {
            name: evaluation.measure(scorer).to_dict() for name, scorer in _baselines(hyperparameters, dataset, device)
        },
        "difference": None,
        "serving": None,
    }
    if incumbent is not None:
        reigning = evaluation.measure(IncumbentScorer(incumbent, dataset.user_ids, dataset.item_ids, device))
        report["incumbent"] = {
            "runId": incumbent.run_id,
            "datasetVersion": incumbent.dataset_version,
            "model": incumbent.model.name,
            **reigning.to_dict(),
        }
        report["difference"] = difference(outcome, reigning, hyperparameters.seed)
    return report


def _baselines(
    hyperparameters: Hyperparameters, dataset: Dataset, device: torch.device
) -> Iterator[tuple[str, Scorer]]:
    """The simple models that the candidate is compared with; one is in memory at a time."""
    names = [popularity.NAME, ease.NAME if dataset.items <= ease.MAXIMUM_ITEMS else als.NAME]
    for name in names:
        if name == popularity.NAME or name != hyperparameters.model:
            yield name, kind_named(name).fit(dataset, hyperparameters.of(name), Context(device=device))


def better_baselines(report: dict[str, Any]) -> Iterator[str]:
    """A sentence for each baseline that ranks this test set better than the candidate does."""
    candidate = report["candidate"]
    for name, baseline in report["baselines"].items():
        for protocol, words in (("sampled", "NDCG"), ("full", "full-catalogue NDCG")):
            theirs, ours = baseline[protocol]["ndcg"], candidate[protocol]["ndcg"]
            if theirs > ours:
                yield f"note: {words} is {theirs:.4f} for the baseline {name}, {ours:.4f} for this {candidate['model']}"


def difference(candidate: Outcome, incumbent: Outcome, seed: int) -> dict[str, Any]:
    """Candidate minus incumbent, user by user, with the interval of a paired bootstrap over users."""
    return {
        "sampledNdcg": bootstrap(candidate.sampled_gains - incumbent.sampled_gains, seed),
        "sampledHitRate": bootstrap(candidate.sampled_hits - incumbent.sampled_hits, seed),
        "fullNdcg": bootstrap(candidate.full_gains - incumbent.full_gains, seed),
        "fullHitRate": bootstrap(candidate.full_hits - incumbent.full_hits, seed),
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
