"""Stop new data from starting a training, and let it again.

Three things begin a preparation, whose dataset version begins a training: the rule on `raw/<drop>/_SUCCESS`, and the
schedules that close the events of the day and prepare a source. Stopping a later part would not last: `reconcile`
announces each dataset version that has no run. What has begun goes on to its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from contracts.names import MARKER_KEY
from control.actions import Action, Call
from control.connection import Connection
from control.ledger import Ledger, moment

SCHEDULES = {"close-events": "EventsScheduleState", "preparation": "PreparationScheduleState"}
"""Schedules that begin a preparation, and the template's parameter that says whether each is on."""
KEPT = ("Description", "ScheduleExpression", "ScheduleExpressionTimezone", "StartDate", "EndDate", "GroupName",
        "FlexibleTimeWindow", "Target", "KmsKeyArn", "ActionAfterCompletion")  # fmt: skip
"""What UpdateSchedule takes of GetSchedule's answer: what is not given is reset."""
DISABLED, ENABLED = "DISABLED", "ENABLED"


@dataclass(frozen=True)
class Retraining:
    """Whether new data start a training. `since`, `who` and `why` are those of the last pause, empty if it is unknown
    (an operator disabled the rule by other means).
    """

    is_paused: bool
    since: str = ""
    who: str = ""
    why: str = ""


def rule_name(connection: Connection) -> str:
    """The rule that starts a preparation when a drop is complete."""
    return f"{connection.name_prefix}-raw-data-ready"


def retraining(connection: Connection, ledger: Ledger) -> Retraining:
    """Whether new data start a training now, by the rule's own state."""
    if connection.client("events").describe_rule(Name=rule_name(connection))["State"] == ENABLED:
        return Retraining(is_paused=False)
    for action in ledger.of_kind("ACTION"):
        if action.get("name") == "pause" and action.get("status") == "DONE":
            return Retraining(True, _begun(action), str(action.get("who", "")), str(action.get("why", "")))
    return Retraining(is_paused=True)


def pause(connection: Connection) -> Action:
    """Disable the rule and the schedules; those that are disabled already are left alone."""
    calls = [Call("events", "disable_rule", {"Name": rule_name(connection)})]
    calls += [call for name in SCHEDULES if (call := _schedule_call(connection, name, DISABLED))]
    return Action(
        "pause",
        "Stop new data from starting a training?",
        (
            "Drops are kept and start nothing until `resume`; what has begun goes on to its end.",
            "The model that serves, recommendations and events are not touched.",
        ),
        tuple(calls),
    )


def resume(connection: Connection, announced: str | None = None) -> Action:
    """Enable the rule, and the schedules that the template's parameters have on; announce the drop whose marker is
    `announced`: its preparation unites with it what came before it.
    """
    wanted = _parameters(connection)
    calls = [Call("events", "enable_rule", {"Name": rule_name(connection)})]
    calls += [
        call
        for name, parameter in SCHEDULES.items()
        if (call := _schedule_call(connection, name, wanted.get(parameter, ENABLED)))
    ]
    consequences = ["New data start a preparation, and its dataset a training, from now on."]
    if announced is not None:
        bucket = connection.outputs["DataBucketName"]
        calls.append(Call("s3", "put_object", {"Bucket": bucket, "Key": announced, "Body": b""}))
        consequences.append(f"The newest drop of the meantime, {announced.removesuffix('/_SUCCESS')}, is prepared now.")
    return Action(
        "resume", "Let new data start trainings again?", tuple(consequences), tuple(calls), facts={"drop": announced}
    )


def markers_since(connection: Connection, since: str) -> list[str]:
    """Keys of the markers of drops that were completed after `since`, the newest last; none if it is unknown."""
    start = moment(since)
    if start is None:
        return []
    s3, bucket = connection.client("s3"), connection.outputs["DataBucketName"]
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="raw/", Delimiter="/")
    folders = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
    found: list[tuple[datetime, str]] = []
    for key in (f"{folder}_SUCCESS" for folder in folders):
        if not MARKER_KEY.fullmatch(key):
            continue
        try:
            written = s3.head_object(Bucket=bucket, Key=key)["LastModified"]
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                continue
            raise
        if written.timestamp() >= start:
            found.append((written, key))
    return [key for _, key in sorted(found)]


def _begun(action: Mapping[str, Any]) -> str:
    """When an action began, from its key: its `updatedAt` is the end, and a drop may come in between."""
    text = str(action["pk"]).partition("#")[2].partition("-")[0]
    return datetime.strptime(text, "%Y%m%dt%H%M%Sz").replace(tzinfo=UTC).isoformat()


def _parameters(connection: Connection) -> dict[str, str]:
    stack = connection.client("cloudformation").describe_stacks(StackName=connection.stack)["Stacks"][0]
    return {entry["ParameterKey"]: entry["ParameterValue"] for entry in stack.get("Parameters", [])}


def _schedule_call(connection: Connection, name: str, state: str) -> Call | None:
    """The call that brings a schedule to `state`; None if it is there already, or the stack has none of that name."""
    scheduler, full_name = connection.client("scheduler"), f"{connection.name_prefix}-{name}"
    try:
        found: dict[str, Any] = scheduler.get_schedule(Name=full_name)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise
    if found["State"] == state:
        return None
    kept = {key: found[key] for key in KEPT if found.get(key) is not None}
    return Call("scheduler", "update_schedule", {"Name": full_name, "State": state, **kept})
