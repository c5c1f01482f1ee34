"""Moving traffic to a new model, watched by alarms."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from deploy import request
from tests.unit.functions.cloud import (
    CONTEXT,
    Cloud,
    endpoint,
    sample_event,
)
from tests.unit.functions.test_deploy import (
    ALARMS,
    PREVIOUS,
    alarms,
    app,
    describe_alarms,
    endpoint_arn,
    package,
    record,
)

__all__ = ["alarms", "app"]  # fixtures


@pytest.mark.parametrize(
    ("traffic", "expected"),
    [
        (
            request.Traffic("CANARY", 10, 120),
            {
                "Type": "CANARY",
                "WaitIntervalInSeconds": 120,
                "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
            },
        ),
        (
            request.Traffic("LINEAR", 25, 60),
            {
                "Type": "LINEAR",
                "WaitIntervalInSeconds": 60,
                "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 25},
            },
        ),
    ],
)
def test_traffic_moves_by_steps_where_it_is_asked_to(traffic: request.Traffic, expected: dict[str, Any]) -> None:
    config = request.update_endpoint("e", "c", ALARMS, traffic)["DeploymentConfig"]
    assert config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"] == expected
    assert [alarm["AlarmName"] for alarm in config["AutoRollbackConfiguration"]["Alarms"]] == list(ALARMS)


def test_rolling_replaces_machine_by_machine() -> None:
    config = request.update_endpoint("e", "c", ALARMS, request.Traffic("ROLLING", 50, 60))["DeploymentConfig"]
    assert config["RollingUpdatePolicy"] == {
        "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 50},
        "WaitIntervalInSeconds": 60,
        "MaximumExecutionTimeoutInSeconds": 3000 + 2 * 60 + 300 + 900,
    }
    assert "BlueGreenUpdatePolicy" not in config


@pytest.mark.parametrize(
    ("traffic", "least"),
    [
        (request.Traffic(), 3600),
        (request.Traffic("CANARY", 10, 1800), 2 * 1800 + 300 + 3000),
        (request.Traffic("LINEAR", 10, 300), 10 * 300 + 300 + 3000),
        (request.Traffic("LINEAR", 10, 1800), 10 * 1800 + 300 + 3000),
        (request.Traffic("ROLLING", 10, 1800), 10 * 1800 + 9 * 900),
    ],
)
def test_an_update_has_the_time_that_its_waits_take_and_a_fleet_to_start(traffic: request.Traffic, least: int) -> None:
    policy = next(iter(request.update_endpoint("e", "c", ALARMS, traffic)["DeploymentConfig"].values()))
    assert least <= policy["MaximumExecutionTimeoutInSeconds"]
    assert policy["MaximumExecutionTimeoutInSeconds"] <= 28_800


@pytest.mark.parametrize("traffic", [request.Traffic(name) for name in request.STRATEGIES], ids=request.STRATEGIES)
def test_sagemaker_understands_every_strategy(app: ModuleType, sagemaker: Stubber, traffic: request.Traffic) -> None:
    sagemaker.add_response("update_endpoint", endpoint_arn())
    app.JOBS.client("sagemaker").update_endpoint(**request.update_endpoint("e", "c", ALARMS, traffic))


def test_a_strategy_that_there_is_not_stops_the_cold_start(load: Callable[..., ModuleType]) -> None:
    with pytest.raises(Exception, match="DEPLOYMENT_STRATEGY must be one of ALL_AT_ONCE, CANARY, LINEAR, ROLLING"):
        load("deploy", DEPLOYMENT_STRATEGY="SLOWLY")


@pytest.fixture
def before_an_update(app: ModuleType, sagemaker: Stubber) -> None:
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_response("describe_endpoint", endpoint("InService", PREVIOUS))


@pytest.mark.parametrize(
    ("states", "name", "words"),
    [
        (("OK", "ALARM"), "AlarmNotQuiet", "ncf-endpoint-latency is already in state ALARM"),
        (("ALARM", "ALARM"), "AlarmNotQuiet", "ncf-endpoint-errors, ncf-endpoint-latency is already in state ALARM"),
        (("OK",), "MissingResource", "the deployment alarms do not exist: ncf-endpoint-latency"),
    ],
)
def test_a_new_model_waits_until_its_alarms_are_there_and_quiet(
    app: ModuleType,
    before_an_update: None,
    alarms: Stubber,
    cloud: Cloud,
    states: tuple[str, ...],
    name: str,
    words: str,
) -> None:
    alarms.add_response("describe_alarms", describe_alarms(*states), {"AlarmNames": list(ALARMS)})
    with pytest.raises(Exception, match=words) as caught:
        app.handler(sample_event("deploy"), CONTEXT)
    assert type(caught.value).__name__ == name
    assert record(cloud) == {}, "nothing was touched"
