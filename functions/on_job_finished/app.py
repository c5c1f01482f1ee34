"""EventBridge events (SageMaker and EMR Serverless state changes): answer the task that waits for the job, if any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from on_job_finished import job_reference
from shared import environment, events
from shared.jobs import Jobs
from shared.ledger import Ledger
from shared.observability import append_run, count, logger, observed
from shared.records import JobKind


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    emr_application_id: str
    endpoint_name: str


SETTINGS = environment.load(Settings)
LEDGER = Ledger(SETTINGS.runs_table)
JOBS = Jobs(LEDGER, SETTINGS.emr_application_id)


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"answered": bool}`. Raises InvalidInput for any other event, DependencyFailed to be retried."""
    detail = events.detail_of(event)
    job = job_reference.from_event(event)
    if not job.is_ours(SETTINGS.name_prefix, SETTINGS.endpoint_name, SETTINGS.emr_application_id, detail):
        logger.info("not a job of this stack", extra={"job_kind": job.kind})
        return {"answered": False}
    name = job.name
    if job.kind == JobKind.PREPARATION:
        name = JOBS.job_run(job.name).get("name", "")
    token = LEDGER.token(job.kind, name)
    if token is None or (job.kind == JobKind.PREPARATION and token.job_id != job.name):
        logger.info("no task waits for this job", extra={"job_kind": job.kind, "job_name": name})
        count("JobEventWithoutWaiter")
        return {"answered": False}
    append_run(run_id=token.run_id, dataset_version=token.dataset_version)
    return {"answered": JOBS.settle(token)}
