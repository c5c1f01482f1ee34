"""The API's document, its code and its answers agree. Requests of every kind are made from
`docs/reference/openapi.json`, answered by the function with a real model, and checked against the document. The model
server must accept everything that the function sends.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import schemathesis
import torch
from botocore.awsrequest import AWSResponse
from hypothesis import HealthCheck, assume, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection
from werkzeug.wrappers import Request, Response

from ncf import bundle as bundles
from ncf.network import Architecture, Recommender
from ncf.ranking import rank
from recommend.openapi import document
from serving.invocation import InvalidInvocation, from_body
from serving.scorer import Scorer

pytestmark = pytest.mark.slow

PUBLISHED = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
ENVIRONMENT = {
    "ENDPOINT_NAME": "ncf-recommender",
    "ARTIFACTS_BUCKET": "ncf-artifacts",
    "REQUEST_BUDGET_MILLISECONDS": "60000",  # a ranking of a new form compiles its loop
    "POWERTOOLS_SERVICE_NAME": "ncf",
    "POWERTOOLS_METRICS_NAMESPACE": "NcfRecommender",
    "URL_SUFFIX": "amazonaws.com",
    "STACK_ID": "arn:aws:cloudformation:us-east-1:123456789012:stack/ncf/6f",
    "EVENTS_TABLE": "ncf-events",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
}
CONTEXT = SimpleNamespace(
    aws_request_id="6f1b0c2e",
    function_name="recommend",
    memory_limit_in_mb=256,
    invoked_function_arn="arn",
    function_version="1",
)
POPULAR = {"schemaVersion": "1.0", "runId": "r1", "datasetVersion": "v1", "itemList": [{"itemId": "i1", "score": 3.0}]}
RULES = {"schemaVersion": "1.0", "deny": ["i3"], "boosts": {"i4": 2}, "categoryCaps": {"Drama": 1}}
PLACEMENTS = {"hot": {"list": "trending"}, "popular": {"list": "popular", "window": "7d", "numResults": 3}}
DAY = {"events": 1000, "itemList": [["i7", 9], ["new", 8]], "byCategory": {"Drama": [["i7", 9]]}}
RUNS = {"AllTraffic": "v20260102t000000z-00000000-r1", "Other": "v20260101t000000z-00000000-r1"}
TRIAL = {"schemaVersion": "1.0", "trialId": "a-trial", "runs": RUNS, "share": 0.5}
DOCUMENTS: dict[str, Any] = {
    "rules.json": RULES,
    "trial.json": TRIAL,
    "placements.json": {"schemaVersion": "1.0", "placements": PLACEMENTS},
    "popular_now.json": {
        "schemaVersion": "1.0",
        "until": time.time(),
        "popular": {"24h": DAY, "7d": DAY},
        "trending": {**DAY, "itemList": [["i9", 2.5]]},
        "items": {"i7": {"categories": ["Drama"], "fields": {"title": "Seven"}}},
    },
}


class Aws:
    """A fake of SageMaker, which calls the model server's code, and of S3."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.is_up = True
        self.refusals: list[str] = []

    def invoke(self, request: Any) -> AWSResponse:
        if not self.is_up:
            return reply(503, {"message": "down"})
        try:
            return reply(200, self._scorer.answer(from_body(request.body)))
        except InvalidInvocation as refusal:
            self.refusals.append(f"{refusal.message}: {request.body[:200]!r}")
            return reply(424, {"message": "refused"})

    def read(self, request: Any) -> AWSResponse:
        happened = zip(("view", "purchase", "impression"), ("i1", "i2", "unknown"), strict=True)
        items = [{"sk": kind, "at": "1795946400000", "item": item, "type": kind} for kind, item in happened]
        return reply(
            200, {"Items": [{name: {"N" if name == "at" else "S": item[name]} for name in item} for item in items]}
        )

    def get(self, request: Any) -> AWSResponse:
        return reply(200, DOCUMENTS.get(request.url.rpartition("/")[2], POPULAR))


def reply(status: int, content: Any) -> AWSResponse:
    body = json.dumps(content).encode()
    raw = SimpleNamespace(read=lambda amt=None: body, stream=lambda **_: iter([body]), close=lambda: None)
    return AWSResponse("https://aws", status, {"content-type": "application/json"}, raw)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Aws:
    users, items = 6, 30
    model = Recommender(Architecture("neumf", 4, (8, 4)), users, items).eval()
    model.reset_parameters(torch.Generator().manual_seed(1))
    return Aws(
        Scorer(
            bundles.write(
                tmp_path_factory.mktemp("bundle"),
                model=model,
                user_ids=[f"u{user}" for user in range(users)],
                item_ids=[f"i{item}" for item in range(items)],
                seen_indptr=np.arange(0, 3 * users + 1, 3),
                seen_indices=np.tile(np.array([0, 4, 9], dtype=np.int32), users),
                popularity=np.arange(items),
                run_id="v20260102t030405z-0a1b2c3d-r1",
                dataset_version="v20260102t030405z-0a1b2c3d",
                code_version="test",
                golden=lambda bundle: [{"request": {"userId": "u0"}, "response": rank(bundle, {"userId": "u0"})}],
                categories=[["Drama"] if item % 2 else [] for item in range(items)],
            )
        )
    )


@pytest.fixture(scope="module")
def app(aws: Aws) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        for name in ("recommend.app", "shared.observability"):
            patch.delitem(sys.modules, name, raising=False)
        app = importlib.import_module("recommend.app")
        patch.setattr(app.runtime.session, "send", aws.invoke)
        patch.setattr(app.artifacts.session, "send", aws.get)
        patch.setattr(app.recent._table.session, "send", aws.read)
        yield app
        for name in ("recommend.app", "shared.observability"):
            sys.modules.pop(name)


@pytest.fixture(scope="module")
def web(app: Any) -> Any:
    """The function behind HTTP, as an HTTP API's catch-all route calls it."""

    @Request.application
    def answer(request: Request) -> Response:
        event = {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": request.environ["RAW_URI"].partition("?")[0] if "RAW_URI" in request.environ else request.path,
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "rawQueryString": request.environ["QUERY_STRING"],
            "queryStringParameters": {name: ",".join(request.args.getlist(name)) for name in request.args} or None,
            "requestContext": {"http": {"method": request.method}, "stage": "$default"},
            "body": request.get_data().decode("utf-8", "surrogateescape"),
            "isBase64Encoded": False,
        }
        given = app.handler(event, CONTEXT)
        return Response(given["body"], given["statusCode"], given["headers"])

    return answer


def accepted(api: dict[str, Any]) -> dict[str, Any]:
    """The document with the placements of this shop, and without tokens: no chance draws one that is valid."""
    for methods in api["paths"].values():
        for operation in methods.values():
            parameters = [one for one in operation.get("parameters", ()) if one["name"] != "page"]
            operation["parameters"] = [
                one | {"schema": {"enum": list(PLACEMENTS)}} if one["name"] == "placement" else one
                for one in parameters
            ]
    fields = api["components"]["schemas"]["RecommendationsRequest"]["properties"]
    fields["placement"] = {"enum": list(PLACEMENTS)}
    del fields["page"]
    return api


@pytest.fixture
def api(web: Any) -> Any:
    schema = schemathesis.openapi.from_dict(accepted(document()))
    schema.app = web
    return schema


def test_the_published_document_is_that_of_the_code() -> None:
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == document(), "run make assemble"


FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
CASES = [
    (path, method, mode)
    for path, methods in document()["paths"].items()
    for method in methods
    for mode in GenerationMode  # values that the document allows, and values that it does not
    if path != "/events" and (path != "/health" or mode is GenerationMode.POSITIVE)
]


@pytest.mark.parametrize("is_up", [True, False], ids=["endpoint up", "endpoint down"])
@pytest.mark.parametrize(("path", "method", "mode"), CASES, ids=lambda value: getattr(value, "value", value))
def test_every_answer_is_as_the_document_says(
    api: Any, app: Any, aws: Aws, path: str, method: str, mode: GenerationMode, is_up: bool
) -> None:
    aws.is_up = is_up
    app.endpoint._circuit.succeeded()
    statuses = set()

    @FEW
    @given(api[path][method].as_strategy(generation_mode=mode))
    def holds(case: Any) -> None:
        # One of both is needed, which a document cannot say of parameters.
        assume(
            case.path != "/recommendations"
            or case.method != "GET"
            or {"userId", "sessionId"} & (case.query or {}).keys()
        )
        response = case.call()
        # A query has no types: a boolean in place of a list is a list of one word.
        case.validate_response(response, excluded_checks=[negative_data_rejection])
        statuses.add(response.status_code)

    holds()
    assert aws.refusals == []
    assert statuses <= {200, 400, 404, 413, 415}
    assert 200 in statuses if mode is GenerationMode.POSITIVE else statuses & {400, 404}
