"""Overdue entries, and the events that were lost. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from shared import notices
from shared.records import Dataset, DatasetStatus, Run

# Within this time an event may still arrive.
GRACE = timedelta(minutes=5)
# A version without a manifest this long after its creation was abandoned.
ABANDONED = timedelta(hours=26)
_DECIDED = (DatasetStatus.STALE, DatasetStatus.QUARANTINED, DatasetStatus.REFUSED)
_ENDED_BADLY = ("FAILED", "TIMED_OUT", "ABORTED")


def is_overdue(moment: datetime | str, now: datetime, grace: timedelta = GRACE) -> bool:
    """True if `moment` (a datetime, or ISO 8601) is longer ago than `grace`."""
    when = datetime.fromisoformat(moment.replace("Z", "+00:00")) if isinstance(moment, str) else moment
    return now - when > grace


def is_unknown(dataset: Dataset | None, run: Run | None) -> bool:
    """True if a dataset with a manifest needs a run. A claimed one has no run if the function crashed in between."""
    if dataset is None:
        return True
    return dataset["status"] not in _DECIDED and (dataset["status"] != DatasetStatus.CLAIMED or run is None)


def has_failed(execution: dict[str, Any] | None) -> bool:
    """True if DescribeExecution (None: no such execution) shows an end that HandleFailure must handle."""
    return execution is not None and execution["status"] in _ENDED_BADLY


def object_created(bucket: str, key: str, size: int, now: datetime) -> dict[str, Any]:
    """Return the event that S3 sends when an object is written."""
    return {
        "version": "0",
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "detail": {
            "version": "0",
            "bucket": {"name": bucket},
            "object": {"key": key, "size": size},
            "reason": "reconcile",
        },
    }


def execution_status_change(execution: dict[str, Any]) -> dict[str, Any]:
    """Return the event that Step Functions sends when an execution ends, from DescribeExecution."""
    start: datetime = execution["startDate"]
    detail = {
        name: execution.get(name)
        for name in ("executionArn", "stateMachineArn", "name", "status", "input", "error", "cause")
    }
    detail["startDate"] = int(start.timestamp() * 1000)
    if execution.get("redriveCount"):
        detail["redriveCount"] = execution["redriveCount"]
    return {
        "version": "0",
        "source": "aws.states",
        "detail-type": "Step Functions Execution Status Change",
        "detail": {name: value for name, value in detail.items() if value is not None},
    }


def waiting(stack: str, run_id: str, reason: str) -> dict[str, str]:
    """Return subject and message of the notification that a run is PARKED."""
    subject = f"Run {run_id}: waits"
    remedy = (
        "It tries again for hours and goes on by itself; the earlier model serves meanwhile. If it waits for an alarm, "
        "see to that alarm; if for capacity or a quota, raise the quota in Service Quotas or choose another instance "
        "type."
    )
    return notices.notice(notices.Kind.RUN_WAITS, stack, subject, [subject, "", f"- {reason}", "", remedy])
