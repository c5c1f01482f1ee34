"""Deployment and rollback: never twice, never to older data, never with an archive that was not registered."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from deploy import request
from tests.unit.functions.cloud import (
    ARTIFACTS,
    CONTEXT,
    DIGEST,
    IMAGE,
    MODEL_URL,
    RUN,
    TAGS,
    TOKEN,
    VERSION,
    Cloud,
    described,
    endpoint,
    model_package,
    sample_event,
    success,
)

WANTED, PREVIOUS, THIRD = f"ncf-{RUN}", "ncf-v20261122t000000z-00000000-r1", "ncf-v20261121t000000z-00000000-r1"
ETAG = "0cc175b9c0f1b6a831c399e269772661"
ROLE = "arn:aws:iam::123456789012:role/ncf-serving"
GONE = ("describe_endpoint", "ValidationException", 'Could not find endpoint "arn:aws:sagemaker:…"', 400)
ALARMS = ("ncf-endpoint-errors", "ncf-endpoint-latency")
CONTAINER = {"Image": IMAGE, "ModelDataUrl": MODEL_URL}
MODEL_CALL = request.create_model("ncf", RUN, request.container(CONTAINER, DIGEST), ROLE)
CONFIG_CALL = request.create_endpoint_config("ncf", RUN, request.Fleet("ml.g4dn.xlarge", 1))


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud) -> ModuleType:
    cloud.write(ARTIFACTS, MODEL_URL.removeprefix(f"s3://{ARTIFACTS}/"), b"a")
    return load("deploy")


def describe_alarms(*states: str) -> dict[str, Any]:
    """Answer of DescribeAlarms: the first alarms of ALARMS, in these states."""
    return {
        "MetricAlarms": [{"AlarmName": name, "StateValue": state} for name, state in zip(ALARMS, states, strict=False)]
    }


@pytest.fixture
def alarms(app: ModuleType, stub: Callable[[Any], Stubber]) -> Stubber:
    """A Stubber on the CloudWatch client that describes the alarms."""
    return stub(app.JOBS.client("cloudwatch"))


def package(status: str = "Approved", **changed: Any) -> dict[str, Any]:
    registered = {
        "InferenceSpecification": {"Containers": [CONTAINER]},
        "CustomerMetadataProperties": {"runId": RUN, "modelDataETag": ETAG, "bundleDigest": DIGEST},
    }
    return model_package(status, **registered | changed)


def expect_model_and_config(sagemaker: Stubber) -> None:
    arn = "arn:aws:sagemaker:eu-central-1:123456789012"
    sagemaker.add_response("create_model", {"ModelArn": f"{arn}:model/{WANTED}"}, MODEL_CALL)
    config = {"EndpointConfigArn": f"{arn}:endpoint-config/{WANTED}"}
    sagemaker.add_response("create_endpoint_config", config, CONFIG_CALL)


def expect_in_service(sagemaker: Stubber, model: dict[str, Any] | None = None, **config: Any) -> None:
    """The model of the run's name is described, with the changes of `model`; then, unless that has any, the
    configuration, with those of `config`.
    """
    arn = "arn:aws:sagemaker:eu-central-1:123456789012"
    found = {**described(MODEL_CALL), "ModelArn": f"{arn}:model/{WANTED}", "CreationTime": 0, **(model or {})}
    sagemaker.add_response("describe_model", found, {"ModelName": WANTED})
    if not (model or {}).get("PrimaryContainer"):
        found = {
            **described(CONFIG_CALL),
            "EndpointConfigArn": f"{arn}:endpoint-config/{WANTED}",
            "CreationTime": 0,
            **config,
        }
        sagemaker.add_response("describe_endpoint_config", found, {"EndpointConfigName": WANTED})


def endpoint_arn() -> dict[str, str]:
    return {"EndpointArn": "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/ncf-recommender"}


def serves(config: str = WANTED, **more: Any) -> dict[str, str]:
    return success({"endpointName": "ncf-recommender", "endpointConfigName": config, **more})


def token_of(cloud: Cloud) -> dict[str, Any]:
    return cloud.item("JOB#ENDPOINT#ncf-recommender", "TOKEN")


def record(cloud: Cloud) -> dict[str, Any]:
    found: dict[str, Any] = cloud.item(f"RUN#{RUN}", "DECISION#deployment").get("figures", {})
    return found


@pytest.mark.fault("P01")
def test_the_first_model_creates_the_endpoint_and_leaves(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_client_error(*GONE)
    expect_model_and_config(sagemaker)
    call = {"EndpointName": "ncf-recommender", "EndpointConfigName": WANTED, "Tags": TAGS}
    sagemaker.add_response("create_endpoint", endpoint_arn(), call)
    sagemaker.add_response("describe_endpoint", endpoint("Creating", WANTED))
    answer = app.handler(sample_event("deploy"), CONTEXT)
    assert (answer["action"], answer["console"].endswith("#/endpoints/ncf-recommender")) == ("CREATE", True)
    assert record(cloud) == {"endpointConfigName": WANTED, "previousEndpointConfigName": None}
    token = token_of(cloud)
    assert (token["taskToken"], token["wanted"], token["jobId"], token["runId"]) == (TOKEN, WANTED, WANTED, RUN)
    assert cloud.item("LOCK", "DEPLOYMENT")["runId"] == RUN


@pytest.mark.fault("P02")
def test_a_later_model_updates_the_endpoint_and_remembers_the_way_back(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud, alarms: Stubber
) -> None:
    alarms.add_response("describe_alarms", describe_alarms("OK", "INSUFFICIENT_DATA"))
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_response("describe_endpoint", endpoint("InService", PREVIOUS))
    expect_model_and_config(sagemaker)
    sagemaker.add_response(
        "update_endpoint", endpoint_arn(), request.update_endpoint("ncf-recommender", WANTED, ALARMS)
    )
    sagemaker.add_response("describe_endpoint", endpoint("Updating", PREVIOUS, pending=WANTED))
    app.handler(sample_event("deploy"), CONTEXT)
    assert record(cloud)["previousEndpointConfigName"] == PREVIOUS


def test_what_the_record_of_an_earlier_model_does_not_know_is_not_compared(
    app: ModuleType, sagemaker: Stubber, answers: Stubber
) -> None:
    """`choose_version` knows the archive of a model that has served, not its image."""
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_response("describe_endpoint", endpoint("InService", WANTED))
    expect_in_service(sagemaker)
    answers.add_response("send_task_success", {}, serves())
    event = {**sample_event("deploy"), "training": {"modelDataUrl": MODEL_URL}}
    assert app.handler(event, CONTEXT)["action"] == "DONE"


@pytest.mark.fault("P03")
def test_on_the_wanted_configuration_already_nothing_is_called(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_response("describe_endpoint", endpoint("InService", WANTED))
    expect_in_service(sagemaker)
    answers.add_response("send_task_success", {}, serves())
    assert app.handler(sample_event("deploy"), CONTEXT)["action"] == "DONE"
    assert record(cloud) == {}


def test_a_retry_waits_for_the_update_that_an_earlier_try_began(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    figures = {"endpointConfigName": WANTED, "previousEndpointConfigName": PREVIOUS}
    cloud.put(f"RUN#{RUN}", "DECISION#deployment", figures=figures)
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_response("describe_endpoint", endpoint("Updating", PREVIOUS, pending=WANTED))
    expect_in_service(sagemaker)
    sagemaker.add_response("describe_endpoint", endpoint("Updating", PREVIOUS, pending=WANTED))
    assert app.handler(sample_event("deploy"), CONTEXT)["action"] == "WAIT"
    assert record(cloud)["previousEndpointConfigName"] == PREVIOUS
    assert token_of(cloud)["jobId"] == WANTED


@pytest.mark.fault("P07")
def test_a_model_and_a_configuration_of_the_same_content_are_adopted(
    app: ModuleType, sagemaker: Stubber, answers: Stubber
) -> None:
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_client_error(*GONE)
    words = f'Cannot create already existing model "arn:aws:sagemaker:eu-central-1:123456789012:model/{WANTED}"'
    sagemaker.add_client_error("create_model", "ValidationException", words, 400)
    model = {
        **described(MODEL_CALL),
        "ModelArn": f"arn:aws:sagemaker:eu-central-1:123456789012:model/{WANTED}",
        "CreationTime": 0,
    }
    sagemaker.add_response("describe_model", model)
    sagemaker.add_client_error("create_endpoint_config", "ValidationException", words, 400)
    arn = f"arn:aws:sagemaker:eu-central-1:123456789012:endpoint-config/{WANTED}"
    sagemaker.add_response(
        "describe_endpoint_config", {**described(CONFIG_CALL), "EndpointConfigArn": arn, "CreationTime": 0}
    )
    sagemaker.add_response("create_endpoint", endpoint_arn())
    sagemaker.add_response("describe_endpoint", endpoint("InService", WANTED))
    answers.add_response("send_task_success", {}, serves())
    app.handler(sample_event("deploy"), CONTEXT)


@pytest.mark.parametrize(
    ("unseen", "words"),
    [
        (
            "create_endpoint_config",
            f'Could not find model "arn:aws:sagemaker:eu-central-1:123456789012:model/{WANTED}".',
        ),
        ("create_endpoint", f'Could not find endpoint configuration "arn:aws:sagemaker:…:endpoint-config/{WANTED}".'),
    ],
)
def test_what_was_just_created_and_is_not_seen_yet_is_tried_again(
    app: ModuleType, sagemaker: Stubber, unseen: str, words: str
) -> None:
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_client_error(*GONE)
    sagemaker.add_response("create_model", {"ModelArn": f"arn:aws:sagemaker:eu-central-1:123456789012:model/{WANTED}"})
    if unseen == "create_endpoint":
        arn = f"arn:aws:sagemaker:eu-central-1:123456789012:endpoint-config/{WANTED}"
        sagemaker.add_response("create_endpoint_config", {"EndpointConfigArn": arn})
    sagemaker.add_client_error(unseen, "ValidationException", words, 400)
    with pytest.raises(Exception, match="Could not find") as caught:
        app.handler(sample_event("deploy"), CONTEXT)
    assert type(caught.value).__name__ == "DependencyFailed"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"PrimaryContainer": {**MODEL_CALL["PrimaryContainer"], "ModelDataUrl": "s3://other/model.tar.gz"}},
            "archive is s3://other/model.tar.gz, not s3://",
        ),
        ({"PrimaryContainer": CONTAINER}, "environment SERVING_BUNDLE_DIGEST is missing"),
        ({"ExecutionRoleArn": "arn:aws:iam::123456789012:role/another"}, "role is .*another, not .*ncf-serving"),
    ],
)
@pytest.mark.fault("P07")
def test_a_model_of_that_name_with_other_content_stops_the_deployment(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud, changed: dict[str, Any], words: str
) -> None:
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_client_error(*GONE)
    sagemaker.add_client_error("create_model", "ValidationException", "Cannot create already existing model", 400)
    other = {**described(MODEL_CALL), **changed}
    arn = f"arn:aws:sagemaker:eu-central-1:123456789012:model/{WANTED}"
    sagemaker.add_response("describe_model", {**other, "ModelArn": arn, "CreationTime": 0})
    with pytest.raises(Exception, match=words) as caught:
        app.handler(sample_event("deploy"), CONTEXT)
    assert str(caught.value).startswith(f"model {WANTED} exists and is not the one of this run: ")
    assert str(caught.value).endswith("It was left alone. Start the next attempt: it has names of its own")
    assert type(caught.value).__name__ == "InvalidInput"
    assert record(cloud) == {}


def test_an_older_run_than_the_serving_one_is_stale_and_takes_no_lock(app: ModuleType, cloud: Cloud) -> None:
    newer = "v20261124t000000z-00000000"
    cloud.put("SERVING", "CURRENT", runId=f"{newer}-r1", datasetVersion=newer)
    with pytest.raises(Exception, match=f"{VERSION} is older than {newer}, which serves") as caught:
        app.handler(sample_event("deploy"), CONTEXT)
    assert type(caught.value).__name__ == "StaleVersion"
    assert cloud.item("LOCK", "DEPLOYMENT") == {}


@pytest.mark.fault("R08", "M09")
def test_a_run_waits_while_another_is_being_deployed(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    cloud.put("LOCK", "DEPLOYMENT", runId="another", fence=1, leasedUntil=99_999_999_999)
    sagemaker.add_response("describe_model_package", package())
    with pytest.raises(Exception, match="another holds the deployment lock") as caught:
        app.handler(sample_event("deploy"), CONTEXT)
    assert type(caught.value).__name__ == "DeploymentInProgress"


@pytest.mark.fault("R06")
def test_an_archive_that_changed_since_its_registration_is_not_deployed(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud
) -> None:
    cloud.write(ARTIFACTS, MODEL_URL.removeprefix(f"s3://{ARTIFACTS}/"), b"b")
    sagemaker.add_response("describe_model_package", package())
    with pytest.raises(Exception, match=f"not the registered {ETAG}: it will not be deployed") as caught:
        app.handler(sample_event("deploy"), CONTEXT)
    assert type(caught.value).__name__ == "ArtefactChanged"
    assert cloud.item("LOCK", "DEPLOYMENT") == {}


def test_an_archive_that_is_gone_since_its_registration_is_not_deployed(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud
) -> None:
    cloud.s3.delete_object(Bucket=ARTIFACTS, Key=MODEL_URL.removeprefix(f"s3://{ARTIFACTS}/"))
    sagemaker.add_response("describe_model_package", package())
    with pytest.raises(Exception, match="now missing or unreadable") as caught:
        app.handler(sample_event("deploy"), CONTEXT)
    assert type(caught.value).__name__ == "ArtefactChanged"


@pytest.mark.parametrize("status", ["Rejected", "PendingManualApproval"])
@pytest.mark.fault("R07")
def test_a_package_that_is_not_approved_any_more_is_not_deployed(
    app: ModuleType, sagemaker: Stubber, status: str
) -> None:
    sagemaker.add_response("describe_model_package", package(status))
    with pytest.raises(Exception, match=f"is {status}, not Approved") as caught:
        app.handler(sample_event("deploy"), CONTEXT)
    assert type(caught.value).__name__ == "ModelNotApproved"


def test_without_alarms_in_the_template_those_of_others_are_not_asked_for(
    load: Callable[..., ModuleType],
    stub: Callable[[Any], Stubber],
    cloud: Cloud,
    log: Callable[[], list[dict[str, Any]]],
) -> None:
    """DescribeAlarms without names describes every alarm of the account."""
    cloud.write(ARTIFACTS, MODEL_URL.removeprefix(f"s3://{ARTIFACTS}/"), b"a")
    app = load("deploy", ENDPOINT_ALARM_NAMES="")
    sagemaker = stub(app.JOBS.client("sagemaker"))
    stub(app.JOBS.client("cloudwatch"))
    answers = stub(app.JOBS.client("stepfunctions"))
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_response("describe_endpoint", endpoint("InService", PREVIOUS))
    expect_model_and_config(sagemaker)
    call = request.update_endpoint("ncf-recommender", WANTED, ())
    sagemaker.add_response("update_endpoint", endpoint_arn(), call)
    sagemaker.add_response("describe_endpoint", endpoint("Updating", PREVIOUS, pending=WANTED))
    assert app.handler(sample_event("deploy"), CONTEXT)["action"] == "UPDATE"
    sagemaker.add_response("describe_endpoint", endpoint("InService", PREVIOUS))
    answers.add_response("send_task_success", {}, serves(PREVIOUS, changed=True))
    assert app.handler(sample_event("deploy_rollback"), CONTEXT)["action"] == "DONE"
    assert "the alarms cannot be read" not in {line["message"] for line in log()}


def test_newer_data_replace_a_model_that_another_run_deployed_meanwhile(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    """Only after a rollback must a run have been judged against the model that serves."""
    by = f"arn:aws:states:eu-central-1:123456789012:execution:ncf-retraining:{PREVIOUS[4:]}"
    cloud.put(
        "SERVING", "CURRENT", runId=PREVIOUS[4:], datasetVersion=PREVIOUS[4:-3], modelDataUrl="s3://a/2", by=by
    )  # fmt: skip
    cloud.put(f"RUN#{RUN}", "DECISION#training", figures={"channel incumbent": "s3://a/1"})
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_response("describe_endpoint", endpoint("InService", WANTED))
    expect_in_service(sagemaker)
    answers.add_response("send_task_success", {}, serves())
    assert app.handler(sample_event("deploy"), CONTEXT)["action"] == "DONE"


@pytest.mark.parametrize(
    ("described", "name", "words"),
    [
        (endpoint("Updating", PREVIOUS, pending=THIRD), "DeploymentInProgress", "is changing"),
        (endpoint("UpdateRollbackFailed", PREVIOUS), "EndpointUnusable", "only a person can fix"),
    ],
)
@pytest.mark.fault("P04", "P06")
def test_an_endpoint_that_is_taken_or_broken_is_left_alone(
    app: ModuleType, sagemaker: Stubber, described: dict[str, Any], name: str, words: str
) -> None:
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_response("describe_endpoint", described)
    with pytest.raises(Exception, match=words) as caught:
        app.handler(sample_event("deploy"), CONTEXT)
    assert type(caught.value).__name__ == name


@pytest.mark.fault("P05")
def test_a_failed_endpoint_of_an_earlier_run_is_deleted_and_waited_for(app: ModuleType, sagemaker: Stubber) -> None:
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_response("describe_endpoint", endpoint("Failed", PREVIOUS))
    sagemaker.add_response("delete_endpoint", {}, {"EndpointName": "ncf-recommender"})
    with pytest.raises(Exception, match="is being deleted") as caught:
        app.handler(sample_event("deploy"), CONTEXT)
    assert type(caught.value).__name__ == "DeploymentInProgress"


@pytest.mark.parametrize("reason", ["did not pass the ping health check", None, "gone"])
@pytest.mark.fault("P05")
def test_our_own_failed_creation_is_told_with_sagemakers_reason(
    app: ModuleType, sagemaker: Stubber, reason: str | None
) -> None:
    """Without a reason, and where the endpoint is gone before it is asked for the reason, too."""
    failed = endpoint("Failed", WANTED, **({"FailureReason": reason} if reason else {}))
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_response("describe_endpoint", failed)
    if reason == "gone":
        sagemaker.add_client_error(*GONE)
    else:
        sagemaker.add_response("describe_endpoint", failed)
    told = reason if reason and reason != "gone" else "no reason was given"
    with pytest.raises(Exception, match=f"failed on {WANTED}: {told}") as caught:
        app.handler(sample_event("deploy"), CONTEXT)
    assert type(caught.value).__name__ == "EndpointFailed"


@pytest.mark.parametrize(
    ("code", "words", "name"),
    [
        ("ResourceLimitExceeded", "ml.g4dn.xlarge for endpoint usage is 0 Instances", "CapacityUnavailable"),
        ("ValidationException", "Cannot update in-progress endpoint", "DeploymentInProgress"),
        ("AccessDeniedException", "not authorized", "MissingResource"),
    ],
)
@pytest.mark.fault("P08")
def test_an_update_that_is_refused_says_which_cause_it_has(
    app: ModuleType, sagemaker: Stubber, alarms: Stubber, code: str, words: str, name: str
) -> None:
    alarms.add_response("describe_alarms", describe_alarms("OK", "OK"))
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_response("describe_endpoint", endpoint("InService", PREVIOUS))
    expect_model_and_config(sagemaker)
    sagemaker.add_client_error("update_endpoint", code, words, 400)
    with pytest.raises(Exception) as caught:
        app.handler(sample_event("deploy"), CONTEXT)
    assert type(caught.value).__name__ == name


@pytest.mark.parametrize("refused", ["create_model", "create_endpoint_config"])
def test_a_model_or_a_configuration_that_cannot_be_created_stops_the_deployment(
    app: ModuleType, sagemaker: Stubber, refused: str
) -> None:
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_client_error(*GONE)
    if refused == "create_endpoint_config":
        sagemaker.add_response("create_model", {"ModelArn": "arn:aws:sagemaker:eu-central-1:123456789012:model/m"})
    sagemaker.add_client_error(refused, "AccessDeniedException", "not authorized", 400)
    with pytest.raises(Exception, match="not authorized") as caught:
        app.handler(sample_event("deploy"), CONTEXT)
    assert type(caught.value).__name__ == "MissingResource"


def test_an_endpoint_that_another_created_in_the_meantime_is_waited_for(app: ModuleType, sagemaker: Stubber) -> None:
    sagemaker.add_response("describe_model_package", package())
    sagemaker.add_client_error(*GONE)
    expect_model_and_config(sagemaker)
    words = "Cannot create already existing endpoint"
    sagemaker.add_client_error("create_endpoint", "ValidationException", words, 400)
    with pytest.raises(Exception, match="changed in the meantime") as caught:
        app.handler(sample_event("deploy"), CONTEXT)
    assert type(caught.value).__name__ == "DeploymentInProgress"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"action": "destroy"}, "action must be deploy or rollback, not 'destroy'"),
        ({"runId": None}, "runId must be a run id"),
        ({"taskToken": 7}, "taskToken must be a string"),
        ({"registration": {}}, "registration.modelPackageArn must be a non-empty string"),
        ({"registration": None}, "registration.modelPackageArn must be a non-empty string, not null"),
        ({"registration": {"modelPackageArn": ""}}, 'registration.modelPackageArn must be a non-empty string, not ""'),
        ({"registration": {"modelPackageArn": 7}}, "registration.modelPackageArn must be a non-empty string, not 7"),
        ({"training": None}, "training.modelDataUrl must be a non-empty string, not null"),
    ],
)
def test_names_the_field_that_cannot_be_used(app: ModuleType, change: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception) as caught:
        app.handler({**sample_event("deploy"), **change}, CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"
    assert words in str(caught.value)
