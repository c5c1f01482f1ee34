"""POST /events on moto's table and stream, with a clock of the test's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer
from moto.dynamodb.models import dynamodb_backends

from contracts.recommendation_ids import Answered
from tests.unit.functions.cloud import ACCOUNT, CONTEXT, DATA, NOW, REGION, STACK, Cloud

NOW_MS = int(NOW * 1000)
ANSWERED = Answered(run_id="v20261123t151300z-1a2b3c4d-r1", source="personalized", request="6f1b0c2e")
OURS = ANSWERED.to_text(STACK)


@pytest.fixture
def events(load: Callable[..., ModuleType], cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The function events after a cold start, at the time NOW."""
    cloud.open_stream()
    app = load("events")
    monkeypatch.setattr(app.time, "time", lambda: NOW)
    return app


def one(**fields: Any) -> dict[str, Any]:
    """A valid event; None takes a field away."""
    given = {"eventId": "e1", "eventType": "view", "itemId": "7", "sentAt": NOW - 60} | fields
    return {name: value for name, value in given.items() if value is not None}


def request(*listed: Any, user: Any = "42", session: Any = None, **more: Any) -> dict[str, Any]:
    """The event of API Gateway for a request with these events."""
    body = {"userId": user, "sessionId": session, "eventList": list(listed), **more}
    return raw(json.dumps({name: value for name, value in body.items() if value is not None}))


def raw(body: str) -> dict[str, Any]:
    return {"routeKey": "POST /events", "headers": {"content-type": "application/json"}, "body": body}


def post(app: ModuleType, event: dict[str, Any]) -> tuple[int, Any]:
    answer = app.handler(event, CONTEXT)
    assert answer["headers"]["content-type"] == "application/json"
    return answer["statusCode"], json.loads(answer["body"])


def stored() -> list[dict[str, Any]]:
    """All items of the table of recent events."""
    read, table = TypeDeserializer().deserialize, dynamodb_backends[ACCOUNT][REGION].tables["ncf-events"]
    rows = [item.to_json()["Attributes"] for of_key in table.items.values() for item in of_key.values()]
    return [{name: read(value) for name, value in row.items()} for row in rows]


def lines(cloud: Cloud) -> list[dict[str, Any]]:
    """All lines that the stream delivered."""
    found = [text for key, text in sorted(cloud.objects(DATA).items()) if key.startswith("raw/live/")]
    return [json.loads(line) for text in found for line in text.splitlines()]


class Stores:
    """DynamoDB and Firehose in memory, in place of the function's clients; `fault` is called before and after each
    effect, and may raise.
    """

    def __init__(self, fault: Callable[[], None] = lambda: None) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.delivered: list[bytes] = []
        self.fault = fault

    def query(self, *, ExpressionAttributeValues: Any, Limit: int, **call: Any) -> Any:
        assert (call["IndexName"], call["ScanIndexForward"], call["ConsistentRead"]) == ("byTime", False, True)
        self.fault()
        found = [item for item in self.items.get(ExpressionAttributeValues[":pk"]["S"], {}).values() if "at" in item]
        return {"Items": sorted(found, key=lambda item: -int(item["at"]["N"]))[:Limit]}

    def batch_write_item(self, *, RequestItems: dict[str, list[Any]]) -> Any:
        ((_, wanted),) = RequestItems.items()
        assert len(wanted) <= 25
        assert len({str(each.get("PutRequest", each).get("Item", each)) for each in wanted}) == len(wanted)
        for each in wanted:
            self.fault()
            item = each["PutRequest"]["Item"] if "PutRequest" in each else each["DeleteRequest"]["Key"]
            of_key = self.items.setdefault(item["pk"]["S"], {})
            if "PutRequest" in each:
                of_key[item["sk"]["S"]] = item
            else:
                of_key.pop(item["sk"]["S"], None)
        self.fault()
        return {"UnprocessedItems": {}}

    def put_record(self, *, Record: dict[str, bytes], **_: Any) -> Any:
        self.fault()
        self.delivered.append(Record["Data"])
        self.fault()
        return {"RecordId": "1"}
