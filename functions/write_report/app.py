"""Events ModelDeployed, ModelRejected, ModelUnchanged and RunFailed: write the run's report,
`runs/<runId>/report.html`.

When a model is deployed, the report of the model that it replaces is written again, with what its recommendations
earned while it served.

Nothing waits for the report; if it cannot be written, the run does not fail. A second call overwrites it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from contracts import documents, lines, outcomes
from contracts.documents import Unfit
from contracts.names import DATASET_VERSION
from contracts.outcomes import Counts
from shared import environment, events, names
from shared.clients import calling, client, not_found
from shared.errors import InvalidInput
from shared.jobs import Jobs
from shared.ledger import Ledger
from shared.objects import Bucket
from shared.observability import append_run, count, logger, observed
from shared.records import Run
from write_report import facts, page
from write_report.facts import STAGES, Facts

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
MAXIMUM_DOCUMENT_BYTES = 4 * 1024 * 1024
EARNED_DAYS = 90
"""Days whose outcomes a report has."""


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
DATA, ARTIFACTS = Bucket(S3, SETTINGS.data_bucket), Bucket(S3, SETTINGS.artifacts_bucket)
LOGS = client("logs")


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"reportUri"}`; None for a failed preparation, which has no run. Raises InvalidInput for any other event
    and for an unknown run.
    """
    detail = events.detail_of(event)
    if detail.get("runId") is None:
        return {"reportUri": None}
    run_id = names.require_run_id(detail["runId"])
    append_run(run_id=run_id, dataset_version=names.version_of(run_id))
    run = LEDGER.run(run_id)
    if run is None:
        raise InvalidInput(f"runId {run_id} is not in the ledger")
    uri = _write(run_id, run)
    if event.get("detail-type") == events.MODEL_DEPLOYED:
        _write_again(run_id)
    return {"reportUri": uri}


def _write(run_id: str, run: Run) -> str:
    key = f"runs/{run_id}/report.html"
    content = page.render(_facts(run_id, run)).encode()
    ARTIFACTS.put(key, content, "text/html; charset=utf-8")
    uri = names.report_uri(SETTINGS.artifacts_bucket, run_id)
    LEDGER.decide(run_id, "report", "WRITTEN", [uri], {"bytes": len(content)})
    logger.info("report written", extra={"report_uri": uri})
    count("ReportWritten")
    return uri


def _write_again(run_id: str) -> None:
    """Write the report of the model that the one of `run_id` replaced."""
    serving = LEDGER.serving()
    previous = serving["previous"] if serving and serving["runId"] == run_id else None
    run = LEDGER.run(previous["runId"]) if previous else None
    if run is not None:
        _write(run["runId"], run)


def _facts(run_id: str, run: Run) -> Facts:
    version = names.version_of(run_id)
    report = _document(ARTIFACTS, f"runs/{run_id}/evaluation.json")
    manifest = _document(DATA, f"datasets/{version}/manifest.json")
    earlier = ((report or {}).get("incumbent") or {}).get("datasetVersion") or (manifest or {}).get("parentVersion")
    before = None
    if isinstance(earlier, str) and DATASET_VERSION.fullmatch(earlier) and earlier != version:
        before = _document(DATA, f"datasets/{earlier}/manifest.json")
    name = names.training_job(SETTINGS.name_prefix, run_id, run.get("trainingAttempt") or 1)
    return Facts(
        run=run,
        decisions={stage: found for stage in STAGES if (found := LEDGER.decision(run_id, stage))},
        report=report,
        manifest=manifest,
        before=before,
        epochs=facts.epochs(_log(name)),
        cost=facts.cost(JOBS.training_job(name), PRICE),
        earned=_earned(run_id),
    )


def _earned(run_id: str) -> dict[str, Counts]:
    today = datetime.fromtimestamp(LEDGER.seconds(), UTC).date()
    days = LEDGER.outcomes_by_day((today - timedelta(days=EARNED_DAYS)).isoformat(), today.isoformat())
    counts = outcomes.total(days, lambda answers: (answers.run_id, answers.source))
    return {source: earned for (of_run, source), earned in sorted(counts.items()) if of_run == run_id}


def _document(bucket: Bucket, key: str) -> dict[str, Any] | None:
    """Read a JSON object; None if it is missing or invalid: the report then omits its section."""
    found = bucket.get(key, MAXIMUM_DOCUMENT_BYTES)
    try:
        return documents.read_object(found.content, key) if found else None
    except Unfit:
        return None


def _log(job_name: str) -> list[str]:
    """Return the training job's log lines that report an epoch."""
    found: list[str] = []
    with calling("logs FilterLogEvents"):
        try:
            pages = LOGS.get_paginator("filter_log_events").paginate(
                logGroupName=LOG_GROUP, logStreamNamePrefix=f"{job_name}/", filterPattern=f'"{lines.FILTER}"'
            )
            for page in pages:
                found += [str(event.get("message", "")) for event in page["events"]]
        except ClientError as error:
            if not not_found(error):
                raise
    return found
