"""The shortlist has enough recall or is not used, and its answers obey every filter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ncf import bundle as bundles
from ncf.network import Architecture, Recommender
from serving import kernels
from serving import shortlist as shortlist_module
from serving.invocation import Filters, Invocation
from serving.logits import Fused
from serving.scorer import Scorer
from serving.shortlist import Shortlist, Verdict, shortlist_of

ITEMS, USERS = 3_000, 90


def network(factors: int, scale: float = 0.3) -> Recommender:
    model = Recommender(Architecture("neumf", factors, (16, 8)), USERS, ITEMS).eval().requires_grad_(False)
    for seed, parameter in enumerate(model.parameters()):
        parameter.normal_(0.0, scale, generator=torch.Generator().manual_seed(seed))
    return model


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the catalogue of these tests count as large."""
    monkeypatch.setattr(shortlist_module, "LEAST_ITEMS", 1)
    monkeypatch.setattr(shortlist_module, "_ITEMS_AT_ONCE", 700)


@settings(max_examples=100, deadline=None)
@example(20_000, 8, 1000, 50, 1, False)  # large enough for the bound from a sample
@example(20_000, 8, 1000, 50, 1, True)
@example(8_192, 4, 1000, 50, 2, False)
@given(
    st.integers(1, 400),
    st.sampled_from([4, 8]),
    st.integers(0, 420),
    st.integers(0, 50),
    st.integers(0, 99),
    st.booleans(),
)
@pytest.mark.slow
def test_the_kernel_takes_the_greatest(
    items: int, rank: int, number: int, excluded_count: int, seed: int, has_added: bool
) -> None:
    random = np.random.default_rng(seed)
    factors = random.integers(-127, 128, (rank, items)).astype(np.int8)
    coefficients = random.normal(size=rank).astype(np.float32)
    excluded = np.sort(random.choice(items, min(excluded_count, items), replace=False)).astype(np.int32)
    padded = np.pad(factors, ((0, 0), (0, -items % kernels.BLOCK)), constant_values=127)  # padding must not be found
    by_block = np.ascontiguousarray(padded.reshape(rank, -1, kernels.BLOCK).transpose(1, 0, 2))
    added = random.exponential(100.0, items).astype(np.float32) if has_added else np.empty(0, np.float32)
    found = kernels.shortlist(by_block, coefficients, items, excluded, number, added)
    scores = coefficients.astype(np.float64) @ factors + (added if has_added else 0.0)
    allowed = np.delete(np.arange(items), excluded)
    assert found.size == min(number, allowed.size) == np.unique(found).size
    assert np.isin(found, allowed).all()
    expected = np.sort(scores[allowed])[::-1][: found.size]
    np.testing.assert_allclose(np.sort(scores[found])[::-1], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_has_enough_recall_for_a_model_with_few_factors(short: None) -> None:
    logits = Fused(network(8))
    built = Shortlist(logits, ITEMS, list(range(40)), 32)
    verdict = built.verdict(list(range(40, 90)), ITEMS)
    assert verdict.recall >= 0.99
    assert (built.of(50, np.empty(0, np.int32)).size, verdict.rank) == (shortlist_module.LENGTH, 32)


def test_is_not_used_if_recall_is_too_low(short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortlist_module, "LENGTH", 20)
    built, verdict = shortlist_of(Fused(network(120)), ITEMS, USERS)
    assert built is None
    assert verdict is not None and verdict.recall < 0.99 and verdict.rank == shortlist_module.RANKS[-1]


@pytest.mark.parametrize(
    ("verdict", "worth"),
    [(Verdict(16, 0.99, 1.0, 2.0), True), (Verdict(16, 0.98, 1.0, 2.0), False), (Verdict(16, 1.0, 2.0, 2.0), False)],
)
def test_needs_enough_recall_and_must_save_time(verdict: Verdict, worth: bool) -> None:
    assert verdict.is_worth_it is worth


def test_a_small_catalogue_has_no_shortlist() -> None:
    assert shortlist_of(Fused(network(8)), ITEMS, USERS) == (None, None)


@pytest.fixture
def both(make_bundle: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Scorer, Scorer]:
    """The same model, ranked through a shortlist of 36 of its 40 items, and exactly."""
    bundle = bundles.load(make_bundle("neumf"))
    exact = Scorer(bundle)
    monkeypatch.setattr(shortlist_module, "LEAST_ITEMS", 1)
    monkeypatch.setattr(Verdict, "is_worth_it", True)
    monkeypatch.setattr(shortlist_module, "RANKS", (8,))
    monkeypatch.setattr(shortlist_module, "LENGTH", 36)
    through = Scorer(bundle)
    assert (through.path["shortlist"], exact.path["shortlist"]) == (True, False)
    return through, exact


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(deny=tuple(f"item-{index}" for index in range(0, 40, 2))),
        Filters(boosts={f"item-{index}": 50.0 for index in range(0, 40, 3)}),
        Filters(categories=("Third",)),
        Filters(category_caps={"Even": 1}),
    ],
    ids=["none", "deny", "boosts", "categories", "caps"],
)
@pytest.mark.parametrize("number", [4, 40])
def test_answers_are_those_of_the_whole_catalogue(both: tuple[Scorer, Scorer], filters: Filters, number: int) -> None:
    through, exact = both
    for user in range(6):
        request = Invocation(f"user-{user}", number, "any", None, filters)
        given, wanted = listed(through.answer(request)), listed(exact.answer(request))
        assert len(given) == len(wanted)
        assert [item for item, _ in given] == [item for item, _ in wanted]
        assert [score for _, score in given] == pytest.approx([score for _, score in wanted], rel=1e-5)
    requests = [Invocation(f"user-{user}", 4, "any") for user in range(6)]
    assert through.answers(requests) == [through.answer(request) for request in requests]


def listed(response: dict[str, Any]) -> list[tuple[str, float]]:
    return [(entry["itemId"], entry["score"]) for entry in response["itemList"]]
