"""The worth of a search of hyperparameters: NDCG on the test set as given, and with what the search chose.

Time is processor time, so that other work on the machine does not count; on a quiet machine with one thread it is the
time of `--search`. The search itself looks at train alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from ncf import dataset_files
from ncf.dataset import Dataset
from ncf.evaluation import Evaluation, standard_error
from ncf.interface import Context
from ncf.registry import kind_named
from training import search
from training.hyperparameters import Hyperparameters
from training.report import AsServed

K = 10


def table(folder: Path, models: Iterable[str], budget: str, seeds: int) -> Table:
    """Search for each model with each seed, and measure the result. Raises BrokenDataset and InvalidHyperparameter."""
    torch.set_num_threads(1)
    dataset = dataset_files.load(folder)
    found = Table(
        title=f"search of {budget} on {len(dataset.train):,} interactions, {dataset.split.protocol}; NDCG@{K}"
    )
    for heading in (
        "model",
        "seed",
        "trials",
        "failed",
        "as given",
        "best",
        "gain",
        "test as given",
        "test",
        "changed",
    ):
        found.add_column(heading)
    for model in models:
        for seed in range(1, seeds + 1):
            found.add_row(model, str(seed), *_row(dataset, model, budget, seed))
    return found


def _row(dataset: Dataset, model: str, budget: str, seed: int) -> list[str]:
    texts = {"model": model, "search": budget, "seed": str(seed), "code_version": "benchmark"}
    given = Hyperparameters.read(texts | {"dataset_version": dataset.version, "run_id": f"{dataset.version}-r1"})
    search.check(given)
    context = Context(warn=lambda message: None)
    chosen, report = search.best(given, dataset, context, lambda line: None, time.process_time)
    assert report is not None
    before = _test(dataset, given)
    after = before if chosen == given else _test(dataset, chosen)
    gain = report["gain"]
    return [
        str(report["trials"]),
        str(report["failed"]),
        *(f"{report[name]:.4f}" if report[name] is not None else "" for name in ("given", "best")),
        f"{gain['mean']:+.4f} ± {gain['standardError']:.4f}" if report["parameters"] and gain else "",
        f"{before.mean():.4f}",
        f"{after.mean():.4f} ({(after - before).mean():+.4f} ± {standard_error(after - before):.4f})",
        " ".join(f"{name}={text}" for name, text in report["parameters"].items()) or "nothing",
    ]


def _test(dataset: Dataset, hyperparameters: Hyperparameters) -> NDArray[np.float64]:
    """Return the NDCG of each test user."""
    device = torch.device("cpu")
    model = kind_named(hyperparameters.model).fit(dataset, hyperparameters.chosen, Context(warn=lambda message: None))
    evaluation = Evaluation(dataset, k=K, negatives=1, seed=1, device=device)
    return evaluation.measure(AsServed(model, dataset, device)).full_gains
