"""State AwaitApproval (task token): ask a person for approval. `on_job_finished` answers the token when the status of
the model package changes.

The token's answer is `{"status": "Approved"|"Rejected", "reason"}`; a rejection is a decision, not a fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from request_approval import message
from shared import environment, events, names
from shared.clients import calling, client
from shared.errors import InvalidInput
from shared.jobs import Jobs
from shared.ledger import Ledger, Token
from shared.observability import append_run, logger, observed
from shared.records import JobKind


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    notifications_topic_arn: str
    approval_deadline_hours: int


SETTINGS = environment.load(Settings)
LEDGER = Ledger(SETTINGS.runs_table)
JOBS = Jobs(LEDGER)
SNS = client("sns")


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"asked"}`; the state machine reads the token's answer, not this. Each run sends one request."""
    events.require_task(event)
    run_id = names.require_run_id(event.get("runId"))
    append_run(run_id=run_id, dataset_version=names.version_of(run_id))
    arn = (event.get("registration") or {}).get("modelPackageArn")
    if not isinstance(arn, str) or not arn:
        raise InvalidInput("registration.modelPackageArn must be a non-empty string")
    token = Token(
        kind=JobKind.APPROVAL,
        name=arn,
        task_token=event["taskToken"],
        execution_arn=event["executionArn"],
        run_id=run_id,
        dataset_version=names.version_of(run_id),
    )
    LEDGER.hold_token(token)
    if JOBS.settle(token):
        return {"asked": False}
    reasons = (event.get("evaluation") or {}).get("reasons") or []
    with LEDGER.notifying(f"RUN#{run_id}", "approval") as first:
        if first:
            with calling("sns Publish"):
                SNS.publish(
                    TopicArn=SETTINGS.notifications_topic_arn,
                    **message.approval_request(
                        SETTINGS.name_prefix, run_id, arn, reasons, SETTINGS.approval_deadline_hours
                    ),
                )
            logger.info("approval requested", extra={"model_package_arn": arn})
    return {"asked": first}
