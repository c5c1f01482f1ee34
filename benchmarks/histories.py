"""What a person's last items cost in an answer: the server's scorer with the recent part and without, in one thread.

Both models are the same but for the part (`ncf/recent.py`), and answer the same requests in turn.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from rich.table import Table
from torch import Tensor

from benchmarks.scoring import USERS, bundle_of, milliseconds
from ncf.neighbours import LAST_ITEMS
from ncf.recent import Recent
from serving.invocation import from_document
from serving.scorer import Scorer

REQUESTS, NEIGHBOURS, HISTORY = 300, 100, 50
CASES = [(items, factors, layers) for items in (3_706, 100_000) for factors, layers in ((8, (32, 16, 8)),)]


def recent_part(users: int, items: int, generator: torch.Generator) -> Recent:
    """Return a recent part of random numbers, with NEIGHBOURS neighbours an item and LAST_ITEMS items a user."""

    def whole(most: int, *size: int) -> Tensor:
        return torch.randint(most, size, generator=generator)

    later = torch.arange(LAST_ITEMS, dtype=torch.float32)
    return Recent(
        gain=0.1,  # scores stay below those whose order is found by a second pass
        neighbour_indptr=torch.arange(items + 1) * NEIGHBOURS,
        neighbours=whole(items, items * NEIGHBOURS).int(),
        weights=torch.rand(items * NEIGHBOURS, generator=generator),
        fading=1 / (later + 1),
        repeats=(later + 1).rsqrt(),
        prior=torch.rand(items, generator=generator),
        indptr=torch.arange(users + 1) * LAST_ITEMS,
        indices=whole(items, users * LAST_ITEMS).int(),
        later=torch.arange(LAST_ITEMS - 1, -1, -1).repeat(users).byte(),
        often=torch.ones(users * LAST_ITEMS),
    )


def table() -> Table:
    """Return a table with one row per case: medians over the requests, and the ratios."""
    torch.set_num_threads(1)
    result = Table(title=f"Top 10 of the whole catalogue, NeuMF, one thread, median of {REQUESTS} requests")
    for heading in ("items", "without µs", "last items µs", "ratio", f"and {HISTORY} of the request µs", "ratio"):
        result.add_column(heading, justify="right")
    for items, factors, layers in track(CASES, "histories", transient=True):
        generator = torch.Generator().manual_seed(items)
        with tempfile.TemporaryDirectory() as folder:
            without = Scorer(bundle_of(items, factors, layers, Path(folder)))
            recent = recent_part(USERS, items, generator)
            scorer = Scorer(bundle_of(items, factors, layers, Path(folder), recent=recent))
        chosen = torch.randint(items, (REQUESTS, HISTORY), generator=generator).tolist()
        times: tuple[list[float], ...] = ([], [], [])
        for request, own in enumerate(chosen):
            body: dict[str, Any] = {"userId": f"u{request % USERS}", "numResults": 10, "excludeSeen": True}
            history = [{"itemId": f"i{item}", "ageSeconds": HISTORY - place} for place, item in enumerate(own)]
            for kept, asked, extra in zip(
                times, (without, scorer, scorer), ({}, {}, {"history": history}), strict=True
            ):
                kept.append(milliseconds(lambda: asked.answer(from_document(body | extra))))  # noqa: B023
        plain, last, fresh = (1000 * statistics.median(kept) for kept in times)
        shown = (f"{plain:.0f}", f"{last:.0f}", f"{last / plain:.2f}", f"{fresh:.0f}", f"{fresh / plain:.2f}")
        result.add_row(f"{items:,}", *shown)
    return result
