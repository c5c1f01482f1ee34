"""Parts of the report: the incumbent, intervals, baselines, and the people of the test."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from ncf.dataset import Dataset, History, Pairs, Split
from ncf.evaluation import (
    Evaluation,
)
from ncf.interface import Context
from tests.unit.training.test_evaluation import VERSION, Fixed, dataset_of, users_in
from training.hyperparameters import Hyperparameters
from training.incumbent import LAST, IncumbentScorer
from training.own_items import OwnItems
from training.people import choose
from training.report import AsServed, baselines, bootstrap


@dataclass
class Served:
    """A bundle for an IncumbentScorer: users x and y, where y has no interaction; items c, a and z."""

    model: Fixed
    user_index = {"x": 0, "y": 1}  # noqa: RUF012
    item_index = {"c": 0, "a": 1, "z": 2}  # noqa: RUF012
    popularity = np.array([30, 10, 20])

    def seen(self, user: int) -> np.ndarray:
        return np.array([[1], []][user], dtype=np.int32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_incumbent_scores_by_id_and_as_in_service(dtype: torch.dtype) -> None:
    served = Served(Fixed([[0.5, -0.5, 9.0], [7.0, 7.0, 7.0]], dtype))
    scorer = IncumbentScorer(served, ["new", "x", "y"], ["a", "b", "c"], torch.device("cpu"))  # type: ignore[arg-type]
    # x gets the model's scores; the other users are unknown, so they get popularity; item b is unknown, so it is last.
    expected = [[10.0, LAST, 30.0], [-0.5, LAST, 0.5], [10.0, LAST, 30.0]]
    users = torch.tensor([0, 1, 2])
    assert scorer.catalogue(users).tolist() == expected
    items = torch.tensor([[2, 1, 0]] * 3)
    assert scorer.pairs(users, items).tolist() == [row[::-1] for row in expected]
    assert torch.isfinite(scorer.catalogue(users)).all()


def test_the_bootstrap_interval_equals_that_of_resampled_users() -> None:
    random = np.random.default_rng(8)
    differences = random.choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=400)
    interval = bootstrap(differences, seed=1)
    assert interval["mean"] == pytest.approx(differences.mean())
    plain = [random.choice(differences, size=400).mean() for _ in range(4000)]
    assert interval["lower"] == pytest.approx(np.quantile(plain, 0.025), abs=0.01)
    assert interval["upper"] == pytest.approx(np.quantile(plain, 0.975), abs=0.01)
    assert bootstrap(differences, seed=1) == interval
    assert bootstrap(differences, seed=2) != interval


def test_a_user_without_an_interaction_in_train_is_scored_as_in_service() -> None:
    """User 1 is new: the model has never learned about them, and the server gives them the popular items."""
    dataset = dataset_of({0: [0, 1], 2: [0]}, {0: 2, 1: 0}, users=3, items=4)
    scores = [[0.0, 1.0, 2.0, 3.0]] * 3
    served = AsServed(Fixed(scores), dataset, torch.device("cpu"))
    users = torch.tensor([0, 1])
    assert served.catalogue(users).tolist() == [scores[0], [2.0, 1.0, 0.0, 0.0]]
    assert served.pairs(users, torch.tensor([[3, 0], [3, 0]])).tolist() == [[3.0, 0.0], [0.0, 2.0]]
    assert users_in(dataset)["unknownUsers"] == [1]


def test_the_protocol_is_the_datasets() -> None:
    dataset = replace(dataset_of({0: [0], 1: [1]}, {0: 1}, users=2, items=3), split=Split("global-time", 1_700_000_000))
    protocol = Evaluation(dataset, k=1, negatives=9, seed=1, device="cpu").protocol()
    assert (protocol["split"], protocol["moment"]) == ("global-time", 1_700_000_000)


def test_popularity_of_the_last_days_is_a_baseline_unless_all_of_train_is_so_recent() -> None:
    dataset = dataset_of({0: [0, 1], 1: [0], 2: [2]}, {0: 2, 1: 1}, users=3, items=4)
    dataset = replace(dataset, recent={7: np.array([0, 0, 1, 0]), 30: dataset.popularity})
    given = Hyperparameters(run_id=f"{VERSION}-r1", dataset_version=VERSION, code_version="c")
    found = dict(baselines(given, dataset, Context()))
    assert list(found) == ["popularity_7_days", "popularity", "ease", "cooccurrence"]
    assert found["popularity_7_days"].catalogue(torch.tensor([0])).argmax().item() == 2
    assert found["popularity"].catalogue(torch.tensor([0])).argmax().item() == 0


def repeated() -> Dataset:
    """User 0 had item 1, then 0; user 1 had 2 and 0 at one time; user 2 is new. Then user 0 has 3, and 0 again, user 1
    has 2 again, and user 2 has 0.
    """
    dataset = dataset_of({0: [0, 1], 1: [0, 2]}, {0: 3, 2: 0}, users=3, items=4)
    history = History(np.array([1, 0, 2, 0], np.int32), np.array([False, False, False, True]))
    repeats = Pairs.of(np.array([0, 1]), np.array([0, 2]), 3, 4)
    return replace(dataset, split=Split("global-time", 1), history=history, repeats=repeats)


def test_with_repeats_the_items_that_the_user_had_are_ranked_too() -> None:
    dataset = repeated()
    together = choose(dataset, None, 100, seed=1).with_repeats
    assert list(zip(together.user, together.item, strict=True)) == [(0, 0), (0, 3), (1, 2), (2, 0)]
    evaluation = Evaluation(dataset, k=2, negatives=9, seed=1, device="cpu", with_repeats=together)
    outcome = evaluation.measure(
        Fixed(
            [
                [4.0, 3.0, 1.0, 2.0],  # 0 is first of all, 3 is third; without 0 and 1, 3 is first
                [4.0, 1.0, 3.0, 2.0],  # 2 is second
                [1.0, 4.0, 3.0, 2.0],  # 0 is last
            ]
        )
    )
    hits, gains = outcome.slices["withRepeats"][2:]
    assert hits.tolist() == [1, 1, 0]
    np.testing.assert_allclose(gains, [1 / (1 + 1 / math.log2(3)), 1 / math.log2(3), 0])
    assert outcome.full_hits.tolist() == [1, 0], "the test without them is as before"
    assert outcome.full_gains.tolist() == [1, 0]
    assert evaluation.protocol()["repeats"] == 2
    assert outcome.to_dict()["slices"]["withRepeats"]["users"] == 3
    unchanged = Evaluation(replace(dataset, repeats=Pairs.none()), k=2, negatives=9, seed=1, device="cpu")
    assert "withRepeats" not in unchanged.measure(Fixed([[1.0] * 4] * 3)).slices
    assert unchanged.protocol()["repeats"] == 0


def test_where_people_come_back_their_own_items_are_a_baseline_the_latest_first() -> None:
    dataset = repeated()
    given = Hyperparameters(run_id=f"{VERSION}-r1", dataset_version=VERSION, code_version="c")
    found = dict(baselines(given, dataset, Context()))
    assert list(found) == ["popularity", "ease", "cooccurrence", "own_items"]
    users = torch.arange(3)
    order = found["own_items"].catalogue(users).argsort(dim=1, descending=True, stable=True)
    # 0 was last of user 0; user 1 had 0 and 2 at one time, and 0 is more popular; user 2 has nothing.
    assert order[:, :2].tolist() == [[0, 1], [0, 2], [0, 1]]
    some = torch.tensor([[3, 0], [2, 1], [1, 0]])
    everything = found["own_items"].catalogue(users)
    assert found["own_items"].pairs(users, some).tolist() == everything.gather(1, some).tolist()


def test_what_a_person_had_most_often_is_first_of_the_own_items() -> None:
    # In the order of the pairs: user 0 has items 0 and 1, user 1 has 0 and 2.
    dataset = replace(repeated(), events=np.array([1, 3, 2, 2], np.int32))
    scores = OwnItems(dataset, torch.device("cpu")).catalogue(torch.arange(3))
    assert scores.argsort(dim=1, descending=True, stable=True)[:, :2].tolist() == [[1, 0], [0, 2], [0, 1]]


def test_people_with_and_without_history_are_slices_where_there_are_both() -> None:
    found = users_in(repeated())
    assert (found["unknownUsers"], found["knownUsers"]) == ([2], [0])
    assert "knownUsers" not in users_in(dataset_of({0: [0, 1]}, {0: 2}, users=1, items=3))


def test_the_share_of_interactions_without_a_known_order_is_in_the_protocol() -> None:
    assert Evaluation(repeated(), k=2, negatives=9, seed=1, device="cpu").protocol()["tiedInteractions"] == 0.5
