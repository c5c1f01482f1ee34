"""Pause and resume: which calls they make, what they leave alone, and which drops came meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from botocore.exceptions import ClientError

from control import pauses
from control.actions import Action
from control.connection import Connection
from control.ledger import Ledger

BEFORE, DURING, LATER = (datetime(2026, 11, 29, hour, tzinfo=UTC) for hour in (9, 11, 12))
SCHEDULE = {
    "Name": "shop-close-events",
    "Arn": "arn",
    "State": "ENABLED",
    "ScheduleExpression": "rate(1 day)",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "Target": {"Arn": "function", "RoleArn": "role", "Input": "{}"},
    "CreationDate": BEFORE,
    "Description": None,
}


class Stack:
    """A stack `shop`: a rule, schedules by name and state, and markers by key and time; clients are itself."""

    stack = name_prefix = "shop"

    def __init__(self, rule: str, markers: dict[str, datetime] | None = None, **states: str) -> None:
        self.rule, self.markers, self.states = rule, markers or {}, states
        self.outputs = {"DataBucketName": "data", "RunsTableName": "runs"}

    def client(self, service: str) -> Any:
        return self

    def describe_rule(self, Name: str) -> dict[str, str]:
        assert Name == "shop-raw-data-ready"
        return {"State": self.rule}

    def get_schedule(self, Name: str) -> dict[str, Any]:
        state = self.states.get(Name.removeprefix("shop-").replace("-", "_"))
        if state is None:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetSchedule")
        return SCHEDULE | {"Name": Name, "State": state}

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        given = {"EventsScheduleState": "ENABLED", "PreparationScheduleState": "DISABLED"}
        parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()]
        return {"Stacks": [{"Parameters": parameters}]}

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, Bucket: str, Prefix: str, Delimiter: str) -> list[dict[str, Any]]:
        folders = sorted({key.rpartition("/")[0] for key in self.markers} | {"raw/never-closed"})
        return [{"CommonPrefixes": [{"Prefix": f"{folder}/"}]} for folder in folders] + [{}]

    def head_object(self, Bucket: str, Key: str) -> dict[str, datetime]:
        if Key not in self.markers:
            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")
        return {"LastModified": self.markers[Key]}


class Actions:
    """The ledger's actions, the last one first."""

    def __init__(self, *actions: dict[str, str]) -> None:
        self.actions = list(actions)

    def of_kind(self, kind: str) -> list[dict[str, str]]:
        assert kind == "ACTION"
        return self.actions


def connection(stack: Stack) -> Connection:
    return cast(Connection, stack)


def calls(action: Action) -> list[tuple[str, Any]]:
    return [(str(call), call.parameters.get("State", call.parameters.get("Key"))) for call in action.calls]


def test_a_pause_disables_what_begins_a_preparation_and_leaves_alone_what_is_off() -> None:
    action = pauses.pause(connection(Stack("ENABLED", close_events="ENABLED", preparation="DISABLED")))
    assert calls(action) == [("events disable-rule", None), ("scheduler update-schedule", "DISABLED")]
    assert dict(action.calls[1].parameters) == {
        "Name": "shop-close-events",
        "State": "DISABLED",
        "ScheduleExpression": "rate(1 day)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": "function", "RoleArn": "role", "Input": "{}"},
    }


def test_a_schedule_that_the_stack_does_not_have_is_no_problem() -> None:
    assert calls(pauses.pause(connection(Stack("ENABLED")))) == [("events disable-rule", None)]


def test_resume_brings_schedules_to_what_the_parameters_say_and_announces_the_newest_drop() -> None:
    stack = Stack("DISABLED", close_events="DISABLED", preparation="DISABLED")
    assert calls(pauses.resume(connection(stack), "raw/b/_SUCCESS")) == [
        ("events enable-rule", None),
        ("scheduler update-schedule", "ENABLED"),
        ("s3 put-object", "raw/b/_SUCCESS"),
    ]
    assert calls(pauses.resume(connection(Stack("DISABLED", close_events="ENABLED")))) == [("events enable-rule", None)]


def test_the_rule_says_whether_it_is_paused_and_the_ledger_who_did_it() -> None:
    done = {"pk": "ACTION#20261129t100000z-1a2b3c4d", "name": "pause", "status": "DONE", "who": "ann", "why": "a move"}
    failed = done | {"status": "FAILED", "who": "bob"}
    ledger = cast(Ledger, Actions({"name": "approve", "status": "DONE"}, failed, done))
    assert pauses.retraining(connection(Stack("ENABLED")), ledger) == pauses.Retraining(False)
    assert pauses.retraining(connection(Stack("DISABLED")), ledger) == pauses.Retraining(
        True, "2026-11-29T10:00:00+00:00", "ann", "a move"
    )
    assert pauses.retraining(connection(Stack("DISABLED")), cast(Ledger, Actions())) == pauses.Retraining(True)


def test_drops_that_were_closed_meanwhile_are_found_the_newest_last() -> None:
    markers = {"raw/old/_SUCCESS": BEFORE, "raw/a/_SUCCESS": LATER, "raw/b/_SUCCESS": DURING}
    stack = connection(Stack("DISABLED", markers))
    assert pauses.markers_since(stack, "2026-11-29T10:00:00Z") == ["raw/b/_SUCCESS", "raw/a/_SUCCESS"]
    assert pauses.markers_since(stack, "") == []
