"""Placements, excluded items, pages and popular items of now, on every rung of the ladder."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from contracts.recommendation_ids import Answered
from tests.unit.functions.recommending import (
    DOWN,
    ENVIRONMENT,
    POPULAR,
    app,
    aws,
    call,
    clock,
    cold_start,
    emitted,
    personalized,
    rankings,
    recommendations,
    related,
    reply,
)

__all__ = ["app", "aws", "clock", "cold_start"]

PLACEMENTS = {
    "schemaVersion": "1.0",
    "placements": {
        "home": {"numResults": 2, "deny": ["9"], "boosts": {"1": 5}, "excludeSeen": "none", "fields": ["title"]},
        "cart": {"list": "related", "fallback": "trending"},
        "popular": {"list": "popular", "window": "7d"},
        "hot": {"list": "trending"},
    },
}


def popular_now(**changed: Any) -> dict[str, Any]:
    def listed(events: int, items: list[Any]) -> dict[str, Any]:
        return {"events": events, "itemList": items, "byCategory": {"Drama": items[:1]}}

    return {
        "schemaVersion": "1.0",
        "until": time.time(),
        "popular": {"24h": listed(1000, [["n1", 60], ["n2", 50]]), "7d": listed(9000, [["n3", 500], ["n1", 400]])},
        "trending": listed(1000, [["t1", 3.5]]),
        "items": {"n1": {"categories": ["Drama"], "fields": {"title": "One"}}},
    } | changed


@pytest.fixture(autouse=True)
def documents(aws: Any) -> None:
    aws.placements = lambda request: reply(200, PLACEMENTS)
    aws.popular_now = lambda request: reply(200, popular_now())


def ids(app: Any, event: Any) -> tuple[str, list[str]]:
    status, body = call(app, event)
    assert status == 200, body
    return body["source"], [item["itemId"] for item in body["itemList"]]


def unknown(request: Any) -> Any:
    """An endpoint that knows nobody."""
    answer = json.loads(personalized(request).content)
    return reply(200, answer | {"source": "popular"})


def test_a_placement_makes_the_list(app: Any, aws: Any, capsys: pytest.CaptureFixture[str]) -> None:
    aws.endpoint = lambda request: reply(
        200,
        {"userId": "42", "source": "personalized", "modelVersion": "run-2", "unknownItems": 0,
         "itemList": [{"itemId": "1", "score": 0.5, "fields": {"title": "One"}}]},
    )  # fmt: skip
    status, body = call(app, recommendations(placement="home"))
    assert aws.invocations == [
        {"userId": "42", "numResults": 2, "excludeSeen": False, "fields": ["title"], "deny": ["9"], "boosts": {"1": 5}}
    ]
    assert (status, body["itemList"]) == (200, [{"itemId": "1", "score": 0.5, "fields": {"title": "One"}}])
    found = Answered.read(body["recommendationId"], ENVIRONMENT["STACK_ID"])
    assert found is not None and found.placement == "home"
    assert emitted(capsys) == [
        ("PlacementServed", 1.0, {"placement": "home", "source": "personalized"}),
        ("AnsweredWithoutEndpoint", 0.0, {"source": "personalized"}),
        ("RecommendationServed", 1.0, {"source": "personalized"}),
    ]


def test_the_shops_rules_and_the_placements_hold_together(app: Any, aws: Any) -> None:
    aws.rules = lambda request: reply(200, {"schemaVersion": "1.0", "deny": ["8"], "boosts": {"1": 2, "2": 3}})
    call(app, recommendations(placement="home", exclude="7"))
    (asked,) = aws.invocations
    assert (asked["deny"], asked["boosts"]) == (["7", "9", "8"], {"1": 5, "2": 3})


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (recommendations(placement="hoem"), '"hoem" is no placement; the placements are cart, home, hot, popular'),
        (recommendations(placement="cart"), "cart is a placement of related, for requests about an item"),
        (related(placement="home"), "home is a placement of recommendations, for requests about a person"),
    ],
)
def test_a_placement_that_does_not_fit_is_refused(app: Any, aws: Any, event: Any, message: str) -> None:
    status, body = call(app, event)
    assert (status, body["error"]["field"], body["error"]["message"]) == (400, "placement", message)
    assert aws.invocations == []


@pytest.mark.parametrize("answer", [lambda request: reply(200, b"{"), DOWN])
def test_while_placements_cannot_be_read_the_list_is_as_without(
    app: Any, aws: Any, answer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.placements = answer
    assert ids(app, recommendations(placement="home", numResults="1")) == ("personalized", ["9"])
    assert [name for name, *_ in emitted(capsys)] == [
        "PlacementsUnreadable",
        "AnsweredWithoutEndpoint",
        "RecommendationServed",
    ]


def test_the_last_readable_placements_stay(app: Any, aws: Any, clock: Any) -> None:
    call(app, recommendations(placement="home"))
    aws.placements, clock.now = DOWN, clock.now + 61
    assert call(app, recommendations(placement="hoem"))[0] == 400


@pytest.mark.parametrize(
    ("endpoint", "event", "source", "items", "window"),
    [
        (unknown, recommendations(numResults="4"), "popular", ["n1", "n2", "9", "8"], "24h"),
        (DOWN, recommendations(numResults="4"), "popular", ["n1", "n2", "9", "7"], "24h"),
        (DOWN, recommendations(numResults="4", window="7d"), "popular", ["n3", "n1", "9", "7"], "7d"),
        (DOWN, recommendations(category="Drama"), "popular", ["n1"], "24h"),
        (DOWN, recommendations(exclude="n1,9"), "popular", ["n2", "7", "8"], "24h"),
        (DOWN, related("7"), "popular", ["n1", "n2", "9", "8"], "24h"),
        (DOWN, related("7", placement="cart"), "trending", ["t1", "n1", "n2", "9", "8"], "24h"),
        (personalized, recommendations(placement="popular"), "popular", ["n3", "n1", "9", "7", "8"], "7d"),
        (personalized, recommendations(placement="hot"), "trending", ["t1", "n1", "n2", "9", "7", "8"], "24h"),
        (personalized, related("7", placement="hot"), "trending", ["t1", "n1", "n2", "9", "8"], "24h"),
    ],
)
def test_popular_items_of_now_stand_in(
    app: Any, aws: Any, endpoint: Any, event: Any, source: str, items: list[str], window: str
) -> None:
    aws.endpoint = endpoint
    status, body = call(app, event)
    assert (status, body["source"], body["window"]) == (200, source, window)
    assert [item["itemId"] for item in body["itemList"]] == items
    scores = [item["score"] for item in body["itemList"]]
    assert scores == sorted(scores, reverse=True)


def test_a_popular_placement_asks_no_model_and_shows_fields(app: Any, aws: Any) -> None:
    body = call(app, recommendations(placement="popular", fields="title", numResults="2", window="24h"))[1]
    assert [item.get("fields") for item in body["itemList"]] == [{"title": "One"}, {"title": None}]
    assert aws.invocations == []


def test_candidates_are_ranked_by_now_while_the_endpoint_is_dead(app: Any, aws: Any) -> None:
    aws.endpoint = DOWN
    body = call(app, rankings({"userId": "42", "inputList": ["8", "x", "n2"]}))[1]
    assert [item["itemId"] for item in body["personalizedRanking"]] == ["n2", "8", "x"]
    assert body["window"] == "24h"


@pytest.mark.parametrize(
    "document",
    [
        popular_now(until=0), popular_now(until=time.time() - 7 * 3600), popular_now(popular={}), {}, b"{", None,
        popular_now(popular={"24h": {"events": 999, "itemList": [["n1", 60]]}}),
        popular_now(popular={"24h": {"events": 1000, "itemList": [["n1", "60"]]}}),
    ],
)  # fmt: skip
def test_without_fresh_lists_with_enough_events_the_models_list_is_the_answer(
    app: Any, aws: Any, document: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.popular_now = lambda request: reply(404, b"") if document is None else reply(200, document)
    for endpoint, items in ((DOWN, ["9", "7", "8"]), (unknown, ["9", "8", "7"])):
        aws.endpoint = endpoint
        body = call(app, recommendations(numResults="3"))[1]
        assert (body["source"], [item["itemId"] for item in body["itemList"]]) == ("popular", items)
        assert "window" not in body


def test_the_servers_whole_popularity_list_follows_so_that_a_rare_category_is_not_short(app: Any, aws: Any) -> None:
    aws.endpoint = unknown
    assert ids(app, recommendations(category="Drama", numResults="4")) == ("popular", ["n1", "9", "8", "7"])


def test_with_caps_only_items_of_known_categories_follow(app: Any, aws: Any) -> None:
    aws.endpoint = unknown
    entries = [{"itemId": "9", "score": 30.0, "categories": ["Drama"]}, {"itemId": "7", "score": 20.0}]
    aws.popular = lambda request: reply(200, POPULAR | {"itemList": entries})
    aws.rules = lambda request: reply(200, {"schemaVersion": "1.0", "categoryCaps": {"Drama": 1}})
    assert ids(app, recommendations(numResults="4")) == ("popular", ["n1", "n2", "7"])


def test_items_that_few_people_know_keep_their_places(app: Any, aws: Any) -> None:
    aws.rules = lambda request: reply(200, {"schemaVersion": "1.0", "exploration": {"share": 0.5, "fewerThan": 5}})

    def endpoint(request: Any) -> Any:
        answer = json.loads(unknown(request).content)
        answer["itemList"][-1]["isExploration"] = True
        return reply(200, answer)

    aws.endpoint = endpoint
    body = call(app, recommendations(numResults="3"))[1]
    assert [(item["itemId"], item.get("isExploration")) for item in body["itemList"]] == [
        ("n1", None), ("n2", None), ("7", True)
    ]  # fmt: skip


def test_if_the_models_list_cannot_be_read_the_server_s_follows(app: Any, aws: Any) -> None:
    aws.endpoint, aws.popular = unknown, DOWN
    assert ids(app, recommendations(numResults="3")) == ("popular", ["n1", "n2", "9"])


def obedient(request: Any) -> Any:
    """The endpoint, which leaves out denied items."""
    asked = json.loads(request.body)
    items = [str(number) for number in range(9, 0, -1) if str(number) not in asked.get("deny", ())]
    listed = [{"itemId": item, "score": int(item) / 10} for item in items[: asked["numResults"]]]
    answer = {"source": "personalized", "modelVersion": "run-2", "unknownItems": 0, "itemList": listed}
    return reply(200, {"userId": asked["userId"], **answer})


# Pages


def walk(app: Any, aws: Any, make: Any, turns: list[Any], **query: Any) -> list[list[str]]:
    """The pages of a list while the endpoint is another one at each request."""
    pages: list[list[str]] = []
    token: dict[str, str] = {}
    for endpoint in turns:
        aws.endpoint = endpoint
        status, body = call(app, make(**query, **token))
        assert status == 200, body
        pages.append([item["itemId"] for item in body["itemList"]])
        if "nextPage" not in body:
            break
        token = {"page": body["nextPage"]}
    return pages


def test_pages_follow_each_other_without_an_item_twice(app: Any, aws: Any) -> None:
    assert walk(app, aws, recommendations, [personalized] * 9, numResults="4") == [
        ["9", "8", "7", "6"], ["5", "4", "3", "2"], ["1"]
    ]  # fmt: skip
    assert [asked["numResults"] for asked in aws.invocations] == [4, 8, 12]


def test_no_item_comes_twice_though_every_page_is_from_another_rung(app: Any, aws: Any) -> None:
    aws.lists = {
        "serving/batch.json": {
            "schemaVersion": "1.0", "runId": "run-1", "prefix": "batch/a/", "shards": 1, "numResults": 50
        },
        "batch/a/0000.json.out": {
            "modelVersion": "run-1", "users": {"42": [["9", 1.0], ["4", 0.9], ["3", 0.8], ["2", 0.7]]}
        },
    }  # fmt: skip
    pages = walk(app, aws, recommendations, [personalized, DOWN, unknown, personalized], numResults="2")
    assert pages == [["9", "8"], ["4", "3"], ["n1", "n2"], ["7", "6"]]


@pytest.mark.parametrize("make", [related, recommendations])
def test_pages_of_a_placement_and_of_popular_items(app: Any, aws: Any, make: Any) -> None:
    pages = walk(app, aws, make, [DOWN] * 9, numResults="2", placement="hot")
    assert pages[0] == ["t1", "n1"]
    shown = [item for page in pages for item in page]
    assert len(shown) == len(set(shown)) == (5 if make is related else 6)


@pytest.mark.parametrize(
    "change",
    [{"placement": "hot"}, {"page": "A" * 40}, {"page": ""}, {"page": "%"}, {"user": "43"}],
)
def test_a_token_of_another_list_is_refused(app: Any, aws: Any, change: dict[str, str]) -> None:
    token = call(app, recommendations(numResults="2"))[1]["nextPage"]
    status, body = call(app, recommendations(**{"page": token, **change}))
    assert (status, body["error"]["field"]) == (400, "page")
    assert "leave it out to begin again" in body["error"]["message"]


def test_items_to_exclude_are_in_no_list(app: Any, aws: Any) -> None:
    aws.endpoint = obedient
    assert ids(app, recommendations(exclude="9", numResults="2")) == ("personalized", ["8", "7"])
    assert aws.invocations[-1]["deny"] == ["9"]


def test_denied_items_that_are_too_many_for_the_server_are_left_out_of_its_answer(app: Any, aws: Any) -> None:
    denied = [f"d{number}" for number in range(998)] + ["9", "8"]
    aws.rules = lambda request: reply(200, {"schemaVersion": "1.0", "deny": denied})
    aws.endpoint = lambda request: reply(
        200, json.loads(personalized(request).content) | {"itemList": [
            {"itemId": item, "score": 1.0} for item in ("9", "8", "5")]}
    )  # fmt: skip
    assert ids(app, recommendations(exclude="7,6")) == ("personalized", ["5"])
    assert len(aws.invocations[-1]["deny"]) == 1000


def test_the_same_in_a_body(app: Any, aws: Any) -> None:
    def body(**fields: Any) -> Any:
        return rankings({"history": [], **fields}, routeKey="POST /recommendations")

    aws.endpoint = obedient
    first = call(app, body(placement="home", exclude=["8"]))[1]
    assert [item["itemId"] for item in first["itemList"]] == ["7", "6"]
    assert aws.invocations[-1]["deny"] == ["8", "9"]
    second = call(app, body(placement="home", exclude=["8"], page=first["nextPage"], numResults=3))[1]
    assert [item["itemId"] for item in second["itemList"]] == ["5", "4", "3"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"placement": 7}, "placement must be a string, not a number"),
        ({"window": None}, "window must be a string, not null"),
        ({"page": ["a"]}, "page must be a string, not a list"),
        ({"exclude": "7"}, "exclude must be a list of item ids"),
        ({"exclude": [7]}, "exclude must be a list of item ids"),
        ({"exclude": ["\ud800"]}, "exclude is not valid Unicode"),
    ],
)
def test_each_bad_field_of_a_body_is_named(app: Any, fields: dict[str, Any], message: str) -> None:
    status, body = call(app, rankings({"history": [], **fields}, routeKey="POST /recommendations"))
    assert (status, body["error"]["field"], body["error"]["message"]) == (400, next(iter(fields)), message)
