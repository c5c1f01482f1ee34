"""The next answer knows what a person just did, and is as without when that cannot be read."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError

from contracts.event_types import DEFAULT, EventTypes
from contracts.forgotten import digest
from contracts.recent_events import LINKED_AT, USER
from recommend.circuit import FAILURES_TO_OPEN, OPEN_SECONDS
from recommend.history import Event, History
from recommend.recent import IDLE_SECONDS, OPENING, RecentEvents
from tests.unit.functions.recommending import (
    DOWN,
    SECRET,
    app,
    aws,
    call,
    clock,
    cold_start,
    fault,
    happened,
    personalized,
    raises,
    recommendations,
    reply,
)

__all__ = ["app", "aws", "clock", "cold_start"]  # fixtures

DYNAMODB = "com.amazonaws.dynamodb.v20120810"
NOW = 1_795_946_400.0
POINTER = {"schemaVersion": "1.0", "runId": "run-2", "prefix": "batch/b/", "shards": 1, "numResults": 5}
PART = {
    "schemaVersion": "1.0",
    "modelVersion": "run-2",
    "users": {"42": [["3", 0.5], ["2", 0.4], ["1", 0.3], ["5", 0.2], ["4", 0.1]]},
    "itemCategories": {},
}


def listed(answer: Any) -> tuple[str, list[str]]:
    status, body = answer
    assert status == 200
    return body["source"], [entry["itemId"] for entry in body["itemList"]]


def of_session(session: Any = "s1", **query: Any) -> Any:
    return {
        "version": "2.0",
        "routeKey": "GET /sessions/{sessionId}/recommendations",
        "pathParameters": {"sessionId": session},
        "queryStringParameters": query or None,
    }


def with_history(document: Any) -> Any:
    return {
        "version": "2.0",
        "routeKey": "POST /recommendations",
        "headers": {"content-type": "application/json"},
        "body": json.dumps(document),
    }


def logged_in(session: str, user: str, since: float = 0.0) -> dict[str, Any]:
    """The item that names a session's user, whose events those of the last `since` seconds are."""
    at = round((time.time() - since) * 1000) if since else 0
    texts = {"pk": f"S#{session}", "sk": USER, "user": user}
    return {name: {"S": text} for name, text in texts.items()} | {"at": {"N": str(LINKED_AT)}, "since": {"N": str(at)}}


def history(aws: Any) -> list[tuple[str, bool]]:
    """The items of the last invocation's history, and whether they were bought."""
    return [(entry["itemId"], entry.get("isBought", False)) for entry in aws.invocations[-1].get("history", [])]


def test_an_item_that_was_just_seen_is_in_no_list(app: Any, aws: Any, clock: Any) -> None:
    aws.events = {"U#42": [happened("U#42", "9", 1), happened("U#42", "7", 5, "purchase")]}
    assert listed(call(app, recommendations(numResults="4"))) == ("personalized", ["8", "6"])
    (sent,) = aws.invocations
    assert history(aws) == [("7", True), ("9", False)]  # the oldest first
    assert [round(entry["ageSeconds"]) for entry in sent["history"]] == [5, 1]
    aws.endpoint = DOWN
    assert listed(call(app, recommendations())) == ("popular", ["8"])
    clock.now += 60
    aws.lists = {"serving/batch.json": POINTER, "batch/b/0000.json.out": PART}
    aws.events["U#42"].append(happened("U#42", "2", 0))
    assert listed(call(app, recommendations(numResults="2"))) == ("batch", ["3", "1"])


@pytest.mark.parametrize(
    ("kind", "kept"), [("none", ["9", "8", "7"]), ("bought", ["9", "8", "6"]), ("any", ["8", "6", "5"])]
)
@pytest.mark.parametrize("is_up", [True, False])
def test_what_is_left_out_is_what_the_request_says(app: Any, aws: Any, kind: str, kept: Any, is_up: bool) -> None:
    aws.events = {"U#42": [happened("U#42", "9", 1), happened("U#42", "7", 5, "Purchase")]}
    if not is_up:
        aws.endpoint = DOWN
        kept = [item for item in ["9", "7", "8"] if item in {"none": "978", "bought": "98", "any": "8"}[kind]]
    _, items = listed(call(app, recommendations(numResults="5", excludeSeen=kind)))
    assert items[: len(kept)] == kept


def test_a_known_item_of_the_endpoint_is_left_out_even_if_it_does_not_do_so(app: Any, aws: Any) -> None:
    aws.events = {"U#42": [happened("U#42", str(item)) for item in range(1, 10)]}
    assert listed(call(app, recommendations())) == ("popular", [])


def test_others_are_asked_for_with_the_same_invocation_as_before(app: Any, aws: Any) -> None:
    aws.events = {"U#41": [happened("U#41", "9")]}
    call(app, recommendations(numResults="2"))
    assert aws.invocations == [{"userId": "42", "numResults": 2, "excludeSeen": True}]
    assert [asked["Limit"] for asked in aws.table_reads] == [101]


def test_a_session_is_somebody(app: Any, aws: Any) -> None:
    def stranger(request: Any) -> Any:
        return reply(200, {**json.loads(personalized(request).content), "isStranger": True})

    aws.endpoint = stranger
    aws.events = {"S#s1": [happened("S#s1", "9", 1)]}
    answers = [call(app, event) for event in (of_session("s1"), of_session("s1"))]
    assert [listed(answer)[0] for answer in answers] == ["session", "session"]
    assert aws.invocations[-1]["userId"] == "session:s1"
    assert history(aws) == [("9", False)]
    by_query = {"routeKey": "GET /recommendations", "rawQueryString": "sessionId=s1", "rawPath": "/recommendations"}
    assert listed(call(app, by_query)) == listed(answers[0])


def test_a_session_that_has_logged_in_is_its_user(app: Any, aws: Any) -> None:
    aws.events = {
        "S#s1": [logged_in("s1", "42"), happened("S#s1", "9", 9)],
        "U#42": [happened("U#42", "7", 5)],
    }
    assert listed(call(app, of_session("s1", numResults="4"))) == ("personalized", ["8", "6"])
    assert aws.invocations[-1]["userId"] == "42"
    assert history(aws) == [("9", False), ("7", False)]


def test_of_a_session_with_two_users_each_has_what_they_did_themselves(app: Any, aws: Any) -> None:
    aws.events = {"S#s1": [logged_in("s1", "42", since=5), happened("S#s1", "9", 9), happened("S#s1", "8", 1)]}
    call(app, of_session("s1"))
    assert (aws.invocations[-1]["userId"], history(aws)) == ("42", [("8", False)])
    call(app, recommendations("42", sessionId="s1"))
    assert history(aws) == [("8", False)]
    call(app, recommendations("43", sessionId="s1"))
    assert history(aws) == []


def test_a_session_beside_a_user_counts_and_what_both_have_counts_once(app: Any, aws: Any) -> None:
    aws.events = {
        "S#s1": [happened("S#s1", "9", 9, key="e1"), happened("S#s1", "8", 7, key="e2")],
        "U#42": [happened("U#42", "7", 5, key="e3"), happened("U#42", "8", 7, key="e2")],
    }
    call(app, recommendations(sessionId="s1"))
    assert aws.invocations[-1]["userId"] == "42"
    assert history(aws) == [("9", False), ("8", False), ("7", False)]


def test_a_forgotten_person_has_no_recent_events(app: Any, aws: Any) -> None:
    key = "5a" * 32
    aws.forgotten = lambda request: reply(
        200, {"schemaVersion": "1.0", "key": key, "people": [digest(key, "42"), digest(key, "session:s2")]}
    )
    aws.events = {
        "U#42": [happened("U#42", "9")],
        "S#s1": [logged_in("s1", "42"), happened("S#s1", "8")],
        "S#s2": [happened("S#s2", "8")],
    }
    for event in (
        recommendations(),
        of_session("s1"),
        of_session("s2"),
        with_history({"userId": "42", "history": HISTORY}),
    ):
        assert listed(call(app, event))[1][:3] == ["9", "8", "7"]
        assert history(aws) == []
    reads = len(aws.table_reads)
    call(app, recommendations())
    assert len(aws.table_reads) == reads  # not even read


HISTORY: list[dict[str, Any]] = [{"itemId": "9", "ageSeconds": 20, "isBought": True}, {"itemId": "8", "ageSeconds": 1}]


def test_a_shop_that_keeps_its_own_sends_a_history(app: Any, aws: Any) -> None:
    asked = {"userId": "42", "history": HISTORY, "numResults": 4, "excludeSeen": "bought", "explain": False}
    assert listed(call(app, with_history(asked))) == ("personalized", ["8", "7", "6"])
    assert aws.invocations[-1]["history"] == HISTORY
    assert aws.table_reads == []
    aws.endpoint = DOWN
    assert listed(call(app, with_history({"history": HISTORY}))) == ("popular", ["7"])
    assert aws.invocations[-1]["userId"] == "\x7fnobody"


def test_the_shop_says_which_events_count(app: Any, aws: Any) -> None:
    types = {"shown": {"isHistory": False}, "order placed": {"isBought": True}}
    aws.event_types = lambda request: reply(200, {"schemaVersion": "1.0", "types": types})
    events = [
        happened("U#42", "9", 3, "shown"),
        happened("U#42", "8", 2, "Order Placed"),
        happened("U#42", "7", 1, "x"),
    ]
    aws.events = {"U#42": events}
    call(app, recommendations())
    assert history(aws) == [("8", True), ("7", False)]


@pytest.mark.parametrize("broken", [lambda request: reply(200, b"{"), lambda request: reply(200, {"types": 1}), DOWN])
def test_without_readable_types_the_usual_ones_count(app: Any, aws: Any, broken: Any) -> None:
    aws.event_types = broken
    aws.events = {"U#42": [happened("U#42", "9", 3, "impression"), happened("U#42", "8", 2, "purchase")]}
    call(app, recommendations())
    assert history(aws) == [("8", True)]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (
            fault(400, "x", __type="com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"),
            "throttled",
        ),
        (fault(400, "x", __type="com.amazon.coral.availability#ThrottlingException"), "throttled"),
        (fault(400, "x", __type=f"{DYNAMODB}#ResourceNotFoundException"), "refused"),
        (fault(400, "x", __type="com.amazon.coral.service#AccessDeniedException"), "refused"),
        (DOWN, "unreachable"),
        (lambda request: reply(200, b"<html>"), "garbled"),
        (lambda request: reply(200, []), "garbled"),
        (lambda request: reply(200, {"Items": 5}), "garbled"),
        (raises(EndpointConnectionError(endpoint_url="x")), "unreachable"),
        (raises(ConnectTimeoutError(endpoint_url="x")), "timeout"),
    ],
)
def test_events_that_cannot_be_read_leave_the_answer_as_it_was(
    app: Any, aws: Any, clock: Any, capsys: pytest.CaptureFixture[str], failure: Any, reason: str
) -> None:
    aws.table = failure
    assert listed(call(app, recommendations(SECRET, numResults="2"))) == ("personalized", ["9", "8"])
    printed = capsys.readouterr().out
    assert '"RecentEventsUnavailable"' in printed and f'"{reason}"' in printed
    assert SECRET not in printed


def test_a_table_that_fails_is_left_alone_for_a_while(
    app: Any, aws: Any, clock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.table = DOWN
    for _ in range(FAILURES_TO_OPEN + 3):
        assert call(app, recommendations())[0] == 200
    assert len(aws.table_reads) == FAILURES_TO_OPEN
    printed = capsys.readouterr().out
    assert printed.count("recent events cannot be read") == FAILURES_TO_OPEN  # the log is silent while it is left alone
    assert printed.count('"reason":"circuit_open"') == 3
    aws.table, aws.events = None, {"U#42": [happened("U#42", "9")]}
    clock.now += OPEN_SECONDS
    call(app, recommendations())
    assert history(aws) == [("9", False)]


def test_a_table_that_hangs_costs_no_more_than_its_limit(app: Any, aws: Any, clock: Any, monkeypatch: Any) -> None:
    arrived = threading.Event()

    def stuck(request: Any) -> Any:
        assert arrived.wait(10)
        return reply(200, {"Items": []})

    quick = RecentEvents(app.recent._table, 0.02)
    monkeypatch.setattr(app, "recent", quick)
    aws.table = stuck
    began = time.monotonic()
    for event in [recommendations(), of_session("s1")] * 4:
        assert call(app, event)[0] == 200
    assert time.monotonic() - began < 5
    assert {invocation.get("history") for invocation in aws.invocations} == {None}
    arrived.set()


def test_a_read_has_more_time_where_a_connection_must_be_opened(app: Any, aws: Any) -> None:
    now = [100.0]
    recent = RecentEvents(app.recent._table, 1.0, clock=lambda: now[0])
    person = app.Person("42")

    def limit() -> float:
        reading = recent.begin(person)
        assert reading._budget is not None
        left = reading._budget.left
        reading.result()
        return left

    assert [limit(), limit()] == [OPENING, 1.0]
    now[0] += IDLE_SECONDS
    assert [limit(), limit()] == [OPENING, 1.0]
    within = recent.begin(person, 0.5)._budget  # that of the request, where it is smaller
    assert within is not None and within.left == 0.5


def test_a_model_server_that_knows_no_history_is_asked_without_one(app: Any, aws: Any) -> None:
    def older(request: Any) -> Any:
        if "history" in json.loads(request.body):
            return fault(424, "ModelError", OriginalStatusCode=400)(request)
        return personalized(request)

    aws.endpoint, aws.events = older, {"U#42": [happened("U#42", "9")]}
    for _ in range(3):
        assert listed(call(app, recommendations(numResults="3"))) == ("personalized", ["8", "7"])
    assert ["history" in sent for sent in aws.invocations] == [True, False, False, False]
    assert not app.endpoint._circuit._failures


def at(seconds: float, item: str, key: str, kind: str = "view") -> Event:
    return Event(round((NOW + seconds) * 1000), key, item, kind)


def test_a_history_is_the_newest_hundred_events_each_once_the_oldest_first() -> None:
    events = [at(-number, f"i{number}", f"e{number:05}") for number in range(10_000)]
    found = History.from_events([*events, *events[:50]], DEFAULT, NOW).entries
    assert [entry["itemId"] for entry in found] == [f"i{number}" for number in range(99, -1, -1)]
    assert [entry["ageSeconds"] for entry in found] == [float(number) for number in range(99, -1, -1)]


def test_an_item_counts_as_often_as_it_was_chosen() -> None:
    events = [at(-3, "a", "e1"), at(-2, "b", "e2", "purchase"), at(-1, "a", "e3")]
    found = History.from_events(events, DEFAULT, NOW)
    assert [entry["itemId"] for entry in found.entries] == ["a", "b", "a"]
    assert found.left_out("any") == {"a", "b"}
    assert found.left_out("bought") == {"b"}
    assert found.left_out("none") == frozenset()


def test_an_event_of_the_future_happened_now() -> None:
    (entry,) = History.from_events([at(86_400, "a", "e1")], DEFAULT, NOW).entries
    assert entry == {"itemId": "a", "ageSeconds": 0.0}


def test_no_history_says_nothing_to_the_server() -> None:
    nothing = EventTypes({"view": DEFAULT.of("impression")})
    assert History.from_events([at(0, "a", "e1")], nothing, NOW).to_invocation() == {}


@pytest.mark.parametrize(
    "change",
    [
        {"item": None},
        {"item": {"N": "1"}},
        {"item": {"S": ""}},
        {"item": {"S": "x" * 257}},
        {"item": {"S": "\ud800"}},
        {"at": {"N": "soon"}},
        {"at": {"S": "1"}},
        {"type": {}},
        {"sk": "e1"},
    ],
)
def test_an_item_of_the_table_that_is_no_event_is_passed_over(change: Any) -> None:
    assert Event.from_item(happened("U#1", "ü/?#% \n")) is not None
    assert Event.from_item({**happened("U#1", "9"), **change}) is None
