"""The examples of docs/reference/api.md and events.md are what the functions answer: those of recommendations with the
small model of test_api_document.py, that of events on stores in memory.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest

from recommend.openapi import document
from tests.contract.test_api_document import CONTEXT, Aws, app, aws
from tests.unit.functions import cloud as clouds
from tests.unit.functions.conftest import cloud, lender, load, variables
from tests.unit.functions.eventing import Stores, events

__all__ = ["app", "aws", "cloud", "events", "lender", "load", "variables"]  # fixtures

pytestmark = pytest.mark.slow

FILE = Path(__file__).parents[2] / "docs" / "reference" / "examples.json"
EXAMPLES: dict[str, dict[str, Any]] = json.loads(FILE.read_text("utf-8"))


def call(route: str, example: dict[str, Any]) -> dict[str, Any]:
    """The call of the function, as API Gateway makes it."""
    path, _, query = example["request"].partition("?")
    return {
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": query,
        "queryStringParameters": {name: ",".join(values) for name, values in parse_qs(query).items()} or None,
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": route.split()[0]}, "stage": "$default"},
        "body": json.dumps(example["body"]) if "body" in example else "",
        "isBase64Encoded": False,
    }


def rounded(value: Any) -> Any:
    """`value` with numbers of four digits, as the examples have them: another processor sums in another order."""
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value


@pytest.fixture(scope="module", autouse=True)
def compiled(aws: Aws) -> None:
    """The first ranking compiles the loop, which may take longer than the function waits."""
    aws.invoke(SimpleNamespace(body=b'{"userId": "u1"}'))


def test_every_route_has_an_example() -> None:
    routes = {f"{method.upper()} {path}" for path, methods in document()["paths"].items() for method in methods}
    assert set(EXAMPLES) == routes


@pytest.mark.parametrize("route", [route for route in EXAMPLES if route != "POST /events"])
def test_an_example_is_what_the_function_answers(app: Any, aws: Aws, route: str) -> None:
    given = app.handler(call(route, EXAMPLES[route]), CONTEXT)
    assert given["statusCode"] == 200
    assert rounded(json.loads(given["body"])) == EXAMPLES[route]["answer"]


def test_the_example_of_events_is_what_the_function_answers(
    events: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events.TABLE, "_dynamodb", stores := Stores())
    monkeypatch.setattr(events, "FIREHOSE", stores)
    given = events.handler(call("POST /events", EXAMPLES["POST /events"]), clouds.CONTEXT)
    assert given["statusCode"] == 200
    assert json.loads(given["body"]) == EXAMPLES["POST /events"]["answer"]
