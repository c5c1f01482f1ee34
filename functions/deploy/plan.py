"""What to do to the endpoint next, given what it does now. Pure.

SageMaker's rules behind this: an endpoint can be updated only while InService; of a Failed one nothing is possible
but deletion; while it changes, `PendingDeploymentSummary` names where it is going.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Action(Enum):
    """The next call, or what to say instead of one."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    WAIT = "wait for the change that is under way"
    DONE = "nothing is left to do"
    BUSY = "come back later"
    FAILED = "the endpoint failed on the wanted configuration"
    UNUSABLE = "a person must look at the endpoint"


_CHANGING = ("Creating", "Updating", "RollingBack", "SystemUpdating", "Deleting")
_HEADING = ("Creating", "Updating")


@dataclass(frozen=True)
class Step:
    """`action` towards the endpoint configuration `config` (None: no endpoint)."""

    action: Action
    config: str | None


def deployment(endpoint: dict[str, Any] | None, wanted: str) -> Step:
    """The next step towards serving `wanted`; `endpoint` is DescribeEndpoint, or None when there is none."""
    if endpoint is None:
        return Step(Action.CREATE, wanted)
    status = endpoint["EndpointStatus"]
    if status == "InService":
        return Step(Action.DONE if endpoint["EndpointConfigName"] == wanted else Action.UPDATE, wanted)
    if status == "Failed":
        return Step(Action.FAILED if endpoint["EndpointConfigName"] == wanted else Action.DELETE, wanted)
    return Step(_while_changing(endpoint, wanted), wanted)


def rollback(endpoint: dict[str, Any] | None, wanted: str, previous: str | None) -> Step:
    """The next step back from `wanted`, which a run has deployed or tried to, to `previous` (None: there was no
    endpoint).
    """
    if endpoint is None:
        return Step(Action.CREATE if previous else Action.DONE, previous)
    status, serves = endpoint["EndpointStatus"], endpoint["EndpointConfigName"]
    if status == "InService":
        if serves != wanted:
            # On `previous`: done. On a third one: somebody else has deployed since, and it is not ours to undo.
            return Step(Action.DONE, previous)
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
    # While it is being created, an endpoint's own configuration is where it is going; while it is updated, it is
    # where it comes from.
    heading = pending or (endpoint["EndpointConfigName"] if status == "Creating" else None)
    return Action.WAIT if status in _HEADING and target is not None and heading == target else Action.BUSY
