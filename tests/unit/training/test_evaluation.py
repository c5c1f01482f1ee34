import math
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from torch import Tensor

from contracts import schemas
from ncf import dataset_files
from ncf.dataset import Dataset, Pairs
from ncf.evaluation import (
    MISS,
    Evaluation,
    hits_and_gains,
    ranks_against,
    slices_of,
)
from training.report import against, difference

SCHEMA = schemas.load("evaluation")
VERSION = "v20260102t030405z-0a1b2c3d"
NAN, INF = math.nan, math.inf
NOTHING = {"hitRate": 0.0, "ndcg": 0.0}


class Fixed:
    """A scorer with given scores [users, items]."""

    def __init__(self, scores: Sequence[Sequence[float]], dtype: torch.dtype = torch.float32) -> None:
        self.scores = torch.tensor(scores, dtype=dtype)

    def to(self, device: torch.device) -> "Fixed":
        return self

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
        (NAN, [1.0, 1.0, 1.0], MISS),
        (INF, [1.0, 1.0, 1.0], MISS),
        (-INF, [1.0, 1.0, 1.0], MISS),
    ],
)
def test_ties_and_scores_that_are_not_finite_count_against_the_model(
    held_out: float, others: list[float], rank: int
) -> None:
    assert ranks_against(torch.tensor([held_out]), torch.tensor([others]), torch.tensor([3])).tolist() == [rank]


def test_an_item_that_does_not_count_has_no_effect_on_the_rank() -> None:
    others = torch.tensor([[5.0, -1.0, NAN]])  # the third is not among the two
    assert ranks_against(torch.tensor([0.0]), others, torch.tensor([2])).tolist() == [1]


def test_hits_and_gains_by_hand() -> None:
    hits, gains = hits_and_gains(torch.tensor([0, 1, 2, 3, MISS]), k=3)
    assert hits.tolist() == [1, 1, 1, 0, 0]
    np.testing.assert_allclose(gains, [1.0, 1 / math.log2(3), 0.5, 0.0, 0.0])


@pytest.fixture
def tiny(tmp_path: Path, write: Callable[..., Path]) -> Dataset:
    """Three users, five items a to e. Train: 0 has a, b; 1 has a; 2 has c, e. Test: 0 has c; 1 has b; 2 has d."""
    rows = [("0", "a"), ("0", "b"), ("0", "c"), ("1", "a"), ("1", "b"), ("2", "c"), ("2", "e"), ("2", "d")]
    rows.insert(0, ("3", "d"))  # a user with one interaction, so that d is in train
    return dataset_files.load(write(tmp_path / "tiny", rows), VERSION)


def test_figures_by_hand(tiny: Dataset) -> None:
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
    # The catalogue is so small that the negatives are all items outside train and test: the figures are the same.
    assert outcome.sampled_hits.tolist() == [1, 0, 1]
    assert outcome.to_dict()["full"] == {
        "hitRate": pytest.approx(2 / 3),
        "ndcg": pytest.approx((1 / math.log2(3) + 1) / 3),
    }
    # Top 2 without train: user 0 e, c; user 1 c, d; user 2 d, b. So 4 of 5 items, and c or d reaches 2 of 3 users.
    assert outcome.coverage == pytest.approx(4 / 5)
    assert outcome.exposure == pytest.approx(2 / 3)
    assert outcome.to_dict()["largestExposure"] == outcome.exposure


def test_the_first_k_decide_as_all_items_would() -> None:
    """Scores with ties, and some that are not finite, against `ranks_against` over the whole catalogue."""
    random = np.random.default_rng(3)
    users, items, k = 40, 12, 3
    train = {user: random.choice(items, 3, replace=False).tolist() for user in range(users)}
    test = {user: int(random.choice([item for item in range(items) if item not in train[user]])) for user in train}
    scores = random.integers(0, 6, (users, items)).astype(float)
    scores[random.random((users, items)) < 0.05] = NAN
    scores[random.random((users, items)) < 0.05] = -INF
    outcome = Evaluation(dataset_of(train, test, users, items), k=k, negatives=9, seed=1, device="cpu").measure(
        Fixed(scores.tolist())
    )
    for user, item in test.items():
        others = [scores[user, other] for other in range(items) if other not in (*train[user], item)]
        rank = ranks_against(torch.tensor([scores[user, item]]), torch.tensor([others]), torch.tensor([len(others)]))
        hits, gains = hits_and_gains(rank, k)
        assert (outcome.full_hits[user], outcome.full_gains[user]) == (hits[0], pytest.approx(gains[0]))
    assert 0 < outcome.full_hits.mean() < 1


@pytest.mark.parametrize("seen", [NAN, INF, -INF, 99.0, 4.0])
def test_an_item_in_train_does_not_count_with_any_score(tiny: Dataset, seen: float) -> None:
    scores = [
        [seen, seen, 4.0, 5.0, 3.0],  # c against d, e: rank 1
        [seen, 5.0, 4.0, 4.0, 4.0],  # b against c, d, e: rank 0
        [5.0, 4.5, seen, 4.0, seen],  # d against a, b: rank 2
        [0.0, 0.0, 0.0, 0.0, 0.0],
    ]
    outcome = Evaluation(tiny, k=3, negatives=99, seed=1, device="cpu").measure(Fixed(scores))
    np.testing.assert_allclose(outcome.full_gains, [1 / math.log2(3), 1, 0.5])
    assert outcome.coverage == 1.0  # user 0 d, c, e; user 1 b and two more; user 2 a, b, d


@pytest.mark.parametrize("score", [NAN, INF, -INF, 5.0])
def test_an_unseen_item_that_ties_or_is_not_finite_is_ranked_above(tiny: Dataset, score: float) -> None:
    scores = [[0.0, 0.0, 5.0, score, 1.0]] * 4  # user 0: c against d, which ties or is not finite, and e
    outcome = Evaluation(tiny, k=3, negatives=99, seed=1, device="cpu").measure(Fixed(scores))
    assert outcome.full_gains[0] == outcome.sampled_gains[0] == pytest.approx(1 / math.log2(3))


def test_an_item_whose_score_is_not_finite_is_never_recommended(tiny: Dataset) -> None:
    outcome = Evaluation(tiny, k=5, negatives=99, seed=1, device="cpu").measure(Fixed([[1.0, NAN, INF, -INF, 2.0]] * 4))
    # Lists: user 0 e; user 1 e; user 2 a.
    assert outcome.coverage == pytest.approx(2 / 5)
    assert outcome.exposure == pytest.approx(2 / 3)


def test_scores_in_float64_are_compared_in_float64(tiny: Dataset) -> None:
    a_little_more = 1 + 1e-12
    scores = [
        [0.0, 0.0, a_little_more, 1.0, 1.0],
        [0.0, 1.0, a_little_more, 1.0, 0.0],
        [0.0, 0.0, 0.0, a_little_more, 0.0],
        [0.0] * 5,
    ]
    evaluation = Evaluation(tiny, k=1, negatives=99, seed=1, device="cpu")
    assert evaluation.measure(Fixed(scores, torch.float64)).full_hits.tolist() == [1, 0, 1]
    assert evaluation.measure(Fixed(scores, torch.float32)).full_hits.tolist() == [0, 0, 1]


def test_the_protocol_has_the_number_of_negatives_in_a_small_catalogue(tiny: Dataset) -> None:
    protocol = Evaluation(tiny, k=2, negatives=99, seed=1, device="cpu").protocol()
    assert (protocol["negatives"], protocol["fewestNegatives"], protocol["testUsers"]) == (99, 2, 3)


def test_the_protocol_names_the_epoch_of_the_model(tiny: Dataset) -> None:
    evaluation = Evaluation(tiny, k=2, negatives=99, seed=1, device="cpu")
    assert evaluation.protocol()["epoch"] == "last"
    assert evaluation.protocol(epoch="closed-form") == {**evaluation.protocol(), "epoch": "closed-form"}


def test_a_model_with_equal_scores_has_zero_figures(tiny: Dataset) -> None:
    figures = Evaluation(tiny, k=2, negatives=99, seed=1, device="cpu").measure(Fixed([[1.0] * 5] * 4)).to_dict()
    assert figures["sampled"] == figures["full"] == NOTHING


def test_a_model_with_nan_scores_has_zero_figures_and_coverage(tiny: Dataset) -> None:
    figures = Evaluation(tiny, k=2, negatives=99, seed=1, device="cpu").measure(Fixed([[NAN] * 5] * 4)).to_dict()
    slices, errors = figures.pop("slices"), figures.pop("standardErrors")
    assert set(errors.values()) == {0.0}
    assert figures == {"sampled": NOTHING, "full": NOTHING, "coverage": 0.0, "largestExposure": 0.0}
    assert all(figure["sampled"] == figure["full"] == NOTHING for figure in slices.values())


def dataset_of(train: dict[int, list[int]], test: dict[int, int], users: int, items: int) -> Dataset:
    """Make a dataset from each user's items in train and held-out item."""
    pairs = [(user, item) for user, own in train.items() for item in own]
    popularity = np.bincount([item for _, item in pairs], minlength=items)
    names = ([f"u{user}" for user in range(users)], [f"i{item}" for item in range(items)])

    def split(part: list[tuple[int, int]]) -> Pairs:
        user, item = np.array(part).T
        return Pairs.of(user, item, users=users, items=items)

    train_pairs, test_pairs = split(pairs), split(list(test.items()))
    return Dataset(VERSION, "sha256", *names, train_pairs, test_pairs, popularity, latest=np.full(users, -1))


@pytest.fixture
def crowd() -> Dataset:
    """Twelve users and eight items. Users 0 to 9 are test users.

    Items in train: users 0, 1 have items 0 to 5; users 2 to 8 have items 0 to 4; user 9 has items 0, 1; users 10, 11
    have all items. Interactions in train: items 0, 1 have 12 each, items 2, 3, 4 have 11, item 5 has 4, items 6, 7 have
    2, which is 65 in total. The head needs 52 of them: items 0 to 3 have 46, so item 4 is in the head; items 0 to 4
    have 57, so item 5 is in the tail. Held-out items: user 9 has item 4 (head); users 0, 2 have item 6 and the others
    item 7 (tail).
    """
    train = {user: list(range(6)) for user in (0, 1)} | {user: list(range(5)) for user in range(2, 9)}
    train |= {9: [0, 1], 10: list(range(8)), 11: list(range(8))}
    test = dict.fromkeys(range(9), 7) | {0: 6, 2: 6, 9: 4}
    return dataset_of(train, test, users=12, items=8)


def users_in(dataset: Dataset) -> dict[str, list[int]]:
    return {name: dataset.test.user[chosen].tolist() for name, chosen in slices_of(dataset, dataset.test).items()}


def test_slices_by_hand(crowd: Dataset) -> None:
    assert users_in(crowd) == {
        "newUsers": [2, 3, 4, 5, 6, 7, 8, 9],
        "heavyUsers": [0],  # one of ten; user 1 has as many items, but a greater index; users 10, 11 are not test users
        "tailItems": [0, 1, 2, 3, 4, 5, 6, 7, 8],
        "headItems": [9],
    }


def test_a_tenth_of_the_users_is_rounded_up() -> None:
    board = dataset_of({user: [0, *range(2, 3 + user % 4)] for user in range(11)}, dict.fromkeys(range(11), 1), 11, 8)
    assert users_in(board)["heavyUsers"] == [3, 7]  # the only users with five items


def test_items_with_exactly_the_last_fifth_of_interactions_are_the_tail() -> None:
    # Four users have item 0 and one has item 1: item 0 alone has four of five interactions.
    train = {0: [0], 1: [0], 2: [0], 3: [0], 4: [1]}
    assert users_in(dataset_of(train, {0: 1, 4: 0}, users=5, items=3))["tailItems"] == [0]
    # All items are equally popular: the first four of five are in the head.
    train = {user: [user] for user in range(5)}
    assert users_in(dataset_of(train, {0: 3, 1: 4}, users=5, items=5))["tailItems"] == [1]


def test_an_empty_slice_is_omitted() -> None:
    train = {user: [0, 1, 2, 3, 4, 5] for user in range(3)}
    both = [0, 1]
    found = users_in(dataset_of(train, {0: 6, 1: 7}, users=3, items=8))
    assert found == {"heavyUsers": [0], "tailItems": both, "newItems": both}


def test_figures_of_slices_by_hand(crowd: Dataset) -> None:
    scores = [[1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 7.0, 6.0]] * 12  # without train: 6 before 7 before 4, 3, 2, 5
    outcome = Evaluation(crowd, k=2, negatives=99, seed=1, device="cpu").measure(Fixed(scores))
    second = 1 / math.log2(3)
    # Users 0, 2: item 6 is first. Users 1, 3 … 8: item 7 is second. User 9: item 4 is third, after 6 and 7.
    expected = {
        "newUsers": (8, {"hitRate": 7 / 8, "ndcg": (1 + 6 * second) / 8}),
        "heavyUsers": (1, {"hitRate": 1.0, "ndcg": 1.0}),
        "tailItems": (9, {"hitRate": 1.0, "ndcg": (2 + 7 * second) / 9}),
        "headItems": (1, NOTHING),
    }
    slices = outcome.to_dict()["slices"]
    assert slices.keys() == expected.keys()
    for name, (users, figures) in expected.items():
        assert slices[name]["users"] == users
        # The negatives are all items that are not in train or test: the figures are the same.
        assert slices[name]["full"] == slices[name]["sampled"] == pytest.approx(figures)
    # All ten test users have items 6 and 7 as their top 2.
    assert (outcome.exposure, outcome.coverage) == (1.0, 2 / 8)


def test_figures_of_a_user_with_several_held_out_items_by_hand() -> None:
    """User 0 has items 0, 1 in train and 2, 4 held out; user 1 has item 5 in train and item 0 held out."""
    dataset = dataset_of({0: [0, 1], 1: [5], 2: list(range(6))}, {0: 2, 1: 0}, users=3, items=6)
    test = Pairs.of(np.array([0, 1, 0]), np.array([2, 0, 4]), users=3, items=6)
    dataset = replace(dataset, test=test)
    scores = [[9.0, 9.0, 8.0, 7.0, 6.0, 5.0], [4.0, 5.0, 1.0, 1.0, 1.0, 9.0], [0.0] * 6]
    evaluation = Evaluation(dataset, k=3, negatives=99, seed=1, device="cpu")
    outcome = evaluation.measure(Fixed(scores))
    second, third = 1 / math.log2(3), 1 / 2
    # User 0: items 2, 3, 4, 5 in this order, so the held-out items have ranks 0 and 2. User 1: item 0 has rank 1.
    np.testing.assert_allclose(outcome.full_gains, [(1 + third) / (1 + second), second])
    assert outcome.full_hits.tolist() == [1, 1]
    assert evaluation.protocol()["testUsers"] == 2
    # Sampled: among items 3 and 5, user 0's items have ranks 0 and 1; the mean counts.
    assert outcome.sampled_gains[0] == pytest.approx((1 + second) / 2)
    # Items 0, 1, 2 are popular and 4 is in the tail: the slice counts only the held-out items in it.
    tail = {name: parts for name, parts in outcome.slices.items() if name == "tailItems"}
    chosen = slices_of(dataset, test)["tailItems"]
    assert [int(test.item[place]) for place in np.flatnonzero(chosen)] == [4]
    np.testing.assert_allclose(tail["tailItems"][3], [third])


def test_a_perfect_order_of_more_held_out_items_than_k_has_an_ndcg_of_one() -> None:
    dataset = dataset_of({0: [5], 1: [0, 1, 2, 3, 4, 5]}, {0: 0}, users=2, items=6)
    test = Pairs.of(np.zeros(4, dtype=int), np.arange(4), users=2, items=6)
    outcome = Evaluation(dataset, k=2, negatives=99, seed=1, device="cpu", test=test).measure(
        Fixed([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]] * 2)
    )
    assert outcome.full_gains.tolist() == [1.0]


def test_the_standard_error_is_that_of_the_mean_over_users(crowd: Dataset) -> None:
    scores = [[1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 7.0, 6.0]] * 12
    outcome = Evaluation(crowd, k=2, negatives=99, seed=1, device="cpu").measure(Fixed(scores))
    assert outcome.full_hits.tolist() == [1.0] * 9 + [0.0]
    assert outcome.to_dict()["standardErrors"]["fullHitRate"] == pytest.approx(math.sqrt(0.1 / 10))


def test_a_baseline_has_its_differences_to_the_candidate_by_user(crowd: Dataset) -> None:
    evaluation = Evaluation(crowd, k=2, negatives=99, seed=1, device="cpu")
    outcome, other = (evaluation.measure(Fixed([list(range(8))[::step]] * 12)) for step in (1, -1))
    found = against(outcome, other)
    gains = outcome.full_gains - other.full_gains
    expected = {"mean": gains.mean(), "standardError": gains.std(ddof=1) / math.sqrt(gains.size)}
    assert found["difference"]["fullNdcg"] == pytest.approx(expected)
    assert {**found, "difference": None} == {**other.to_dict(), "difference": None}


def test_a_report_is_valid_against_the_schema(crowd: Dataset, tiny: Dataset) -> None:
    evaluation = Evaluation(crowd, k=2, negatives=99, seed=1, device="cpu")
    outcome, other = (evaluation.measure(Fixed([list(range(8))[::step]] * 12)) for step in (1, -1))
    named = {"runId": "r", "datasetVersion": VERSION}
    report: dict[str, Any] = {
        **named,
        "schemaVersion": "2.0",
        "codeVersion": "c",
        "bundleDigest": "c4" * 32,
        "data": None,
        "people": {"withTest": 10, "learnedAgain": 0, "learnedWhenNew": 0, "notDrawn": 0, "fair": 10},
        "protocol": evaluation.protocol(epoch="validation-best"),
        "candidate": {"model": "ease", **outcome.to_dict()},
        "incumbent": {**named, "model": "als", **other.to_dict()},
        "baselines": {"popularity": against(outcome, other)},
        "difference": difference(outcome, other, seed=1),
        "serving": None,
    }
    schema = jsonschema.Draft202012Validator(SCHEMA)
    schema.validate(report)
    for place, missing in (("candidate", "slices"), ("incumbent", "largestExposure"), ("difference", "fullNdcg")):
        broken = {**report, place: {key: value for key, value in report[place].items() if key != missing}}
        assert not schema.is_valid(broken)
    for broken in (
        {**report, "protocol": evaluation.protocol(epoch="best")},
        {**report, "candidate": {"model": "", **outcome.to_dict()}},
    ):
        assert not schema.is_valid(broken)


def test_negatives_are_new_to_the_user_and_drawn_from_the_seed(shop_dataset: Path) -> None:
    dataset = dataset_files.load(shop_dataset, VERSION)
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


def test_an_item_without_interactions_is_never_a_negative() -> None:
    """Items 3, 5 and 6 are ids of earlier datasets. Compared with them, every other item would look good."""
    dataset = dataset_of({0: [0, 1], 1: [1, 2], 2: [4, 7]}, {0: 2, 1: 0}, users=3, items=8)
    evaluation = Evaluation(dataset, k=1, negatives=5, seed=1, device="cpu")
    assert [sorted(row) for row in evaluation._negatives.tolist()] == [[-1, -1, -1, 4, 7], [-1, -1, -1, 4, 7]]
    assert evaluation.protocol()["fewestNegatives"] == 2


def test_figures_do_not_depend_on_how_many_users_are_scored_at_a_time(
    shop_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = dataset_files.load(shop_dataset, VERSION)
    evaluation = Evaluation(dataset, k=10, negatives=30, seed=1, device="cpu")
    scorer = Fixed(torch.rand(dataset.users, dataset.items, generator=torch.Generator().manual_seed(1)).tolist())
    whole = evaluation.measure(scorer).to_dict()
    monkeypatch.setattr("ncf.evaluation._FLOATS", 7 * dataset.items)
    assert evaluation.measure(scorer).to_dict() == whole


def test_a_model_does_not_differ_from_itself(tiny: Dataset) -> None:
    outcome = Evaluation(tiny, k=2, negatives=99, seed=1, device="cpu").measure(Fixed([[3.0, 1.0, 2.0, 5.0, 4.0]] * 4))
    found = difference(outcome, outcome, seed=1)
    for name in ("sampledNdcg", "sampledHitRate", "fullNdcg", "fullHitRate"):
        assert found[name] == {"mean": 0.0, "standardError": 0.0, "lower": 0.0, "upper": 0.0}
        assert found["slices"]["newUsers"][name] == {"mean": 0.0, "standardError": 0.0}


def test_each_difference_has_its_own_figure(tiny: Dataset) -> None:
    outcome = Evaluation(tiny, k=2, negatives=99, seed=1, device="cpu").measure(Fixed([[1.0] * 5] * 4))
    zero = np.zeros(3)
    better = replace(
        outcome,
        sampled_hits=zero + 0.4,
        sampled_gains=zero + 0.3,
        full_hits=zero + 0.2,
        full_gains=np.array([0.3, 0.0, 0.0]),
    )
    found = difference(better, outcome, seed=1)
    means = {name: found[name]["mean"] for name in ("sampledHitRate", "sampledNdcg", "fullHitRate", "fullNdcg")}
    assert means == pytest.approx({"sampledHitRate": 0.4, "sampledNdcg": 0.3, "fullHitRate": 0.2, "fullNdcg": 0.1})
    # One of three users gained 0.3. A resample of three users contains that user 0 to 3 times; 3 times in 1 of 27.
    assert (found["fullNdcg"]["lower"], found["fullNdcg"]["upper"]) == pytest.approx((0.0, 0.3))


def test_a_sample_of_users_needs_little_memory_beside_the_dataset() -> None:
    """Not a copy of all interactions, which take 16 bytes each: 10,000 of 482,000 users are tested, not all."""
    users, items, each = 20_000, 1_000, 20
    item = (np.arange(users)[:, None] + np.arange(each) * 7) % items
    train = Pairs.of(np.repeat(np.arange(users), each), item.ravel(), users, items)
    test = Pairs.of(np.arange(users), (np.arange(users) + 1) % items, users, items)
    names = [str(user) for user in range(users)], [str(place) for place in range(items)]
    dataset = Dataset(VERSION, "", *names, train, test, np.bincount(train.item), np.full(users, -1))
    sample = Pairs.of(np.arange(50), np.arange(50) + 1, users, items)
    tracemalloc.start()
    try:
        Evaluation(dataset, k=10, negatives=9, seed=1, device="cpu", test=sample, with_repeats=sample)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(train)
