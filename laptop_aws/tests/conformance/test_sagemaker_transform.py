"""Batch Transform of the emulated SageMaker against what AWS does."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from laptop_aws.tests.conformance.hosting import ACCOUNT, REGION, Host, eventually, unique
from laptop_aws.tests.conformance.sagemaker_fixtures import (
    EventTap,
    bucket,
    build_image,
    config_of,
    put_model,
    refusal,
    wait_for_log,
)


@pytest.fixture(scope="module")
def model(host: Host, image: str, place: str) -> str:
    """A model with a container that serves; `config_of` makes one under the configuration's name."""
    return config_of(host, image, put_model(host, place, "seven"))


def transform_request(place: str, model: str, bodies: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The request of a job with the inputs `bodies`, by name; ``put`` with the host first."""
    name = unique("transform")
    return {
        "TransformJobName": name,
        "ModelName": model,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{place}/{name}/input/"}},
            "ContentType": "application/json",
        },
        "TransformOutput": {"S3OutputPath": f"s3://{place}/{name}/lists", "Accept": "application/json"},
        "TransformResources": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
        "ModelClientConfig": {"InvocationsMaxRetries": 1, "InvocationsTimeoutInSeconds": 20},
        "_bodies": bodies,
    } | changes


def created(host: Host, place: str, request: dict[str, Any]) -> str:
    name = str(request["TransformJobName"])
    for key, body in request.pop("_bodies").items():
        host.client("s3").put_object(Bucket=place, Key=f"{name}/input/{key}", Body=json.dumps(body).encode())
    answer = host.client("sagemaker").create_transform_job(**request)
    assert answer["TransformJobArn"] == f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:transform-job/{name}"
    return name


def ended(host: Host, name: str) -> dict[str, Any]:
    def probe() -> Any:
        job = host.client("sagemaker").describe_transform_job(TransformJobName=name)
        return job if job["TransformJobStatus"] in ("Completed", "Failed", "Stopped") else None

    return dict(eventually(probe, 30))


def written(host: Host, place: str, name: str) -> dict[str, Any]:
    """The answers by their names below the output path."""
    s3 = host.client("s3")
    found = s3.list_objects_v2(Bucket=place, Prefix=f"{name}/lists/").get("Contents", [])
    return {
        entry["Key"].removeprefix(f"{name}/lists/"): json.loads(
            s3.get_object(Bucket=place, Key=entry["Key"])["Body"].read()
        )
        for entry in found
    }


def test_every_object_is_answered_and_the_events_are_sent(host: Host, place: str, model: str) -> None:
    tap = EventTap(host, "aws.sagemaker", "SageMaker Transform Job State Change")
    bodies = {"0000.json": {"shard": 0}, "nested/0001.json": {"shard": 1, "more": True}}
    request = transform_request(place, model, bodies, MaxConcurrentTransforms=2, Environment={"EXTRA": "given"})
    name = created(host, place, request)
    job = ended(host, name)
    assert job["TransformJobStatus"] == "Completed"
    assert job["CreationTime"] <= job["TransformStartTime"] <= job["TransformEndTime"]
    assert "FailureReason" not in job
    answers = written(host, place, name)
    assert sorted(answers) == ["0000.json.out", "nested/0001.json.out"]
    assert {answer["version"] for answer in answers.values()} == {"seven"}
    assert answers["nested/0001.json.out"]["length"] == len(json.dumps(bodies["nested/0001.json"]))
    environment = answers["0000.json.out"]["environment"]
    assert (environment["SAGEMAKER_BATCH"], environment["EXTRA"]) == ("true", "given")
    assert environment["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] == "2"
    events = tap.until(
        lambda event: (
            event["detail"]["TransformJobName"] == name and event["detail"]["TransformJobStatus"] == "Completed"
        )
    )
    mine = [event["detail"] for event in events if event["detail"]["TransformJobName"] == name]
    assert mine[0]["TransformJobStatus"] == "InProgress"
    assert mine[-1]["TransformOutput"] == request["TransformOutput"]
    wait_for_log(host, "/aws/sagemaker/TransformJobs", "serving")
    eventually(lambda: not (host.root / "work" / "transform" / name).exists())
    listed = host.client("sagemaker").list_transform_jobs(NameContains=name)["TransformJobSummaries"]
    assert [entry["TransformJobStatus"] for entry in listed] == ["Completed"]


def test_an_object_that_the_model_refuses_fails_the_job(host: Host, place: str, model: str) -> None:
    job = ended(host, created(host, place, transform_request(place, model, {"a.json": {"do": "refuse"}})))
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: See job logs for more information")
    assert "a.json: status 400" in job["FailureReason"]


def test_a_model_that_does_not_start_fails_the_job(host: Host, image: str, place: str) -> None:
    broken = config_of(host, image, put_model(host, place, "broken"), behaviour="exit")
    job = ended(host, created(host, place, transform_request(place, broken, {"a.json": {}})))
    assert job["TransformJobStatus"] == "Failed"
    assert "did not pass the ping health check" in job["FailureReason"]


def test_without_input_the_job_fails(host: Host, place: str, model: str) -> None:
    job = ended(host, created(host, place, transform_request(place, model, {})))
    assert job["TransformJobStatus"] == "Failed"
    assert "No S3 objects found" in job["FailureReason"]


def test_a_job_is_stopped(host: Host, image: str, place: str) -> None:
    never_healthy = config_of(host, image, put_model(host, place, "slow"), behaviour="unhealthy")
    name = created(host, place, transform_request(place, never_healthy, {"a.json": {}}))
    eventually(lambda: "TransformStartTime" in host.client("sagemaker").describe_transform_job(TransformJobName=name))
    host.client("sagemaker").stop_transform_job(TransformJobName=name)
    assert ended(host, name)["TransformJobStatus"] == "Stopped"
    assert written(host, place, name) == {}
    code, message = refusal(host.client("sagemaker").stop_transform_job, TransformJobName=name)
    assert (code, "status Stopped" in message) == ("ValidationException", True)


def test_a_name_is_given_once(host: Host, place: str, model: str) -> None:
    request = transform_request(place, model, {"a.json": {}})
    name = created(host, place, request)
    assert refusal(host.client("sagemaker").create_transform_job, **request)[0] == "ResourceInUse"
    ended(host, name)
    assert refusal(host.client("sagemaker").create_transform_job, **request)[0] == "ResourceInUse"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ModelName": "nobody"}, "Could not find model"),
        ({"MaxConcurrentTransforms": 20, "MaxPayloadInMB": 6}, "must not exceed 100 MB"),
        ({"TransformOutput": {"S3OutputPath": "https://folder/lists"}}, "not an S3 URI"),
        ({"TransformInput": {"SplitType": "Line"}}, "sends objects whole"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    host: Host, place: str, model: str, change: dict[str, Any], words: str
) -> None:
    request = transform_request(place, model, {})
    del request["_bodies"]
    if "TransformInput" in change:
        change = {"TransformInput": {**request["TransformInput"], **change["TransformInput"]}}
    code, message = refusal(host.client("sagemaker").create_transform_job, **(request | change))
    assert code == "ValidationException"
    assert words in message


def test_an_unknown_job_is_said_to_be_unknown(host: Host) -> None:
    code, message = refusal(host.client("sagemaker").describe_transform_job, TransformJobName="nobody")
    assert (code, "Could not find" in message) == ("ValidationException", True)


def test_a_job_that_ran_when_the_host_was_killed_failed(another_host: Callable[..., Host]) -> None:
    first = another_host().start()
    place, image = bucket(first), build_image(first)
    slow = config_of(first, image, put_model(first, place, "slow"), behaviour="unhealthy")
    name = created(first, place, transform_request(place, slow, {"a.json": {}}))
    eventually(lambda: "TransformStartTime" in first.client("sagemaker").describe_transform_job(TransformJobName=name))
    first.stop(signal.SIGTERM)
    second = another_host(first.root).start()
    job = ended(second, name)
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("InternalServerError")
