"""One half of an ALS iteration, beside the plain solution of each row's system in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ncf.dataset import Dataset, Pairs
from ncf.fitting.least_squares import Rows, solve
from ncf.interface import Context
from ncf.models import als, ease

FACTORS, COLUMNS, WEIGHT, REGULARIZATION = 16, 90, 0.3, 0.01
LENGTHS = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 40, 90, 0, 5]


def matrix(seed: int) -> tuple[torch.Tensor, list[np.ndarray[Any, Any]]]:
    random = np.random.default_rng(seed)
    fixed = torch.as_tensor(random.normal(size=(COLUMNS, FACTORS)) * 0.3, dtype=torch.float32)
    return fixed, [np.sort(random.choice(COLUMNS, length, replace=False)) for length in LENGTHS]


def plainly(fixed: torch.Tensor, own: np.ndarray[Any, Any], confidence: np.ndarray[Any, Any]) -> torch.Tensor:
    f, c = fixed.double(), torch.as_tensor(confidence, dtype=torch.float64)
    v = f[torch.as_tensor(own)]
    ridge = REGULARIZATION * (c.sum() + WEIGHT * COLUMNS)
    left = WEIGHT * f.T @ f + v.T @ (c[:, None] * v) + ridge * torch.eye(FACTORS, dtype=torch.float64)
    found: torch.Tensor = torch.linalg.solve(left, v.T @ c)
    return found


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("with_confidence", [False, True])
def test_every_row_has_the_solution_of_its_own_system(
    with_confidence: bool, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows shorter and longer than the number of factors, and rows without an entry, whose factors are zero."""
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    fixed, owned = matrix(3)
    confidence = np.random.default_rng(4).uniform(0.1, 5.0, sum(LENGTHS))
    indptr = np.cumsum([0, *LENGTHS])
    if not with_confidence:
        confidence = np.ones(sum(LENGTHS))
    rows = Rows(np.concatenate(owned), indptr, confidence if with_confidence else None)
    found = solve(fixed, rows, WEIGHT, REGULARIZATION)
    parts = np.split(confidence, indptr[1:-1])
    expected = torch.stack([plainly(fixed, own, part) for own, part in zip(owned, parts, strict=True)])
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=3e-6)
    assert found[0].tolist() == [0.0] * FACTORS


def test_confidence_1_changes_nothing() -> None:
    fixed, owned = matrix(5)
    columns, indptr = np.concatenate(owned), np.cumsum([0, *LENGTHS])
    with_ones = solve(fixed, Rows(columns, indptr, np.ones(columns.size)), WEIGHT, REGULARIZATION)
    assert torch.equal(with_ones, solve(fixed, Rows(columns, indptr), WEIGHT, REGULARIZATION))


def counted(compute: Callable[..., Any], name: str, calls: list[str]) -> Callable[..., Any]:
    def counting(*given: Any) -> Any:
        calls.append(name)
        return compute(*given)

    return counting


def test_start_and_baseline_share_als_and_ease(monkeypatch: pytest.MonkeyPatch) -> None:
    train = Pairs.of(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 2, 0]), 3, 3)
    dataset = Dataset("v", "", list("abc"), list("xyz"), train, Pairs.none(3), np.bincount(train.item), np.full(3, -1))
    calls: list[str] = []
    for module, name in ((als, "_factorize"), (ease, "item_item")):
        monkeypatch.setattr(module, name, counted(getattr(module, name), name, calls))
    context, given = Context(), als.Parameters(factors=2, als_unobserved_weight=1.0)
    first = als.factorize(train, 3, given, context)
    assert als.factorize(train, 3, given, context) is first
    als.factorize(train, 3, als.Parameters(factors=2, als_iterations=2, als_unobserved_weight=1.0), context)
    als.factorize(Pairs.of(train.user, train.item, 3, 3), 3, given, context)
    als.factorize(train, 3, given, Context())
    assert calls == ["_factorize"] * 4
    ease.fit(dataset, ease.Parameters(), context)
    ease.fit(dataset, ease.Parameters(), context)
    assert calls[4:] == ["item_item"]
