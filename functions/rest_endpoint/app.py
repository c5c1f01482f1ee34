"""Every 15 minutes: delete the endpoint outside EndpointHours, and create it again, on the same configuration, half an
hour before they begin.

The ledger says who serves, and does not change: meanwhile the API answers with the lists of a batch, or with popular
items. The deployment lock keeps deployments and this function apart; a deployment in the night creates the endpoint,
which rests from the next call on. Returns `{"outcome"}`: Resting, Awake (also without any
model), or Busy during a deployment.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from contracts import hours
from rest_endpoint import plan
from rest_endpoint.plan import Action
from shared import environment, tags
from shared.clients import already_exists, calling, in_progress, not_found
from shared.jobs import Jobs
from shared.ledger import Ledger
from shared.observability import count, logger, observed

HOLDER = "rest-endpoint"
"""In place of a run in the deployment lock."""


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    endpoint_name: str
    endpoint_hours: str = ""


SETTINGS = environment.load(Settings)
try:
    HOURS = hours.parse(SETTINGS.endpoint_hours)
except ValueError as error:
    raise environment.BadEnvironment(f"ENDPOINT_HOURS {error}") from error
LEDGER = Ledger(SETTINGS.runs_table)
JOBS = Jobs(LEDGER)


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Raises DependencyFailed or MissingResource if SageMaker refuses; the next call tries again."""
    outcome = _look()
    logger.info("endpoint looked at", extra={"outcome": outcome})
    return {"outcome": outcome}


def _look() -> str:
    action, config = _action()
    if action is not Action.NOTHING and LEDGER.lock_deployment(HOLDER).holder != HOLDER:
        return "Busy"
    try:
        if action is not Action.NOTHING:
            action, config = _action()  # again, under the lock
        if action is Action.STOP:
            LEDGER.rest_endpoint(True)  # before the deletion, so that an endpoint that rests always comes back
            _change("DeleteEndpoint", EndpointName=SETTINGS.endpoint_name)
            count("EndpointStopped")
        elif action is Action.START:
            call = {"EndpointName": SETTINGS.endpoint_name, "EndpointConfigName": config}
            _change("CreateEndpoint", **call, Tags=tags.listed(SETTINGS.name_prefix))
            count("EndpointStarted")
        if action in (Action.START, Action.FORGET):
            LEDGER.rest_endpoint(False)
    finally:
        LEDGER.unlock_deployment(HOLDER)  # also if a call before this one could not
    return "Resting" if LEDGER.endpoint_rests() else "Awake"


def _action() -> tuple[Action, str]:
    serving, split = LEDGER.serving(), LEDGER.current_split()
    if serving is None:
        return Action.NOTHING, ""
    config = (split or serving)["endpointConfigName"]
    endpoint = JOBS.endpoint(SETTINGS.endpoint_name)
    return plan.action(HOURS, datetime.now(UTC), endpoint, config, LEDGER.endpoint_rests()), config


def _change(operation: str, **call: Any) -> None:
    sagemaker = JOBS.client("sagemaker")
    change = sagemaker.delete_endpoint if operation == "DeleteEndpoint" else sagemaker.create_endpoint
    with calling(f"sagemaker {operation}"):
        try:
            change(**call)
        except ClientError as error:
            is_done = not_found(error) if operation == "DeleteEndpoint" else already_exists(error)
            if not is_done and not in_progress(error):
                raise
