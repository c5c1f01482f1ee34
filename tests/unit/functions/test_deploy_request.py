"""Requests to SageMaker: the model, the endpoint configuration, the update."""

from __future__ import annotations

from typing import Any

import pytest

from deploy import request
from tests.unit.functions.cloud import DIGEST, RUN, TAGS
from tests.unit.functions.test_deploy import ALARMS, CONFIG_CALL, CONTAINER, MODEL_CALL, ROLE, WANTED

OTHER = "v20261122t000000z-00000000-r1"


def test_the_model_is_isolated_and_of_the_registered_container() -> None:
    assert {
        "ModelName": WANTED,
        "PrimaryContainer": {**CONTAINER, "Environment": {"SERVING_BUNDLE_DIGEST": DIGEST, "SERVING_NAME": "ncf"}},
        "ExecutionRoleArn": ROLE,
        "EnableNetworkIsolation": True,
        "Tags": [{"Key": "runId", "Value": RUN}, *TAGS],
    } == MODEL_CALL


def test_the_endpoint_configuration_has_the_ami_only_when_it_is_set() -> None:
    variant = request.create_endpoint_config(
        "ncf", RUN, request.Fleet("ml.g4dn.xlarge", 2, "al2023-ami-sagemaker-inference-gpu-4-1")
    )
    assert variant == {
        "EndpointConfigName": WANTED,
        "Tags": [{"Key": "runId", "Value": RUN}, *TAGS],
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


VARIANT = CONFIG_CALL["ProductionVariants"][0]
ADDED = {"EndpointConfigArn": "arn", "CreationTime": 0, "EnableNetworkIsolation": False}


@pytest.mark.parametrize(
    ("changed", "is_same", "has_same_models"),
    [
        ({}, True, True),
        ({"ProductionVariants": [{**VARIANT, "InstanceType": "ml.p3.2xlarge"}]}, False, True),
        ({"ProductionVariants": [{**VARIANT, "ModelName": "other"}]}, False, False),
        ({"ProductionVariants": [{**VARIANT, "VariantName": "other"}]}, False, False),
        ({"ProductionVariants": [{**VARIANT, "InitialVariantWeight": 0.5}]}, False, False),
        ({"ProductionVariants": [VARIANT, {**VARIANT, "VariantName": "other"}]}, False, False),
        ({"ShadowProductionVariants": [VARIANT]}, False, False),
        ({"DataCaptureConfig": {"EnableCapture": True, "DestinationS3Uri": "s3://other/"}}, False, False),
        ({"AsyncInferenceConfig": {"OutputConfig": {}}}, False, False),
        ({"ExplainerConfig": {"ClarifyExplainerConfig": {}}}, False, False),
    ],
)
@pytest.mark.fault("P07")
def test_a_configuration_of_the_name_is_compared(changed: dict[str, Any], is_same: bool, has_same_models: bool) -> None:
    described = {**CONFIG_CALL, **ADDED, **changed}
    assert request.same_endpoint_config(CONFIG_CALL, described) is is_same
    assert request.same_models(CONFIG_CALL, described) is has_same_models


def test_a_split_is_the_same_with_the_same_models_and_shares() -> None:
    fleet = request.Fleet("ml.g4dn.xlarge", 1)
    call = request.create_split_config("ncf", RUN, OTHER, 10, fleet)
    assert request.same_models(call, {**call, **ADDED})
    turned = list(reversed(call["ProductionVariants"]))
    assert request.same_models(call, {**call, "ProductionVariants": turned})
    assert not request.same_models(call, request.create_split_config("ncf", RUN, OTHER, 90, fleet))
    assert not request.same_models(call, request.create_split_config("ncf", OTHER, RUN, 10, fleet))


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
