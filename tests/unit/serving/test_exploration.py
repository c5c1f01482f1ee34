"""Places for items that few people know, and the items of a history because of which an item is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.limits import REASONS
from ncf import bundle as bundles
from ncf.bundle import Bundle
from ncf.recent import WithRecent
from serving.exploration import POOL, Exploration
from serving.invocation import InvalidInvocation, from_document
from serving.scorer import Scorer

RARE = np.arange(40) >= 20
"""Items 20 to 39 have no interaction."""
HALF = {"exploration": {"share": 0.5, "fewerThan": 1}}


def scorer_of(directory: Path) -> tuple[Bundle, Scorer]:
    bundle = replace(bundles.load(directory), popularity=np.where(RARE, 0, 9))
    return bundle, Scorer(bundle)


@pytest.fixture(scope="module", params=["neumf", "als", "recent neumf"])
def found(make_bundle: Callable[..., Path], request: pytest.FixtureRequest) -> tuple[Bundle, Scorer]:
    return scorer_of(make_bundle(request.param))


def listed(scorer: Scorer, **request: Any) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = scorer.answer(from_document(request))["itemList"]
    return entries


def marked(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["itemId"] for entry in entries if "isExploration" in entry]


def number(item: str) -> int:
    return int(item.removeprefix("item-"))


@pytest.mark.parametrize(("share", "of", "places"), [(0, 10, 0), (0.1, 10, 1), (0.1, 9, 0), (0.3, 10, 3), (0.5, 1, 0)])
def test_the_share_of_places_is_rounded_down(share: float, of: int, places: int) -> None:
    assert Exploration(share, 5).places(of) == places


@pytest.mark.parametrize("user", ["user-0", "user-3", "user-6", "nobody"])
def test_a_bounded_share_of_the_places_is_for_items_that_few_people_know(
    found: tuple[Bundle, Scorer], user: str
) -> None:
    bundle, scorer = found
    plain = listed(scorer, userId=user)
    entries = listed(scorer, userId=user, **HALF)
    rare = [entry["itemId"] for entry in entries if RARE[number(entry["itemId"])]]
    assert len(entries) == 10 and len({entry["itemId"] for entry in entries}) == 10
    own = sum(RARE[number(entry["itemId"])] for entry in plain)
    assert len(marked(entries)) == max(0, 5 - own) and set(marked(entries)) <= set(rare)
    assert all(entry["isExploration"] is True for entry in entries if "isExploration" in entry)
    seen = {bundle.item_ids[item] for item in bundle.seen(bundle.user_index[user])} if user != "nobody" else set()
    assert seen.isdisjoint(marked(entries))
    kept = [entry for entry in entries if entry["itemId"] not in marked(entries)]
    assert kept == plain[: len(kept)]
    scores = [entry["score"] for entry in entries]
    assert scores == sorted(scores, reverse=True)


def test_the_items_are_among_the_best_of_their_kind(found: tuple[Bundle, Scorer]) -> None:
    _, scorer = found
    share = {"exploration": {"share": 0.1, "fewerThan": 1}}
    all_rare = [item for item in listed(scorer, userId="user-1", numResults=40) if RARE[number(item["itemId"])]]
    best = [entry["itemId"] for entry in all_rare[:POOL]]
    for _ in range(3):
        assert set(marked(listed(scorer, userId="user-1", **share))) <= set(best)


def test_a_page_that_is_loaded_again_shows_the_same_and_the_next_day_others(
    found: tuple[Bundle, Scorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, scorer = found
    share = {"exploration": {"share": 0.1, "fewerThan": 1}}
    days = {}
    for day in range(1, 31):
        monkeypatch.setattr("serving.scorer.today", lambda day=day: f"2026-11-{day:02d}")
        first, again = (listed(scorer, userId="nobody", **share) for _ in range(2))
        assert first == again
        days[day] = tuple(marked(first))
    assert len(set(days.values())) > 5


def test_nothing_is_explored_without_the_rule_in_related_lists_or_among_candidates(
    found: tuple[Bundle, Scorer],
) -> None:
    _, scorer = found
    assert not marked(listed(scorer, userId="user-1"))
    assert not marked(listed(scorer, userId="user-1", exploration={"share": 0, "fewerThan": 5}))
    assert not marked(listed(scorer, userId="user-1", candidates=["item-1", "item-30"], **HALF))
    with pytest.raises(InvalidInvocation, match="exploration"):
        from_document({"itemId": "item-1", **HALF})


def test_rules_and_categories_hold_for_explored_items(found: tuple[Bundle, Scorer]) -> None:
    _, scorer = found
    denied = [f"item-{item}" for item in range(20, 38)]
    assert set(marked(listed(scorer, userId="nobody", deny=denied, **HALF))) <= {"item-38", "item-39"}
    even = listed(scorer, userId="user-1", categories=["Even"], **HALF)
    assert even and all(number(entry["itemId"]) % 2 == 0 for entry in even)
    for cap in (0, 1, 3):
        capped = listed(scorer, userId="user-1", categoryCaps={"Even": cap}, **HALF)
        assert sum(number(entry["itemId"]) % 2 == 0 for entry in capped) <= cap


def test_withdrawn_items_are_not_explored(bundle_directory: Path) -> None:
    bundle, _ = scorer_of(bundle_directory)
    scorer = Scorer(replace(bundle, withdrawn=np.arange(20, 39, dtype=np.int32)))
    assert set(marked(listed(scorer, userId="nobody", **HALF))) <= {"item-39"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.1, "exploration must be an object with share and fewerThan, not 0.1"),
        ({"share": 0.1}, "exploration must be an object with share and fewerThan, not an object"),
        ({"share": 0.6, "fewerThan": 5}, "exploration.share must be a number from 0 to 0.5, not 0.6"),
        ({"share": True, "fewerThan": 5}, "exploration.share must be a number from 0 to 0.5, not true"),
        ({"share": 0.1, "fewerThan": 0}, "exploration.fewerThan must be an integer from 1 to 1000, not 0"),
        ({"share": 0.1, "fewerThan": 2.5}, "exploration.fewerThan must be an integer from 1 to 1000, not 2.5"),
    ],
)
def test_an_exploration_that_cannot_be_read_is_refused_by_name(value: Any, message: str) -> None:
    with pytest.raises(InvalidInvocation) as refused:
        from_document({"userId": "u", "exploration": value})
    assert (refused.value.message, refused.value.field) == (message, "exploration")


def test_explain_must_be_true_or_false() -> None:
    with pytest.raises(InvalidInvocation, match="explain must be true or false, not 1"):
        from_document({"userId": "u", "explain": 1})


@pytest.mark.parametrize("user", ["user-0", "nobody"])
def test_names_the_items_of_the_history_that_weigh_most(make_bundle: Callable[..., Path], user: str) -> None:
    bundle, scorer = scorer_of(make_bundle("recent neumf"))
    history = [{"itemId": "item-4"}, {"itemId": "item-9"}, {"itemId": "unknown"}]
    entries = listed(scorer, userId=user, history=history, explain=True, numResults=20)
    index = bundle.user_index.get(user)
    assert isinstance(bundle.model, WithRecent)
    recent = bundle.model.recent
    last = recent.last(index, [4, 9])
    for entry in entries:
        item = number(entry["itemId"])
        weights = {}
        for one, later, often in zip(last.items.tolist(), last.later.tolist(), last.often.tolist(), strict=True):
            if later < recent.fading.numel():
                begin, end = recent.neighbour_indptr[one], recent.neighbour_indptr[one + 1]
                own = (recent.neighbours[begin:end] == item) * recent.weights[begin:end]
                weights[f"item-{one}"] = float(own.sum() * recent.fading[later]) + (one == item) * often * float(
                    recent.repeats[later]
                )
        most = sorted((weight, name) for name, weight in weights.items() if weight > 0)[::-1][:REASONS]
        assert entry["because"] == [name for _, name in most]
    assert any(entry["because"] for entry in entries)


@pytest.mark.parametrize("model", ["neumf", "als", "recent neumf"])
def test_there_is_no_reason_where_nothing_is_known(make_bundle: Callable[..., Path], model: str) -> None:
    _, scorer = scorer_of(make_bundle(model))
    assert [entry["because"] for entry in listed(scorer, userId="nobody", explain=True)] == [[]] * 10
    if model != "recent neumf":
        assert [entry["because"] for entry in listed(scorer, userId="user-1", explain=True)] == [[]] * 10
    assert all("because" not in entry for entry in listed(scorer, userId="user-1"))


def test_an_item_without_interactions_is_related_by_its_attributes(make_bundle: Callable[..., Path]) -> None:
    bundle, scorer = scorer_of(make_bundle("als"))
    known = Scorer(replace(bundle, manifest=bundle.manifest | {"describedItems": 20}))
    related = from_document({"itemId": "item-30"})  # Even and Third
    assert (scorer.answer(related)["source"], known.answer(related)["source"]) == ("popular", "related")
    without_attributes = from_document({"itemId": "item-31"})
    assert known.answer(without_attributes)["source"] == "popular"
