"""An endpoint that is in service already: it is the run's by its content, not by its name."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from tests.unit.functions.cloud import CONTEXT, RUN, Cloud, endpoint, sample_event
from tests.unit.functions.test_deploy import (
    CONFIG_CALL,
    CONTAINER,
    MODEL_CALL,
    PREVIOUS,
    ROLE,
    WANTED,
    alarms,
    app,
    describe_alarms,
    endpoint_arn,
    expect_in_service,
    expect_model_and_config,
    package,
    record,
    serves,
    token_of,
)

__all__ = ["alarms", "app"]  # fixtures

MADE_BY_HAND: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another archive": (
        {"PrimaryContainer": {**MODEL_CALL["PrimaryContainer"], "ModelDataUrl": "s3://other/model.tar.gz"}},
        {},
        f"model {WANTED} .*: archive is s3://other/model.tar.gz, not s3://",
    ),
    "another image": (
        {"PrimaryContainer": {**MODEL_CALL["PrimaryContainer"], "Image": "other"}},
        {},
        f"model {WANTED} .*: image is other, not ",
    ),
    "no digest": ({"PrimaryContainer": CONTAINER}, {}, "environment SERVING_BUNDLE_DIGEST is missing"),
    "another model": (
        {},
        {"ProductionVariants": [{**CONFIG_CALL["ProductionVariants"][0], "ModelName": "handmade"}]},
        f"endpoint configuration {WANTED} .*: model of variant AllTraffic is handmade, not {WANTED}",
    ),
    "a shadow": (
        {},
        {"ShadowProductionVariants": [{**CONFIG_CALL["ProductionVariants"][0], "VariantName": "Shadow"}]},
        "ShadowProductionVariants is set, which the run did not ask for",
    ),
}


@pytest.mark.parametrize("made", MADE_BY_HAND)
@pytest.mark.parametrize("status", ["InService", "Updating"])
@pytest.mark.fault("P20")
def test_an_endpoint_on_a_model_or_configuration_made_by_hand_is_not_adopted(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud, made: str, status: str
) -> None:
    model, config, words = MADE_BY_HAND[made]
    sagemaker.add_response("describe_model_package", package())
    now = endpoint("InService", WANTED) if status == "InService" else endpoint(status, PREVIOUS, pending=WANTED)
    sagemaker.add_response("describe_endpoint", now)
    expect_in_service(sagemaker, model, **config)
    with pytest.raises(Exception, match=words) as caught:
        app.handler(sample_event("deploy"), CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"
    assert str(caught.value).endswith("It was left alone. Start the next attempt: it has names of its own")
    assert token_of(cloud) == {}


def test_an_endpoint_with_other_machines_or_another_role_is_adopted(
    app: ModuleType, sagemaker: Stubber, answers: Stubber
) -> None:
    """The stack's parameters have changed since an earlier try."""
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_response("describe_endpoint", endpoint("InService", WANTED))
    larger = {"ProductionVariants": [{**CONFIG_CALL["ProductionVariants"][0], "InstanceType": "ml.g5.xlarge"}]}
    expect_in_service(sagemaker, {"ExecutionRoleArn": f"{ROLE}-before"}, **larger)
    answers.add_response("send_task_success", {}, serves())
    assert app.handler(sample_event("deploy"), CONTEXT)["action"] == "DONE"


@pytest.mark.parametrize(
    "config", ["handmade", "ncf-handmade", f"other-{RUN}", f"ncf-{RUN}-copy", f"ncf-{RUN}-s123", f"x-ncf-{RUN}"]
)
@pytest.mark.fault("P20")
def test_an_endpoint_on_a_configuration_that_no_run_made_is_not_replaced(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud, config: str
) -> None:
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_response("describe_endpoint", endpoint("InService", config))
    with pytest.raises(Exception, match=f"serves configuration {config}, which no run made. It was left") as caught:
        app.handler(sample_event("deploy"), CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"
    assert record(cloud) == {}


@pytest.mark.parametrize("config", [PREVIOUS, f"{PREVIOUS}-s0123abcd"])
def test_the_configuration_of_another_run_or_of_a_split_is_replaced(
    app: ModuleType, sagemaker: Stubber, alarms: Stubber, config: str, cloud: Cloud
) -> None:
    alarms.add_response("describe_alarms", describe_alarms("OK", "OK"))
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_response("describe_endpoint", endpoint("InService", config))
    expect_model_and_config(sagemaker)
    sagemaker.add_response("update_endpoint", endpoint_arn())
    sagemaker.add_response("describe_endpoint", endpoint("Updating", config, pending=WANTED))
    assert app.handler(sample_event("deploy"), CONTEXT)["action"] == "UPDATE"
    assert record(cloud)["previousEndpointConfigName"] == config
