import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncf.dataset import Pairs
from ncf.sampling import NegativeSampler


def pairs(rows: list[tuple[int, int]], users: int, items: int) -> Pairs:
    return Pairs.of(np.array([u for u, _ in rows]), np.array([i for _, i in rows]), users, items)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6).flatmap(
        lambda users: st.tuples(
            st.just(users), st.sets(st.tuples(st.integers(0, users - 1), st.integers(0, 8)), min_size=1, max_size=40)
        )
    )
)
def test_nth_negatives_are_exactly_the_items_that_are_not_positive(case: tuple[int, set[tuple[int, int]]]) -> None:
    users, rows = case
    sampler = NegativeSampler(pairs(sorted(rows), users, 9), 9)
    for user in range(users):
        expected = [item for item in range(9) if (user, item) not in rows]
        assert sampler.available[user] == len(expected)
        r = torch.arange(len(expected))
        assert sampler.nth(torch.full_like(r, user), r).tolist() == expected


def test_never_draws_a_positive_and_draws_every_negative_about_as_often() -> None:
    rows = [(0, item) for item in range(0, 20, 2)] + [(1, 7)]
    sampler = NegativeSampler(pairs(rows, 2, 20), 20)
    drawn = sampler.draw(torch.zeros(5000, dtype=torch.int64), 4, torch.Generator().manual_seed(3)).flatten()
    counts = torch.bincount(drawn, minlength=20)
    assert counts[0::2].tolist() == [0] * 10
    # 20,000 draws over ten items: 2,000 each, and a standard deviation of 42.
    assert counts[1::2].min() > 1780
    assert counts[1::2].max() < 2220


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    sampler = NegativeSampler(pairs([(0, 1), (1, 2)], 2, 50), 50)
    users = torch.tensor([0, 1, 0, 1])
    first, same, other = (sampler.draw(users, 8, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_distinct_negatives_are_distinct_and_a_short_row_has_all_of_them() -> None:
    rows = [(0, item) for item in range(97)] + [(1, 0)] + [(2, item) for item in range(100)]
    sampler = NegativeSampler(pairs(rows, 3, 100), 100)
    drawn = sampler.draw_distinct(torch.tensor([0, 1, 2]), 50, torch.Generator().manual_seed(9))
    assert sorted(drawn[0][drawn[0] >= 0].tolist()) == [97, 98, 99]
    assert (drawn[1] >= 1).all()
    assert drawn[1].unique().numel() == 50
    assert drawn[2].tolist() == [-1] * 50


def test_distinct_negatives_are_uniform() -> None:
    sampler = NegativeSampler(pairs([(0, 3)], 1, 10), 10)
    drawn = sampler.draw_distinct(torch.zeros(6000, dtype=torch.int64), 3, torch.Generator().manual_seed(4))
    counts = torch.bincount(drawn.flatten(), minlength=10)
    assert counts[3] == 0
    # Each of nine items is among three of them in a third of the draws: 2,000, standard deviation 37.
    assert counts[torch.arange(10) != 3].min() > 1800
    assert counts.max() < 2200
