"""The compiled loops give the same numbers as their definition in float64, also at the edges of tiles and blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncf.network import Architecture, Recommender
from serving import compiled, vectors
from serving.logits import Fused
from serving.vectors import BLOCK, TILE

USERS = 3
SIZES = sorted({1, TILE - 1, TILE, TILE + 1, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + TILE + 1, 3 * BLOCK})
SHAPES = [("gmf", (4,)), ("mlp", (8, 5)), ("mlp", (8,)), ("neumf", (8,)), ("neumf", (8, 5)), ("neumf", (16, 12, 6, 3))]


def network(model: str, layers: tuple[int, ...], items: int, seed: int) -> Recommender:
    model_ = Recommender(Architecture(model, 5, layers), USERS, items).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model_.parameters():
        parameter.normal_(0.0, 0.7, generator=generator)
    return model_


def expected_logits(model: Recommender, user: int, items: int) -> Any:
    precise = model.double()
    logits = precise(torch.full((items,), user), torch.arange(items)).numpy()
    model.float()
    return logits


@pytest.mark.parametrize("items", SIZES)
@pytest.mark.parametrize(("model", "layers"), SHAPES)
def test_logits_are_those_of_the_network(model: str, layers: tuple[int, ...], items: int) -> None:
    plain = network(model, layers, items, seed=items)
    expected = np.stack([expected_logits(plain, user, items) for user in range(USERS)])
    fused = Fused(plain)
    rows = np.flatnonzero(np.random.default_rng(items).random(items) < 0.5)
    np.testing.assert_allclose(fused.of([0, 1, 2]), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(fused.of([2, 0], rows), fused.of([2, 0])[:, rows])


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SIZES),
    st.sampled_from([0, 1, 10, 100, 2 * BLOCK]),
    st.sampled_from([0.0, 0.1, 0.9, 1.0]),
    st.sampled_from([None, 0.0, 0.05, 0.7]),
    st.integers(0, 99),
)
def test_the_best_are_the_greatest_of_the_allowed_items(
    items: int, number: int, excluded_share: float, candidate_share: float | None, seed: int
) -> None:
    random = np.random.default_rng(seed)
    fused = Fused(network("neumf", (8, 4), items, seed))
    excluded = np.flatnonzero(random.random(items) < excluded_share).astype(np.int32)
    rows = None if candidate_share is None else np.flatnonzero(random.random(items) < candidate_share)
    logits = fused.of([1])[0]
    allowed = np.setdiff1d(np.arange(items) if rows is None else rows, excluded)
    wanted = allowed[np.argsort(-logits[allowed], kind="stable")][:number]
    best, scores = fused.best(1, number, excluded, rows)
    np.testing.assert_array_equal(best, wanted)
    np.testing.assert_allclose(scores, 1.0 / (1.0 + np.exp(-logits[wanted].astype(np.float64))), rtol=1e-12)


@pytest.mark.parametrize("items", [TILE - 1, BLOCK + 1])
def test_padding_is_never_ranked(items: int) -> None:
    """Every item has a lower logit than a column of zeros."""
    plain = network("gmf", (4,), items, seed=1)
    plain.output.weight.fill_(-1.0)
    for tower in plain.towers:
        for parameter in tower.parameters():
            parameter.abs_()
    best, scores = Fused(plain).best(0, 2 * BLOCK, np.empty(0, np.int32))
    assert sorted(best) == list(range(items)) and (scores < 0.6).all()


@pytest.mark.parametrize("lanes", [16, TILE])
def test_a_layer_is_right_with_and_without_avx_512(lanes: int) -> None:
    """Both run on every processor: LLVM splits vectors that are wider than its registers."""
    layer = vectors.rectified_sums(lanes, 4, accumulate=False)

    @numba.njit
    def write(targets: Any, sources: Any, begin: Any, shifts: Any, weights: Any, items: Any) -> None:  # type: ignore[no-untyped-def]
        below, above = weights.shape
        layer(targets, sources, begin, sources.shape[1], shifts, weights, above, below, items)

    random = np.random.default_rng(1)
    sources, shifts, weights = (random.normal(size=size).astype(np.float32) for size in ((5, 3 * TILE), 5, (8, 5)))
    targets = np.full((8, BLOCK), np.nan, np.float32)
    write(targets, sources, TILE, shifts, weights, 2 * TILE)
    expected = weights @ np.maximum(sources[:, TILE:] + shifts[:, None], 0.0)
    np.testing.assert_allclose(targets[:, : 2 * TILE], expected, rtol=1e-5, atol=1e-5)
    assert np.isnan(targets[:, 2 * TILE :]).all()


def test_saved_code_is_compiled_again_when_vectors_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def next_of(number: int) -> int:
        return number + 1

    def hits() -> int:
        loop = compiled.compiled(next_of)
        assert loop(1) == 2
        return sum(loop.stats.cache_hits.values())

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert (hits(), hits()) == (0, 1)
    monkeypatch.setattr(compiled._Cache, "_vectors", "changed")
    assert hits() == 0
