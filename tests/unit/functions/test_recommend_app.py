"""The whole function: the source of each answer, and the messages of refusals."""

from __future__ import annotations

import importlib
import json
import sys
import threading
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from contracts.hours import Hours
from shared.environment import BadEnvironment
from tests.unit.functions.recommending import (
    ABSENT,
    CONTEXT,
    DOWN,
    EVENTS,
    HEALTH,
    POPULAR,
    SECRET,
    answer_id,
    app,
    aws,
    call,
    call_for_page,
    clock,
    cold_start,
    emitted,
    fault,
    personalized,
    raises,
    rankings,
    recommendations,
    related,
    reply,
)

__all__ = ["app", "aws", "clock", "cold_start"]  # fixtures


def test_answers_with_the_ranking_of_the_endpoint(app: Any, aws: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert call_for_page(app, recommendations(numResults="2", excludeSeen="false")) == (
        200,
        {
            "recommendationId": answer_id("run-2", "personalized"),
            "itemList": [{"itemId": "9", "score": 0.9}, {"itemId": "8", "score": 0.8}],
            "model": {"version": "run-2", "variant": "AllTraffic"},
            "source": "personalized",
            "excludeSeen": "none",
        },
    )
    assert aws.invocations == [{"userId": "42", "numResults": 2, "excludeSeen": False}]
    assert aws.reads == 0
    assert emitted(capsys) == [
        ("AnsweredWithoutEndpoint", 0.0, {"source": "personalized"}),
        ("RecommendationServed", 1.0, {"source": "personalized"}),
    ]


def test_ranks_a_list(app: Any, aws: Any) -> None:
    assert call(app, rankings({"userId": "42", "inputList": ["1", "x", "3", "1"]})) == (
        200,
        {
            "recommendationId": answer_id("run-2", "personalized"),
            "personalizedRanking": [{"itemId": "3", "score": 0.3}, {"itemId": "1", "score": 0.1}],
            "model": {"version": "run-2", "variant": "AllTraffic"},
            "source": "personalized",
            "unknownItems": 1,
        },
    )
    assert aws.invocations == [{"userId": "42", "candidates": ["1", "x", "3"], "excludeSeen": False}]


def test_the_popular_items_that_the_endpoint_gives_an_unknown_user_are_called_so(
    app: Any, aws: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [{"itemId": "9", "score": 30.0}]
    answer = {"userId": "42", "itemList": items, "source": "popular", "modelVersion": "run-2", "unknownItems": 0}
    aws.endpoint = lambda request: reply(200, answer)
    status, body = call(app, recommendations())
    assert (status, body["source"], aws.reads) == (200, "popular", 0)
    assert emitted(capsys) == [
        ("AnsweredWithoutEndpoint", 0.0, {"source": "popular"}),
        ("RecommendationServed", 1.0, {"source": "popular"}),
    ]


REFUSED = ("garbled", "duplicates", "too_long", "unsorted", "not_finite", "empty", "not_asked_for")


def says(items: list[tuple[str, float]], **changes: Any) -> Any:
    listed = [{"itemId": item, "score": score} for item, score in items]
    answer = {"userId": SECRET, "itemList": listed, "source": "personalized", "modelVersion": "r", "unknownItems": 0}
    return lambda request: reply(200, answer | changes)


@pytest.mark.fault("A01", "A02", "A03", "A04", "A05")
@pytest.mark.parametrize(
    ("endpoint", "reason", "tries"),
    [
        (ABSENT, "absent", 1),
        (fault(424, "ModelError", OriginalStatusCode=500, OriginalMessage=SECRET), "model_error", 1),
        (fault(424, "ModelError", OriginalStatusCode=400, OriginalMessage=SECRET), "model_error", 1),
        (fault(429, "ModelNotReadyException"), "not_ready", 1),
        (fault(429, "ThrottlingException"), "throttled", 1),
        (fault(400, "ThrottlingException"), "throttled", 1),
        (fault(424, "ModelError", OriginalStatusCode=503, OriginalMessage=SECRET), "overloaded", 1),
        (DOWN, "unreachable", 2),
        (fault(500, "InternalFailure"), "unreachable", 2),
        (fault(530, "InternalDependencyException"), "unreachable", 2),
        (fault(403, "AccessDeniedException"), "unreachable", 1),
        (fault(403, "ExpiredTokenException"), "unreachable", 1),
        (raises(ReadTimeoutError(endpoint_url="https://aws")), "timeout", 1),
        (raises(ConnectTimeoutError(endpoint_url="https://aws")), "timeout", 1),
        (raises(EndpointConnectionError(endpoint_url="https://aws")), "unreachable", 2),
        (lambda request: reply(200, b"<html>"), "garbled", 1),
        (lambda request: reply(200, b""), "garbled", 1),
        (lambda request: reply(200, {"itemList": []}), "garbled", 1),
        (lambda request: reply(200, b'{"%s": 1, "%s": 2}' % (SECRET.encode(), SECRET.encode())), "garbled", 1),
        (says([("1", 0.9), ("1", 0.8)]), "duplicates", 1),
        (says([(str(item), 1.0) for item in range(500)]), "too_long", 1),
        (says([("1", 0.1), ("2", 0.2)]), "unsorted", 1),
        (says([("1", float("nan"))]), "not_finite", 1),
        (says([]), "empty", 1),
        (says([("1", 0.9)], userId="another"), "not_asked_for", 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_gives_popular_items_when_the_endpoint_does_not_answer(
    app: Any, aws: Any, capsys: pytest.CaptureFixture[str], endpoint: Any, reason: Any, tries: Any
) -> None:
    aws.endpoint = endpoint
    assert call_for_page(app, recommendations(SECRET, numResults="2")) == (
        200,
        {
            "recommendationId": answer_id("run-1", "popular"),
            "itemList": [{"itemId": "9", "score": 30.0}, {"itemId": "7", "score": 20.0}],
            "model": {"version": "run-1"},
            "source": "popular",
            "excludeSeen": "none",
        },
    )
    assert len(aws.invocations) == tries
    output = capsys.readouterr()
    assert SECRET not in output.out + output.err
    lines = [json.loads(line) for line in output.out.splitlines()]
    (fallback,) = [line for line in lines if "EndpointFallback" in line]
    assert fallback["reason"] == reason
    (served,) = [line for line in lines if "RecommendationServed" in line]
    assert (served["source"], served["AnsweredWithoutEndpoint"]) == ("popular", [1.0])
    (warning,) = [line for line in lines if line.get("level") == "WARNING"]
    words = "the endpoint's answer is not shown" if reason in REFUSED else "the endpoint does not answer"
    assert (warning["message"], warning["reason"]) == (words, reason)


def test_ranks_a_list_by_popularity_when_the_endpoint_does_not_answer(app: Any, aws: Any) -> None:
    aws.endpoint = ABSENT
    assert call(app, rankings({"userId": "42", "inputList": ["rare", "8", "9"]})) == (
        200,
        {
            "recommendationId": answer_id("run-1", "popular"),
            "personalizedRanking": [
                {"itemId": "9", "score": 30.0},
                {"itemId": "8", "score": 10.0},
                {"itemId": "rare", "score": 0.0},
            ],
            "model": {"version": "run-1"},
            "source": "popular",
            "unknownItems": 0,
        },
    )


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (404, b"<Error><Code>NoSuchKey</Code></Error>"),
        (403, b"<Error><Code>AccessDenied</Code></Error>"),
        (404, b""),
        (403, b""),
    ],
)
def test_says_so_when_nothing_was_ever_deployed(
    app: Any, aws: Any, capsys: pytest.CaptureFixture[str], status: int, content: Any
) -> None:
    aws.endpoint = ABSENT
    aws.popular = lambda request: reply(status, content)
    response = app.handler(recommendations(), CONTEXT)
    assert response["statusCode"] == 503
    assert response["headers"]["retry-after"] == "60"
    message = "no model has been deployed yet, so there is nothing to recommend"
    assert json.loads(response["body"]) == {"error": {"code": "NothingDeployed", "field": None, "message": message}}
    assert ("NothingToServe", 1.0, {}) in emitted(capsys)
    aws.popular = lambda request: reply(200, POPULAR)  # promoted a moment later
    assert call(app, recommendations())[0] == 200


@pytest.mark.parametrize(
    "popular",
    [
        lambda request: reply(500, b""),
        lambda request: reply(200, b"{"),
        lambda request: reply(200, {**POPULAR, "itemList": []}),
        raises(ReadTimeoutError(endpoint_url="https://aws")),
    ],
)
def test_says_so_when_not_even_the_popularity_list_can_be_read(app: Any, aws: Any, popular: Any) -> None:
    aws.endpoint, aws.popular = DOWN, popular
    message = "neither the endpoint nor the popularity list is available; try again"
    assert call(app, recommendations()) == (
        503,
        {"error": {"code": "DependencyFailed", "field": None, "message": message}},
    )


def test_reads_the_popularity_list_at_most_once_a_minute(app: Any, aws: Any, clock: Any) -> None:
    aws.endpoint = ABSENT
    for _ in range(3):
        call(app, recommendations())
    clock.now += 59.9
    assert call(app, recommendations())[1]["model"] == {"version": "run-1"}
    assert aws.reads == 1
    aws.popular = lambda request: reply(200, {**POPULAR, "runId": "run-2"})
    clock.now += 0.1
    assert call(app, recommendations())[1]["model"] == {"version": "run-2"}
    assert aws.reads == 2


@pytest.mark.parametrize("popular", [lambda request: reply(500, b""), lambda request: reply(200, b"{")])
def test_keeps_the_last_good_popularity_list(
    app: Any, aws: Any, clock: Any, capsys: pytest.CaptureFixture[str], popular: Any
) -> None:
    aws.endpoint = ABSENT
    call(app, recommendations())
    aws.popular = popular
    clock.now += 61
    reads = aws.reads
    status, body = call(app, recommendations())
    assert (status, body["model"]) == (200, {"version": "run-1"})
    assert aws.reads > reads
    assert "an earlier copy of the popularity list is used" in capsys.readouterr().out


def test_stops_waiting_for_an_endpoint_that_keeps_failing_and_comes_back_when_it_heals(
    app: Any, aws: Any, clock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.endpoint = DOWN
    for _ in range(5):
        call(app, recommendations())
    calls_before = len(aws.invocations)
    capsys.readouterr()
    assert call(app, recommendations())[1]["source"] == "popular"
    assert len(aws.invocations) == calls_before
    assert emitted(capsys) == [
        ("EndpointFallback", 1.0, {"reason": "circuit_open"}),
        ("AnsweredWithoutEndpoint", 1.0, {"source": "popular"}),
        ("RecommendationServed", 1.0, {"source": "popular"}),
    ]
    aws.endpoint = personalized
    clock.now += 5
    assert call(app, recommendations())[1]["source"] == "personalized"


def test_those_who_have_seen_everything_get_popular_items_and_the_others_keep_theirs(app: Any, aws: Any) -> None:
    aws.endpoint = says([])
    for _ in range(9):
        assert call(app, recommendations(SECRET))[1]["source"] == "popular"
    aws.endpoint = personalized
    assert call(app, recommendations())[1]["source"] == "personalized"


@pytest.mark.fault("A06")
def test_an_entry_that_breaks_the_popularity_list_costs_itself_and_no_answer(
    app: Any, aws: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.endpoint = DOWN
    broken = {"itemId": "1", "score": 40.0, "categories": {"Drama": 1}}
    aws.popular = lambda request: reply(200, {**POPULAR, "itemList": [broken, *POPULAR["itemList"]]})
    for event in (recommendations(), related("7"), rankings({"userId": "42", "inputList": ["9"]})):
        assert call(app, event)[0] == 200
    output = capsys.readouterr().out
    lines = [json.loads(line) for line in output.splitlines()]
    told = [line for line in lines if "ListRefused" in line]
    assert [(line["list"], line["reason"]) for line in told] == [("popular", "garbled")] * 3
    (detail,) = {line["detail"] for line in lines if line.get("list") == "popular" and "detail" in line}
    assert detail == "itemList[0].categories must be a list of strings"


def test_an_endpoint_that_is_not_there_yet_is_asked_every_time(app: Any, aws: Any) -> None:
    aws.endpoint = ABSENT
    for _ in range(9):
        call(app, recommendations())
    aws.endpoint = personalized
    assert call(app, recommendations())[1]["source"] == "personalized"


@pytest.mark.parametrize(
    ("event", "status", "field", "message"),
    [
        (recommendations(numResults="-1"), 400, "numResults", "numResults must be an integer from 1 to 100, not -1"),
        (recommendations(""), 400, "userId", "userId must have 1 to 256 characters, not 0"),
        (
            rankings({"userId": "42", "inputList": []}),
            400,
            "inputList",
            "inputList must hold 1 to 1000 item ids, not 0",
        ),
        (rankings({}, headers=None), 415, None, "the content type must be application/json; it is missing"),
        (rankings({}, body=" " * (1 << 21)), 413, None, "the body is larger than 1048576 bytes"),
    ],
)
def test_names_what_is_wrong_with_a_request(
    app: Any, aws: Any, capsys: pytest.CaptureFixture[str], event: Any, status: int, field: str, message: str
) -> None:
    error = {"code": "InvalidInput", "field": field, "message": message}
    assert call(app, event) == (status, {"error": error})
    assert aws.invocations == []
    assert emitted(capsys) == [("RequestRefused", 1.0, {})]


@pytest.mark.parametrize("event", [{}, None, {"routeKey": "GET /"}])
def test_an_event_that_is_no_request_of_ours_is_404(app: Any, event: Any) -> None:
    status, body = call(app, event)
    assert (status, body["error"]["code"]) == (404, "NotFound")


def test_health_names_the_rung_that_would_answer(app: Any, aws: Any) -> None:
    assert call(app, HEALTH) == (
        200,
        {"status": "ok", "model": {"version": "run-2"}, "endpoint": {"status": "answering"}},
    )
    aws.endpoint = fault(429, "ThrottlingException")
    assert call(app, HEALTH) == (
        200,
        {"status": "degraded", "model": {"version": "run-1"}, "endpoint": {"status": "throttled"}},
    )


def test_health_is_503_where_nothing_was_ever_deployed(app: Any, aws: Any) -> None:
    aws.endpoint = ABSENT
    aws.popular = lambda request: reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
    assert call(app, HEALTH) == (
        503,
        {"status": "unavailable", "model": {"version": None}, "endpoint": {"status": "absent"}},
    )


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("recommend", "itemList"),
        ("recommend_rankings", "personalizedRanking"),
        ("recommend_health", "model"),
        ("recommend_related", "itemList"),
    ],
)
def test_answers_the_sample_events(app: Any, name: str, key: Any) -> None:
    event = json.loads((EVENTS / f"{name}.json").read_text())
    status, body = call(app, event)
    assert status == 200 and body[key]


def test_no_line_of_the_log_holds_a_user_id(app: Any, aws: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for endpoint in (personalized, DOWN, fault(424, "ModelError", OriginalMessage=SECRET)):
        aws.endpoint = endpoint
        call(app, recommendations(SECRET))
        call(app, rankings({"userId": SECRET, "inputList": ["1"]}))
        call(app, rankings({"userId": SECRET, "inputList": 1}))
    output = capsys.readouterr()
    assert "jane" not in output.out + output.err


def test_an_endpoint_that_hangs_costs_the_budget_and_no_more(
    app: Any, aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_BUDGET_SECONDS", 0.05)
    release = threading.Event()

    def hangs(request: pytest.FixtureRequest) -> Any:
        assert release.wait(20)
        return personalized(request)

    aws.endpoint = hangs
    assert call(app, recommendations())[1]["source"] == "popular"  # and not after 20 s, which would raise
    assert not release.is_set()
    release.set()


def test_a_second_try_is_made_where_it_may_help_and_there_is_time(
    app: Any, aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([DOWN, personalized, DOWN, personalized])
    aws.endpoint = lambda request: next(answers)(request)
    assert call(app, recommendations())[1]["source"] == "personalized"
    monkeypatch.setattr(app, "_BUDGET_SECONDS", 0.029)
    assert call(app, recommendations())[1]["source"] == "popular"
    assert len(aws.invocations) == 3


def test_a_missing_variable_stops_the_start_and_all_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT_NAME", "ARTIFACTS_BUCKET", "AWS_REGION", "URL_SUFFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "recommend.app", raising=False)
    with pytest.raises(BadEnvironment, match="missing: ENDPOINT_NAME, ARTIFACTS_BUCKET, AWS_REGION, URL_SUFFIX"):
        importlib.import_module("recommend.app")


@pytest.mark.parametrize(("is_within", "share"), [(True, 1.0), (False, 0.0)])
def test_an_endpoint_that_rests_rings_no_alarm(
    app: Any,
    aws: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    is_within: bool,
    share: float,
) -> None:
    days = frozenset(range(7)) if is_within else frozenset()
    monkeypatch.setattr(app, "HOURS", Hours(days, 0, 24))
    aws.endpoint = ABSENT
    status, body = call(app, recommendations(SECRET))
    assert (status, body["source"]) == (200, "popular")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (served,) = [line for line in lines if "RecommendationServed" in line]
    assert served["AnsweredWithoutEndpoint"] == [share]
    assert [line["reason"] for line in lines if "EndpointFallback" in line] == ["absent"]
    assert any(line.get("level") == "WARNING" for line in lines) is is_within
