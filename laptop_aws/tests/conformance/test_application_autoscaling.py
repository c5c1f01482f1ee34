"""Scalable targets of endpoint variants: stored and refused as on AWS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from laptop_aws.tests.conformance.hosting import Host, eventually, unique
from laptop_aws.tests.conformance.sagemaker_fixtures import config_of, put_model, refusal, settled

DIMENSION = "sagemaker:variant:DesiredInstanceCount"


@pytest.fixture(scope="module")
def endpoint(host: Host, image: str, place: str) -> Iterator[str]:
    name, config = unique("scaled"), config_of(host, image, put_model(host, place, "one"), InitialInstanceCount=2)
    host.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=config)
    assert settled(host, name)["EndpointStatus"] == "InService"
    yield name
    host.client("sagemaker").delete_endpoint(EndpointName=name)
    eventually(lambda: not host.client("sagemaker").list_endpoints(NameContains=name)["Endpoints"])


def target_of(endpoint: str, variant: str = "AllTraffic") -> dict[str, str]:
    resource = f"endpoint/{endpoint}/variant/{variant}"
    return {"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": DIMENSION}


def policy(value: float = 100.0) -> dict[str, Any]:
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    return {
        "PolicyName": "requests",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {"TargetValue": value, "PredefinedMetricSpecification": metric},
    }


def test_a_target_is_registered_once_and_changed_by_registering_again(host: Host, endpoint: str) -> None:
    scaling, target = host.client("application-autoscaling"), target_of(endpoint)
    first = scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=4)
    second = scaling.register_scalable_target(**target, MaxCapacity=6)
    assert first["ScalableTargetARN"] == second["ScalableTargetARN"]
    [found] = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[target["ResourceId"]])[
        "ScalableTargets"
    ]
    assert (found["MinCapacity"], found["MaxCapacity"], found["ScalableDimension"]) == (1, 6, DIMENSION)
    for value in (100.0, 200.0):
        scaling.put_scaling_policy(**target, **policy(value))
    [kept] = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=target["ResourceId"])[
        "ScalingPolicies"
    ]
    assert kept["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 200.0
    scaling.deregister_scalable_target(**target)
    assert scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"] == []
    code, _ = refusal(scaling.deregister_scalable_target, **target)
    assert code == "ObjectNotFoundException"
    code, _ = refusal(scaling.put_scaling_policy, **target, **policy())
    assert code == "ObjectNotFoundException"


@pytest.mark.parametrize(
    ("variant", "limits", "words"),
    [
        ("AllTraffic", {"MinCapacity": 3, "MaxCapacity": 2}, "Maximum capacity cannot be less than minimum"),
        ("AllTraffic", {"MaxCapacity": 2}, "must be specified for a new scalable target"),
        ("Another", {"MinCapacity": 1, "MaxCapacity": 2}, "does not exist"),
    ],
)
def test_invalid_scalable_targets_are_refused(
    host: Host, endpoint: str, variant: str, limits: dict[str, int], words: str
) -> None:
    scaling = host.client("application-autoscaling")
    code, message = refusal(scaling.register_scalable_target, **target_of(endpoint, variant), **limits)
    assert (code, words in message) == ("ValidationException", True), message


def test_a_scaled_variant_keeps_its_instance_type_and_an_update_may_keep_its_machines(
    host: Host, endpoint: str, image: str, place: str
) -> None:
    scaling, sagemaker, target = host.client("application-autoscaling"), host.client("sagemaker"), target_of(endpoint)
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=4)
    other = config_of(host, image, put_model(host, place, "two"), InstanceType="ml.m5.4xlarge")
    code, message = refusal(sagemaker.update_endpoint, EndpointName=endpoint, EndpointConfigName=other)
    assert code == "ValidationException"
    assert "must be deregistered as scalable targets with AWS Auto Scaling" in message

    same = config_of(host, image, put_model(host, place, "three"), InitialInstanceCount=1)
    sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=same, RetainAllVariantProperties=True)
    assert settled(host, endpoint)["ProductionVariants"][0]["DesiredInstanceCount"] == 2

    scaling.deregister_scalable_target(**target)
    sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=other)
    assert settled(host, endpoint)["EndpointConfigName"] == other
