"""Ranking of the whole catalogue for one user, in one thread: the server's scorer, compared with the plain model.

The plain model is `ncf.ranking.rank`, which defines the answers of golden requests; it runs the network for every item.
Both answer the same requests in turn, so other load on the machine affects both.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from rich.table import Table

from ncf import bundle as bundles
from ncf.network import Architecture, Recommender
from ncf.ranking import rank
from ncf.recent import Recent, WithRecent
from serving.invocation import from_document
from serving.scorer import Scorer

USERS, SEEN, REQUESTS = 200, 50, 60
VERSION = "v20260101t000000z-00000000"
CASES = [
    (items, factors, layers) for items in (3_706, 37_060) for factors, layers in ((8, (32, 16, 8)), (32, (64, 32, 16)))
]


def bundle_of(
    items: int,
    factors: int,
    layers: tuple[int, ...],
    directory: Path,
    users: int = USERS,
    recent: Recent | None = None,
) -> bundles.Bundle:
    """Write and load a NeuMF bundle with random weights: the time of ranking does not depend on the weights."""
    random = np.random.default_rng(items)
    architecture = Architecture("neumf", factors, layers)
    model = Recommender(architecture, users, items).eval()
    generator = torch.Generator().manual_seed(items)
    model.reset_parameters(generator)
    tower: Any
    for tower in model.towers:  # large enough for different logits, as in a trained model
        for embedding in (tower.user, tower.item):
            torch.nn.init.normal_(embedding.weight, 0.0, 0.3, generator=generator)
    gaps = random.integers(1, items // SEEN + 1, (users, SEEN), dtype=np.int32)
    seen = np.cumsum(gaps, axis=1, dtype=np.int32) - 1  # sorted and distinct within each user
    bundles.write(
        directory,
        model=model if recent is None else WithRecent(model, recent),
        user_ids=[f"u{user}" for user in range(users)],
        item_ids=[f"i{item}" for item in range(items)],
        seen_indptr=np.arange(0, users * SEEN + 1, SEEN, dtype=np.int64),
        seen_indices=seen.ravel(),
        popularity=np.bincount(seen.ravel(), minlength=items).astype(np.int64),
        run_id=f"{VERSION}-r1",
        dataset_version=VERSION,
        code_version="benchmark",
        golden=lambda bundle: [
            {"request": request, "response": rank(bundle, request)}
            for request in (
                {"userId": "u0", "numResults": 10, "excludeSeen": True},
                {"userId": "u1", "candidates": ["i0", "i1"], "excludeSeen": False},
                {"userId": "nobody", "numResults": 5},
            )
        ],
    )
    return bundles.load(directory)


def milliseconds(call: Callable[..., Any], *arguments: Any) -> float:
    started = time.perf_counter()
    call(*arguments)
    return (time.perf_counter() - started) * 1000


def table() -> Table:
    """Return a table with one row per case: the medians over the requests, and the ratio."""
    torch.set_num_threads(1)
    result = Table(title=f"Top 10 of the whole catalogue, NeuMF, one thread, median of {REQUESTS} requests")
    for heading in ("items", "factors", "MLP", "plain model ms", "scorer ms", "ratio"):
        result.add_column(heading, justify="right")
    for items, factors, layers in track(CASES, "scoring", transient=True):
        with tempfile.TemporaryDirectory() as folder:
            bundle = bundle_of(items, factors, layers, Path(folder))
        scorer = Scorer(bundle)
        plain, ours = [], []
        for request in range(REQUESTS):
            body = {"userId": f"u{request % USERS}", "numResults": 10, "excludeSeen": True}
            plain.append(milliseconds(rank, bundle, body))
            ours.append(milliseconds(scorer.answer, from_document(body)))
        before, after = statistics.median(plain), statistics.median(ours)
        widths = "-".join(str(width) for width in layers)
        result.add_row(f"{items:,}", str(factors), widths, f"{before:.2f}", f"{after:.2f}", f"{before / after:.1f}x")
    return result
