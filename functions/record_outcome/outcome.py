"""The outcome of a run, preparation or rollback that ended without a failure, and its notification. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared import names, notices
from shared.causes import Cause
from shared.errors import InvalidInput
from shared.notices import Kind
from shared.records import DatasetStatus, OperationStatus, RunStatus

Status = RunStatus | DatasetStatus | OperationStatus
OUTCOMES = (
    RunStatus.DEPLOYED,
    RunStatus.REJECTED,
    RunStatus.UNCHANGED,
    DatasetStatus.PREPARED,
    OperationStatus.RESTORED,
)


@dataclass(frozen=True)
class Outcome:
    """The `status` for the ledger and its `reasons`; `stale` is True if newer data already serves.

    For a rollback, `run_id` serves again and `replaced` no longer does; with `percent`, `run_id` answers that share of
    the requests and `replaced` the rest.
    """

    status: Status
    dataset_version: str
    run_id: str | None
    reasons: tuple[str, ...]
    stale: bool = False
    replaced: str | None = None
    percent: int | None = None

    def notice(self, stack: str, report_uri: str) -> dict[str, str]:
        """Subject and message of the notification."""
        results: dict[str, tuple[Kind, str]] = {
            RunStatus.DEPLOYED: (Kind.MODEL_SERVES, "its model serves"),
            RunStatus.REJECTED: (Kind.MODEL_REJECTED, "model rejected, the earlier model keeps serving"),
            RunStatus.UNCHANGED: (Kind.MODEL_UNCHANGED, "its model equals the serving one, which keeps serving"),
            OperationStatus.RESTORED: (Kind.MODEL_RESTORED, f"its model serves again, instead of {self.replaced}"),
            OperationStatus.SPLIT: (Kind.TRAFFIC_SPLIT, f"its model answers {self.percent or 100} % of the requests"),
        }
        kind, words = results[self.status]
        subject = f"Run {self.run_id}: {words}"
        lines = [subject, "", *[f"- {reason}" for reason in self.reasons], "", f"Report: {report_uri}"]
        return notices.notice(kind, stack, subject, lines)


def from_event(event: Any) -> Outcome:
    """The outcome in the state's input. Raises InvalidInput when it has none."""
    if not isinstance(event, dict) or event.get("outcome") not in OUTCOMES:
        raise InvalidInput(f"outcome must be one of {', '.join(OUTCOMES)}")
    if event["outcome"] == DatasetStatus.PREPARED:
        version = names.require_dataset_version(
            (event.get("preparation") or {}).get("datasetVersion"), "preparation.datasetVersion"
        )
        return Outcome(DatasetStatus.PREPARED, version, None, ())
    run_id = names.require_run_id(event.get("runId"))
    version = names.version_of(run_id)
    if event["outcome"] == OperationStatus.RESTORED:
        replaced = names.require_run_id(event.get("from"), "from")
        percent = event.get("percent")
        status = OperationStatus.RESTORED if percent is None else OperationStatus.SPLIT
        return Outcome(status, version, run_id, (str(event.get("reason")),), replaced=replaced, percent=percent)
    evaluation = event.get("evaluation") or {}
    reasons = tuple(str(reason) for reason in evaluation.get("reasons") or ())
    if event["outcome"] in (RunStatus.DEPLOYED, RunStatus.UNCHANGED):
        return Outcome(RunStatus(event["outcome"]), version, run_id, reasons)
    if "error" in event:
        return Outcome(RunStatus.REJECTED, version, run_id, (Cause.from_state(event["error"]).reason,), stale=True)
    if evaluation.get("verdict") == "ACCEPTED":
        words = (event.get("approval") or {}).get("reason") or "no reason was given"
        return Outcome(RunStatus.REJECTED, version, run_id, (f"the model was not approved: {words}",))
    return Outcome(RunStatus.REJECTED, version, run_id, reasons)
