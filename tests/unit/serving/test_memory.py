"""The server keeps what its formula says, and nothing besides that grows with users, items or interactions."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.scoring import SEEN, bundle_of
from benchmarks.serving.tables import numbers_kept
from ncf import bundle as bundles
from serving.invocation import from_document
from serving.scorer import Scorer

USERS, ITEMS = 4_000, 3_000
CONSTANT = 40_000
"""Weights of layers, one covariance of factors, what fills tables up: the same for any number of users and items."""


def kept(root: Any) -> int:
    """Bytes of all arrays and tensors that can be reached from `root`, those that share their memory once."""
    todo, met, spans = [root], {id(root): root}, []
    while todo:
        one = todo.pop()
        more: list[Any] = []
        if isinstance(one, torch.Tensor):
            storage = one.untyped_storage()
            spans.append((storage.data_ptr(), storage.data_ptr() + storage.nbytes()))
        elif isinstance(one, np.ndarray):
            spans.append(np.lib.array_utils.byte_bounds(one))
            more = [one.base]  # of which it may be a part
        elif isinstance(one, dict):
            more = [*one.values()]
        elif isinstance(one, list | tuple | set):
            more = [*one]
        elif not isinstance(one, type | types.ModuleType | types.FunctionType):
            more = [*getattr(one, "__dict__", {}).values()]
        for other in more:
            if id(other) not in met:
                met[id(other)] = other
                todo.append(other)
    total = end = 0
    for begin, until in sorted(spans):
        total += max(0, until - max(begin, end))
        end = max(end, until)
    return total


@pytest.mark.parametrize(
    ("factors", "layers"), [(8, (32, 16, 8)), (8, (16, 8)), (32, (64, 32, 16))], ids=["two", "one", "wide"]
)
def test_the_server_keeps_what_the_formula_says(tmp_path: Path, factors: int, layers: tuple[int, ...]) -> None:
    bundle_of(ITEMS, factors, layers, tmp_path, USERS)
    scorer = Scorer(bundles.load(tmp_path))
    expected = numbers_kept(USERS, ITEMS, factors, layers, USERS * SEEN)
    assert expected <= kept(scorer) <= expected + CONSTANT
    for request in ({"userId": "u1"}, {"userId": "u2", "candidates": ["i1", "i2"]}, {"itemId": "i1"}):
        scorer.answer(from_document(request))
    assert kept(scorer) <= expected + CONSTANT
    scorer.answer(from_document({"shard": 1, "shards": 100}))
    assert kept(scorer) <= expected + CONSTANT + 4 * USERS
