import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ncf import data
from ncf.evaluation import Evaluation, PopularityScorer, bootstrap, difference, hits_and_gains, ranks_against

VERSION = "v20260102t030405z-0a1b2c3d"
CPU = torch.device("cpu")
NAN, INF = math.nan, math.inf


class Fixed:
    """A scorer whose scores are written down: [users, items]."""

    def __init__(self, scores: list[list[float]]) -> None:
        self.scores = torch.tensor(scores)

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        return self.scores[users[:, None], items]

    def catalogue(self, users: Tensor) -> Tensor:
        return self.scores[users].clone()


@pytest.mark.parametrize(
    ("held_out", "others", "rank"),
    [
        (3.0, [1.0, 2.0, 4.0], 1),
        (3.0, [3.0, 3.0, 1.0], 2),
        (3.0, [NAN, 1.0, 1.0], 1),
        (3.0, [INF, -INF, 1.0], 2),
        (NAN, [1.0, 1.0, 1.0], torch.iinfo(torch.int64).max),
        (INF, [1.0, 1.0, 1.0], torch.iinfo(torch.int64).max),
        (-INF, [1.0, 1.0, 1.0], torch.iinfo(torch.int64).max),
    ],
)
def test_ties_and_scores_that_are_not_finite_count_against_the_model(
    held_out: float, others: list[float], rank: int
) -> None:
    counted = torch.ones(1, 3, dtype=torch.bool)
    assert ranks_against(torch.tensor([held_out]), torch.tensor([others]), counted).tolist() == [rank]


def test_what_is_not_counted_takes_no_rank() -> None:
    counted = torch.tensor([[True, False, False]])
    assert ranks_against(torch.tensor([0.0]), torch.tensor([[5.0, 6.0, NAN]]), counted).tolist() == [1]


def test_hits_and_gains_by_hand() -> None:
    hits, gains = hits_and_gains(torch.tensor([0, 1, 2, 3, torch.iinfo(torch.int64).max]), k=3)
    assert hits.tolist() == [1, 1, 1, 0, 0]
    np.testing.assert_allclose(gains, [1.0, 1 / math.log2(3), 0.5, 0.0, 0.0])


@pytest.fixture
def tiny(tmp_path: Path, write: Callable[..., Path]) -> data.Dataset:
    """Three users, five items a to e. Train: 0 has a, b; 1 has a; 2 has c, e. Test: 0 has c; 1 has b; 2 has d."""
    rows = [("0", "a"), ("0", "b"), ("0", "c"), ("1", "a"), ("1", "b"), ("2", "c"), ("2", "e"), ("2", "d")]
    rows.insert(0, ("3", "d"))  # of somebody with one interaction, so that d is in train
    return data.load(write(tmp_path / "tiny", rows), VERSION)


def test_figures_by_hand(tiny: data.Dataset) -> None:
    scorer = Fixed(
        [
            # a    b    c    d    e
            [9.0, 8.0, 2.0, 1.0, 3.0],  # full: c against d, e (a, b in train): rank 1
            [9.0, 5.0, 7.0, 6.0, 1.0],  # full: b against c, d, e: rank 2
            [1.0, 2.0, 9.0, 4.0, 9.0],  # full: d against a, b: rank 0
            [0.0, 0.0, 0.0, 0.0, 0.0],
        ]
    )
    evaluation = Evaluation(tiny, k=2, negatives=99, seed=1, device="cpu")
    outcome = evaluation.measure(scorer)
    assert outcome.full_hits.tolist() == [1, 0, 1]
    np.testing.assert_allclose(outcome.full_gains, [1 / math.log2(3), 0, 1])
    # The catalogue is so small that the negatives are all of what is not in train or test: the same figures.
    assert outcome.sampled_hits.tolist() == [1, 0, 1]
    assert outcome.to_dict()["full"] == {
        "hitRate": pytest.approx(2 / 3),
        "ndcg": pytest.approx((1 / math.log2(3) + 1) / 3),
    }
    # First two without train: user 0 e, c; user 1 c, d; user 2 d, b. So b, c, d, e of five.
    assert outcome.coverage == pytest.approx(4 / 5)


def test_says_how_many_negatives_a_small_catalogue_had(tiny: data.Dataset) -> None:
    protocol = Evaluation(tiny, k=2, negatives=99, seed=1, device="cpu").protocol()
    assert (protocol["negatives"], protocol["fewestNegatives"], protocol["testUsers"]) == (99, 2, 3)


def test_a_model_of_one_score_for_all_gains_nothing(tiny: data.Dataset) -> None:
    figures = Evaluation(tiny, k=2, negatives=99, seed=1, device="cpu").measure(Fixed([[1.0] * 5] * 4)).to_dict()
    assert figures["sampled"] == figures["full"] == {"hitRate": 0.0, "ndcg": 0.0}


def test_a_model_of_nan_gains_nothing_and_covers_nothing(tiny: data.Dataset) -> None:
    figures = Evaluation(tiny, k=2, negatives=99, seed=1, device="cpu").measure(Fixed([[NAN] * 5] * 4)).to_dict()
    assert figures == {"sampled": {"hitRate": 0, "ndcg": 0}, "full": {"hitRate": 0, "ndcg": 0}, "coverage": 0}


def test_negatives_are_new_to_the_user_and_drawn_from_the_seed(shop_dataset: Path) -> None:
    dataset = data.load(shop_dataset, VERSION)
    everything = dataset.everything()
    known = set(zip(everything.user.tolist(), everything.item.tolist(), strict=True))
    first, same, other = (
        Evaluation(dataset, k=10, negatives=30, seed=seed, device="cpu")._negatives for seed in (1, 1, 2)
    )
    for user, negatives in zip(dataset.test.user.tolist(), first.tolist(), strict=True):
        assert len(set(negatives)) == 30
        assert not any((user, item) in known for item in negatives)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_figures_do_not_depend_on_how_many_users_are_scored_at_a_time(
    shop_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = data.load(shop_dataset, VERSION)
    evaluation = Evaluation(dataset, k=10, negatives=30, seed=1, device="cpu")
    scorer = Fixed(torch.rand(dataset.users, dataset.items, generator=torch.Generator().manual_seed(1)).tolist())
    whole = evaluation.measure(scorer).to_dict()
    monkeypatch.setattr("ncf.evaluation._FLOATS", 7 * dataset.items)
    assert evaluation.measure(scorer).to_dict() == whole


def test_popularity_ranks_by_interactions_in_train(tiny: data.Dataset) -> None:
    outcome = Evaluation(tiny, k=1, negatives=99, seed=1, device="cpu").measure(PopularityScorer(tiny.popularity, CPU))
    # In train: a 2, b 1, c 1, d 1, e 1. Every held-out item ties with another that its user has not had.
    assert outcome.full_hits.tolist() == [0, 0, 0]


def test_the_bootstrap_interval_is_that_of_resampled_users() -> None:
    random = np.random.default_rng(8)
    differences = random.choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=400)
    interval = bootstrap(differences, seed=1)
    assert interval["mean"] == pytest.approx(differences.mean())
    plain = [random.choice(differences, size=400).mean() for _ in range(4000)]
    assert interval["lower"] == pytest.approx(np.quantile(plain, 0.025), abs=0.01)
    assert interval["upper"] == pytest.approx(np.quantile(plain, 0.975), abs=0.01)
    assert bootstrap(differences, seed=1) == interval
    assert bootstrap(differences, seed=2) != interval


def test_a_model_does_not_differ_from_itself(tiny: data.Dataset) -> None:
    outcome = Evaluation(tiny, k=2, negatives=99, seed=1, device="cpu").measure(Fixed([[3.0, 1.0, 2.0, 5.0, 4.0]] * 4))
    assert difference(outcome, outcome, seed=1)["sampledNdcg"] == {"mean": 0.0, "lower": 0.0, "upper": 0.0}
