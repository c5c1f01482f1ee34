"""`recommend` with a fake AWS that answers its signed requests."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from contracts import event_types, popular_now
from contracts.event_types import EventTypes
from contracts.placements import Placements
from contracts.recent_events import event_key
from contracts.recommendation_ids import Answered
from recommend.batch import Batch
from recommend.beside import Beside
from recommend.circuit import Circuit
from recommend.documents import Document
from recommend.endpoint import Endpoint
from recommend.list_filter import rules_from_json
from recommend.people import People
from recommend.placement import placements_from_json
from recommend.popular_now import NOTHING, PopularNow
from recommend.recent import RecentEvents
from recommend.stored_lists import Popularity
from recommend.trial import CurrentTrial
from recommend.withdrawal import Withdrawal
from shared.rules import NO_RULES
from shared.signed import Table
from tests.unit.functions.sagemaker_fake import Body

EVENTS = Path(__file__).parents[3] / "events"
SECRET = "jane.doe@example.org"
ENVIRONMENT = {
    "ENDPOINT_NAME": "ncf-recommender",
    "ARTIFACTS_BUCKET": "ncf-artifacts",
    "POWERTOOLS_SERVICE_NAME": "ncf",
    "POWERTOOLS_METRICS_NAMESPACE": "NcfRecommender",
    "URL_SUFFIX": "amazonaws.com",
    "STACK_ID": "arn:aws:cloudformation:us-east-1:123456789012:stack/ncf/6f",
    "EVENTS_TABLE": "ncf-events",
    "AWS_REGION": "us-east-1",
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


def answer_id(run_id: str, source: str) -> str:
    """The id of an answer to the request of CONTEXT."""
    return Answered(run_id=run_id, source=source, request=CONTEXT.aws_request_id).to_text(ENVIRONMENT["STACK_ID"])


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


KEYS = tuple(f"serving/{name}.json" for name in ("event_types", "popular_now", "placements", "trial"))
ABSENT = fault(400, "ValidationError")
DOWN = fault(503, "ServiceUnavailable")


@dataclass
class Aws:
    """Answers of SageMaker and S3 (request → response), and the requests that they received."""

    endpoint: Any
    popular: Any
    rules: Any = lambda request: reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
    forgotten: Any = lambda request: reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
    withdrawn: Any = lambda request: reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
    event_types: Any = lambda request: reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
    popular_now: Any = lambda request: reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
    placements: Any = lambda request: reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
    trial: Any = lambda request: reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Items of the table of recent events, by `pk`."""
    table: Any = None
    """A fault of that table (request → response)."""
    table_reads: list[dict[str, Any]] = field(default_factory=list)
    lists: dict[str, Any] = field(default_factory=dict)
    """The pointer of a batch and its parts, by key; other keys do not exist."""
    invocations: list[dict[str, Any]] = field(default_factory=list)
    list_reads: list[str] = field(default_factory=list)
    reads: int = 0
    rule_reads: int = 0

    def invoke(self, request: Any) -> AWSResponse:
        assert request.url == "https://runtime.sagemaker.us-east-1.amazonaws.com/endpoints/ncf-recommender/invocations"
        assert request.headers["Content-Type"] in ("application/json", b"application/json")
        self.invocations.append(json.loads(request.body))
        return self.endpoint(request)

    def get(self, request: Any) -> AWSResponse:
        place, _, key = request.url.partition("amazonaws.com/")
        assert place == "https://ncf-artifacts.s3.us-east-1."
        if key == "serving/rules.json":
            self.rule_reads += 1
            return self.rules(request)
        if key == "serving/forgotten.json":
            return self.forgotten(request)
        if key == "serving/withdrawn.json":
            return self.withdrawn(request)
        if key in KEYS:
            found = getattr(self, key.removeprefix("serving/").removesuffix(".json"))(request)
            assert isinstance(found, AWSResponse)
            return found
        if key == "serving/batch.json" or key.startswith("batch/"):
            self.list_reads.append(key)
            found = self.lists.get(key)
            if callable(found):
                return found(request)
            return reply(200, found) if found is not None else reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
        assert key == "serving/popular.json"
        self.reads += 1
        return self.popular(request)

    def read(self, request: Any) -> AWSResponse:
        assert request.url == "https://dynamodb.us-east-1.amazonaws.com/"
        asked = json.loads(request.body)
        assert asked["TableName"] == "ncf-events" and asked["ConsistentRead"] is True
        self.table_reads.append(asked)
        if self.table is not None:
            return self.table(request)
        assert (asked["IndexName"], asked["ScanIndexForward"]) == ("byTime", False)
        under = self.events.get(asked["ExpressionAttributeValues"][":pk"]["S"], [])
        newest = sorted((item for item in under if "at" in item), key=lambda item: -int(item["at"]["N"]))
        return reply(200, {"Items": newest[: asked["Limit"]]})


def happened(pk: str, item: str, ago: float = 0.0, event_type: str = "view", key: str | None = None) -> dict[str, Any]:
    """An event of the table, `ago` seconds before now."""
    at = round((time.time() - ago) * 1000)
    sort_key = key or event_key(f"{pk} {item} {at} {event_type}")
    texts = {"pk": pk, "sk": sort_key, "item": item, "type": event_type}
    return {name: {"S": text} for name, text in texts.items()} | {"at": {"N": str(at)}}


def personalized(request: Any) -> AWSResponse:
    """An endpoint that knows every user and ranks the items 1 to 9 by number."""
    invocation = json.loads(request.body)
    known = [str(number) for number in range(9, 0, -1)]
    items = [item for item in known if item in invocation.get("candidates", known)][: invocation.get("numResults", 100)]
    return reply(
        200,
        {
            "userId": invocation.get("userId"),
            "itemList": [{"itemId": item, "score": int(item) / 10} for item in items],
            "source": "personalized",
            "modelVersion": "run-2",
            "unknownItems": len(invocation.get("candidates", items)) - len(items),
        },
        **{"x-amzn-invoked-production-variant": "AllTraffic"},
    )


@pytest.fixture
def aws() -> Any:
    return Aws(personalized, lambda request: reply(200, POPULAR))


@pytest.fixture
def clock() -> Any:
    return SimpleNamespace(now=1000.0)


class CurrentStandardOutput:
    """The stream that pytest captures now; the logger would keep the one from its import."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@pytest.fixture(scope="module")
def cold_start() -> Iterator[Any]:
    """The module as Lambda imports it."""
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
        yield app
        for name in ("recommend.app", "shared.observability"):
            sys.modules.pop(name)


@pytest.fixture
def app(cold_start: Any, aws: Any, clock: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module with empty caches, on the fake AWS and the fake clock."""
    app = cold_start
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, ENVIRONMENT[name])
    monkeypatch.setattr(app, "endpoint", Endpoint(app.runtime, "ncf-recommender", Circuit(lambda: clock.now)))

    def document(key: Any, parse: Any, **options: Any) -> Any:
        return Document(app.artifacts, f"serving/{key}.json", parse, lambda: clock.now, **options)

    monkeypatch.setattr(app, "popularity", document("popular", Popularity.from_json))
    monkeypatch.setattr(app, "batch", Batch(app.artifacts, lambda: clock.now))
    monkeypatch.setattr(app, "withdrawal", Withdrawal(app.artifacts, lambda: clock.now))
    monkeypatch.setattr(app, "people", People(app.artifacts, lambda: clock.now))
    monkeypatch.setattr(app, "rules", document("rules", rules_from_json, otherwise=NO_RULES))
    shown = Beside(app.artifacts, event_types.KEY, EventTypes.from_json, event_types.DEFAULT, lambda: clock.now)
    monkeypatch.setattr(app, "types", shown)
    now = Beside(app.artifacts, popular_now.KEY, PopularNow.from_json, NOTHING, lambda: clock.now)
    monkeypatch.setattr(app, "now", now)
    monkeypatch.setattr(app, "placed", document("placements", placements_from_json, otherwise=Placements()))
    monkeypatch.setattr(app, "trial", CurrentTrial(app.artifacts, lambda: clock.now))
    table = Table("ncf-events", "us-east-1", "amazonaws.com")
    monkeypatch.setattr(app, "recent", RecentEvents(table, 2.0, Circuit(lambda: clock.now)))
    monkeypatch.setattr(table.session, "send", aws.read)
    monkeypatch.setattr(app.runtime.session, "send", aws.invoke)
    monkeypatch.setattr(app.artifacts.session, "send", aws.get)
    return app


def recommendations(user: Any = "42", **query: Any) -> Any:
    return {
        "version": "2.0",
        "routeKey": "GET /users/{userId}/recommendations",
        "rawPath": "/users/x/recommendations",
        "pathParameters": {"userId": user},
        "queryStringParameters": query or None,
        "requestContext": {"http": {"method": "GET"}, "stage": "$default"},
        "isBase64Encoded": False,
    }


def related(item: Any = "7", **query: Any) -> Any:
    return {
        "version": "2.0",
        "routeKey": "GET /items/{itemId}/related",
        "pathParameters": {"itemId": item},
        "queryStringParameters": query or None,
    }


def rankings(document: Any, **event: Any) -> Any:
    return {
        "version": "2.0",
        "routeKey": "POST /rankings",
        "headers": {"content-type": "application/json"},
        "body": json.dumps(document),
        **event,
    }


HEALTH = {"version": "2.0", "routeKey": "GET /health"}


def call(app: Any, event: Any) -> Any:
    response = app.handler(event, CONTEXT)
    assert response["headers"]["content-type"] == "application/json"
    return response["statusCode"], json.loads(response["body"])


def call_for_page(app: Any, event: Any) -> Any:
    """Status and body of a page after which there is another one, without its token."""
    status, body = call(app, event)
    assert isinstance(body.pop("nextPage"), str)
    return status, body


def emitted(capsys: pytest.CaptureFixture[str]) -> Any:
    """The metrics sent since the last call: (name, value, the dimension that is not the service)."""
    found = []
    for line in capsys.readouterr().out.splitlines():
        document = json.loads(line)
        for metric in document.get("_aws", {}).get("CloudWatchMetrics", []):
            assert metric["Namespace"] == "NcfRecommender"
            dimensions, *totals = metric["Dimensions"]
            assert totals in ([], [["service"]])
            values = {name: document[name] for name in dimensions}
            assert values.pop("service") == "ncf"
            found += [(one["Name"], document[one["Name"]], values) for one in metric["Metrics"]]
    return [(name, value[0] if isinstance(value, list) else value, other) for name, value, other in found]
