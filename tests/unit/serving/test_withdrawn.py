"""Withdrawn items in the server's answers, and the fields of items."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts import limits
from ncf import bundle as bundles
from ncf.bundle import Bundle
from ncf.item_fields import ItemFields
from ncf.ranking import rank
from serving.invocation import InvalidInvocation, from_document
from serving.scorer import Scorer

GONE = np.array([0, 2, 3, 11, 17, 29, 39], np.int32)


def offered(directory: Path) -> tuple[Bundle, Scorer]:
    fields = ItemFields.pack({"title": f"Item {item}", "price": item / 2 if item % 2 else None} for item in range(40))
    bundle = replace(bundles.load(directory), withdrawn=GONE, fields=fields)
    return bundle, Scorer(bundle)


def ids(answer: Any) -> list[str]:
    return [entry["itemId"] for entry in answer["itemList"]]


@pytest.mark.parametrize("model", ["neumf", "als", "ease", "cooccurrence"])
def test_no_list_has_a_withdrawn_item(make_bundle: Callable[..., Path], model: str) -> None:
    bundle, scorer = offered(make_bundle(model))
    gone = {f"item-{item}" for item in GONE}
    for number in (5, 100):
        for user in ("user-0", "user-3", "user-6", "nobody"):
            for more in ({}, {"excludeSeen": False}):
                request = {"userId": user, "numResults": number, **more}
                answer = scorer.answer(from_document(request))
                assert ids(answer) == ids(rank(bundle, request))
                assert gone.isdisjoint(ids(answer)) and len(answer["itemList"]) >= min(number, 28)
        for narrowed in ({}, {"categories": ["Even"]}, {"categoryCaps": {"Even": 2}}, {"boosts": {"item-2": 100}}):
            for subject in ({"userId": "user-1"}, {"itemId": "item-1"}, {"itemId": "item-2"}, {"itemId": "none"}):
                found = ids(scorer.answer(from_document({**subject, "numResults": number, **narrowed})))
                assert gone.isdisjoint(found) and found
    shards = [scorer.answer(from_document({"shard": shard, "shards": 2, "numResults": 50})) for shard in range(2)]
    users = {user: [item for item, _ in listed] for shard in shards for user, listed in shard["users"].items()}
    assert len(users) == 6 and all(gone.isdisjoint(listed) for listed in users.values())


def test_candidates_are_ranked_though_they_are_withdrawn(bundle_directory: Path) -> None:
    bundle, scorer = offered(bundle_directory)
    request = {"userId": "user-3", "candidates": ["item-2", "item-1", "item-39"]}
    answer = scorer.answer(from_document(request))
    assert sorted(ids(answer)) == ["item-1", "item-2", "item-39"] and ids(answer) == ids(rank(bundle, request))


def test_fields_are_shown_of_each_item_when_they_are_asked_for(bundle_directory: Path) -> None:
    _, scorer = offered(bundle_directory)
    for subject in ({"userId": "user-1"}, {"userId": "nobody"}, {"itemId": "item-1"}):
        asked = {**subject, "numResults": 20, "fields": ["price", "title", "brand", "price"]}
        shown = {entry["itemId"]: entry["fields"] for entry in scorer.answer(from_document(asked))["itemList"]}
        assert list(next(iter(shown.values()))) == ["price", "title", "brand"]
        for item, fields in shown.items():
            number = int(item.removeprefix("item-"))
            assert fields == {"price": number / 2 if number % 2 else None, "title": f"Item {number}", "brand": None}
        assert all(set(entry) == {"itemId", "score"} for entry in scorer.answer(from_document(subject))["itemList"])


def test_a_model_without_fields_shows_none(bundle_directory: Path) -> None:
    scorer = Scorer(bundles.load(bundle_directory))
    answer = scorer.answer(from_document({"userId": "user-1", "fields": ["title"]}))
    assert [entry["fields"] for entry in answer["itemList"]] == [{"title": None}] * 10
    assert scorer.answer(from_document({"shard": 0, "shards": 1}))["itemFields"] == {}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("title", "fields must be a list of names, not a string"),
        ([1], "fields[0] must be a string, not a number"),
        (["a"] * 41, "fields must hold at most 40 names, not 41"),
    ],
)
def test_invalid_fields_are_refused(value: Any, words: str) -> None:
    with pytest.raises(InvalidInvocation) as refused:
        from_document({"userId": "1", "fields": value})
    assert (refused.value.message, refused.value.field) == (words, "fields")


def test_a_shard_has_the_fields_of_its_items_up_to_a_limit(
    bundle_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, scorer = offered(bundle_directory)
    shard = scorer.answer(from_document({"shard": 0, "shards": 1, "numResults": 3}))
    listed = [item for chosen in shard["users"].values() for item, _ in chosen]
    assert set(shard["itemFields"]) == set(listed)
    number = bundle.item_index[listed[0]]
    assert json.loads(shard["itemFields"][listed[0]])["title"] == f"Item {number}"
    monkeypatch.setattr(limits, "PART_FIELDS_BYTES", 100)
    first = scorer.answer(from_document({"shard": 0, "shards": 1, "numResults": 3}))["itemFields"]
    assert 0 < sum(len(item) + len(text) for item, text in first.items()) <= 100
    assert max(listed, key=listed.count) in first or listed.count(next(iter(first))) == max(map(listed.count, listed))
