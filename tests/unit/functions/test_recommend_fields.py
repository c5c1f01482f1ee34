"""Fields of items in answers, on every rung."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.functions.recommending import (
    DOWN,
    POPULAR,
    app,
    aws,
    call,
    clock,
    cold_start,
    rankings,
    recommendations,
    related,
    reply,
)
from tests.unit.functions.test_recommend_batch import PART, POINTER

__all__ = ["app", "aws", "clock", "cold_start"]  # fixtures

NOTHING = {"title": None, "price": None}


def shown(body: Any, name: str = "itemList") -> dict[str, Any]:
    return {entry["itemId"]: entry["fields"] for entry in body[name]}


def with_fields(request: Any) -> Any:
    """An endpoint that tells fields of some items, of others something else."""
    asked = json.loads(request.body)
    told = [{"title": "Ant", "price": 1.5}, {"title": ["Ant"], "price": False}, "title", None]
    subject = "itemId" if "itemId" in asked else "userId"
    entries = [{"itemId": str(n), "score": 1 - n / 10, "fields": fields} for n, fields in enumerate(told)]
    source = "related" if subject == "itemId" else "personalized"
    answer = {subject: asked[subject], "itemList": entries, "source": source, "modelVersion": "r", "unknownItems": 0}
    return reply(200, answer)


def test_the_endpoint_is_asked_for_them_and_what_it_tells_is_shown(app: Any, aws: Any) -> None:
    aws.endpoint = with_fields
    expected = {"0": {"title": "Ant", "price": 1.5}, "1": {"title": None, "price": False}, "2": NOTHING, "3": NOTHING}
    assert shown(call(app, recommendations(fields="title, price,title"))[1]) == expected
    assert shown(call(app, related("7", fields="title,price"))[1]) == expected
    ranking = {"userId": "42", "inputList": ["0", "1", "2", "3"], "fields": ["title", "price"]}
    assert shown(call(app, rankings(ranking))[1], "personalizedRanking") == expected
    assert [asked["fields"] for asked in aws.invocations] == [["title", "price"]] * 3
    plain = call(app, recommendations())[1]["itemList"]
    assert plain[0] == {"itemId": "0", "score": 1.0} and "fields" not in aws.invocations[-1]


def test_a_batch_list_and_popular_items_have_what_is_known_of_them(app: Any, aws: Any) -> None:
    aws.endpoint = DOWN
    texts = {"5": '{"title": "Bee", "price": 2}', "6": "{broken", "4": '["title"]'}
    aws.lists = {"serving/batch.json": POINTER, "batch/job/lists/0000.json.out": PART | {"itemFields": texts}}
    body = call(app, recommendations(numResults="3", fields="title,price"))[1]
    assert (body["source"], shown(body)) == ("batch", {"5": {"title": "Bee", "price": 2}, "6": NOTHING, "4": NOTHING})
    aws.lists = {}
    first: dict[str, Any] = {"itemId": "9", "score": 30.0, "fields": {"title": "Cat", "price": {"of": 1}}}
    entries = [first, *POPULAR["itemList"][1:]]
    aws.popular = lambda request: reply(200, {**POPULAR, "itemList": entries})
    for event in (recommendations("44", fields="title,price"), related("1", fields="title,price")):
        body = call(app, event)[1]
        assert (body["source"], shown(body)) == (
            "popular", {"9": {"title": "Cat", "price": None}, "7": NOTHING, "8": NOTHING},
        )  # fmt: skip
    ranking = {"userId": "42", "inputList": ["x", "9"], "fields": ["title"]}
    body = call(app, rankings(ranking))[1]
    assert shown(body, "personalizedRanking") == {"9": {"title": "Cat"}, "x": {"title": None}}


def test_lists_of_older_models_have_none(app: Any, aws: Any) -> None:
    aws.endpoint = DOWN
    aws.lists = {"serving/batch.json": POINTER, "batch/job/lists/0000.json.out": PART}
    assert shown(call(app, recommendations(numResults="2", fields="title"))[1]) == {
        "5": {"title": None}, "6": {"title": None},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", 'fields must hold names of 1 to 64 characters, such as title,price, not ""'),
        ("title,,price", 'fields must hold names of 1 to 64 characters, such as title,price, not ""'),
        (",".join(f"f{n}" for n in range(41)), "fields must hold at most 40 names, not 41"),
        ("a" * 65, "fields must hold names of 1 to 64 characters"),
    ],
)
def test_invalid_fields_are_refused(app: Any, value: str, words: str) -> None:
    for event in (recommendations(fields=value), related("7", fields=value)):
        status, body = call(app, event)
        assert (status, body["error"]["field"]) == (400, "fields") and body["error"]["message"].startswith(words)


@pytest.mark.parametrize(
    ("value", "words"),
    [("title", "fields must be a list of names, not a string"), ([1], "fields[0] must be a string, not a number")],
)
def test_invalid_fields_of_a_ranking_are_refused(app: Any, value: Any, words: str) -> None:
    status, body = call(app, rankings({"userId": "42", "inputList": ["1"], "fields": value}))
    assert (status, body["error"]) == (400, {"code": "InvalidInput", "field": "fields", "message": words})
