"""Events ModelDeployed, ModelRejected and RunFailed -> `runs/<runId>/report.html`, what the run was on one page.

Nothing waits for it, and a page that cannot be written fails no run. Written twice, it is written again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from shared import environment, events, names
from shared.clients import calling, client, code_of, not_found
from shared.errors import InvalidInput
from shared.jobs import Jobs
from shared.ledger import Ledger
from shared.observability import append_run, count, logger, observed
from shared.records import Run
from write_report import facts, page
from write_report.facts import STAGES, Facts

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
MAXIMUM_DOCUMENT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    data_bucket: str
    artifacts_bucket: str
    training_price_per_hour: str = "0"


SETTINGS = environment.load(Settings)
PRICE = float(SETTINGS.training_price_per_hour)
LEDGER = Ledger(SETTINGS.runs_table)
JOBS = Jobs(LEDGER)
S3 = client("s3")
LOGS = client("logs")


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"reportUri"}`; None for the failure of a preparation, which is no run. Raises InvalidInput for an event
    of another kind and for a run that is not known.
    """
    detail = events.detail_of(event)
    if detail.get("runId") is None:
        return {"reportUri": None}
    run_id = names.require_run_id(detail["runId"])
    append_run(run_id=run_id, dataset_version=names.version_of(run_id))
    run = LEDGER.run(run_id)
    if run is None:
        raise InvalidInput(f"runId {run_id} is not in the ledger")
    key = f"runs/{run_id}/report.html"
    content = page.render(_facts(run_id, run)).encode()
    with calling(f"s3 PutObject {key}"):
        S3.put_object(Bucket=SETTINGS.artifacts_bucket, Key=key, Body=content, ContentType="text/html; charset=utf-8")
    uri = names.report_uri(SETTINGS.artifacts_bucket, run_id)
    LEDGER.decide(run_id, "report", "WRITTEN", [uri], {"bytes": len(content)})
    logger.info("report written", extra={"report_uri": uri})
    count("ReportWritten")
    return {"reportUri": uri}


def _facts(run_id: str, run: Run) -> Facts:
    version = names.version_of(run_id)
    report = _document(SETTINGS.artifacts_bucket, f"runs/{run_id}/evaluation.json")
    manifest = _document(SETTINGS.data_bucket, f"datasets/{version}/manifest.json")
    earlier = ((report or {}).get("incumbent") or {}).get("datasetVersion") or (manifest or {}).get("parentVersion")
    before = None
    if isinstance(earlier, str) and names.DATASET_VERSION.fullmatch(earlier) and earlier != version:
        before = _document(SETTINGS.data_bucket, f"datasets/{earlier}/manifest.json")
    name = names.training_job(SETTINGS.name_prefix, run_id, run.get("trainingAttempt") or 1)
    return Facts(
        run=run,
        decisions={stage: found for stage in STAGES if (found := LEDGER.decision(run_id, stage))},
        report=report,
        manifest=manifest,
        before=before,
        epochs=facts.epochs(_log(name)),
        cost=facts.cost(JOBS.training_job(name), PRICE),
    )


def _document(bucket: str, key: str) -> dict[str, Any] | None:
    """A JSON object; None when it is not there, or is none: the page does without."""
    with calling(f"s3 GetObject {key}"):
        try:
            content = S3.get_object(Bucket=bucket, Key=key)["Body"].read(MAXIMUM_DOCUMENT_BYTES)
        except ClientError as error:
            if code_of(error) == "NoSuchKey":
                return None
            raise
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _log(job_name: str) -> list[str]:
    """The lines of the training job that tell of an epoch."""
    lines: list[str] = []
    with calling("logs FilterLogEvents"):
        try:
            pages = LOGS.get_paginator("filter_log_events").paginate(
                logGroupName=LOG_GROUP, logStreamNamePrefix=f"{job_name}/", filterPattern='"train_loss="'
            )
            for found in pages:
                lines += [str(event.get("message", "")) for event in found["events"]]
        except ClientError as error:
            if not not_found(error):
                raise
    return lines
