"""Requests to SageMaker: the model, the endpoint configuration, the update."""

from __future__ import annotations

from deploy import request
from tests.unit.functions.cloud import DIGEST, RUN
from tests.unit.functions.test_deploy import ALARMS, CONFIG_CALL, CONTAINER, MODEL_CALL, ROLE, WANTED


def test_the_model_is_isolated_and_of_the_registered_container() -> None:
    assert MODEL_CALL == {
        "ModelName": WANTED,
        "PrimaryContainer": {**CONTAINER, "Environment": {"SERVING_BUNDLE_DIGEST": DIGEST}},
        "ExecutionRoleArn": ROLE,
        "EnableNetworkIsolation": True,
    }


def test_the_endpoint_configuration_has_the_ami_only_when_it_is_set() -> None:
    variant = request.create_endpoint_config(
        "ncf", RUN, request.Fleet("ml.g4dn.xlarge", 2, "al2023-ami-sagemaker-inference-gpu-4-1")
    )
    assert variant == {
        "EndpointConfigName": WANTED,
        "ProductionVariants": [
            {
                "VariantName": "AllTraffic",
                "ModelName": WANTED,
                "InstanceType": "ml.g4dn.xlarge",
                "InitialInstanceCount": 2,
                "InitialVariantWeight": 1.0,
                "ModelDataDownloadTimeoutInSeconds": 900,
                "ContainerStartupHealthCheckTimeoutInSeconds": 900,
                "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
                "InferenceAmiVersion": "al2023-ami-sagemaker-inference-gpu-4-1",
            }
        ],
    }
    assert "InferenceAmiVersion" not in CONFIG_CALL["ProductionVariants"][0]


def test_an_update_is_blue_green_and_watched_by_the_alarms() -> None:
    assert request.update_endpoint("e", "c", ALARMS) == {
        "EndpointName": "e",
        "EndpointConfigName": "c",
        "DeploymentConfig": {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 300},
                "TerminationWaitInSeconds": 300,
                "MaximumExecutionTimeoutInSeconds": 3600,
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in ALARMS]},
        },
    }
    unwatched = request.update_endpoint("e", "c", ())["DeploymentConfig"]
    assert "AutoRollbackConfiguration" not in unwatched
    assert unwatched["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["WaitIntervalInSeconds"] == 0
    assert unwatched["BlueGreenUpdatePolicy"]["TerminationWaitInSeconds"] == 0
