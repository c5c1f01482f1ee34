"""The endpoint scales with its requests if a maximum is set; a failure there fails no run."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from deploy import request
from shared import names
from shared.environment import BadEnvironment
from tests.unit.functions.cloud import CONTEXT, RUN, endpoint, sample_event

WANTED = f"ncf-{RUN}"
TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/ncf-recommender/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
GONE = ("describe_endpoint", "ValidationException", "Could not find endpoint", 400)


@pytest.fixture
def app(load: Callable[..., ModuleType]) -> ModuleType:
    return load("scale_endpoint", ENDPOINT_MAXIMUM_INSTANCES="5")


@pytest.fixture
def scaling(app: ModuleType, stub: Callable[[Any], Stubber]) -> Stubber:
    return stub(app.SCALING)


def test_an_endpoint_in_service_becomes_a_scalable_target(
    app: ModuleType, sagemaker: Stubber, scaling: Stubber
) -> None:
    sagemaker.add_response("describe_endpoint", endpoint("InService", WANTED))
    answer = {"ScalableTargetARN": "arn:aws:application-autoscaling:eu-central-1:123456789012:scalable-target/1"}
    scaling.add_response("register_scalable_target", answer, {**TARGET, "MinCapacity": 1, "MaxCapacity": 5})
    scaling.add_response(
        "put_scaling_policy",
        {"PolicyARN": "arn"},
        {
            "PolicyName": "ncf-recommender-requests",
            **TARGET,
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": 12000.0,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
                "ScaleOutCooldown": 60,
                "ScaleInCooldown": 600,
            },
        },
    )
    assert app.handler(sample_event("scale_endpoint"), CONTEXT) == {"outcome": "Scaled"}


@pytest.mark.parametrize("described", [None, endpoint("Updating", "ncf-older", pending=WANTED)], ids=["absent", "busy"])
def test_what_is_not_in_service_is_left_alone(
    app: ModuleType, sagemaker: Stubber, scaling: Stubber, described: dict[str, Any] | None
) -> None:
    if described is None:
        sagemaker.add_client_error(*GONE)
    else:
        sagemaker.add_response("describe_endpoint", described)
    assert app.handler(sample_event("scale_endpoint"), CONTEXT) == {"outcome": "NotInService"}


@pytest.mark.parametrize("is_target", [True, False])
def test_without_a_maximum_it_is_no_target_any_more(
    load: Callable[..., ModuleType], stub: Callable[[Any], Stubber], is_target: bool
) -> None:
    app = load("scale_endpoint")
    scaling = stub(app.SCALING)
    if is_target:
        scaling.add_response("deregister_scalable_target", {}, TARGET)
    else:
        scaling.add_client_error("deregister_scalable_target", "ObjectNotFoundException", "No scalable target", 400)
    assert app.handler(sample_event("scale_endpoint"), CONTEXT) == {"outcome": "Fixed"}


@pytest.mark.parametrize(
    ("code", "name"), [("ConcurrentUpdateException", "DependencyFailed"), ("AccessDeniedException", "MissingResource")]
)
def test_a_refusal_says_which_cause_it_has(
    app: ModuleType, sagemaker: Stubber, scaling: Stubber, code: str, name: str
) -> None:
    sagemaker.add_response("describe_endpoint", endpoint("InService", WANTED))
    scaling.add_client_error("register_scalable_target", code, "no", 400)
    with pytest.raises(Exception, match=code) as caught:
        app.handler(sample_event("scale_endpoint"), CONTEXT)
    assert type(caught.value).__name__ == name


def test_a_maximum_below_the_ordinary_number_stops_the_cold_start(load: Callable[..., ModuleType]) -> None:
    with pytest.raises(BadEnvironment, match="ENDPOINT_MAXIMUM_INSTANCES must be 0 or at least 3, not 2"):
        load("scale_endpoint", ENDPOINT_INSTANCE_COUNT="3", ENDPOINT_MAXIMUM_INSTANCES="2")


def test_the_target_has_the_name_of_the_variant_that_is_deployed() -> None:
    config = request.create_endpoint_config("ncf", RUN, request.Fleet("ml.g4dn.xlarge", 1))
    assert [one["VariantName"] for one in config["ProductionVariants"]] == [names.VARIANT]


# The deployment of a fleet that scales


@pytest.mark.fault("P18")
def test_a_new_fleet_has_as_many_machines_as_the_old_one_has(stub: Callable[[Any], Stubber]) -> None:
    call = request.update_endpoint("e", "c", (), is_scaled=True)
    assert call["RetainAllVariantProperties"] is True
    assert call["ExcludeRetainedVariantProperties"] == [{"VariantPropertyType": "DesiredWeight"}]
    assert "RetainAllVariantProperties" not in request.update_endpoint("e", "c", ())


@pytest.mark.fault("P18")
@pytest.mark.parametrize("is_target", [True, False])
def test_before_the_instance_type_changes_the_target_is_given_up_and_the_update_tried_again(
    load: Callable[..., ModuleType], stub: Callable[[Any], Stubber], is_target: bool
) -> None:
    app = load("deploy", ENDPOINT_MAXIMUM_INSTANCES="5")
    sagemaker, scaling = stub(app.JOBS.client("sagemaker")), stub(app.JOBS.client("application-autoscaling"))
    words = 'The variant(s) "["AllTraffic"]" must be deregistered as scalable targets with AWS Auto Scaling before'
    sagemaker.add_client_error("update_endpoint", "ValidationException", words, 400)
    if is_target:
        scaling.add_response("deregister_scalable_target", {}, TARGET)
    else:
        scaling.add_client_error("deregister_scalable_target", "ObjectNotFoundException", "No scalable target", 400)
    with pytest.raises(Exception, match="the endpoint's automatic scaling was removed for this change") as caught:
        app._change("update_endpoint", request.update_endpoint("ncf-recommender", WANTED, (), is_scaled=True))
    assert type(caught.value).__name__ == "DependencyFailed"
