"""The scorer compared with the model itself and with `ncf.ranking.rank`, on random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from contracts import golden as answers
from ncf import bundle as bundles
from ncf.ranking import rank
from serving.invocation import Invocation, from_document
from serving.scorer import Scorer

SHAPES = [
    ("gmf", (16, 12, 6)),
    ("mlp", (16, 12, 6)),
    ("mlp", (16, 12)),
    ("mlp", (16,)),
    ("neumf", (16, 12, 6)),
    ("neumf", (8,)),
    ("als", ()),
    ("ease", ()),
    ("cooccurrence", ()),
    ("recent neumf", (16, 12, 6)),
]


@pytest.fixture(scope="module")
def bundle(bundle_directory: Any) -> Any:
    return bundles.load(bundle_directory)


@pytest.fixture(scope="module")
def answer(bundle: Any) -> Any:
    scorer = Scorer(bundle)
    return lambda **request: scorer.answer(from_document(request))


AGED = [{"itemId": "gone", "ageSeconds": 9e8}, *({"itemId": f"item-{n}", "ageSeconds": 9e8} for n in range(40))]
"""All items, chosen before the end of the model's data (LEARNED_UNTIL); of user-0 one learned item is held out."""


def ids(response: Any) -> Any:
    return [item["itemId"] for item in response["itemList"]]


@pytest.mark.parametrize(("model", "layers"), SHAPES)
def test_scores_are_those_of_the_model(make_bundle: Any, model: Any, layers: Any) -> None:
    bundle = bundles.load(make_bundle(model, layers))
    scorer = Scorer(bundle)
    items = torch.arange(len(bundle.item_ids))
    some = np.array([3, 11, 39])
    for user in range(len(bundle.user_index)):
        with torch.inference_mode():
            expected = torch.sigmoid(bundle.model.pairs(torch.tensor([user]), items[None])[0].double()).numpy()
        assert expected.std() > 0.01 or bundle.seen(user).size == 0
        np.testing.assert_allclose(scorer.scores(user), expected, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(scorer.scores(user, some), expected[some], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("model", "layers"), SHAPES)
@pytest.mark.parametrize(
    "request_",
    [
        {"userId": "user-2"},
        {"userId": "user-2", "numResults": 100},
        {"userId": "user-2", "numResults": 100, "excludeSeen": False},
        {"userId": "user-3", "candidates": [f"item-{n}" for n in (9, 1, 30, 1, 2)] + ["x"]},
        {"userId": "user-3", "candidates": [f"item-{n}" for n in range(40)], "excludeSeen": True, "numResults": 3},
        {"userId": "user-6"},
        {"userId": "nobody", "numResults": 100},
        {"userId": "nobody", "candidates": ["item-3", "y", "item-2"], "excludeSeen": True},
        {"userId": "user-2", "numResults": 40, "history": [{"itemId": f"item-{n}"} for n in (3, 4, 3)]},
        {"userId": "user-6", "history": [{"itemId": "item-9"}, {"itemId": "gone"}]},
        {"userId": "nobody", "numResults": 40, "history": [{"itemId": f"item-{n}"} for n in range(30)]},
        {"userId": "nobody", "history": [{"itemId": f"item-{n}", "ageSeconds": 60 * (n % 3)} for n in range(9)]},
        {"userId": "user-2", "numResults": 40, "excludeSeen": False, "history": AGED},
        {"userId": "user-0", "numResults": 40, "history": [{**one, "isBought": True} for one in AGED]},
        {"userId": "nobody", "history": [{"itemId": "gone"}], "candidates": ["item-3", "y"]},
        {"userId": "user-3", "history": [{"itemId": "item-1"}], "candidates": [f"item-{n}" for n in range(40)]},
    ],
    ids=str,
)
def test_answers_are_those_of_the_plain_ranking(make_bundle: Any, model: Any, layers: Any, request_: Any) -> None:
    bundle = bundles.load(make_bundle(model, layers))
    expected = rank(bundle, request_)
    given = Scorer(bundle).answer(from_document(request_))
    assert ids(given) == ids(expected)
    assert [item["score"] for item in given["itemList"]] == pytest.approx(
        [item["score"] for item in expected["itemList"]], abs=1e-6
    )
    assert {**given, "itemList": None} == {**expected, "itemList": None}


@pytest.mark.parametrize(("model", "layers"), SHAPES)
def test_answers_by_another_device_are_those_of_the_cpu(make_bundle: Any, device: Any, model: Any, layers: Any) -> None:
    directory = make_bundle(model, layers)
    there, here = (bundles.load(directory, device=where) for where in (device, "cpu"))
    assert (there.model.device.type, here.model.device.type) == (device, "cpu")
    ours, theirs = Scorer(there), Scorer(here)
    requests = [
        *({"userId": f"user-{user}", "numResults": 40} for user in range(7)),
        {"userId": "user-3", "candidates": [f"item-{n}" for n in (9, 1, 30)]},
        {"userId": "user-2", "boosts": {"item-4": 3.0}, "categoryCaps": {"Even": 1}, "deny": ["item-7"]},
        {"userId": "user-1", "categories": ["Third"]},
        *({"itemId": f"item-{n}", "numResults": 20} for n in range(6)),
        {"shard": 0, "shards": 1},
    ]
    parsed = [from_document(request) for request in requests]
    alone = [ours.answer(request) for request in parsed]
    for given, other, request in zip(ours.answers(parsed), alone, parsed, strict=True):
        expected = theirs.answer(request)
        for answer in (given, other):
            for wanted, have in zip(lists(expected), lists(answer), strict=True):
                assert answers.difference(wanted, have) is None


def lists(answer: Any) -> Any:
    """The answers to compare: the answer itself, or one for each user of a shard."""
    if "users" not in answer:
        return [answer]
    return [
        {"userId": user, "itemList": [{"itemId": item, "score": score} for item, score in chosen]}
        for user, chosen in answer["users"].items()
    ]


def test_removes_seen_items_before_it_shortens_the_list(bundle: Any, answer: Any) -> None:
    seen = {bundle.item_ids[index] for index in bundle.seen(0)}
    everything = ids(answer(userId="user-0", numResults=100, excludeSeen=False))
    assert len(everything) == 40 and seen < set(everything)
    unseen = [item for item in everything if item not in seen]
    assert ids(answer(userId="user-0", numResults=8)) == unseen[:8]
    assert ids(answer(userId="user-0", numResults=100)) == unseen


def test_answers_an_empty_list_when_every_candidate_was_seen(bundle: Any, answer: Any) -> None:
    seen = [bundle.item_ids[index] for index in bundle.seen(0)]
    response = answer(userId="user-0", candidates=seen, excludeSeen=True)
    assert (response["itemList"], response["source"], response["unknownItems"]) == ([], "personalized", 0)


def test_answers_an_empty_list_when_no_candidate_is_known(answer: Any) -> None:
    response = answer(userId="user-0", candidates=["a", "b", "a"])
    assert (response["itemList"], response["source"], response["unknownItems"]) == ([], "personalized", 2)


@pytest.mark.parametrize("user", ["nobody", "user-6"])
def test_gives_popular_items_to_a_user_without_interactions(bundle: Any, answer: Any, user: Any) -> None:
    response = answer(userId=user, numResults=40)
    assert response["source"] == "popular"
    order = sorted(range(40), key=lambda index: (-bundle.popularity[index], index))
    assert response["itemList"] == [
        {"itemId": f"item-{index}", "score": float(bundle.popularity[index])} for index in order
    ]


def test_ranks_the_candidates_of_an_unknown_user_by_popularity(bundle: Any, answer: Any) -> None:
    best, worst = int(bundle.popularity.argmax()), int(bundle.popularity.argmin())
    response = answer(userId="nobody", candidates=[f"item-{worst}", "none", f"item-{best}"])
    assert (response["source"], response["unknownItems"]) == ("popular", 1)
    assert ids(response) == [f"item-{best}", f"item-{worst}"]


@pytest.mark.parametrize("model", ["gmf", "neumf"])
def test_orders_equal_scores_by_item_index(make_bundle: Any, model: Any) -> None:
    bundle = bundles.load(make_bundle(model))
    network: Any = bundle.model
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    scorer = Scorer(bundle)
    seen = set(bundle.seen(4).tolist())
    expected = [f"item-{index}" for index in range(40) if index not in seen][:6]
    response = scorer.answer(Invocation("user-4", 6, "any"))
    assert ids(response) == expected
    assert {item["score"] for item in response["itemList"]} == {0.5}
    shuffled = Invocation("user-4", None, "none", ("item-9", "item-30", "item-2"))
    assert ids(scorer.answer(shuffled)) == ["item-2", "item-9", "item-30"]
