"""Events ModelDeployed and RunFailed: register the endpoint as a scalable target, or deregister it if no maximum is
set.

Nothing waits for this function; if it fails, the run does not fail and the fleet stays unchanged. It is idempotent. It
also runs after a failed run, whose deployment may have deregistered the target. Returns `{"outcome"}`: Scaled, Fixed,
or NotInService if there is no endpoint to scale now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from scale_endpoint import policy
from shared import environment, events, names
from shared.clients import calling, client, code_of
from shared.jobs import Jobs
from shared.ledger import Ledger
from shared.observability import count, logger, observed


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    endpoint_name: str
    endpoint_instance_count: int
    endpoint_maximum_instances: int
    endpoint_requests_per_instance: int


SETTINGS = environment.load(Settings)
if 0 < SETTINGS.endpoint_maximum_instances < SETTINGS.endpoint_instance_count:
    raise environment.BadEnvironment(
        f"ENDPOINT_MAXIMUM_INSTANCES must be 0 or at least {SETTINGS.endpoint_instance_count}, "
        f"not {SETTINGS.endpoint_maximum_instances}"
    )
JOBS = Jobs(Ledger(SETTINGS.runs_table))
SCALING = client("application-autoscaling")


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Raises InvalidInput for an invalid event, DependencyFailed or MissingResource to be retried."""
    events.detail_of(event)
    outcome = _fix() if SETTINGS.endpoint_maximum_instances == 0 else _scale()
    logger.info("endpoint scaling updated", extra={"outcome": outcome})
    return {"outcome": outcome}


def _scale() -> str:
    endpoint = JOBS.endpoint(SETTINGS.endpoint_name)
    if endpoint is None or endpoint["EndpointStatus"] != "InService":
        return "NotInService"  # the end of its change triggers this function again
    limits = (SETTINGS.endpoint_instance_count, SETTINGS.endpoint_maximum_instances)
    with calling("application-autoscaling RegisterScalableTarget"):
        SCALING.register_scalable_target(**policy.target(SETTINGS.endpoint_name, *limits))
    with calling("application-autoscaling PutScalingPolicy"):
        SCALING.put_scaling_policy(**policy.tracking(SETTINGS.endpoint_name, SETTINGS.endpoint_requests_per_instance))
    count("EndpointScaled")
    return "Scaled"


def _fix() -> str:
    with calling("application-autoscaling DeregisterScalableTarget"):
        try:
            SCALING.deregister_scalable_target(**names.scalable_target(SETTINGS.endpoint_name))
        except ClientError as error:
            if code_of(error) != "ObjectNotFoundException":
                raise
    return "Fixed"
