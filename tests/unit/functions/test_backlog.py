"""Rules of what is overdue, and the events that are sent again for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconcile import backlog
from tests.unit.functions.cloud import (
    DATA,
    EXECUTION,
    RUN,
    VERSION,
)
from tests.unit.functions.test_reconcile import NOW, execution


def test_an_event_has_five_minutes_to_arrive() -> None:
    assert not backlog.is_overdue("2026-11-23T15:55:00.000Z", NOW)
    assert backlog.is_overdue("2026-11-23T15:54:59.999Z", NOW)


@pytest.mark.parametrize(
    ("dataset", "run", "unknown"),
    [
        (None, None, True),
        ({"status": "PREPARING"}, None, True),
        ({"status": "PREPARED"}, None, True),
        ({"status": "PREPARED"}, {"status": "FAILED"}, True),
        ({"status": "CLAIMED"}, None, True),
        ({"status": "CLAIMED"}, {"status": "RUNNING"}, False),
        ({"status": "STALE"}, None, False),
        ({"status": "QUARANTINED"}, None, False),
        ({"status": "REFUSED"}, None, False),
    ],
)
def test_a_version_waits_until_a_run_or_a_reason_is_known(dataset: Any, run: Any, unknown: bool) -> None:
    assert backlog.is_unknown(dataset, run) is unknown


def test_the_announced_event_is_one_that_on_data_ready_takes() -> None:
    from on_data_ready import announcement

    event = backlog.object_created(DATA, f"datasets/{VERSION}/manifest.json", 0, NOW)
    assert announcement.from_event(event, DATA).version == VERSION


def test_the_handed_over_event_is_one_that_handle_failure_takes() -> None:
    from handle_failure import failure

    execution = {
        "executionArn": EXECUTION,
        "stateMachineArn": "arn",
        "name": RUN,
        "status": "TIMED_OUT",
        "startDate": NOW,
        "input": json.dumps({"runId": RUN}),
        "error": "States.Timeout",
    }
    found = failure.from_event(json.loads(json.dumps(backlog.execution_status_change(execution))))
    assert (found.run_id, found.error) == (RUN, "States.Timeout")


@pytest.mark.parametrize("redriven", [{}, {"redriveCount": 0}, {"redriveCount": 2}])
def test_the_handed_over_event_has_what_step_functions_sends_and_no_more(redriven: dict[str, int]) -> None:
    described = {**execution("ABORTED"), "output": None, **redriven}
    detail = backlog.execution_status_change(described)["detail"]
    known = {
        name: execution("ABORTED")[name] for name in ("executionArn", "stateMachineArn", "name", "status", "input")
    }
    assert detail == {
        **known,
        "startDate": 1795446780000,
        **({"redriveCount": 2} if redriven.get("redriveCount") else {}),
    }
