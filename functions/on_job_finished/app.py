"""EventBridge (SageMaker and EMR Serverless state changes) -> the answer to the waiting task, or nothing if nobody
waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from on_job_finished import fact
from shared import environment, events, ledger
from shared.jobs import Jobs
from shared.ledger import Ledger
from shared.observability import append_run, count, logger, observed


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
    """Returns `{"answered": bool}`. Raises InvalidInput for an event of another kind, DependencyFailed to be
    delivered again.
    """
    detail = events.detail_of(event)
    subject = fact.from_event(event)
    if not subject.is_ours(SETTINGS.name_prefix, SETTINGS.endpoint_name, SETTINGS.emr_application_id, detail):
        logger.info("not a job of this stack", extra={"job_kind": subject.kind})
        return {"answered": False}
    name = subject.name
    if subject.kind == ledger.PREPARATION:
        name = JOBS.job_run(subject.name).get("name", "")
    token = LEDGER.token(subject.kind, name)
    if token is None or (subject.kind == ledger.PREPARATION and token.job_id != subject.name):
        logger.info("nobody waits for this job", extra={"job_kind": subject.kind, "job_name": name})
        count("JobEventWithoutWaiter")
        return {"answered": False}
    append_run(run_id=token.run_id, dataset_version=token.dataset_version)
    return {"answered": JOBS.settle(token)}
