"""The failed execution, its cause, and the run's resulting status. Pure.

A failure arrives from two sources: the state machine's HandleFailure state, which knows the cause, and the execution's
status-change event. Only the event arrives when the execution timed out, was aborted, or failed where no state could
catch it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contracts import consoles, documents
from contracts.documents import Unfit
from contracts.names import RUN_ID
from contracts.values import is_integer, is_number
from shared import names, notices
from shared.causes import Cause
from shared.errors import InvalidInput
from shared.notices import Kind
from shared.records import DatasetStatus, JobError, OperationStatus, RunStatus

_STOPPED = (JobError.TRAINING_STOPPED, JobError.PREPARATION_STOPPED, JobError.TRANSFORM_STOPPED)
_OPERATIONS = ("batch", "rollback")
_MACHINES = ("retraining", "preparation", *_OPERATIONS)
_STATUS_CHANGE = "Step Functions Execution Status Change"
_ENDED_BADLY = ("FAILED", "TIMED_OUT", "ABORTED")

_WORDS: dict[Kind, str] = {
    Kind.RUN_ROLLED_BACK: "rolled back",
    Kind.RUN_DEPLOYED_THEN_FAILED: "deployed, but a later step failed",
    Kind.DATA_REFUSED: "data refused",
}
# No redrive: it would resume in the Fail state, where the execution ended, and fail again.
_RESTART = (
    "The earlier model keeps serving. Fix the cause, then drop the data again, or restart the run: it continues at the "
    "step that failed."
)
_ADVICE: dict[Kind, str] = {
    Kind.RUN_FAILED: _RESTART,
    Kind.RUN_ROLLED_BACK: _RESTART,
    Kind.RUN_DEPLOYED_THEN_FAILED: "The new model serves. Fix the cause; nothing is to be started again.",
    Kind.PREPARATION_FAILED: "Nothing was trained; the model keeps serving. Fix the cause, then drop the data again.",
    Kind.DATA_REFUSED: "Nothing was trained; the model keeps serving. Correct the data, then drop them again.",
    Kind.BATCH_FAILED: "Earlier lists, if any, stay in use. Fix the cause, then start the batch again.",
    Kind.ROLLBACK_FAILED: "No other model was put in service. Fix the cause, then start the rollback again.",
}


@dataclass(frozen=True)
class Failure:
    """One failed execution: of a run, of a preparation (`run_id` is None), or of a batch or rollback (both are
    None).

    `first_hand` is True if the state machine itself reported the failure, so `error` and `reasons` are the cause.
    `occasion` identifies this failure of this execution: if a redriven execution fails again, that is a new occasion.
    """

    machine: str
    execution_arn: str
    dataset_version: str | None
    run_id: str | None
    status: RunStatus
    error: str
    reasons: tuple[str, ...]
    first_hand: bool
    occasion: str

    @property
    def subject(self) -> str:
        """The ledger key of the failed run, dataset or operation."""
        if self.run_id:
            return f"RUN#{self.run_id}"
        if self.dataset_version:
            return f"DATASET#{self.dataset_version}"
        return f"{self.machine.upper()}#{self.execution_name}"

    @property
    def execution_name(self) -> str:
        """The last part of the execution's ARN."""
        return self.execution_arn.rpartition(":")[2]

    @property
    def is_operation(self) -> bool:
        """True for a batch or a rollback, on which no run and no dataset depends."""
        return self.machine in _OPERATIONS


def from_event(event: Any) -> Failure:
    """The failure in the input of HandleFailure or in a status-change event. Raises InvalidInput for anything else."""
    if not isinstance(event, dict):
        raise InvalidInput("the event must be the input of HandleFailure or an execution status change")
    return _from_status_change(event) if event.get("detail-type") == _STATUS_CHANGE else _from_state(event)


def notice(
    failure: Failure,
    status: RunStatus | DatasetStatus | OperationStatus,
    reasons: list[str],
    stack: str,
    report_uri: str | None = None,
) -> dict[str, str]:
    """Subject and message of the notification."""
    what = f"Run {failure.run_id}" if failure.run_id else f"Preparation of {failure.dataset_version}"
    if failure.is_operation:
        what = f"{failure.machine.capitalize()} {failure.execution_name}"
    kind = _kind(failure, status)
    words = _WORDS.get(kind, "failed")
    lines = [
        f"{what}: {words} ({failure.error}).",
        "",
        *[f"- {reason}" for reason in reasons],
        "",
        _ADVICE[kind],
        "",
        f"Execution: {failure.execution_arn}",
        consoles.execution(failure.execution_arn),
        *([f"Report: {report_uri}"] if report_uri else []),
    ]
    return notices.notice(kind, stack, f"{what}: {words}", lines)


def _kind(failure: Failure, status: RunStatus | DatasetStatus | OperationStatus) -> Kind:
    if failure.is_operation:
        return Kind.BATCH_FAILED if failure.machine == "batch" else Kind.ROLLBACK_FAILED
    if failure.run_id is None:
        return Kind.DATA_REFUSED if status == DatasetStatus.REFUSED else Kind.PREPARATION_FAILED
    ends: dict[str, Kind] = {
        RunStatus.ROLLED_BACK: Kind.RUN_ROLLED_BACK, RunStatus.DEPLOYED: Kind.RUN_DEPLOYED_THEN_FAILED
    }  # fmt: skip
    return ends.get(status, Kind.RUN_FAILED)


def _from_state(event: dict[str, Any]) -> Failure:
    machine = event.get("machine")
    arn = event.get("executionArn")
    if machine not in _MACHINES or not isinstance(arn, str) or not arn:
        raise InvalidInput(f"machine must be one of {', '.join(_MACHINES)}, and executionArn a non-empty string")
    cause = Cause.from_state(event.get("error"))
    reasons = [f"{event['failedState']}: {cause.reason}" if event.get("failedState") else cause.reason]
    status = RunStatus.ABORTED if cause.error in _STOPPED else RunStatus.FAILED
    rollback = event.get("rollback")
    if isinstance(rollback, dict) and rollback.get("changed") is not False and rollback.get("endpointConfigName"):
        status = RunStatus.FAILED if machine in _OPERATIONS else RunStatus.ROLLED_BACK
        reasons.append(f"the endpoint serves {rollback['endpointConfigName']} again")
    alarms = rollback.get("alarms") if isinstance(rollback, dict) else None
    if alarms:
        reasons.append(f"in state ALARM after the rollback: {', '.join(map(str, alarms))}")
    if "rollbackError" in event:
        reasons.append(f"the rollback failed too: {Cause.from_state(event['rollbackError']).reason}")
    run_id, version = _identity(machine, event, arn, str(event.get("startTime") or ""))
    return Failure(
        machine, arn, version, run_id, status, cause.error, tuple(reasons), True, _occasion(run_id, arn, event)
    )


def _from_status_change(event: dict[str, Any]) -> Failure:
    detail = event.get("detail")
    if (
        not isinstance(detail, dict)
        or detail.get("status") not in _ENDED_BADLY
        or not isinstance(detail.get("executionArn"), str)
    ):
        raise InvalidInput(f"detail.status must be one of {', '.join(_ENDED_BADLY)}, and detail.executionArn a string")
    arn = detail["executionArn"]
    document = _input(detail.get("input"))
    cause = Cause.from_state({"Error": detail.get("error"), "Cause": detail.get("cause")})
    ended_as = detail["status"]
    error = cause.error if cause.error != "Unknown" else ended_as
    reason = f"the execution ended as {ended_as}" + (f": {cause.reason}" if detail.get("cause") else "")
    name = arn.rpartition(":")[2]
    machine = "retraining" if RUN_ID.fullmatch(name) else "preparation"
    # By the state machine: the name of a restarted run's execution is not the run's.
    machine = next((kind for kind in _MACHINES if arn.rpartition(":")[0].endswith(f"-{kind}")), machine)
    run_id, version = _identity(
        machine,
        {"runId": name, **document},
        arn,
        _iso(detail.get("startDate")),
    )
    status = RunStatus.ABORTED if ended_as == "ABORTED" else RunStatus.FAILED
    return Failure(machine, arn, version, run_id, status, error, (reason,), False, _occasion(run_id, arn, detail))


def _input(text: Any) -> dict[str, Any]:
    """Return the execution's input; empty if the event has none, because it is long, or one that cannot be read."""
    try:
        return documents.read_object(text, "the input") if isinstance(text, str) else {}
    except Unfit:
        return {}


def _identity(machine: str, document: dict[str, Any], arn: str, start_time: str) -> tuple[str | None, str | None]:
    if machine in _OPERATIONS:
        return None, None
    if machine == "retraining":
        run_id = names.require_run_id(document.get("runId"))
        return run_id, names.version_of(run_id)
    return None, names.preparation_version(arn, start_time, document.get("trigger"))


def _occasion(run_id: str | None, arn: str, document: dict[str, Any]) -> str:
    redrives, name = _redrives(document), arn.rpartition(":")[2]
    # A restarted run is a separate execution, so its failures are counted separately.
    return f"failure-{redrives}" if run_id in (None, name) else f"failure-{redrives}-{name}"


def _redrives(document: dict[str, Any]) -> int:
    count = document.get("redriveCount")
    return count if is_integer(count, 0) else 0


def _iso(start_date: Any) -> str:
    # The event has epoch milliseconds; the state machine's context has ISO 8601.
    if is_number(start_date):
        seconds = start_date / 1000 if start_date > 1e11 else start_date
        try:
            return datetime.fromtimestamp(seconds, UTC).isoformat()
        except (OverflowError, ValueError, OSError):  # no time that a calendar has
            return str(start_date)
    return str(start_date or "")
