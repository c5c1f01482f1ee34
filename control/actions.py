"""Changes to a stack by a person: each action names its calls beforehand, and is recorded with who and why."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from control.connection import Connection, NotReady

LONGEST_REASON = 500
"""Maximum characters of a reason."""


OVERTAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409", "404")
"""S3's answers to a conditional write of an object that is another one now, is being written, or is gone."""


class Overtaken(NotReady):
    """Another person has changed what the action was to change; the message says what to do."""


def unchanged_since(etag: str | None) -> dict[str, str]:
    """The parameter of `put_object` that writes only over the object with this ETag; only a new one without any."""
    return {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}


@dataclass(frozen=True)
class Call:
    """One call of AWS: `client(service).method(**parameters)`."""

    service: str
    method: str
    parameters: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.service} {self.method.replace('_', '-')}"


@dataclass(frozen=True)
class Action:
    """A change that a person may confirm. `title` is the question, `consequences` are sentences shown before."""

    name: str
    title: str
    consequences: tuple[str, ...]
    calls: tuple[Call, ...]
    needs_reason: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    with_reason: Callable[[str], Sequence[Call]] | None = None
    """Makes the calls anew with the reason that was given, where a call carries it."""


def perform(connection: Connection, action: Action, who: str, why: str) -> list[dict[str, Any]]:
    """Record the action, then make its calls in order; return the answers.

    Raises ValueError if a needed reason is missing or a reason is too long, Overtaken if another person was first, and
    what boto3 raises; the record then says FAILED with the error.
    """
    if action.needs_reason and not why.strip():
        raise ValueError("Give a reason: it is kept in the ledger.")
    if len(why) > LONGEST_REASON:
        raise ValueError(f"The reason has {len(why)} characters; {LONGEST_REASON} are the most.")
    calls = action.with_reason(why.strip()) if action.with_reason is not None else action.calls
    record = _begin(connection, action, who, why)
    try:
        answers = [_make(connection, call) for call in calls]
    except Exception as error:
        _end(connection, record, "FAILED", str(error))
        raise
    _end(connection, record, "DONE", "")
    return answers


def _make(connection: Connection, call: Call) -> dict[str, Any]:
    try:
        return dict(getattr(connection.client(call.service), call.method)(**call.parameters))
    except ClientError as error:
        is_conditional = not {"IfMatch", "IfNoneMatch"}.isdisjoint(call.parameters)
        if not is_conditional or error.response["Error"].get("Code") not in OVERTAKEN:
            raise
        raise Overtaken(
            f"Someone else was first: {call.parameters.get('Key')} has changed since you read it, so nothing was "
            "written. Read it again, look at their change, and then publish yours."
        ) from error


def _begin(connection: Connection, action: Action, who: str, why: str) -> str:
    now = datetime.now(UTC)
    pk = f"ACTION#{now:%Y%m%dt%H%M%Sz}-{secrets.token_hex(4)}"
    connection.client("dynamodb").put_item(
        TableName=connection.outputs["RunsTableName"],
        Item={
            "pk": {"S": pk},
            "sk": {"S": "STATE"},
            "kind": {"S": "ACTION"},
            "updatedAt": {"S": now.isoformat()},
            "status": {"S": "BEGUN"},
            "name": {"S": action.name},
            "calls": {"L": [{"S": str(call)} for call in action.calls]},
            "facts": {"S": json.dumps(dict(action.facts))},
            "who": {"S": who},
            "why": {"S": why.strip()},
        },
        ConditionExpression="attribute_not_exists(pk)",
    )
    return pk


def _end(connection: Connection, pk: str, status: str, error: str) -> None:
    connection.client("dynamodb").update_item(
        TableName=connection.outputs["RunsTableName"],
        Key={"pk": {"S": pk}, "sk": {"S": "STATE"}},
        UpdateExpression="SET #status = :status, #error = :error, updatedAt = :now",
        ExpressionAttributeNames={"#status": "status", "#error": "error"},
        ExpressionAttributeValues={
            ":status": {"S": status},
            ":error": {"S": error[:1000]},
            ":now": {"S": datetime.now(UTC).isoformat()},
        },
    )
