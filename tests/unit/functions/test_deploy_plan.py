"""The next step of a deployment and of a rollback, from DescribeEndpoint."""

from __future__ import annotations

from typing import Any

import pytest

from deploy import plan
from deploy.plan import Action, Step
from tests.unit.functions.cloud import endpoint
from tests.unit.functions.test_deploy import PREVIOUS, THIRD, WANTED


@pytest.mark.parametrize(
    ("described", "action"),
    [
        (None, Action.CREATE),
        (endpoint("InService", WANTED), Action.DONE),
        (endpoint("InService", PREVIOUS), Action.UPDATE),
        (endpoint("Creating", WANTED), Action.WAIT),
        (endpoint("Creating", PREVIOUS), Action.BUSY),
        (endpoint("Updating", PREVIOUS, pending=WANTED), Action.WAIT),
        (endpoint("Updating", PREVIOUS, pending=THIRD), Action.BUSY),
        (endpoint("Updating", WANTED), Action.BUSY),
        (endpoint("RollingBack", PREVIOUS, pending=WANTED), Action.BUSY),
        (endpoint("SystemUpdating", PREVIOUS), Action.BUSY),
        (endpoint("Deleting", PREVIOUS), Action.BUSY),
        (endpoint("Failed", PREVIOUS), Action.DELETE),
        (endpoint("Failed", WANTED), Action.FAILED),
        (endpoint("OutOfService", PREVIOUS), Action.UNUSABLE),
        (endpoint("UpdateRollbackFailed", PREVIOUS), Action.UNUSABLE),
    ],
)
@pytest.mark.fault("P01", "P02", "P03", "P04", "P05", "P06")
def test_the_next_step_of_a_deployment(described: dict[str, Any] | None, action: Action) -> None:
    assert plan.deployment(described, WANTED) == Step(action, WANTED)


@pytest.mark.parametrize(
    ("described", "previous", "action"),
    [
        (None, None, Action.DONE),
        (None, PREVIOUS, Action.CREATE),
        (endpoint("InService", PREVIOUS), PREVIOUS, Action.DONE),
        (endpoint("InService", WANTED), PREVIOUS, Action.UPDATE),
        (endpoint("InService", WANTED), None, Action.DELETE),
        (endpoint("Failed", WANTED), None, Action.DELETE),
        (endpoint("Failed", WANTED), PREVIOUS, Action.DELETE),
        (endpoint("Creating", WANTED), None, Action.BUSY),
        (endpoint("Updating", PREVIOUS, pending=WANTED), PREVIOUS, Action.BUSY),
        (endpoint("Updating", WANTED, pending=PREVIOUS), PREVIOUS, Action.WAIT),
        (endpoint("Updating", WANTED), None, Action.BUSY),
        (endpoint("Deleting", WANTED), None, Action.DONE),
        (endpoint("Deleting", WANTED), PREVIOUS, Action.BUSY),
        (endpoint("UpdateRollbackFailed", WANTED), PREVIOUS, Action.UNUSABLE),
    ],
)
def test_the_next_step_of_a_rollback(described: dict[str, Any] | None, previous: str | None, action: Action) -> None:
    assert plan.rollback(described, WANTED, previous) == Step(action, previous)


@pytest.mark.parametrize("previous", [PREVIOUS, None])
def test_a_rollback_leaves_what_another_deployment_put_in_service_and_names_it(previous: str | None) -> None:
    assert plan.rollback(endpoint("InService", THIRD), WANTED, previous) == Step(Action.DONE, THIRD)
