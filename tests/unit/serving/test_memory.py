"""The memory of the server follows its formula; nothing else grows with users, items or interactions."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.histories import NEIGHBOURS, recent_part
from benchmarks.scoring import SEEN, bundle_of
from benchmarks.serving.tables import numbers_kept
from ncf import bundle as bundles
from ncf.neighbours import LAST_ITEMS
from serving.invocation import from_document
from serving.scorer import Scorer

USERS, ITEMS = 4_000, 3_000
CONSTANT = 40_000
"""Bytes of layers' weights, one covariance of factors and padding: the same for any number of users and items."""


def kept(root: Any) -> int:
    """Bytes of all arrays and tensors that can be reached from `root`; shared memory counts once."""
    pending, known, spans = [root], {id(root): root}, []
    while pending:
        thing = pending.pop()
        children: list[Any] = []
        if isinstance(thing, torch.Tensor):
            storage = thing.untyped_storage()
            spans.append((storage.data_ptr(), storage.data_ptr() + storage.nbytes()))
        elif isinstance(thing, np.ndarray):
            spans.append(np.lib.array_utils.byte_bounds(thing))
            children = [thing.base]  # the array may be a view of it
        elif isinstance(thing, dict):
            children = [*thing.values()]
        elif isinstance(thing, list | tuple | set):
            children = [*thing]
        elif not isinstance(thing, type | types.ModuleType | types.FunctionType):
            children = [*getattr(thing, "__dict__", {}).values()]
        for child in children:
            if id(child) not in known:
                known[id(child)] = child
                pending.append(child)
    total = end = 0
    for begin, until in sorted(spans):
        total += max(0, until - max(begin, end))
        end = max(end, until)
    return total


@pytest.mark.parametrize(
    ("factors", "layers", "is_recent"),
    [(8, (32, 16, 8), True), (8, (32, 16, 8), False), (8, (16, 8), False), (32, (64, 32, 16), False)],
    ids=["with last items", "two", "one", "wide"],
)
def test_the_memory_is_that_of_the_formula(
    tmp_path: Path, factors: int, layers: tuple[int, ...], is_recent: bool
) -> None:
    recent = recent_part(USERS, ITEMS, torch.Generator().manual_seed(1)) if is_recent else None
    bundle_of(ITEMS, factors, layers, tmp_path, USERS, recent)
    scorer = Scorer(bundles.load(tmp_path))
    lengths = (NEIGHBOURS, LAST_ITEMS) if is_recent else (0, 0)
    expected = numbers_kept(USERS, ITEMS, factors, layers, USERS * SEEN, *lengths)
    assert expected <= kept(scorer) <= expected + CONSTANT
    for request in ({"userId": "u1"}, {"userId": "u2", "candidates": ["i1", "i2"]}, {"itemId": "i1"}):
        scorer.answer(from_document(request))
    assert kept(scorer) <= expected + CONSTANT
    scorer.answer(from_document({"shard": 1, "shards": 100}))
    assert kept(scorer) <= expected + CONSTANT + 4 * USERS
