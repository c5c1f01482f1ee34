"""Rate and cron schedules fire when they are due. The test sets the clock, because the shortest rate is a minute."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from ministack.core.responses import request_scope
from ministack.services import eventbridge, scheduler

START = datetime(2026, 11, 23, 3, 0, 30, tzinfo=UTC).timestamp()


class Clock:
    """Replaces the ``time`` module of the scheduler."""

    now = START

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(scheduler, "time", clock)
    monkeypatch.setattr(scheduler, "_schedule_last_fired", {})
    with request_scope("000000000000", os.environ.get("AWS_REGION", "us-east-1")):
        yield clock
    scheduler.reset()


@pytest.mark.parametrize(
    ("expression", "state", "fired_at"),
    [
        ("rate(1 minute)", "ENABLED", [60, 120, 180]),
        ("rate(15 minutes)", "ENABLED", []),
        ("rate(1 minute)", "DISABLED", []),
        ("cron(2 3 * * ? *)", "ENABLED", [90]),
    ],
)
def test_a_schedule_fires_when_it_is_due(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, expression: str, state: str, fired_at: list[int]
) -> None:
    fired: list[int] = []

    def invoke(target: dict[str, Any], event: dict[str, Any], schedule: dict[str, Any]) -> None:
        fired.append(int(clock.now - START))

    monkeypatch.setattr(eventbridge, "_invoke_target", invoke)
    body = {"ScheduleExpression": expression, "State": state, "FlexibleTimeWindow": {"Mode": "OFF"}}
    target = {"Arn": "arn:aws:sqs:us-east-1:000000000000:q", "RoleArn": "arn:aws:iam::000000000000:role/r"}
    status, _, answer = scheduler._create_schedule("s", body | {"Target": target})
    assert status == 200, answer
    for second in range(0, 200, 10):
        clock.now = START + second
        scheduler._tick_schedules()
    assert fired == fired_at
