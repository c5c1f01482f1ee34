"""Handle lost events, on a schedule, so that nothing depends on the delivery of an event.

Every entry is tried, and the failures are reported together at the end. Returns
`{"settled", "released", "announced", "failed", "abandoned", "expired", "parked"}`, all counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from botocore.exceptions import ClientError

from contracts.names import DATASET_VERSION
from reconcile import backlog
from shared import environment, names
from shared.clients import calling, client, code_of
from shared.errors import DependencyFailed, FunctionError
from shared.jobs import Jobs
from shared.ledger import Ledger, Token
from shared.observability import count, logger, metrics, observed
from shared.records import Dataset, DatasetStatus, JobKind, Run, RunStatus


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    data_bucket: str
    on_data_ready_function_name: str
    handle_failure_function_name: str
    emr_application_id: str
    endpoint_name: str
    approval_deadline_hours: int
    notifications_topic_arn: str


SETTINGS = environment.load(Settings)
DEADLINE = timedelta(hours=SETTINGS.approval_deadline_hours)
LEDGER = Ledger(SETTINGS.runs_table)
JOBS = Jobs(LEDGER, SETTINGS.emr_application_id)
S3 = client("s3")
STATES = client("stepfunctions")
LAMBDA = client("lambda")
SNS = client("sns")


class Sweep:
    """One pass. `done` counts the actions by kind; `problems` describes the entries that failed."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        kinds = ("settled", "released", "announced", "failed", "abandoned", "expired", "parked")
        self.done = dict.fromkeys(kinds, 0)
        self.problems: list[str] = []
        self._handed_over: set[str] = set()

    def each(self, what: str, entries: list[Any], handle: Callable[[Any], None]) -> None:
        """Call `handle` for every entry, even if others fail."""
        for entry in entries:
            try:
                handle(entry)
            except FunctionError as error:
                logger.warning(
                    "entry left for the next pass", extra={"what": what, "error_name": error.name, "reason": str(error)}
                )
                self.problems.append(f"{what}: {error}")

    def token(self, token: Token) -> None:
        """Answer the token if its job has ended. If its execution has ended, call handle_failure or close the token."""
        if JOBS.settle(token):
            self.done["settled"] += 1
            count("TaskSettledByReconcile")
            return
        execution = _execution(token.execution_arn)
        if backlog.has_failed(execution):
            self.failed(execution)
        elif execution is None or execution["status"] == "SUCCEEDED":
            LEDGER.release_token(token)
            self.done["released"] += 1
        elif token.kind == JobKind.APPROVAL and backlog.is_overdue(token.held_at or self.now, self.now, DEADLINE):
            self.expired(token)

    def expired(self, token: Token) -> None:
        """Reject a package that nobody decided on in time. The run is answered as after a person's rejection."""
        words = f"no decision within {SETTINGS.approval_deadline_hours} h"
        with calling("sagemaker UpdateModelPackage"):
            JOBS.client("sagemaker").update_model_package(
                ModelPackageArn=token.name, ModelApprovalStatus="Rejected", ApprovalDescription=words
            )
        logger.warning("approval is overdue", extra={"model_package_arn": token.name, "run_id": token.run_id})
        count("ApprovalExpired")
        JOBS.settle(token)
        self.done["expired"] += 1

    def run(self, run: Run) -> None:
        """Check an unfinished run: it may wait for what a person can give, its execution may have ended unnoticed, or
        never have begun.
        """
        if run["status"] == RunStatus.PARKED:
            self.parked(run)
        if not backlog.is_overdue(run["updatedAt"], self.now):
            return
        execution = _execution(run["executionArn"])
        if execution is None:
            self.announce(run["datasetVersion"])
        elif backlog.has_failed(execution):
            self.failed(execution)

    def parked(self, run: Run) -> None:
        """Tell that the run waits, and for what: once for each reason. It goes on by itself when it can."""
        reason = "; ".join(run.get("reasons") or ["no reason was recorded"])
        occasion = f"parked-{hashlib.sha256(reason.encode()).hexdigest()[:16]}"
        with LEDGER.notifying(f"RUN#{run['runId']}", occasion) as first:
            if not first:
                return
            with calling("sns Publish"):
                SNS.publish(
                    TopicArn=SETTINGS.notifications_topic_arn,
                    **backlog.waiting(SETTINGS.name_prefix, run["runId"], reason),
                )
        count("RunParked")
        self.done["parked"] += 1

    def preparation(self, dataset: Dataset) -> None:
        """Check an unfinished preparation: its execution may have ended unnoticed."""
        arn = dataset.get("executionArn")
        if arn and backlog.is_overdue(dataset["updatedAt"], self.now):
            execution = _execution(arn)
            if backlog.has_failed(execution):
                self.failed(execution)

    def dataset(self, version: str) -> None:
        """Check a dataset version in the bucket: announce its manifest again if it has no run."""
        if not backlog.is_unknown(LEDGER.dataset(version), LEDGER.run(names.run_id(version))):
            return
        manifest = _manifest(version)
        if manifest is None:
            born = names.born(version)
            if born is None or backlog.is_overdue(born, self.now, backlog.ABANDONED):
                logger.warning("dataset version has no manifest", extra={"dataset_version": version})
                self.done["abandoned"] += 1
                count("DatasetWithoutManifest")
        elif backlog.is_overdue(manifest["LastModified"], self.now):
            self.announce(version)

    def stale(self, version: str) -> None:
        """Announce a version that is stale no more, if it is still there."""
        if _manifest(version) is not None:
            self.announce(version)

    def announce(self, version: str) -> None:
        """Send the lost event to on_data_ready."""
        event = backlog.object_created(SETTINGS.data_bucket, f"datasets/{version}/manifest.json", 0, self.now)
        _invoke(SETTINGS.on_data_ready_function_name, event)
        logger.info("manifest announced again", extra={"dataset_version": version})
        self.done["announced"] += 1
        count("ManifestAnnouncedByReconcile")

    def failed(self, execution: dict[str, Any] | None) -> None:
        """Send the lost event to handle_failure, once per pass."""
        if execution is None or execution["executionArn"] in self._handed_over:
            return
        self._handed_over.add(execution["executionArn"])
        _invoke(SETTINGS.handle_failure_function_name, backlog.execution_status_change(execution))
        logger.info("failed execution handed over", extra={"execution_arn": execution["executionArn"]})
        self.done["failed"] += 1


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Raises DependencyFailed, after all entries were tried, if an entry failed."""
    sweep = Sweep(datetime.now(UTC))
    sweep.each("token", LEDGER.open_tokens(), sweep.token)
    sweep.each("run", LEDGER.unfinished_runs(), sweep.run)
    sweep.each("preparation", LEDGER.datasets_in(DatasetStatus.PREPARING), sweep.preparation)
    sweep.each("dataset", _versions(LEDGER.newest_claimed()), sweep.dataset)
    sweep.each("stale dataset", _free_again(), sweep.stale)
    _measure_age(sweep.now)
    logger.info("reconciled", extra=sweep.done)
    if sweep.problems:
        raise DependencyFailed(
            f"{len(sweep.problems)} entries failed and are left for the next pass: {'; '.join(sweep.problems[:5])}"[
                :2000
            ]
        )
    return dict(sweep.done)


def _execution(arn: str) -> dict[str, Any] | None:
    with calling("states DescribeExecution"):
        try:
            return dict(STATES.describe_execution(executionArn=arn))
        except ClientError as error:
            if code_of(error) == "ExecutionDoesNotExist":
                return None
            raise


def _versions(newest: str | None) -> list[str]:
    """Return the dataset versions in the bucket from the newest claimed one on; older ones are stale."""
    start = {"StartAfter": f"datasets/{newest}"} if newest else {}
    found: list[str] = []
    with calling("s3 ListObjectsV2 datasets/"):
        pages = S3.get_paginator("list_objects_v2").paginate(
            Bucket=SETTINGS.data_bucket, Prefix="datasets/", Delimiter="/", **start
        )
        for page in pages:
            found += [entry["Prefix"].removeprefix("datasets/").rstrip("/") for entry in page.get("CommonPrefixes", [])]
    return [version for version in found if DATASET_VERSION.fullmatch(version)]


def _free_again() -> list[str]:
    """Return the newest stale version without a run, if nothing newer serves or may still be deployed. After its own
    run, the one before it comes.
    """
    newest, serving = LEDGER.newest_claimed(), LEDGER.serving()
    if newest is not None and LEDGER.holds_place(newest):
        return []
    stale = [dataset["datasetVersion"] for dataset in LEDGER.datasets_in(DatasetStatus.STALE)]
    newer = [version for version in stale if serving is None or version > serving["datasetVersion"]]
    return sorted(version for version in newer if LEDGER.run(names.run_id(version)) is None)[-1:]


def _manifest(version: str) -> dict[str, Any] | None:
    key = f"datasets/{version}/manifest.json"
    with calling("s3 ListObjectsV2 manifest"):
        contents = S3.list_objects_v2(Bucket=SETTINGS.data_bucket, Prefix=key, MaxKeys=1).get("Contents", [])
    return next((dict(item) for item in contents if item["Key"] == key), None)


def _invoke(function_name: str, event: dict[str, Any]) -> None:
    with calling(f"lambda Invoke {function_name}"):
        LAMBDA.invoke(FunctionName=function_name, InvocationType="Event", Payload=json.dumps(event).encode())


def _measure_age(now: datetime) -> None:
    serving = LEDGER.serving()
    if serving:
        since = datetime.fromisoformat(serving["since"].replace("Z", "+00:00"))
        metrics.add_metric(
            name="ServingModelAgeHours", unit=MetricUnit.NoUnit, value=(now - since).total_seconds() / 3600
        )
