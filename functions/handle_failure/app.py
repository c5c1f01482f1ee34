"""State HandleFailure of all state machines, and the rule on failed, timed-out and aborted executions: end the run.

Order: stop orphan jobs, close tokens, release the lock, record the reason in the ledger, publish one event, send one
notification. Every step is idempotent. Returns `{"status", "notified"}`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from handle_failure import failure, refusal
from handle_failure.failure import Failure
from shared import environment, events, names
from shared.clients import calling, client, code_of, not_found
from shared.jobs import Jobs
from shared.ledger import Ledger, Token
from shared.objects import Bucket
from shared.observability import append_run, count, logger, observed
from shared.records import (
    ENDED_WITHOUT_VERDICT,
    TAKEN,
    UNFINISHED,
    UNUSABLE,
    DatasetStatus,
    JobError,
    JobKind,
    OperationStatus,
    RunStatus,
)

EndStatus = RunStatus | DatasetStatus | OperationStatus

MAXIMUM_REPORT_BYTES = 1024 * 1024
_ANNOUNCED: tuple[str, ...] = (RunStatus.FAILED, RunStatus.ROLLED_BACK, DatasetStatus.REFUSED)


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    notifications_topic_arn: str
    artifacts_bucket: str
    data_bucket: str
    emr_application_id: str


SETTINGS = environment.load(Settings)
LEDGER = Ledger(SETTINGS.runs_table)
JOBS = Jobs(LEDGER, SETTINGS.emr_application_id)
DATA = Bucket(client("s3"), SETTINGS.data_bucket)
SNS = client("sns")
EVENTS = client("events")


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Raises InvalidInput for an event that reports no failure, and DependencyFailed to be retried."""
    failed = failure.from_event(event)
    append_run(run_id=failed.run_id, dataset_version=failed.dataset_version)
    logger.warning("execution failed", extra={"error_name": failed.error, "reasons": list(failed.reasons)})
    _stop_orphans(failed)
    status: EndStatus
    if failed.run_id:
        status, reasons = _end_run(failed, failed.run_id)
    elif failed.dataset_version:
        status, reasons = _end_preparation(failed, failed.dataset_version)
    else:
        status, reasons = _end_operation(failed)
    notified = _notify(failed, status, reasons)
    return {"status": status, "notified": notified}


def _stop_orphans(failed: Failure) -> None:
    tokens = {
        (token.kind, token.name): token for token in LEDGER.open_tokens() if token.execution_arn == failed.execution_arn
    }
    for kind, name in _derived_jobs(failed):
        # The index may lag, so these tokens are read by key: a training job that keeps running costs money.
        token = LEDGER.token(kind, name)
        if token is not None and token.execution_arn == failed.execution_arn:
            tokens[kind, name] = token
    for token in tokens.values():
        _stop(token)
        LEDGER.release_token(token)


def _derived_jobs(failed: Failure) -> list[tuple[JobKind, str]]:
    if failed.dataset_version is None:
        return []
    if failed.run_id is None:
        return [(JobKind.PREPARATION, names.preparation_job(SETTINGS.name_prefix, failed.dataset_version))]
    run = LEDGER.run(failed.run_id)
    attempts = run.get("trainingAttempt", 1) if run else 1
    return [(JobKind.TRAINING, names.training_job(SETTINGS.name_prefix, failed.run_id, attempts))]


def _stop(token: Token) -> None:
    if token.kind == JobKind.TRAINING:
        job = JOBS.training_job(token.name)
        if job and job["TrainingJobStatus"] == "InProgress":
            _tolerating_an_end(
                "sagemaker StopTrainingJob",
                lambda: JOBS.client("sagemaker").stop_training_job(TrainingJobName=token.name),
            )
    elif token.kind == JobKind.TRANSFORM:
        job = JOBS.transform_job(token.name)
        if job and job["TransformJobStatus"] == "InProgress":
            _tolerating_an_end(
                "sagemaker StopTransformJob",
                lambda: JOBS.client("sagemaker").stop_transform_job(TransformJobName=token.name),
            )
    elif token.kind == JobKind.PREPARATION and token.job_id:
        state = JOBS.job_run(token.job_id)["state"]
        if state not in ("SUCCESS", "FAILED", "CANCELLED", "CANCELLING"):
            call = {"applicationId": SETTINGS.emr_application_id, "jobRunId": token.job_id}
            _tolerating_an_end(
                "emr-serverless CancelJobRun", lambda: JOBS.client("emr-serverless").cancel_job_run(**call)
            )
    # An endpoint is left alone: the state RollBack has restored it. A request for approval has no job to stop.


def _tolerating_an_end(what: str, call: Any) -> None:
    with calling(what):
        try:
            call()
            logger.info("orphan job stopped", extra={"call": what})
            count("OrphanJobStopped")
        except ClientError as error:
            # The job ended between Describe and Stop.
            if not not_found(error) and code_of(error) not in ("ValidationException", "ConflictException"):
                raise


def _end_run(failed: Failure, run_id: str) -> tuple[RunStatus, list[str]]:
    status, reasons = failed.status, list(failed.reasons)
    run = LEDGER.run(run_id)
    if run and run.get("executionArn") not in (None, failed.execution_arn):
        # Another execution owns the run: this one is a refused restart, or the run was restarted after it.
        return RunStatus.ABORTED, reasons
    LEDGER.unlock_deployment(run_id)
    serving = LEDGER.serving()
    if serving and serving["runId"] == run_id:
        status = RunStatus.DEPLOYED
        reasons.append("the model was verified and serves; a later step failed")
    over = (*UNFINISHED, *ENDED_WITHOUT_VERDICT) if failed.first_hand else UNFINISHED
    if LEDGER.finish_run(run_id, status, reasons, failed.error, over=over):
        return status, reasons
    recorded = LEDGER.run(run_id)
    return (RunStatus(recorded["status"]), recorded.get("reasons", reasons)) if recorded else (status, reasons)


def _end_preparation(failed: Failure, version: str) -> tuple[DatasetStatus, list[str]]:
    status, reasons = DatasetStatus(failed.status), list(failed.reasons)
    state = LEDGER.dataset(version)
    if state and state.get("executionArn") not in (None, failed.execution_arn):
        # A second execution for the same drop failed; the first one decides the version's status.
        return DatasetStatus.ABORTED, reasons
    if state and state["status"] not in (DatasetStatus.PREPARING, *UNUSABLE):
        return DatasetStatus(state["status"]), reasons
    if state and not failed.first_hand and state["status"] != DatasetStatus.PREPARING:
        return DatasetStatus(state["status"]), state.get("reasons") or reasons
    refused = _refusal(version) if state and failed.error == JobError.PREPARATION_FAILED and failed.first_hand else []
    if refused:
        status, reasons = DatasetStatus.REFUSED, refused
    LEDGER.mark_dataset(version, status, reasons, unless=TAKEN)
    return status, reasons


def _end_operation(failed: Failure) -> tuple[OperationStatus, list[str]]:
    status, reasons = OperationStatus(failed.status), list(failed.reasons)
    LEDGER.unlock_deployment(failed.execution_name)
    LEDGER.end_operation(failed.machine.upper(), failed.execution_name, status, reasons, failed.error)
    return status, reasons


def _refusal(version: str) -> list[str]:
    found = DATA.get(f"quarantine/{version}/report.json", MAXIMUM_REPORT_BYTES, forbidden_is_absent=True)
    return refusal.reasons(found.content) if found else []


def _notice(failed: Failure, status: EndStatus, reasons: list[str]) -> dict[str, str]:
    report = names.report_uri(SETTINGS.artifacts_bucket, failed.run_id) if failed.run_id else None
    return failure.notice(failed, status, reasons, SETTINGS.name_prefix, report)


def _notify(failed: Failure, status: EndStatus, reasons: list[str]) -> bool:
    if status not in _ANNOUNCED and not (failed.first_hand and status == RunStatus.DEPLOYED):
        # A person stopped it on purpose, or it ended well: no notification.
        logger.info("no notification sent", extra={"status": status})
        return False
    with LEDGER.notifying(failed.subject, failed.occasion) as first:
        if first:
            if not failed.is_operation:  # events exist for runs and datasets only
                events.publish(
                    EVENTS, SETTINGS.name_prefix, events.RUN_FAILED, failed.run_id, failed.dataset_version, reasons
                )
            with calling("sns Publish"):
                SNS.publish(TopicArn=SETTINGS.notifications_topic_arn, **_notice(failed, status, reasons))
            count("RunFailed")
    return first
