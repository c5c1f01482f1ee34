"""Filters, related items, shards and batches, each compared with a direct computation of the answer."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncf import bundle as bundles
from ncf.bundle import Bundle
from ncf.network import Architecture, Recommender
from serving import kernels
from serving import scorer as scorer_module
from serving import selection as selection_module
from serving.invocation import Filters, Invocation, Related, Shard
from serving.logits import Fused, Plain
from serving.scorer import Scorer

MODELS = [("gmf", (16, 12, 6)), ("mlp", (16, 12, 6)), ("neumf", (16, 12, 6)), ("als", ()), ("ease", ())]
ITEMS = [f"item-{index}" for index in range(40)]


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: model[0])
def bundle(request: pytest.FixtureRequest, make_bundle: Any) -> Bundle:
    return bundles.load(make_bundle(*request.param))


def expected(bundle: Bundle, scores: Any, allowed: set[int], filters: Filters, number: int) -> list[tuple[str, float]]:
    """The list by its definition: all allowed items in order, without those in a full category."""

    def names(item: int) -> set[str]:
        return {bundle.category_names[place] for place in bundle.item_categories[item]}

    if filters.categories:
        allowed = {item for item in allowed if names(item) & set(filters.categories)}
    allowed -= {bundle.item_index[item] for item in filters.deny if item in bundle.item_index}
    weighted = {item: scores[item] * filters.boosts.get(bundle.item_ids[item], 1.0) for item in allowed}
    chosen: list[tuple[str, float]] = []
    room = dict(filters.category_caps)
    for item in sorted(weighted, key=lambda item: (-weighted[item], item)):
        full = [name for name in names(item) if name in room and room[name] == 0]
        if not full and len(chosen) < number:
            chosen.append((bundle.item_ids[item], weighted[item]))
            for name in names(item) & set(room):
                room[name] -= 1
    return chosen


def listed(response: dict[str, Any]) -> list[tuple[str, float]]:
    return [(entry["itemId"], entry["score"]) for entry in response["itemList"]]


def assert_equal_lists(answered: list[tuple[str, float]], wanted: list[tuple[str, float]]) -> None:
    assert [item for item, _ in answered] == [item for item, _ in wanted]
    assert [score for _, score in answered] == pytest.approx([score for _, score in wanted], rel=1e-5, abs=1e-6)


some_items = st.lists(st.sampled_from([*ITEMS, "nothing"]), max_size=12).map(tuple)
categories = st.sampled_from(["Even", "Third", "Seventh", "None of them"])
filters = st.builds(
    Filters,
    deny=some_items,
    categories=st.lists(categories, max_size=2, unique=True).map(tuple),
    boosts=st.dictionaries(st.sampled_from([*ITEMS, "nothing"]), st.floats(0.01, 100), max_size=6),
    category_caps=st.dictionaries(categories, st.integers(0, 4), max_size=3),
)
users = st.sampled_from(["user-0", "user-3", "user-6", "nobody"])


@settings(max_examples=60, deadline=None)
@given(
    users,
    st.none() | st.integers(1, 100),
    st.sampled_from(["none", "any"]),
    st.none() | some_items.filter(bool),
    filters,
)
def test_filtered_lists_follow_the_definition(
    bundle: Bundle, user: str, number: int | None, exclude_seen: str, candidates: Any, chosen: Filters
) -> None:
    scorer = Scorer(bundle)
    response = scorer.answer(Invocation(user, number, exclude_seen, candidates, chosen))
    index = bundle.user_index.get(user)
    seen = set(bundle.seen(index).tolist()) if index is not None else set()
    scores = scorer.scores(index) if index is not None and seen else bundle.popularity.astype(float)
    named = ITEMS if candidates is None else candidates
    allowed = {bundle.item_index[item] for item in named if item in bundle.item_index}
    wanted = expected(bundle, scores, allowed - (seen if exclude_seen == "any" else set()), chosen, number or 40)
    assert_equal_lists(listed(response), wanted)
    assert response["unknownItems"] == int("nothing" in named)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["item-0", "item-7", "nothing"]), st.integers(1, 100), filters)
def test_related_items_are_those_of_the_model_without_the_item(
    bundle: Bundle, item: str, number: int, chosen: Filters
) -> None:
    response = Scorer(bundle).answer(Related(item, number, chosen))
    index = bundle.item_index.get(item)
    known = index is not None and bundle.popularity[index] > 0
    related = bundle.model.related(index) if index is not None and known else None
    scores = bundle.popularity.astype(float) if related is None else related.double().numpy()
    assert_equal_lists(listed(response), expected(bundle, scores, set(range(40)) - {index}, chosen, number))
    assert response["source"] == ("popular" if related is None else "related")
    assert (response["itemId"], response["unknownItems"]) == (item, int(index is None))


def test_a_shard_has_the_list_of_each_of_its_users(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer_module, "_LOGITS_AT_ONCE", 80)  # two users at a time
    scorer, found = Scorer(bundle), []
    for shard in range(3):
        answer = scorer.answer(Shard(shard, 3, 4))
        assert {name: answer[name] for name in ("schemaVersion", "modelVersion", "shard", "shards")} == {
            "schemaVersion": "1.0",
            "modelVersion": bundle.run_id,
            "shard": shard,
            "shards": 3,
        }
        listed_items = set()
        for user, items in answer["users"].items():
            assert int(hashlib.sha256(user.encode()).hexdigest()[:8], 16) % 3 == shard
            assert_equal_lists(list(items), listed(scorer.answer(Invocation(user, 4, "any"))))
            listed_items |= {item for item, _ in items}
        assert answer["itemCategories"] == {
            item: [name for name, every in (("Even", 2), ("Seventh", 7), ("Third", 3)) if int(item[5:]) % every == 0]
            for item in listed_items
            if any(int(item[5:]) % every == 0 for every in (2, 3, 7))
        }
        found += answer["users"]
    assert sorted(found) == [f"user-{index}" for index in range(6)]  # user-6 has no interaction


def test_a_batch_is_answered_like_single_requests(bundle: Bundle) -> None:
    scorer = Scorer(bundle)
    requests: list[Any] = [
        Invocation("user-0", 5, "any"),
        Invocation("nobody", 3, "any"),
        Related("item-3", 4),
        Invocation("user-1", 40, "none", None, Filters(deny=("item-1",))),
        Invocation("user-2", None, "none", ("item-4", "item-9")),
        Invocation("user-2", 5, "any", None, Filters(categories=("Even",))),
        Shard(0, 2, 3),
    ]
    for answered, request in zip(scorer.answers(requests), requests, strict=True):
        alone = scorer.answer(request)
        assert isinstance(answered, dict)
        if isinstance(request, Shard):
            assert answered.keys() == alone.keys()
        else:
            assert_equal_lists(listed(answered), listed(alone))
            assert {**answered, "itemList": None} == {**alone, "itemList": None}


def test_a_failed_request_does_not_affect_the_others(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer(bundle)
    monkeypatch.setattr(bundle.model, "related", lambda item: 1 / 0, raising=False)
    first, second = scorer.answers([Related("item-0", 3), Invocation("user-0", 3, "any")])
    assert isinstance(first, ZeroDivisionError)
    assert isinstance(second, dict) and len(second["itemList"]) == 3


@pytest.mark.parametrize("layers", [(16, 12, 6), (16, 5, 3, 1), (12, 7), (8,), (600, 300, 9)])
@pytest.mark.parametrize("model", ["gmf", "mlp", "neumf"])
@pytest.mark.parametrize("items", [1, 255, 256, 300])
def test_prepared_logits_are_those_of_the_model(model: str, layers: tuple[int, ...], items: int) -> None:
    network = Recommender(Architecture(model, 8, layers), 9, items).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(3))
    rows = np.arange(0, items, 3)
    for users_ in ([4], [0, 8, 4]):
        for chosen in (None, rows):
            plain, fused = Plain(network).of(users_, chosen), Fused(network).of(users_, chosen)
            assert fused.dtype == np.float32
            np.testing.assert_allclose(fused, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", ["gmf", "mlp", "neumf"])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_ranking_in_one_loop_is_the_sorted_logits(model: str, data: st.DataObject) -> None:
    items = data.draw(st.sampled_from([1, 9, 256, 700]))
    network = Recommender(Architecture(model, 2, data.draw(st.sampled_from([(4, 3), (6, 5, 2), (2,)]))), 3, items)
    network.eval().requires_grad_(False)
    for parameter in network.parameters():  # few values, so that many logits are equal
        parameter.copy_(torch.randint(-1, 2, parameter.shape, generator=torch.Generator().manual_seed(items)).float())
    some = st.sets(st.integers(0, items - 1), max_size=300).map(sorted)
    excluded = np.array(data.draw(some), np.int32)
    rows = data.draw(st.none() | some.map(lambda chosen: np.array(chosen, np.int64)))
    number = data.draw(st.integers(0, 40))
    fused = Fused(network)
    every = np.arange(items) if rows is None else rows
    logits = fused.of([1], rows)[0]
    left = [(-logit, item) for logit, item in zip(logits.tolist(), every.tolist(), strict=True) if item not in excluded]
    expected = sorted(left)[:number]
    found, scores = fused.best(1, number, excluded, rows)
    assert found.tolist() == [item for _, item in expected]
    np.testing.assert_allclose(scores, [1 / (1 + np.exp(negated)) for negated, _ in expected])


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), max_size=30), st.sets(st.integers(0, 29)), st.integers(0, 35))
def test_the_best_are_those_of_a_stable_sort(scores: list[float], excluded: set[int], number: int) -> None:
    left_out = {position for position in excluded if position < len(scores)}
    order = sorted(set(range(len(scores))) - left_out, key=lambda position: (-scores[position], position))[:number]
    for dtype in (np.float32, np.float64):
        found = kernels.best(np.array(scores, dtype=dtype), np.array(sorted(left_out), dtype=np.int64), number)
        assert found.tolist() == order


def test_a_list_too_long_for_insertion_is_sorted_too(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer(bundle)
    request = Invocation("user-0", 40, "any", None, Filters(deny=("item-3",)))
    before = listed(scorer.answer(request))
    monkeypatch.setattr(selection_module, "_MOST_BY_INSERTION", 2)
    assert listed(scorer.answer(request)) == before


def test_where_the_sigmoid_saturates_equal_scores_are_ordered_by_index(make_bundle: Any) -> None:
    bundle = bundles.load(make_bundle("gmf"))
    with torch.no_grad():
        model: Any = bundle.model
        for parameter in model.parameters():
            parameter.fill_(4.0)
        bundle.model.state()["towers.0.item.weight"][::2] += 1e-3  # logits near 516 differ, their sigmoids do not
    response = Scorer(bundle).answer(Invocation("user-0", 6, "none"))
    assert [item for item, _ in listed(response)] == ITEMS[:6]
    assert {score for _, score in listed(response)} == {1.0}
