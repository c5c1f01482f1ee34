"""States RecordDeployed, RecordRejected, RecordUnchanged, RecordPrepared and RecordRestored: write the ledger, publish
an event, send a notification and release the lock.

Returns `{"status"}`. A second call sends no second notification, but may publish the event again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts import withdrawn
from contracts.documents import Unfit
from contracts.withdrawn import Withdrawn
from record_outcome import outcome
from record_outcome.outcome import Outcome
from shared import environment, events, names
from shared.clients import calling, client
from shared.ledger import Ledger
from shared.objects import Bucket
from shared.observability import append_run, count, logger, observed
from shared.records import TAKEN, UNFINISHED, DatasetStatus, OperationStatus, RunStatus


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    notifications_topic_arn: str
    artifacts_bucket: str
    data_bucket: str


SETTINGS = environment.load(Settings)
LEDGER = Ledger(SETTINGS.runs_table)
EVENTS = client("events")
SNS = client("sns")
S3 = client("s3")
DATA = Bucket(S3, SETTINGS.data_bucket)
ARTIFACTS = Bucket(S3, SETTINGS.artifacts_bucket)

_KINDS: dict[str, str] = {
    RunStatus.DEPLOYED: events.MODEL_DEPLOYED,
    OperationStatus.RESTORED: events.MODEL_DEPLOYED,
    RunStatus.REJECTED: events.MODEL_REJECTED,
    RunStatus.UNCHANGED: events.MODEL_UNCHANGED,
    DatasetStatus.PREPARED: events.DATASET_PREPARED,
}

_METRICS: dict[str, str] = {
    RunStatus.DEPLOYED: "RunDeployed",
    OperationStatus.RESTORED: "VersionRestored",
    OperationStatus.SPLIT: "TrafficSplitRecorded",
    RunStatus.REJECTED: "RunRejected",
    RunStatus.UNCHANGED: "RunUnchanged",
    DatasetStatus.PREPARED: "DatasetPrepared",
}


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Raises InvalidInput for a state without an outcome, DependencyFailed to be retried."""
    end = outcome.from_event(event)
    append_run(run_id=end.run_id, dataset_version=end.dataset_version)
    if end.run_id is None:
        _withdraw(end.dataset_version)
        # The manifest's event may arrive before this state runs: a claimed version stays claimed.
        LEDGER.mark_dataset(end.dataset_version, DatasetStatus.PREPARED, [], unless=TAKEN)
    elif end.replaced is not None:
        _end_rollback(end, end.run_id, end.replaced, str(event.get("executionArn")).rpartition(":")[2])
    elif not _end_run(end, end.run_id):
        logger.warning("the run has ended otherwise meanwhile", extra={"status": end.status})
        return {"status": end.status}
    if end.status in _KINDS:  # a split deploys no model
        events.publish(
            EVENTS, SETTINGS.name_prefix, _KINDS[end.status], end.run_id, end.dataset_version, list(end.reasons)
        )
    logger.info("outcome recorded", extra={"status": end.status, "reasons": list(end.reasons)})
    count(_METRICS[end.status])
    return {"status": end.status}


def _withdraw(version: str) -> None:
    """Tell `recommend` which items the newest data withdraw: they are in no answer, whichever model serves."""
    found = DATA.get(f"datasets/{version}/{withdrawn.FILE}")
    if found is None:
        return  # prepared by older code
    known = ARTIFACTS.get(withdrawn.KEY)
    try:
        if known is not None and Withdrawn.from_json(known.content).dataset_version > version:
            return
    except Unfit as error:
        logger.warning("a broken document is replaced", extra={"reason": str(error)})
    ARTIFACTS.put(withdrawn.KEY, found.content)


def _end_rollback(end: Outcome, run_id: str, replaced: str, execution_name: str) -> None:
    if end.status == OperationStatus.SPLIT:
        words = (
            f"answers {end.percent} % of the requests, and {replaced} the rest"
            if end.percent
            else "answers all requests"
        )
        reasons = [f"{run_id} {words}: {end.reasons[0]}"]
    else:
        reasons = [f"{run_id} serves again, instead of {replaced}: {end.reasons[0]}"]
        # Marked as rolled back, so that a new run may train on the data of the replaced run.
        LEDGER.restate_run(replaced, RunStatus.ROLLED_BACK, reasons, over=RunStatus.DEPLOYED)
        LEDGER.restate_run(run_id, RunStatus.DEPLOYED, reasons, over=RunStatus.ROLLED_BACK)
    LEDGER.end_operation("ROLLBACK", execution_name, OperationStatus(end.status), reasons)
    LEDGER.unlock_deployment(execution_name)
    with LEDGER.notifying(f"ROLLBACK#{execution_name}", end.status.lower()) as first:
        if first:
            with calling("sns Publish"):
                SNS.publish(
                    TopicArn=SETTINGS.notifications_topic_arn,
                    **end.notice(SETTINGS.name_prefix, names.report_uri(SETTINGS.artifacts_bucket, run_id)),
                )


def _end_run(end: Outcome, run_id: str) -> bool:
    """Record the end. False if the run has ended otherwise: a person took its model back before an execution that was
    aborted is redriven.
    """
    # A run that was redriven after a failure may succeed: this status replaces the failure.
    status = RunStatus(end.status)
    over = (*UNFINISHED, RunStatus.FAILED, RunStatus.ABORTED, status)
    is_recorded = LEDGER.finish_run(run_id, status, list(end.reasons), over=over)
    LEDGER.unlock_deployment(run_id)
    if not is_recorded:
        return False
    if end.stale:
        LEDGER.mark_dataset(end.dataset_version, DatasetStatus.STALE, list(end.reasons))
    with LEDGER.notifying(f"RUN#{run_id}", end.status.lower()) as first:
        if first:
            with calling("sns Publish"):
                SNS.publish(
                    TopicArn=SETTINGS.notifications_topic_arn,
                    **end.notice(SETTINGS.name_prefix, names.report_uri(SETTINGS.artifacts_bucket, run_id)),
                )
    return True
