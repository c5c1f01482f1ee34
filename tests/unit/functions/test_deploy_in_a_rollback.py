"""A rollback deploys an earlier model; if that fails, the configuration before the rollback returns."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from deploy import request
from tests.unit.functions.cloud import (
    CONTEXT,
    RUN,
    Cloud,
    described,
    endpoint,
    sample_event,
    success,
)
from tests.unit.functions.test_deploy import (
    CONFIG_CALL,
    CONTAINER,
    ETAG,
    MODEL_CALL,
    PREVIOUS,
    WANTED,
    app,
    endpoint_arn,
    package,
    record,
)

__all__ = ["app"]  # fixtures


NEWER_RUN = "v20261124t000000z-00000000-r1"


def rollback(action: str = "deploy") -> dict[str, Any]:
    rollback_input = {
        "machine": "rollback",
        "from": NEWER_RUN,
        "executionArn": "arn:x:ncf-rollback:7f",
        "action": action,
    }
    return {**sample_event("deploy"), **rollback_input}


@pytest.fixture
def newer_serves(cloud: Cloud) -> None:
    cloud.put("SERVING", "CURRENT", kind="SERVING", runId=NEWER_RUN, datasetVersion=NEWER_RUN[:26])


def test_an_older_version_comes_back_on_the_configuration_that_it_had(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud, newer_serves: None
) -> None:
    newer = f"ncf-{NEWER_RUN}"
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_response("describe_endpoint", endpoint("InService", newer))
    # Parameters may have changed since: only the container is compared.
    sagemaker.add_client_error("create_model", "ValidationException", "Cannot create already existing model", 400)
    model = {**described(MODEL_CALL), "ExecutionRoleArn": "arn:aws:iam::123456789012:role/earlier", "CreationTime": 0}
    sagemaker.add_response("describe_model", {**model, "ModelArn": "arn:aws:sagemaker:::model/m"})
    words = "Cannot create already existing endpoint configuration"
    sagemaker.add_client_error("create_endpoint_config", "ValidationException", words, 400)
    fleet = request.create_endpoint_config("ncf", RUN, request.Fleet("ml.m5.large", 3))
    found = {**described(fleet), "EndpointConfigArn": "arn:aws:sagemaker:::endpoint-config/c", "CreationTime": 0}
    sagemaker.add_response("describe_endpoint_config", found)
    sagemaker.add_response("update_endpoint", endpoint_arn(), request.update_endpoint("ncf-recommender", WANTED, ()))
    sagemaker.add_response("describe_endpoint", endpoint("Updating", newer, pending=WANTED))
    assert app.handler(rollback(), CONTEXT)["action"] == "UPDATE"
    assert cloud.item("LOCK", "DEPLOYMENT")["runId"] == "7f", "a rollback holds the lock by its execution's name"
    figures = cloud.item(f"RUN#{RUN}", "DECISION#deployment#7f")["figures"]
    assert figures == {"endpointConfigName": WANTED, "previousEndpointConfigName": newer}
    assert record(cloud) == {}, "what the run's own deployment did stays as it was written"


OLD = {"runId": RUN, "modelDataETag": ETAG}
"""The metadata of a package that was registered before digests were recorded."""


@pytest.mark.parametrize("is_there", [False, True])
def test_a_model_from_before_digests_were_recorded_comes_back(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud, newer_serves: None, is_there: bool
) -> None:
    newer, event = f"ncf-{NEWER_RUN}", rollback()
    event["registration"]["bundleDigest"] = None
    model = {**described(MODEL_CALL), "PrimaryContainer": CONTAINER}
    sagemaker.add_response("describe_model_package", package(CustomerMetadataProperties=OLD))
    sagemaker.add_response("describe_endpoint", endpoint("InService", newer))
    if is_there:
        sagemaker.add_client_error("create_model", "ValidationException", "Cannot create already existing model", 400)
        sagemaker.add_response(
            "describe_model", {**model, "ModelArn": "arn:aws:sagemaker:::model/m", "CreationTime": 0}
        )
    else:
        named = {**MODEL_CALL, "PrimaryContainer": {**CONTAINER, "Environment": {"SERVING_NAME": "ncf"}}}
        sagemaker.add_response("create_model", {"ModelArn": "arn:aws:sagemaker:::model/m"}, named)
    config = {"EndpointConfigArn": "arn:aws:sagemaker:::endpoint-config/c"}
    sagemaker.add_response("create_endpoint_config", config, CONFIG_CALL)
    sagemaker.add_response("update_endpoint", endpoint_arn(), request.update_endpoint("ncf-recommender", WANTED, ()))
    sagemaker.add_response("describe_endpoint", endpoint("Updating", newer, pending=WANTED))
    assert app.handler(event, CONTEXT)["action"] == "UPDATE"


@pytest.mark.parametrize(
    "container",
    [
        CONTAINER,  # without the digest
        {**MODEL_CALL["PrimaryContainer"], "Environment": {"SERVING_BUNDLE_DIGEST": "0" * 64}},
        {**MODEL_CALL["PrimaryContainer"], "Image": "another"},
        {**MODEL_CALL["PrimaryContainer"], "ModelDataUrl": "s3://another/model.tar.gz"},
    ],
)
@pytest.mark.fault("P07")
def test_a_model_of_the_name_with_another_container_does_not_come_back(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud, newer_serves: None, container: dict[str, Any]
) -> None:
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_response("describe_endpoint", endpoint("InService", f"ncf-{NEWER_RUN}"))
    sagemaker.add_client_error("create_model", "ValidationException", "Cannot create already existing model", 400)
    model = {**described(MODEL_CALL), "PrimaryContainer": container, "CreationTime": 0}
    sagemaker.add_response("describe_model", {**model, "ModelArn": "arn:aws:sagemaker:::model/m"})
    with pytest.raises(Exception, match=f"model {WANTED} exists and is not the one of this run: ") as caught:
        app.handler(rollback(), CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"
    assert cloud.item(f"RUN#{RUN}", "DECISION#deployment#7f") == {}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"CustomerMetadataProperties": OLD}, "the bundle digest None, not c4c4"),
        (
            {"InferenceSpecification": {"Containers": [{**CONTAINER, "ModelDataUrl": "s3://another/model.tar.gz"}]}},
            "the archive s3://another/model.tar.gz, not s3://",
        ),
    ],
)
@pytest.mark.fault("R06")
def test_a_package_that_was_changed_since_its_model_served_does_not_come_back(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud, newer_serves: None, changed: dict[str, Any], words: str
) -> None:
    sagemaker.add_response("describe_model_package", package(**changed))
    with pytest.raises(Exception, match=words) as caught:
        app.handler(rollback(), CONTEXT)
    assert type(caught.value).__name__ == "ArtefactChanged"
    assert cloud.item("LOCK", "DEPLOYMENT") == {}


def test_a_rollback_that_fails_puts_back_what_it_found(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud, newer_serves: None
) -> None:
    newer = f"ncf-{NEWER_RUN}"
    figures = {"endpointConfigName": WANTED, "previousEndpointConfigName": newer}
    cloud.put(f"RUN#{RUN}", "DECISION#deployment#7f", kind="DECISION", verdict="UPDATE", figures=figures)
    sagemaker.add_response("describe_endpoint", endpoint("InService", WANTED))
    sagemaker.add_response("update_endpoint", endpoint_arn(), request.update_endpoint("ncf-recommender", newer, ()))
    sagemaker.add_response("describe_endpoint", endpoint("Updating", WANTED, pending=newer))
    assert app.handler(rollback("rollback"), CONTEXT)["action"] == "UPDATE"


def test_a_rollback_that_has_changed_nothing_undoes_nothing(
    app: ModuleType, answers: Stubber, cloud: Cloud, newer_serves: None
) -> None:
    # The run's own deployment, long ago, is none of this rollback's.
    cloud.put(f"RUN#{RUN}", "DECISION#deployment", kind="DECISION", figures={"previousEndpointConfigName": PREVIOUS})
    answers.add_response("send_task_success", {}, success({"endpointName": "ncf-recommender", "changed": False}))
    assert app.handler(rollback("rollback"), CONTEXT)["action"] == "DONE"


def test_what_was_deployed_since_the_rollback_was_planned_stays(app: ModuleType, cloud: Cloud) -> None:
    cloud.put("SERVING", "CURRENT", kind="SERVING", runId="newest", datasetVersion="v20261125t000000z-00000000")
    with pytest.raises(Exception, match="newest serves now") as caught:
        app.handler(rollback(), CONTEXT)
    assert type(caught.value).__name__ == "StaleVersion"
    assert cloud.item("LOCK", "DEPLOYMENT") == {}


@pytest.mark.fault("P07")
def test_a_configuration_of_the_name_with_another_model_does_not_come_back(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud, newer_serves: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_approved_container", lambda event: {"Image": "image", "ModelDataUrl": "s3://a/m"})
    sagemaker.add_response("describe_endpoint", endpoint("InService", f"ncf-{NEWER_RUN}"))
    sagemaker.add_response("create_model", {"ModelArn": "arn:aws:sagemaker:::model/m"})
    words = "Cannot create already existing endpoint configuration"
    sagemaker.add_client_error("create_endpoint_config", "ValidationException", words, 400)
    foreign = request.create_endpoint_config("ncf", NEWER_RUN, request.Fleet("ml.m5.large", 3))
    found = {**described(foreign), "EndpointConfigArn": "arn:aws:sagemaker:::endpoint-config/c", "CreationTime": 0}
    sagemaker.add_response("describe_endpoint_config", found)
    with pytest.raises(Exception, match=f"configuration {WANTED} exists and is not .*: instance") as caught:
        app.handler(rollback(), CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"
