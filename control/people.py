"""Events of a person since the training, from the table of recent events; and the request of a visitor's click."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from contracts import event_types, recent_events
from contracts.documents import Unfit
from contracts.event_types import EventTypes
from contracts.forgotten import KEY as FORGOTTEN_KEY
from contracts.forgotten import NOBODY, Forgotten
from control import api
from control.connection import Connection
from control.lists import Person


@dataclass(frozen=True)
class Event:
    """One recent event."""

    at: float
    """Epoch seconds."""
    item_id: str
    type: str

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Event | None:
        """Read an item in DynamoDB's JSON; None if it is none of an event."""
        try:
            return cls(int(item["at"]["N"]) / 1000, item["item"]["S"], item["type"]["S"])
        except (KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True)
class Recent:
    """The newest events, the latest first, and the user that a session has logged in."""

    events: tuple[Event, ...]
    user_id: str = ""


def recent(connection: Connection, person: Person) -> Recent:
    """One query: at most the events that count in an answer. Raises what boto3 raises."""
    key = recent_events.of_user(person.user_id) if person.user_id else recent_events.of_session(person.session_id)
    found = connection.client("dynamodb").query(
        TableName=events_table(connection),
        IndexName=recent_events.BY_TIME,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": key}},
        ScanIndexForward=False,
        Limit=recent_events.NEWEST,
        ConsistentRead=True,
    )["Items"]
    user_id = next((item["user"]["S"] for item in found if item["sk"]["S"] == recent_events.USER), "")
    read = (Event.from_item(item) for item in found)
    return Recent(tuple(event for event in read if event is not None), user_id)


def events_table(connection: Connection) -> str:
    """The name of EventsTable, which is no output of the stack."""
    found = connection.client("cloudformation").describe_stack_resource(
        StackName=connection.stack, LogicalResourceId="EventsTable"
    )
    return str(found["StackResourceDetail"]["PhysicalResourceId"])


def history_of(events: Sequence[Event], types: EventTypes, now: float) -> list[dict[str, Any]]:
    """The events as the `history` of a request to a model, the oldest first."""
    return [
        {
            "itemId": event.item_id,
            "ageSeconds": max(0.0, now - event.at),
            "isBought": types.of(event.type).is_bought,
        }
        for event in sorted(events, key=lambda event: event.at)
        if types.of(event.type).is_history
    ]


def types_in_force(connection: Connection) -> EventTypes:
    """Return the meaning of each type of event; the usual meaning if the shop says nothing that can be read."""
    content = _content(connection, event_types.KEY)
    try:
        return EventTypes.from_json(content) if content else event_types.DEFAULT
    except Unfit:
        return event_types.DEFAULT


def forgotten(connection: Connection) -> Forgotten:
    """The forgotten people. Raises Unfit if the document cannot be read: nothing of people may then be shown."""
    content = _content(connection, FORGOTTEN_KEY)
    return Forgotten.from_json(content) if content else NOBODY


def _content(connection: Connection, key: str) -> bytes:
    try:
        found = connection.client("s3").get_object(Bucket=connection.outputs["ArtifactsBucketName"], Key=key)
    except ClientError as error:
        if error.response["Error"].get("Code") in ("NoSuchKey", "404"):
            return b""
        raise
    with found["Body"] as body:
        return bytes(body.read())


# A visitor's clicks


def click(connection: Connection, person: Person, item_id: str, kind: str, because_of: str = "") -> api.Request:
    """The request that tells the shop of a click, now. `because_of` is the `recommendationId` of the list."""
    event: dict[str, Any] = {
        "eventType": kind,
        "itemId": item_id,
        "sentAt": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds"),
    }
    if because_of:
        event["recommendationId"] = because_of
    return api.Request(connection.api_url(), "POST", "/events", body={**person.query, "eventList": [event]})


def click_kind(types: EventTypes) -> str:
    """A type of event that is a click by the shop's meaning: `click` or `view` if it has them, else the first one."""
    clicks = sorted(name for name, one in types.by_name.items() if one.outcome == event_types.CLICK and one.is_history)
    return next((name for name in ("click", "view") if name in clicks), clicks[0] if clicks else "click")
