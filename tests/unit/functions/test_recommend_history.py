"""Requests with a session or a history: every bad input is refused by name, in the words of the model server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recommend.history import History
from recommend.person import NOBODY, SESSION_CHARACTERS, Person
from recommend.request import RecommendationsRequest
from recommend.routes import route
from serving.invocation import InvalidInvocation, Invocation, from_body
from shared.refusal import InvalidRequest

JSON = {"content-type": "application/json"}


def by_query(query: str, **event: Any) -> RecommendationsRequest:
    return RecommendationsRequest.from_event({"rawPath": "/recommendations", "rawQueryString": query, **event})


def by_body(body: Any) -> RecommendationsRequest:
    text = body if isinstance(body, str) else json.dumps(body)
    return RecommendationsRequest.from_body({"headers": JSON, "body": text})


def refused(call: Any, *arguments: Any, **keywords: Any) -> tuple[int, str | None, str]:
    with pytest.raises(InvalidRequest) as caught:
        call(*arguments, **keywords)
    return caught.value.status, caught.value.field, caught.value.message


def test_a_session_is_named_by_path_or_query_alone_or_beside_a_user() -> None:
    odd = "ü/?#% \x7f"
    assert by_query("sessionId=s1").person == Person(None, "s1")
    assert by_query("sessionId=%C3%BC%2F%3F%23%25+%7F&userId=42").person == Person("42", odd)
    assert by_query("sessionId=other", pathParameters={"sessionId": "s1"}).person == Person(None, "s1")
    assert by_query("userId=42", rawPath="/sessions/s%2F1/recommendations").person == Person("42", "s/1")
    assert by_query("sessionId=s1", rawPath="/users/42/recommendations").person == Person("42", "s1")
    longest = "s" * SESSION_CHARACTERS
    assert len(by_query(f"sessionId={longest}").person.name) == 256


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sessionId=", "sessionId must have 1 to 248 characters, not 0"),
        ("sessionId=" + "s" * 249, "sessionId must have 1 to 248 characters, not 249"),
        ("sessionId=a&sessionId=b", "sessionId is given twice"),
        ("userId=42&sessionId=", "sessionId must have 1 to 248 characters, not 0"),
    ],
)
def test_refuses_a_session(query: str, message: str) -> None:
    assert refused(by_query, query) == (400, "sessionId", message)


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/recommendations", "recommendations"),
        ("POST", "/recommendations", "stateless"),
        ("GET", "/sessions/s/1/recommendations", "recommendations"),
    ],
)
def test_both_forms_have_a_route(method: str, path: str, found: str) -> None:
    event = {"routeKey": "$default", "rawPath": path, "requestContext": {"http": {"method": method}}}
    assert route(event) == found
    with pytest.raises(InvalidRequest, match="the method must be GET") as caught:
        route(event | {"requestContext": {"http": {"method": "DELETE"}}})
    assert caught.value.status == 405


def test_a_history_is_taken_as_the_server_takes_it() -> None:
    entries = [{"itemId": "a", "ageSeconds": 1e300, "isBought": True}, {"itemId": "a", "ageSeconds": 0}]
    asked = {"userId": "42", "history": entries, "numResults": 5.0, "excludeSeen": False, "categories": ["D", "D", ""]}
    request = by_body(asked | {"fields": ["title"], "explain": True})
    assert request == RecommendationsRequest(
        Person("42"), 5, "none", ("D", ""), ("title",), True, History(tuple(entries))
    )
    assert request.history is not None
    taken = from_body(json.dumps(request.to_invocation("42", request.history)).encode())
    assert taken == Invocation(
        "42", 5, "none", fields=("title",), history=("a", "a"), ages=(1e300, 0.0), explain=True, bought=frozenset("a")
    )


def test_who_is_not_named_is_nobody() -> None:
    request = by_body({"history": []})
    assert (request.person, request.person.name) == (Person(), NOBODY)
    assert request.to_invocation(NOBODY, request.history or History()) == {
        "userId": NOBODY,
        "numResults": 10,
        "excludeSeen": True,
    }


ONE = {"itemId": "a"}


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ("null", "history must be a list of objects, not null"),
        ("{}", "history must be a list of objects, not an object"),
        (json.dumps([ONE] * 101), "history must hold at most 100 items, not 101: send the newest"),
        ('["a"]', "history[0] must be an object with itemId and at most ageSeconds and isBought"),
        ('[{"itemId": "a"}, {}]', "history[1] must be an object with itemId and at most ageSeconds and isBought"),
        (
            '[{"itemId": "a", "sentAt": 1}]',
            "history[0] must be an object with itemId and at most ageSeconds and isBought",
        ),
        ('[{"itemId": null}]', "history[0].itemId must be a string, not null"),
        ('[{"itemId": "\\ud800"}]', "history[0].itemId is not valid Unicode"),
        ('[{"itemId": ""}]', "history: an itemId must have 1 to 256 characters"),
        (json.dumps([{"itemId": "x" * 257}]), "history: an itemId must have 1 to 256 characters"),
        (
            '[{"itemId": "a", "ageSeconds": -0.5}]',
            "history[0].ageSeconds must be a number of at least 0, the seconds since the event, not -0.5",
        ),
        (
            '[{"itemId": "a", "ageSeconds": NaN}]',
            "history[0].ageSeconds must be a number of at least 0, the seconds since the event, not NaN",
        ),
        (
            '[{"itemId": "a", "ageSeconds": 1e999}]',
            "history[0].ageSeconds must be a number of at least 0, the seconds since the event, not Infinity",
        ),
        (
            '[{"itemId": "a", "ageSeconds": 1%s}]' % ("0" * 400),
            "history[0].ageSeconds must be a number of at least 0, the seconds since the event, not "
            "1000000000000000000000000000000000000...",
        ),
        (
            '[{"itemId": "a", "ageSeconds": true}]',
            "history[0].ageSeconds must be a number of at least 0, the seconds since the event, not true",
        ),
        (
            '[{"itemId": "a", "ageSeconds": "5"}]',
            'history[0].ageSeconds must be a number of at least 0, the seconds since the event, not "5"',
        ),
        (
            '[{"itemId": "a", "ageSeconds": 1}, {"itemId": "b"}]',
            "history: ageSeconds must be in all entries or in none",
        ),
        ('[{"itemId": "a", "isBought": 1}]', "history[0].isBought must be true or false, not 1"),
    ],
    ids=lambda value: value[:40],
)
def test_both_refuse_the_same_history_in_the_same_words(history: str, message: str) -> None:
    body = f'{{"userId": "42", "history": {history}}}'
    assert refused(by_body, body) == (400, "history", message)
    with pytest.raises(InvalidInvocation) as caught:
        from_body(body.encode())
    assert (caught.value.status, caught.value.field, caught.value.message) == (400, "history", message)


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"history": ...}, "history", "history is missing; a person without one has an empty list"),
        ({"userId": None}, "userId", "userId must be a string, not null"),
        ({"userId": ""}, "userId", "userId must have 1 to 256 characters, not 0"),
        ({"numResults": 0}, "numResults", "numResults must be an integer from 1 to 100, not 0"),
        ({"numResults": 101}, "numResults", "numResults must be an integer from 1 to 100, not 101"),
        ({"numResults": 1.5}, "numResults", "numResults must be an integer from 1 to 100, not 1.5"),
        ({"numResults": True}, "numResults", "numResults must be an integer from 1 to 100, not true"),
        ({"numResults": None}, "numResults", "numResults must be an integer from 1 to 100, not null"),
        ({"numResults": []}, "numResults", "numResults must be an integer from 1 to 100, not a list"),
        (
            {"excludeSeen": "all"},
            "excludeSeen",
            'excludeSeen must be none, bought, any, true or false, not "all"',
        ),
        ({"excludeSeen": None}, "excludeSeen", "excludeSeen must be none, bought, any, true or false, not null"),
        ({"categories": "Drama"}, "categories", "categories must be a list of names, not a string"),
        ({"categories": ["a", 1]}, "categories", "categories[1] must be a string, not a number"),
        (
            {"categories": ["a"] * 101},
            "categories",
            "categories must hold at most 100 names, not 101",
        ),
        ({"fields": "title"}, "fields", "fields must be a list of names, not a string"),
        ({"explain": "true"}, "explain", 'explain must be true or false, not "true"'),
        (
            {"sessionId": "s1"},
            "sessionId",
            '"sessionId" is not a field; the fields are userId, history, numResults, excludeSeen, categories, fields, '
            "explain, placement, window, exclude, page",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refuses_a_field_of_the_body(change: Any, field: str, message: str) -> None:
    document = {name: value for name, value in ({"history": []} | change).items() if value is not ...}
    assert refused(by_body, document) == (400, field, message)


def test_a_body_that_is_too_large_or_no_json_is_refused() -> None:
    assert refused(by_body, " " * ((1 << 20) + 1))[0] == 413
    assert refused(by_body, "")[0] == 400
    assert refused(RecommendationsRequest.from_body, {"headers": {}, "body": "{}"})[0] == 415
    assert refused(by_body, '{"history": [], "history": []}') == (400, "history", '"history" is given twice')
