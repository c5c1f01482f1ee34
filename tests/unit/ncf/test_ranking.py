from typing import Any

import numpy as np
import pytest
import torch

from ncf.bundle import Bundle
from ncf.network import Architecture, Recommender
from ncf.ranking import best_first, rank


@pytest.fixture
def bundle() -> Bundle:
    """User u0 has item i0, u1 has none. The logit of item i for u0 is [4, 3, 3, 1, 0][i]."""
    architecture = Architecture("gmf", 1, (2,))
    model: Any = Recommender(architecture, 2, 5)
    with torch.no_grad():
        model.towers[0].user.weight.fill_(1.0)
        model.towers[0].item.weight.copy_(torch.tensor([[4.0], [3.0], [3.0], [1.0], [0.0]]))
        model.output.weight.fill_(1.0)
        model.output.bias.zero_()
    return Bundle(
        model=model.requires_grad_(False).eval(),
        user_index={"u0": 0, "u1": 1},
        item_ids=["i0", "i1", "i2", "i3", "i4"],
        item_index={f"i{index}": index for index in range(5)},
        seen_indptr=np.array([0, 1, 1]),
        seen_indices=np.array([0], dtype=np.int32),
        popularity=np.array([1, 7, 7, 9, 0]),
        golden=[],
        manifest={"runId": "run"},
    )


def items(response: dict[str, Any]) -> list[str]:
    return [item["itemId"] for item in response["itemList"]]


def test_a_known_user_gets_the_best_unseen_items_with_ties_by_index(bundle: Bundle) -> None:
    response = rank(bundle, {"userId": "u0"})
    assert items(response) == ["i1", "i2", "i3", "i4"]
    assert response["itemList"][3]["score"] == 0.5
    assert response["itemList"][0]["score"] == pytest.approx(1 / (1 + np.exp(-3)))
    assert {name: response[name] for name in ("userId", "source", "modelVersion", "unknownItems")} == {
        "userId": "u0",
        "source": "personalized",
        "modelVersion": "run",
        "unknownItems": 0,
    }


def test_seen_items_are_included_on_request(bundle: Bundle) -> None:
    assert items(rank(bundle, {"userId": "u0", "numResults": 2, "excludeSeen": False})) == ["i0", "i1"]


@pytest.mark.parametrize("user", ["nobody", "u1"])
def test_an_unknown_user_and_one_without_interactions_get_the_popular_items(user: str, bundle: Bundle) -> None:
    response = rank(bundle, {"userId": user, "numResults": 3})
    assert response["source"] == "popular"
    assert response["itemList"] == [
        {"itemId": "i3", "score": 9.0},
        {"itemId": "i1", "score": 7.0},
        {"itemId": "i2", "score": 7.0},
    ]


def test_all_known_candidates_are_ranked_and_unknown_ones_are_counted_once(bundle: Bundle) -> None:
    response = rank(bundle, {"userId": "u0", "candidates": ["i4", "x", "i2", "i0", "i2", "x", "y"]})
    assert items(response) == ["i0", "i2", "i4"]
    assert response["unknownItems"] == 2


def test_seen_candidates_are_excluded_and_the_list_is_limited_on_request(bundle: Bundle) -> None:
    request = {"userId": "u0", "candidates": ["i4", "i2", "i0"], "excludeSeen": True}
    assert items(rank(bundle, request)) == ["i2", "i4"]
    assert items(rank(bundle, request | {"numResults": 1})) == ["i2"]


def test_candidates_of_an_unknown_user_are_ranked_by_popularity(bundle: Bundle) -> None:
    response = rank(bundle, {"userId": "nobody", "candidates": ["i0", "i2", "i1"]})
    assert items(response) == ["i1", "i2", "i0"]
    assert response["source"] == "popular"


def test_only_unknown_candidates_give_an_empty_list(bundle: Bundle) -> None:
    for user in ("u0", "nobody"):
        response = rank(bundle, {"userId": user, "candidates": ["x", "y"]})
        assert (response["itemList"], response["unknownItems"]) == ([], 2)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 5, 6, 100])
def test_best_first_is_a_stable_sort(number: int) -> None:
    scores = np.array([1.0, 3.0, 2.0, 3.0, 2.0, 0.0])
    assert best_first(scores, number).tolist() == [1, 3, 2, 4, 0, 5][:number]


def test_many_equal_scores_stay_in_order() -> None:
    scores = np.random.default_rng(3).integers(0, 5, 2000).astype(float)
    expected = sorted(range(2000), key=lambda position: (-scores[position], position))
    assert best_first(scores, 2000).tolist() == expected
    assert best_first(scores, 700).tolist() == expected[:700]
