"""The choice of als_unobserved_weight: 1 on dense data, less where a large catalogue meets few interactions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ncf.dataset import Pairs
from ncf.fitting import unobserved_weight
from ncf.fitting.unobserved_weight import Choice, candidates, choose
from ncf.fitting.withheld import gains_of
from ncf.interface import Context
from ncf.models import als


def sparse_shop(users: int, items: int, each: int, tastes: int) -> Pairs:
    """People choose items of their taste, the popular ones more often."""
    random = np.random.default_rng(3)
    user = np.repeat(np.arange(users), each)
    nth = (items // tastes * random.random(user.size) ** 2).astype(np.int64)
    return Pairs.of(user, nth * tastes + user % tastes, users, items)


@pytest.mark.parametrize(
    ("pairs", "users", "items", "expected"),
    [
        (1_000_000, 6_040, 3_706, [1.0, 0.1]),
        (660_000, 184_000, 93_000, [1.0, 0.1, 0.01, 0.001]),
        (19_000_000, 482_000, 100_000, [1.0, 0.1, 0.01]),
    ],
)
def test_the_weights_to_try_depend_on_the_catalogue_and_on_interactions_of_a_user(
    pairs: int, users: int, items: int, expected: list[float]
) -> None:
    assert candidates(pairs, users, items) == pytest.approx(expected)


def test_a_sparse_shop_gets_a_small_weight_and_a_note() -> None:
    """With 1, the regularization leaves nothing but popularity."""
    train = sparse_shop(users=3000, items=6000, each=4, tastes=300)
    notes: list[str] = []
    p, q = als.factorize(train, 6000, als.Parameters(factors=16), Context(warn=notes.append))
    assert len(notes) == 1
    assert notes[0].startswith("note: als_unobserved_weight is 0.")
    assert "NDCG on validation" in notes[0]
    best = (p[:300] @ q.T).argmax(dim=1)
    assert (best % 300 == torch.arange(300)).float().mean() > 0.5, "most get an item of their taste"
    given = als.Parameters(factors=16, als_unobserved_weight=1.0)
    p, q = als.factorize(train, 6000, given, Context(warn=notes.append))
    assert len(notes) == 1, "a given weight is used without a choice"
    assert ((p[:300] @ q.T).argmax(dim=1) % 300 == torch.arange(300)).float().mean() < 0.5


def test_without_a_clear_winner_the_weight_is_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one is better for a single user, which is less than two standard errors."""
    train = sparse_shop(users=40, items=8, each=6, tastes=2)
    ranked = iter([torch.zeros(30), torch.eye(30)[0]])
    monkeypatch.setattr(unobserved_weight, "gains_of", lambda scores, rest, users, withheld: next(ranked)[: users.size])
    found = choose(train, 8, 1, lambda pairs, weight: (torch.zeros(1, 1), torch.zeros(1, 1)))
    assert (found.weight, list(found.figures)) == (1.0, [1.0, 0.1])
    assert found.figures[0.1] > found.figures[1.0] == 0


def test_no_user_to_validate_on_means_1() -> None:
    train = Pairs.of(np.arange(5), np.arange(5), 5, 5)
    assert choose(train, 5, 1, lambda pairs, weight: pytest.fail("nothing to try")) == Choice(1.0, {})


def test_some_of_many_users_are_tried_with_all_their_interactions(monkeypatch: pytest.MonkeyPatch) -> None:
    train = sparse_shop(users=400, items=60, each=5, tastes=3)
    monkeypatch.setattr(unobserved_weight, "PAIRS", 500)
    some = unobserved_weight._some_users(train, 60, seed=1)
    assert 400 < len(some) <= 500
    every = {tuple(own) for own in np.split(train.item, train.indptr[1:-1])}
    assert {tuple(own) for own in np.split(some.item, some.indptr[1:-1])} <= every


def test_the_rank_leaves_out_what_the_user_has_and_counts_ties_against() -> None:
    train = Pairs.of(np.array([0, 1]), np.array([0, 1]), 2, 4)
    p, q = torch.eye(2), torch.tensor([[9.0, 0.0], [1.0, 9.0], [2.0, 1.0], [0.0, 1.0]])
    gains = gains_of(lambda users: p[users] @ q.T, train, np.array([0, 1]), np.array([1, 2]))
    # User 0 has item 0, and item 2 is above item 1. User 1 has item 1, and items 2 and 3 are equal.
    assert gains.tolist() == pytest.approx([1 / np.log2(3)] * 2)
