"""The whole function: real botocore clients whose requests are answered here instead of being sent."""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from recommend.batch import Batch
from recommend.circuit import Circuit
from recommend.documents import Document
from recommend.endpoint import Endpoint
from recommend.ranking import Popularity, rules_from_json
from shared.environment import BadEnvironment
from shared.rules import NO_RULES
from tests.unit.functions.sagemaker_fake import Body

EVENTS = Path(__file__).parents[3] / "events"
SECRET = "jane.doe@example.org"
ENVIRONMENT = {
    "ENDPOINT_NAME": "ncf-recommender",
    "ARTIFACTS_BUCKET": "ncf-artifacts",
    "POWERTOOLS_SERVICE_NAME": "ncf",
    "POWERTOOLS_METRICS_NAMESPACE": "NcfRecommender",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
}
POPULAR = {
    "schemaVersion": "1.0",
    "runId": "run-1",
    "datasetVersion": "v1",
    "itemList": [{"itemId": "9", "score": 30.0}, {"itemId": "7", "score": 20.0}, {"itemId": "8", "score": 10.0}],
}
CONTEXT = SimpleNamespace(
    aws_request_id="6f1b0c2e",
    function_name="recommend",
    function_version="1",
    memory_limit_in_mb=256,
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:recommend",
)


def reply(status: int, document: Any, **headers: str) -> AWSResponse:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return AWSResponse(
        "https://aws",
        status,
        {"content-type": "application/json", "content-length": str(len(content)), **headers},
        Body(content),
    )


def fault(status: int, code: str, **members: Any) -> Any:
    headers = {"x-amzn-ErrorType": code}
    return lambda request: reply(status, {"message": f"about {SECRET}", **members}, **headers)


def raises(error: Exception) -> Any:
    def answer(request: Any) -> AWSResponse:
        raise error

    return answer


ABSENT = fault(400, "ValidationError")
DOWN = fault(503, "ServiceUnavailable")


@dataclass
class Aws:
    """What SageMaker and S3 answer (request → response), and what they were asked."""

    endpoint: Any
    popular: Any
    rules: Any = lambda request: reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
    lists: dict[str, Any] = field(default_factory=dict)
    """By key: the pointer of a batch and its parts; what is not here is not there."""
    invocations: list[dict] = field(default_factory=list)
    list_reads: list[str] = field(default_factory=list)
    reads: int = 0
    rule_reads: int = 0

    def invoke(self, request: Any, **_: Any) -> AWSResponse:
        assert request.url.endswith("/endpoints/ncf-recommender/invocations")
        assert request.headers["Content-Type"] in ("application/json", b"application/json")
        self.invocations.append(json.loads(request.body))
        return self.endpoint(request)

    def get(self, request: Any, **_: Any) -> AWSResponse:
        assert "ncf-artifacts" in request.url
        if request.url.endswith("/serving/rules.json"):
            self.rule_reads += 1
            return self.rules(request)
        key = request.url.partition("/ncf-artifacts/")[2] or request.url.partition(".amazonaws.com/")[2]
        if key == "serving/batch.json" or key.startswith("batch/"):
            self.list_reads.append(key)
            found = self.lists.get(key)
            if callable(found):
                return found(request)
            return reply(200, found) if found is not None else reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
        assert request.url.endswith("/serving/popular.json")
        self.reads += 1
        return self.popular(request)


def personalized(request: Any) -> AWSResponse:
    """An endpoint that knows everybody, and the items 1 to 9, which it ranks by number."""
    asked = json.loads(request.body)
    known = [str(number) for number in range(9, 0, -1)]
    items = [item for item in known if item in asked.get("candidates", known)][: asked.get("numResults", 100)]
    return reply(
        200,
        {
            "userId": asked.get("userId"),
            "itemList": [{"itemId": item, "score": int(item) / 10} for item in items],
            "source": "personalized",
            "modelVersion": "run-2",
            "unknownItems": len(asked.get("candidates", items)) - len(items),
        },
        **{"x-amzn-invoked-production-variant": "AllTraffic"},
    )


@pytest.fixture
def aws():
    return Aws(personalized, lambda request: reply(200, POPULAR))


@pytest.fixture
def clock():
    return SimpleNamespace(now=1000.0)


class CurrentStandardOutput:
    """Where pytest captures at this moment; the logger would keep the stream of the moment of its import."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@pytest.fixture(scope="module")
def cold_start():
    """The module as Lambda imports it, and its two clients."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        # Its logger and metrics take the service's name when they are imported.
        for name in ("recommend.app", "shared.observability"):
            patch.delitem(sys.modules, name, raising=False)
        app = importlib.import_module("recommend.app")
        patch.setattr(app.logger.registered_handler, "stream", CurrentStandardOutput())
        yield app, app.endpoint._client, app._s3()
        for name in ("recommend.app", "shared.observability"):
            sys.modules.pop(name)


@pytest.fixture
def app(cold_start, aws, clock, monkeypatch):
    """The module with nothing remembered, on the fake AWS and the fake clock."""
    app, sagemaker, s3 = cold_start
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", ENVIRONMENT["POWERTOOLS_METRICS_NAMESPACE"])
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    monkeypatch.setattr(app, "endpoint", Endpoint(sagemaker, "ncf-recommender", Circuit(lambda: clock.now)))

    def document(key, parse, **options):
        return Document(lambda: s3, "ncf-artifacts", f"serving/{key}.json", parse, lambda: clock.now, **options)

    monkeypatch.setattr(app, "popularity", document("popular", Popularity.from_json))
    batch = Batch(lambda: s3, "ncf-artifacts", lambda: clock.now)
    monkeypatch.setattr(app, "batch", batch)
    monkeypatch.setattr(app, "rules", document("rules", rules_from_json, otherwise=NO_RULES))
    sagemaker.meta.events.register("before-send.sagemaker-runtime.InvokeEndpoint", aws.invoke)
    s3.meta.events.register("before-send.s3.GetObject", aws.get)
    yield app
    sagemaker.meta.events.unregister("before-send.sagemaker-runtime.InvokeEndpoint", aws.invoke)
    s3.meta.events.unregister("before-send.s3.GetObject", aws.get)


def recommendations(user="42", **query):
    return {
        "version": "2.0",
        "routeKey": "GET /users/{userId}/recommendations",
        "rawPath": "/users/x/recommendations",
        "pathParameters": {"userId": user},
        "queryStringParameters": query or None,
        "requestContext": {"http": {"method": "GET"}, "stage": "$default"},
        "isBase64Encoded": False,
    }


def related(item="7", **query):
    return {
        "version": "2.0",
        "routeKey": "GET /items/{itemId}/related",
        "pathParameters": {"itemId": item},
        "queryStringParameters": query or None,
    }


def rankings(document, **event):
    return {
        "version": "2.0",
        "routeKey": "POST /rankings",
        "headers": {"content-type": "application/json"},
        "body": json.dumps(document),
        **event,
    }


HEALTH = {"version": "2.0", "routeKey": "GET /health"}


def call(app, event):
    response = app.handler(event, CONTEXT)
    assert response["headers"]["content-type"] == "application/json"
    return response["statusCode"], json.loads(response["body"])


def emitted(capsys):
    """The metrics sent since the last call: (name, value, the dimension that is not the service)."""
    found = []
    for line in capsys.readouterr().out.splitlines():
        document = json.loads(line)
        for metric in document.get("_aws", {}).get("CloudWatchMetrics", []):
            assert metric["Namespace"] == "NcfRecommender"
            (dimensions,) = metric["Dimensions"]
            values = {name: document[name] for name in dimensions}
            assert values.pop("service") == "ncf"
            found += [(one["Name"], document[one["Name"]], values) for one in metric["Metrics"]]
    return [(name, value[0] if isinstance(value, list) else value, other) for name, value, other in found]


def test_answers_with_the_ranking_of_the_endpoint(app, aws, capsys):
    assert call(app, recommendations(numResults="2", excludeSeen="false")) == (
        200,
        {
            "recommendationId": "6f1b0c2e",
            "itemList": [{"itemId": "9", "score": 0.9}, {"itemId": "8", "score": 0.8}],
            "model": {"version": "run-2", "variant": "AllTraffic"},
            "source": "personalized",
        },
    )
    assert aws.invocations == [{"userId": "42", "numResults": 2, "excludeSeen": False}]
    assert aws.reads == 0
    assert emitted(capsys) == [("RecommendationServed", 1.0, {"source": "personalized"})]


def test_ranks_a_list(app, aws):
    assert call(app, rankings({"userId": "42", "inputList": ["1", "x", "3", "1"]})) == (
        200,
        {
            "recommendationId": "6f1b0c2e",
            "personalizedRanking": [{"itemId": "3", "score": 0.3}, {"itemId": "1", "score": 0.1}],
            "model": {"version": "run-2", "variant": "AllTraffic"},
            "source": "personalized",
            "unknownItems": 1,
        },
    )
    assert aws.invocations == [{"userId": "42", "candidates": ["1", "x", "3"], "excludeSeen": False}]


def test_the_popular_items_that_the_endpoint_gives_an_unknown_user_are_called_so(app, aws, capsys):
    answer = {"userId": "4", "itemList": [], "source": "popular", "modelVersion": "run-2", "unknownItems": 0}
    aws.endpoint = lambda request: reply(200, answer)
    status, body = call(app, recommendations())
    assert (status, body["source"], aws.reads) == (200, "popular", 0)
    assert emitted(capsys) == [("RecommendationServed", 1.0, {"source": "popular"})]


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
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_gives_popular_items_when_the_endpoint_does_not_answer(app, aws, capsys, endpoint, reason, tries):
    aws.endpoint = endpoint
    assert call(app, recommendations(SECRET, numResults="2")) == (
        200,
        {
            "recommendationId": "6f1b0c2e",
            "itemList": [{"itemId": "9", "score": 30.0}, {"itemId": "7", "score": 20.0}],
            "model": {"version": "run-1"},
            "source": "popular",
        },
    )
    assert len(aws.invocations) == tries
    output = capsys.readouterr()
    assert SECRET not in output.out + output.err
    lines = [json.loads(line) for line in output.out.splitlines()]
    (fallback,) = [line for line in lines if "EndpointFallback" in line]
    assert fallback["reason"] == reason
    (served,) = [line for line in lines if "RecommendationServed" in line]
    assert served["source"] == "popular"
    (warning,) = [line for line in lines if line.get("level") == "WARNING"]
    assert (warning["message"], warning["reason"]) == ("the endpoint does not answer", reason)


def test_ranks_a_list_by_popularity_when_the_endpoint_does_not_answer(app, aws):
    aws.endpoint = ABSENT
    assert call(app, rankings({"userId": "42", "inputList": ["rare", "8", "9"]})) == (
        200,
        {
            "recommendationId": "6f1b0c2e",
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
def test_says_so_when_nothing_was_ever_deployed(app, aws, capsys, status, content):
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
def test_says_so_when_not_even_the_popularity_list_can_be_read(app, aws, popular):
    aws.endpoint, aws.popular = DOWN, popular
    message = "neither the endpoint nor the popularity list answers; try again"
    assert call(app, recommendations()) == (
        503,
        {"error": {"code": "DependencyFailed", "field": None, "message": message}},
    )


def test_reads_the_popularity_list_at_most_once_a_minute(app, aws, clock):
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
def test_keeps_the_last_good_popularity_list(app, aws, clock, capsys, popular):
    aws.endpoint = ABSENT
    call(app, recommendations())
    aws.popular = popular
    clock.now += 61
    reads = aws.reads
    status, body = call(app, recommendations())
    assert (status, body["model"]) == (200, {"version": "run-1"})
    assert aws.reads > reads
    assert "the popularity list is an earlier copy" in capsys.readouterr().out


def test_stops_waiting_for_an_endpoint_that_keeps_failing_and_comes_back_when_it_heals(app, aws, clock, capsys):
    aws.endpoint = DOWN
    for _ in range(5):
        call(app, recommendations())
    asked = len(aws.invocations)
    capsys.readouterr()
    assert call(app, recommendations())[1]["source"] == "popular"
    assert len(aws.invocations) == asked
    assert emitted(capsys) == [
        ("EndpointFallback", 1.0, {"reason": "circuit_open"}),
        ("RecommendationServed", 1.0, {"source": "popular"}),
    ]
    aws.endpoint = personalized
    clock.now += 5
    assert call(app, recommendations())[1]["source"] == "personalized"


def test_an_endpoint_that_is_not_there_yet_is_asked_every_time(app, aws):
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
def test_names_what_is_wrong_with_a_request(app, aws, capsys, event, status, field, message):
    error = {"code": "InvalidInput", "field": field, "message": message}
    assert call(app, event) == (status, {"error": error})
    assert aws.invocations == []
    assert emitted(capsys) == [("RequestRefused", 1.0, {})]


@pytest.mark.parametrize("event", [{}, None, {"routeKey": "GET /"}])
def test_an_event_that_is_no_request_of_ours_is_404(app, event):
    status, body = call(app, event)
    assert (status, body["error"]["code"]) == (404, "NotFound")


def test_health_names_the_rung_that_would_answer(app, aws):
    assert call(app, HEALTH) == (
        200,
        {"status": "ok", "model": {"version": "run-2"}, "endpoint": {"status": "answering"}},
    )
    aws.endpoint = fault(429, "ThrottlingException")
    assert call(app, HEALTH) == (
        200,
        {"status": "degraded", "model": {"version": "run-1"}, "endpoint": {"status": "throttled"}},
    )


def test_health_is_503_where_nothing_was_ever_deployed(app, aws):
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
def test_answers_the_sample_events(app, name, key):
    event = json.loads((EVENTS / f"{name}.json").read_text())
    status, body = call(app, event)
    assert status == 200 and body[key]


def test_no_line_of_the_log_holds_a_user_id(app, aws, capsys):
    for endpoint in (personalized, DOWN, fault(424, "ModelError", OriginalMessage=SECRET)):
        aws.endpoint = endpoint
        call(app, recommendations(SECRET))
        call(app, rankings({"userId": SECRET, "inputList": ["1"]}))
        call(app, rankings({"userId": SECRET, "inputList": 1}))
    output = capsys.readouterr()
    assert "jane" not in output.out + output.err


def test_tries_are_counted_by_the_budget_and_not_by_botocore(cold_start):
    sagemaker, s3 = (client.meta.config for client in cold_start[1:])
    assert (sagemaker.connect_timeout, sagemaker.read_timeout) == (1, 2)
    assert sagemaker.retries == {"mode": "standard", "total_max_attempts": 1}
    assert (s3.connect_timeout, s3.read_timeout) == (0.5, 0.5)


def test_an_endpoint_that_hangs_costs_the_budget_and_no_more(app, aws, monkeypatch):
    monkeypatch.setattr(app, "_BUDGET_SECONDS", 0.05)
    release = threading.Event()

    def hangs(request):
        assert release.wait(20)
        return personalized(request)

    aws.endpoint = hangs
    assert call(app, recommendations())[1]["source"] == "popular"  # and not after 20 s, which would raise
    assert not release.is_set()
    release.set()


def test_a_second_try_is_made_where_it_may_help_and_there_is_time(app, aws, monkeypatch):
    answers = iter([DOWN, personalized, DOWN, personalized])
    aws.endpoint = lambda request: next(answers)(request)
    assert call(app, recommendations())[1]["source"] == "personalized"
    monkeypatch.setattr(app, "_BUDGET_SECONDS", 0.029)
    assert call(app, recommendations())[1]["source"] == "popular"
    assert len(aws.invocations) == 3


RULES = {"schemaVersion": "1.0", "deny": ["9"], "boosts": {"8": 3}, "categoryCaps": {"Drama": 1}}


def test_the_rules_and_the_wished_categories_go_to_the_endpoint(app, aws):
    aws.rules = lambda request: reply(200, RULES)
    call(app, recommendations(categories="Drama, War,Drama"))
    call(app, related("7"))
    call(app, rankings({"userId": "42", "inputList": ["9"]}))
    filters = {"deny": ["9"], "boosts": {"8": 3.0}, "categoryCaps": {"Drama": 1}}
    assert aws.invocations == [
        {"userId": "42", "numResults": 10, "excludeSeen": True, "categories": ["Drama", "War"], **filters},
        {"itemId": "7", "numResults": 10, **filters},
        {"userId": "42", "candidates": ["9"], "excludeSeen": False},
    ]
    assert aws.rule_reads == 1


def test_the_rules_hold_on_the_popularity_list_too(app, aws):
    aws.rules = lambda request: reply(200, RULES)
    aws.endpoint = DOWN
    aws.popular = lambda request: reply(
        200,
        {
            **POPULAR,
            "itemList": [
                {"itemId": "9", "score": 30.0, "categories": ["War"]},
                {"itemId": "7", "score": 20.0, "categories": ["Drama"]},
                {"itemId": "8", "score": 10.0, "categories": ["Drama", "War"]},
                {"itemId": "6", "score": 5.0, "categories": ["War"]},
                {"itemId": "5", "score": 1.0},
            ],
        },
    )

    def ids(event):
        return [item["itemId"] for item in call(app, event)[1]["itemList"]]

    assert ids(recommendations()) == ["8", "6", "5"]  # 8 is boosted to 30, and takes the one place of Drama
    assert ids(recommendations(categories="War")) == ["8", "6"]
    assert ids(recommendations(numResults="1")) == ["8"]
    assert ids(related("8")) == ["7", "6", "5"]


@pytest.mark.parametrize("broken", [lambda request: reply(200, b"{"), lambda request: reply(200, {"deny": []}), DOWN])
def test_rules_that_cannot_be_read_leave_those_that_were(app, aws, clock, capsys, broken):
    aws.rules = lambda request: reply(200, RULES)
    call(app, recommendations())
    aws.rules = broken
    clock.now += 61
    assert call(app, recommendations())[0] == 200
    assert aws.invocations[-1]["deny"] == ["9"]
    assert ("RulesUnreadable", 1.0, {}) in emitted(capsys)
    aws.rules = lambda request: reply(200, {**RULES, "deny": []})
    clock.now += 5
    call(app, recommendations())
    assert "deny" not in aws.invocations[-1]


def test_no_rules_are_read_once_a_minute_and_no_problem(app, aws, clock, capsys):
    for _ in range(3):
        call(app, recommendations())
    assert aws.rule_reads == 1
    assert "cannot be read" not in capsys.readouterr().out
    clock.now += 60
    call(app, recommendations())
    assert aws.rule_reads == 2


def test_related_items_come_from_the_endpoint_or_are_popular(app, aws):
    aws.endpoint = lambda request: reply(
        200,
        {
            "itemId": "7",
            "itemList": [{"itemId": "8", "score": 0.5}],
            "source": "related",
            "modelVersion": "run-2",
            "unknownItems": 0,
        },
    )
    assert call(app, related("7", numResults="1")) == (
        200,
        {
            "recommendationId": "6f1b0c2e",
            "itemList": [{"itemId": "8", "score": 0.5}],
            "model": {"version": "run-2"},
            "source": "related",
        },
    )
    aws.endpoint = DOWN
    status, body = call(app, related("7"))
    assert (status, body["source"]) == (200, "popular")
    assert [item["itemId"] for item in body["itemList"]] == ["9", "8"]


def test_a_missing_variable_stops_the_start_and_all_are_named(monkeypatch):
    for name in ("ENDPOINT_NAME", "ARTIFACTS_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "recommend.app", raising=False)
    with pytest.raises(BadEnvironment, match="missing: ENDPOINT_NAME, ARTIFACTS_BUCKET"):
        importlib.import_module("recommend.app")


# The batch rung


POINTER = {"schemaVersion": "1.0", "runId": "run-2", "prefix": "batch/job/lists/", "shards": 1, "numResults": 3}
PART = {
    "schemaVersion": "1.0",
    "modelVersion": "run-2",
    "shard": 0,
    "shards": 1,
    "users": {"42": [["5", 0.9], ["6", 0.8], ["4", 0.1]], "43": [["5", 0.9]]},
    "itemCategories": {"5": ["Drama"], "4": ["Drama"]},
}


@pytest.fixture
def lists(aws):
    """An endpoint that is down, and a batch that knows the users 42 and 43."""
    aws.endpoint = DOWN
    aws.lists = {"serving/batch.json": POINTER, "batch/job/lists/0000.json.out": PART}
    return aws.lists


def listed(answer):
    body = json.loads(answer["body"])
    return body["source"], [item["itemId"] for item in body["itemList"]], body["model"]["version"]


def test_a_known_users_own_list_stands_in_for_the_endpoint(app, aws, lists):
    answer = app.handler(recommendations(numResults="2"), CONTEXT)
    assert answer["statusCode"] == 200
    assert listed(answer) == ("batch", ["5", "6"], "run-2")
    assert json.loads(answer["body"])["itemList"][0] == {"itemId": "5", "score": 0.9}
    assert aws.reads == 0, "the popularity list was not needed"


def test_parts_are_read_once_and_the_pointer_once_a_minute(app, aws, lists, clock):
    for _ in range(3):
        app.handler(recommendations(numResults="2"), CONTEXT)
    assert aws.list_reads == ["serving/batch.json", "batch/job/lists/0000.json.out"]
    lists["serving/batch.json"] = {**POINTER, "runId": "run-3", "prefix": "batch/next/lists/"}
    lists["batch/next/lists/0000.json.out"] = {**PART, "modelVersion": "run-3"}
    clock.now += 61
    assert listed(app.handler(recommendations(numResults="2"), CONTEXT))[2] == "run-3"


@pytest.mark.parametrize(
    "query",
    [{"user": "44"}, {"numResults": "4"}, {"excludeSeen": "false", "numResults": "2"}],
    ids=["nobody the batch knew", "more than the batch wrote", "with what is seen"],
)
def test_who_is_not_served_by_a_batch_gets_popular_items(app, lists, query):
    assert listed(app.handler(recommendations(**query), CONTEXT))[0] == "popular"


def test_a_list_that_was_not_cut_is_the_answer_however_short(app, lists):
    assert listed(app.handler(recommendations("43", numResults="4"), CONTEXT))[:2] == ("batch", ["5"])


def test_rules_and_categories_hold_for_a_batch_too(app, aws, lists):
    aws.rules = lambda request: reply(200, {"schemaVersion": "1.0", "deny": ["5"], "boosts": {"4": 20}})
    assert listed(app.handler(recommendations(numResults="2"), CONTEXT))[1] == ["4", "6"]
    assert listed(app.handler(recommendations(numResults="1", categories="Drama"), CONTEXT))[1] == ["4"]


@pytest.mark.parametrize(
    "broken",
    [
        {"serving/batch.json": b"{"},
        {"serving/batch.json": {**POINTER, "shards": 0}},
        {"serving/batch.json": {**POINTER, "schemaVersion": "2.0"}},
        {"batch/job/lists/0000.json.out": b"[]"},
        {"batch/job/lists/0000.json.out": {**PART, "users": {"42": [["5"]]}}},
        {"batch/job/lists/0000.json.out": {**PART, "users": {"42": "list"}}},
        {"batch/job/lists/0000.json.out": None},
        {"batch/job/lists/0000.json.out": lambda request: reply(500, b"")},
    ],
)
def test_a_broken_batch_is_passed_over(app, lists, broken):
    lists |= broken
    assert listed(app.handler(recommendations(numResults="2"), CONTEXT))[0] == "popular"


def test_a_batch_that_is_slow_to_read_is_not_waited_for_beyond_the_budget(app, lists, monkeypatch):
    def slowly(request):
        threading.Event().wait(0.6)  # time.sleep is out of order here
        return reply(200, PART)

    lists["batch/job/lists/0000.json.out"] = slowly
    started = time.monotonic()
    assert listed(app.handler(recommendations(numResults="2"), CONTEXT))[0] == "popular"
    assert time.monotonic() - started < 0.55
    threading.Event().wait(0.5)
    # What came too late for that request serves the next one.
    assert listed(app.handler(recommendations(numResults="2"), CONTEXT))[0] == "batch"


def test_related_items_and_rankings_have_no_batch(app, aws, lists):
    event = json.loads((EVENTS / "recommend_related.json").read_text())
    assert json.loads(app.handler(event, CONTEXT)["body"])["source"] == "popular"
    assert aws.list_reads == []
