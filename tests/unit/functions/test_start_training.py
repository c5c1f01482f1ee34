"""The training job of a run: created once, adopted by a retry, replaced after a redrive or after a lack of capacity."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from start_training import request
from tests.unit.functions.cloud import (
    CONTEXT,
    DATA,
    DIGEST,
    EXECUTION,
    IMAGE,
    JOB,
    MODEL_URL,
    OUTPUT_URL,
    RUN,
    TOKEN,
    VERSION,
    Cloud,
    sample_event,
    success,
    tags_of_training,
    training_job,
)
from tests.unit.functions.test_training_call import call_for

NOT_FOUND = ("describe_training_job", "ValidationException", "Requested resource not found.", 400)


@pytest.fixture
def app(load: Callable[..., ModuleType]) -> ModuleType:
    return load("start_training")


def created(name: str = JOB) -> dict[str, str]:
    return {"TrainingJobArn": f"arn:aws:sagemaker:eu-central-1:123456789012:training-job/{name}"}


def test_starts_the_job_of_its_sample_event_and_leaves(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_response("create_training_job", created(), call_for(request.Run(RUN, VERSION, 1)))
    answer = app.handler(sample_event("start_training"), CONTEXT)
    assert (answer["jobName"], answer["console"].endswith(f"#/jobs/{JOB}")) == (JOB, True)
    token = cloud.item(f"JOB#TRAINING#{JOB}", "TOKEN")
    assert (token["taskToken"], token["runId"], token["executionArn"]) == (TOKEN, RUN, EXECUTION)
    assert cloud.item(f"RUN#{RUN}")["status"] == "RUNNING"


def test_the_serving_model_is_measured_beside_the_new_one(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    cloud.put("SERVING", "CURRENT", runId="older", datasetVersion="older", modelDataUrl="s3://a/incumbent.tar.gz")
    sagemaker.add_client_error(*NOT_FOUND)
    expected = call_for(request.Run(RUN, VERSION, 1, "s3://a/incumbent.tar.gz"))
    sagemaker.add_response("create_training_job", created(), expected)
    app.handler(sample_event("start_training"), CONTEXT)


@pytest.mark.parametrize("digest", [DIGEST, None])
@pytest.mark.fault("E09")
def test_the_serving_bundle_is_named_by_its_digest_where_that_is_known(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud, digest: str | None
) -> None:
    serving = {"runId": "older", "datasetVersion": "older", "modelDataUrl": "s3://a/incumbent.tar.gz"}
    cloud.put("SERVING", "CURRENT", **serving, bundleDigest=digest)
    expected = call_for(request.Run(RUN, VERSION, 1, "s3://a/incumbent.tar.gz"))
    expected["HyperParameters"] |= {"incumbent_digest": digest} if digest else {}
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_response("create_training_job", created(), expected)
    app.handler(sample_event("start_training"), CONTEXT)


def test_a_retry_adopts_the_job_that_runs(app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud) -> None:
    sagemaker.add_response("describe_training_job", training_job(status="InProgress"))
    sagemaker.add_response("list_tags", tags_of_training(), {"ResourceArn": training_job()["TrainingJobArn"]})
    sagemaker.add_response("describe_training_job", training_job(status="InProgress"))
    app.handler(sample_event("start_training"), CONTEXT)
    assert cloud.item(f"JOB#TRAINING#{JOB}", "TOKEN")["taskToken"] == TOKEN


def test_a_retry_answers_for_the_job_that_is_over(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    sagemaker.add_response("describe_training_job", training_job())
    sagemaker.add_response("list_tags", tags_of_training())
    sagemaker.add_response("describe_training_job", training_job())
    output = {
        "jobName": JOB,
        "modelDataUrl": MODEL_URL,
        "outputUrl": OUTPUT_URL,
        "image": IMAGE,
        "instanceType": "ml.g4dn.xlarge",
        "instanceCount": 1,
    }
    answers.add_response("send_task_success", {}, success(output))
    app.handler(sample_event("start_training"), CONTEXT)
    assert cloud.item(f"JOB#TRAINING#{JOB}", "TOKEN") == {}


CHANNEL = training_job()["InputDataConfig"][0]
PARAMETERS = training_job()["HyperParameters"]
OTHER_DATA = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://other/", "S3DataDistributionType": "x"}}


@pytest.mark.parametrize(
    ("changed", "tags", "words"),
    [
        ({}, [], "tag datasetVersion is missing; tag runId is missing"),
        (
            {},
            [{"Key": "runId", "Value": "x"}, {"Key": "datasetVersion", "Value": VERSION}],
            f"tag runId is x, not {RUN}",
        ),
        (
            {"RoleArn": "arn:aws:iam::123456789012:role/other"},
            None,
            "role is arn:aws:iam::123456789012:role/other, not",
        ),
        ({"OutputDataConfig": {"S3OutputPath": "s3://other"}}, None, "output is s3://other, not s3://ncf-artifacts"),
        (
            {"AlgorithmSpecification": {"TrainingImage": "other", "TrainingInputMode": "File"}},
            None,
            f"image is other, not {IMAGE}",
        ),
        (
            {
                "AlgorithmSpecification": {
                    "TrainingImage": IMAGE,
                    "TrainingInputMode": "File",
                    "ContainerEntrypoint": ["python"],
                    "ContainerArguments": ["-c", "print(1)"],
                }
            },
            None,
            "entry point is python -c print(1), which the run did not ask for",
        ),
        ({"Environment": {"A": "1"}}, None, "environment A is 1, which the run did not ask for"),
        ({"EnableNetworkIsolation": False}, None, "network isolation is False, not True"),
        (
            {"InputDataConfig": [{**CHANNEL, "DataSource": OTHER_DATA}]},
            None,
            "channel dataset is s3://other/, not s3://",
        ),
        (
            {"InputDataConfig": [CHANNEL, {**CHANNEL, "ChannelName": "more"}]},
            None,
            f"channel more is s3://{DATA}/datasets/{VERSION}/, which the run did not ask for",
        ),
        ({"InputDataConfig": [{**CHANNEL, "ChannelName": "data"}]}, None, "channel dataset is missing"),
        ({"HyperParameters": {**PARAMETERS, "epochs": "1"}}, None, "hyperparameter epochs is 1, not 20"),
        ({"HyperParameters": {**PARAMETERS, "x": "1"}}, None, "hyperparameter x is 1, which the run did not ask for"),
        ({"HyperParameters": {"epochs": "20"}}, None, "hyperparameter code_version is missing"),
        ({"CheckpointConfig": {"S3Uri": "s3://other/"}}, None, "checkpoints is s3://other/, not s3://ncf-artifacts"),
    ],
)
@pytest.mark.parametrize("status", ["Completed", "InProgress"])
@pytest.mark.fault("P19")
@pytest.mark.slow
def test_a_foreign_job_of_the_runs_name_is_not_adopted_and_left_alone(
    app: ModuleType,
    sagemaker: Stubber,
    cloud: Cloud,
    changed: dict[str, Any],
    tags: list[dict[str, str]] | None,
    words: str,
    status: str,
) -> None:
    sagemaker.add_response("describe_training_job", training_job(status, **changed))
    sagemaker.add_response("list_tags", tags_of_training() if tags is None else {"Tags": tags})
    with pytest.raises(Exception) as caught:
        app.handler(sample_event("start_training"), CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"
    assert str(caught.value).startswith(f"training job {JOB} exists and is not the one of this run: ")
    assert words in str(caught.value)
    assert str(caught.value).endswith(f"It was left alone. Restart the run: it trains as {JOB}-t2")
    assert cloud.item(f"JOB#TRAINING#{JOB}", "TOKEN") == {}, "handle_failure stops the jobs of the tokens that it finds"
    assert cloud.item(f"RUN#{RUN}")["trainingAttempt"] == 2


@pytest.mark.fault("P19")
def test_a_foreign_job_that_comes_between_is_not_adopted(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_client_error("create_training_job", "ResourceInUse", "Training job names must be unique", 400)
    sagemaker.add_response("describe_training_job", training_job("InProgress", RoleArn="arn:aws:iam::1:role/other"))
    sagemaker.add_response("list_tags", tags_of_training())
    with pytest.raises(Exception, match="is not the one of this run: role is"):
        app.handler(sample_event("start_training"), CONTEXT)
    assert cloud.item(f"JOB#TRAINING#{JOB}", "TOKEN") == {}


def test_a_job_that_a_simultaneous_try_created_is_adopted(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_client_error("create_training_job", "ResourceInUse", "Training job names must be unique", 400)
    for _ in range(2):
        sagemaker.add_response("describe_training_job", training_job("InProgress"))
        if _ == 0:
            sagemaker.add_response("list_tags", tags_of_training())
    assert app.handler(sample_event("start_training"), CONTEXT)["jobName"] == JOB
    assert cloud.item(f"JOB#TRAINING#{JOB}", "TOKEN")["taskToken"] == TOKEN


def test_a_job_that_another_try_created_and_that_is_not_seen_yet_is_looked_for_again(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud
) -> None:
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_client_error("create_training_job", "ResourceInUse", "Training job names must be unique", 400)
    sagemaker.add_client_error(*NOT_FOUND)
    with pytest.raises(Exception, match=f"training job {JOB} exists, and is not described yet") as caught:
        app.handler(sample_event("start_training"), CONTEXT)
    assert type(caught.value).__name__ == "DependencyFailed"


def test_a_retry_of_the_same_execution_is_no_restart(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    cloud.put(f"RUN#{RUN}", kind="RUN", status="RUNNING", executionArn=EXECUTION)
    sagemaker.add_response("describe_training_job", training_job("InProgress"))
    sagemaker.add_response("list_tags", tags_of_training())
    sagemaker.add_response("describe_training_job", training_job("InProgress"))
    app.handler(sample_event("start_training"), CONTEXT)
    assert not any(item["sk"].startswith("DECISION#restart") for item in cloud.table.scan()["Items"])


def test_a_restart_of_a_run_that_ended_without_a_reason_is_recorded(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud
) -> None:
    cloud.put(f"RUN#{RUN}", kind="RUN", status="ABORTED", executionArn=f"{EXECUTION}-before")
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_response("create_training_job", created())
    app.handler(sample_event("start_training"), CONTEXT)
    record = cloud.item(f"RUN#{RUN}", f"DECISION#restart#{EXECUTION.rpartition(':')[2]}")
    assert (record["verdict"], record["reasons"], record["figures"]["earlierStatus"]) == ("RESTARTED", [], "ABORTED")


def test_a_restart_after_a_change_of_the_stacks_parameters_adopts_the_job_as_the_run_created_it(
    load: Callable[..., ModuleType], stub: Callable[[Any], Stubber], cloud: Cloud
) -> None:
    app = load("start_training")
    first = stub(app.JOBS.client("sagemaker"))
    first.add_client_error(*NOT_FOUND)
    first.add_response("create_training_job", created())
    app.handler(sample_event("start_training"), CONTEXT)
    assert cloud.item(f"RUN#{RUN}", "DECISION#training")["figures"]["hyperparameter epochs"] == "20"

    app = load("start_training", HYPERPARAMETERS='{"epochs": 30}', MODEL_IMAGE_URI=IMAGE.replace("5f", "6f"))
    second = stub(app.JOBS.client("sagemaker"))
    second.add_response("describe_training_job", training_job())
    second.add_response("list_tags", tags_of_training())
    second.add_response("describe_training_job", training_job())
    stub(app.JOBS.client("stepfunctions")).add_response("send_task_success", {})
    assert app.handler(sample_event("start_training"), CONTEXT)["jobName"] == JOB


def test_a_redriven_run_trains_under_a_new_name(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    cloud.put(f"RUN#{RUN}", kind="RUN", status="FAILED", executionArn=EXECUTION)
    sagemaker.add_response("describe_training_job", training_job(status="Failed", FailureReason="AlgorithmError: NaN"))
    sagemaker.add_response("create_training_job", created(f"{JOB}-t2"), call_for(request.Run(RUN, VERSION, 2)))
    assert app.handler(sample_event("start_training"), CONTEXT)["jobName"] == f"{JOB}-t2"
    run = cloud.item(f"RUN#{RUN}")
    assert (run["status"], run["trainingAttempt"]) == ("RUNNING", 2)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("ResourceLimitExceeded", "CapacityUnavailable"),
        ("ThrottlingException", "DependencyFailed"),
        ("AccessDeniedException", "MissingResource"),
        ("ValidationException", "InvalidInput"),
    ],
)
def test_a_job_that_cannot_be_created_says_which_cause_it_has(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud, code: str, name: str
) -> None:
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_client_error("create_training_job", code, "no", 400, expected_params=ANY_CALL)
    with pytest.raises(Exception, match=f"CreateTrainingJob: {code}") as caught:
        app.handler(sample_event("start_training"), CONTEXT)
    assert type(caught.value).__name__ == name
    assert cloud.item(f"JOB#TRAINING#{JOB}", "TOKEN")["taskToken"] == TOKEN


ANY_CALL = dict.fromkeys(call_for(request.Run(RUN, VERSION, 1)), ANY)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"runId": "x"}, "runId must be a run id"),
        ({"datasetVersion": "v20261122t000000z-00000000"}, "does not belong to datasetVersion"),
        ({"taskToken": None}, "taskToken must be a string"),
    ],
)
def test_refuses_an_input_that_names_no_run(app: ModuleType, change: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match=words) as caught:
        app.handler({**sample_event("start_training"), **change}, CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"


@pytest.mark.fault("M18")
def test_a_version_ahead_of_now_is_not_trained_on(app: ModuleType, cloud: Cloud) -> None:
    version = "v20991231t235959z-0000dead"
    with pytest.raises(Exception, match="days ahead of the time, 2026-11-26 00:00 UTC") as caught:
        app.handler({**sample_event("start_training"), "runId": f"{version}-r1", "datasetVersion": version}, CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"
    assert cloud.table.scan()["Items"] == []


def test_no_line_of_the_log_has_the_token(
    app: ModuleType, sagemaker: Stubber, log: Callable[[], list[dict[str, Any]]]
) -> None:
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_response("create_training_job", created())
    app.handler(sample_event("start_training"), CONTEXT)
    lines = log()
    assert any(line["message"] == "training job started" and line["run_id"] == RUN for line in lines)
    assert TOKEN not in json.dumps(lines)
