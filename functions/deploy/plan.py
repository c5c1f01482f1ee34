"""The next step of a deployment or a rollback, given the endpoint's status. Pure.

SageMaker's rules: an endpoint can be updated only while InService; a Failed one can only be deleted; during a change
`PendingDeploymentSummary` names the new configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Action(Enum):
    """The next call, or the result if there is none."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    WAIT = "wait for the change that is under way"
    DONE = "done"
    BUSY = "come back later"
    FAILED = "the endpoint failed on the wanted configuration"
    UNUSABLE = "a person must look at the endpoint"


_CHANGING = ("Creating", "Updating", "RollingBack", "SystemUpdating", "Deleting")
_TOWARDS_TARGET = ("Creating", "Updating")


@dataclass(frozen=True)
class Step:
    """An `action`, and the target endpoint configuration `config` (None: no endpoint)."""

    action: Action
    config: str | None


def deployment(endpoint: dict[str, Any] | None, wanted: str) -> Step:
    """Return the next step of deploying the configuration `wanted`; `endpoint` is DescribeEndpoint, or None."""
    if endpoint is None:
        return Step(Action.CREATE, wanted)
    status = endpoint["EndpointStatus"]
    if status == "InService":
        return Step(Action.DONE if endpoint["EndpointConfigName"] == wanted else Action.UPDATE, wanted)
    if status == "Failed":
        return Step(Action.FAILED if endpoint["EndpointConfigName"] == wanted else Action.DELETE, wanted)
    return Step(_while_changing(endpoint, wanted), wanted)


def rollback(endpoint: dict[str, Any] | None, wanted: str, previous: str | None) -> Step:
    """Return the next step of a rollback from configuration `wanted` to `previous` (None: there was no endpoint)."""
    if endpoint is None:
        return Step(Action.CREATE if previous else Action.DONE, previous)
    status, serves = endpoint["EndpointStatus"], endpoint["EndpointConfigName"]
    if status == "InService":
        if serves != wanted:
            # On `previous`: done. On a third one: another deployment came later and is not undone here.
            return Step(Action.DONE, serves)
        return Step(Action.UPDATE if previous else Action.DELETE, previous)
    if status == "Failed":
        return Step(Action.DELETE, previous)
    if status == "Deleting" and previous is None:
        return Step(Action.DONE, previous)
    return Step(_while_changing(endpoint, previous), previous)


def _while_changing(endpoint: dict[str, Any], target: str | None) -> Action:
    status = endpoint["EndpointStatus"]
    if status not in _CHANGING:
        return Action.UNUSABLE
    pending = endpoint.get("PendingDeploymentSummary", {}).get("EndpointConfigName")
    # During a creation EndpointConfigName is the new configuration; during an update it is the old one.
    heading = pending or (endpoint["EndpointConfigName"] if status == "Creating" else None)
    return Action.WAIT if status in _TOWARDS_TARGET and target is not None and heading == target else Action.BUSY
