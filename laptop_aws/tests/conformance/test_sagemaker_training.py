"""Training jobs of the emulated SageMaker against what AWS does."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from laptop_aws.tests.conformance.hosting import ACCOUNT, REGION, ROLE, Host, eventually, unique
from laptop_aws.tests.conformance.sagemaker_fixtures import (
    EventTap,
    archive_members,
    bucket,
    build_image,
    channel,
    ended_job,
    is_alive,
    refusal,
    trained,
    training_request,
    wait_for_log,
)

LOG_GROUP = "/aws/sagemaker/TrainingJobs"


def job_arn(name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{name}"


def own_lines(host: Host, name: str) -> list[str]:
    found = host.client("logs").filter_log_events(logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/algo-1-")[
        "events"
    ]
    return [event["message"] for event in found]


# ---- a job that completes ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def completed(host: Host, image: str, place: str) -> dict[str, Any]:
    host.client("s3").put_object(Bucket=place, Key="earlier/model.tar.gz", Body=b"the incumbent")
    return trained(
        host,
        image,
        place,
        hyperparameters={"epochs": 2, "mlp_layers": "64,32"},
        InputDataConfig=[
            channel("dataset", f"s3://{place}/datasets/v1/"),
            channel("incumbent", f"s3://{place}/earlier/model.tar.gz"),
        ],
        Environment={"EXTRA": "given"},
    )


@pytest.fixture(scope="module")
def seen(host: Host, completed: dict[str, Any]) -> dict[str, Any]:
    """The training process's inputs and environment, which it writes into its model."""
    return dict(json.loads(archive_members(host, completed["ModelArtifacts"]["S3ModelArtifacts"])["bundle.json"]))


def test_a_job_passes_through_the_states_of_aws(completed: dict[str, Any]) -> None:
    assert (completed["TrainingJobStatus"], completed["SecondaryStatus"]) == ("Completed", "Completed")
    assert [entry["Status"] for entry in completed["SecondaryStatusTransitions"]] == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert all(entry["StartTime"] <= entry["EndTime"] for entry in completed["SecondaryStatusTransitions"])
    assert completed["CreationTime"] <= completed["TrainingStartTime"] <= completed["TrainingEndTime"]
    assert completed["TrainingTimeInSeconds"] >= 1
    assert "FailureReason" not in completed


def test_channels_keep_the_structure_below_their_prefix(seen: dict[str, Any], place: str) -> None:
    assert seen["files"] == ["dataset/manifest.json", "dataset/train/part-00000.csv", "incumbent/model.tar.gz"]
    assert seen["contents"]["part-00000.csv"] == "content of datasets/v1/train/part-00000.csv"


def test_hyperparameters_arrive_as_text(seen: dict[str, Any]) -> None:
    assert seen["config"]["hyperparameters"] == {"epochs": "2", "mlp_layers": "64,32"}
    assert sorted(seen["config"]["inputdataconfig"]) == ["dataset", "incumbent"]
    assert seen["config"]["inputdataconfig"]["dataset"]["TrainingInputMode"] == "File"
    assert seen["config"]["resourceconfig"]["hosts"] == ["algo-1"]


def test_training_has_its_own_environment_and_no_way_to_aws(
    host: Host, seen: dict[str, Any], completed: dict[str, Any]
) -> None:
    environment = seen["environment"]
    assert environment["TRAINING_JOB_NAME"] == completed["TrainingJobName"]
    assert environment["EXTRA"] == "given"
    assert environment["PYTHONPATH"].endswith("/library")
    assert not {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "LAPTOP_AWS_DIR"} & environment.keys()
    assert seen["group"] == seen["pid"], "the process leads a group of its own"


def test_artefacts_lie_where_sagemaker_puts_them(host: Host, completed: dict[str, Any], place: str) -> None:
    folder = f"s3://{place}/training/{completed['TrainingJobName']}/output"
    assert completed["ModelArtifacts"]["S3ModelArtifacts"] == f"{folder}/model.tar.gz"
    assert sorted(archive_members(host, f"{folder}/model.tar.gz")) == ["bundle.json", "nested", "nested/version.txt"]
    assert sorted(archive_members(host, f"{folder}/output.tar.gz")) == ["evaluation.json"]


def test_metrics_are_the_last_finite_values_of_the_log(completed: dict[str, Any]) -> None:
    assert {entry["MetricName"]: entry["Value"] for entry in completed["FinalMetricDataList"]} == {"TrainLoss": 0.25}


def test_output_is_in_cloudwatch_logs_and_in_a_file(host: Host, completed: dict[str, Any]) -> None:
    name = completed["TrainingJobName"]
    assert own_lines(host, name)[:2] == ["epoch=1/2 train_loss=0.5", "epoch=2/2 train_loss=0.25"]
    assert "epoch=2/2 train_loss=0.25" in (host.root / "logs" / "training" / f"{name}.log").read_text().splitlines()


def test_temporary_files_are_deleted_at_the_end(host: Host, completed: dict[str, Any]) -> None:
    eventually(lambda: not (host.root / "work" / "training" / completed["TrainingJobName"]).exists())


# ---- jobs that fail, stop or run too long -------------------------------------------------------------------------


def test_a_failure_file_becomes_the_reason(host: Host, image: str, place: str) -> None:
    hyperparameters = {"behaviour": "fail", "status": 3, "failure": "the dataset has no test users"}
    job = trained(host, image, place, hyperparameters=hyperparameters)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert job["FailureReason"] == "AlgorithmError: the dataset has no test users, exit code: 3"
    assert "ModelArtifacts" not in job
    keys = host.client("s3").list_objects_v2(Bucket=place, Prefix=f"training/{job['TrainingJobName']}/")["Contents"]
    assert [entry["Key"].rpartition("/")[2] for entry in keys] == ["output.tar.gz"]


def test_without_a_failure_file_the_last_words_on_stderr_are_the_reason(host: Host, image: str, place: str) -> None:
    job = trained(host, image, place, hyperparameters={"behaviour": "fail", "status": 1})
    assert job["FailureReason"] == "AlgorithmError: ValueError: the loss is not finite, exit code: 1"


def test_a_long_reason_keeps_its_exit_code(host: Host, image: str, place: str) -> None:
    hyperparameters = {"behaviour": "fail", "status": 5, "failure": "x" * 2000}
    reason = trained(host, image, place, hyperparameters=hyperparameters)["FailureReason"]
    assert len(reason) == 1024
    assert reason.endswith("xxx, exit code: 5")


def test_an_unknown_image_fails_the_job(host: Host, image: str, place: str) -> None:
    missing = image[:-64] + 64 * "0"
    request = training_request(missing, place)
    host.client("sagemaker").create_training_job(**request)
    job = ended_job(host, request["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Cannot pull algorithm container.")


def test_a_stopped_job_gets_sigterm_and_keeps_what_it_saved(host: Host, image: str, place: str) -> None:
    request = training_request(image, place, hyperparameters={"behaviour": "wait"})
    name = request["TrainingJobName"]
    host.client("sagemaker").create_training_job(**request)
    eventually(lambda: "waiting" in own_lines(host, name))
    host.client("sagemaker").stop_training_job(TrainingJobName=name)
    job = ended_job(host, name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert [entry["Status"] for entry in job["SecondaryStatusTransitions"]][-2:] == ["Stopping", "Stopped"]
    assert archive_members(host, job["ModelArtifacts"]["S3ModelArtifacts"])["stopped.txt"] == b"saved on SIGTERM"
    assert refusal(host.client("sagemaker").stop_training_job, TrainingJobName=name) == (
        "ValidationException",
        "The request was rejected because the training job is in status Stopped.",
    )


def test_a_job_over_its_time_is_stopped_and_never_completed(host: Host, image: str, place: str) -> None:
    job = trained(
        host, image, place, hyperparameters={"behaviour": "wait"}, StoppingCondition={"MaxRuntimeInSeconds": 1}
    )
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_checkpoints_come_from_s3_and_go_back(host: Host, image: str, place: str) -> None:
    prefix = unique("checkpoints")
    host.client("s3").put_object(Bucket=place, Key=f"{prefix}/step-0.json", Body=b"{}")
    job = trained(host, image, place, CheckpointConfig={"S3Uri": f"s3://{place}/{prefix}"})
    found = json.loads(archive_members(host, job["ModelArtifacts"]["S3ModelArtifacts"])["bundle.json"])
    assert found["checkpoints"] == ["step-0.json"]
    keys = host.client("s3").list_objects_v2(Bucket=place, Prefix=f"{prefix}/")["Contents"]
    assert [entry["Key"].rpartition("/")[2] for entry in keys] == ["step-0.json", "step-1.json"]


# ---- refusals ----------------------------------------------------------------------------------------------------


def test_a_name_is_used_once(host: Host, image: str, place: str, completed: dict[str, Any]) -> None:
    name = completed["TrainingJobName"]
    request = training_request(image, place, TrainingJobName=name)
    code, message = refusal(host.client("sagemaker").create_training_job, **request)
    assert code == "ResourceInUse"
    assert message == (
        "Training job names must be unique within an AWS account and region, and a training job with this name "
        f"already exists ({job_arn(name)})"
    )


def test_an_absent_job_is_not_found_in_aws_words(host: Host) -> None:
    for call in (host.client("sagemaker").describe_training_job, host.client("sagemaker").stop_training_job):
        assert refusal(call, TrainingJobName="absent") == ("ValidationException", "Requested resource not found.")


def test_no_objects_under_the_prefix_is_refused_at_once(host: Host, image: str, place: str) -> None:
    request = training_request(image, place, InputDataConfig=[channel("dataset", f"s3://{place}/nothing/")])
    code, message = refusal(host.client("sagemaker").create_training_job, **request)
    assert code == "ValidationException"
    assert message.startswith(f'No S3 objects found under S3 URL "s3://{place}/nothing/" given in input data source.')


def test_spot_needs_a_waiting_time(host: Host, image: str, place: str) -> None:
    request = training_request(image, place, EnableManagedSpotTraining=True)
    code, message = refusal(host.client("sagemaker").create_training_job, **request)
    assert (code, message.split(".")[0]) == ("ValidationException", "Invalid MaxWaitTimeInSeconds")


@pytest.fixture
def unchecked(host: Host) -> Any:
    return host.unchecked_client("sagemaker")


def test_missing_members_are_listed_as_on_aws(unchecked: Any) -> None:
    code, message = refusal(unchecked.create_training_job, TrainingJobName="job", AlgorithmSpecification={})
    assert code == "ValidationException"
    head, _, problems = message.partition(" detected: ")
    assert head == "3 validation errors"
    assert sorted(problems.split("; ")) == [
        f"Value null at '{name}' failed to satisfy constraint: Member must not be null"
        for name in ("algorithmSpecification.trainingInputMode", "outputDataConfig", "roleArn")
    ]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"TrainingJobName": "under_score"},
            "Value 'under_score' at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular "
            "expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        ),
        (
            {"TrainingJobName": "a" * 64},
            f"Value '{'a' * 64}' at 'trainingJobName' failed to satisfy constraint: Member must have length less than "
            "or equal to 63",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
            "Value '0' at 'stoppingCondition.maxRuntimeInSeconds' failed to satisfy constraint: Member must have value "
            "greater than or equal to 1",
        ),
        (
            {"InputDataConfig": [channel("bad name", "s3://bucket/x")]},
            "Value 'bad name' at 'inputDataConfig.1.member.channelName' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: [A-Za-z0-9\\.\\-_]+",
        ),
        (
            {"HyperParameters": {"epochs": "1" * 2501}},
            "Value at 'hyperParameters' failed to satisfy constraint: Map value must satisfy constraint: [Member must "
            "have length less than or equal to 2500]",
        ),
    ],
)
def test_values_out_of_bounds_are_refused_in_aws_words(
    unchecked: Any, image: str, place: str, changes: dict[str, Any], problem: str
) -> None:
    code, message = refusal(unchecked.create_training_job, **training_request(image, place, **changes))
    assert code == "ValidationException"
    assert problem in message
    assert message.startswith(("1 validation error detected: ", "2 validation errors detected: "))


def test_a_value_outside_an_enumeration_names_the_values(unchecked: Any) -> None:
    code, message = refusal(unchecked.list_training_jobs, StatusEquals="Done")
    assert (code, message) == (
        "ValidationException",
        "1 validation error detected: Value 'Done' at 'statusEquals' failed to satisfy constraint: Member must satisfy "
        "enum value set: [InProgress, Completed, Failed, Stopping, Stopped, Deleting]",
    )


def test_a_wrong_json_type_is_a_serialization_error(unchecked: Any) -> None:
    assert refusal(unchecked.describe_training_job, TrainingJobName=["a"])[0] == "SerializationException"


def test_an_unsupported_operation_is_reported(host: Host) -> None:
    code, message = refusal(host.client("sagemaker").list_notebook_instances)
    assert code == "UnknownOperationException"
    assert "ListNotebookInstances" in message


# ---- lists, tags, events -----------------------------------------------------------------------------------------


def test_lists_filter_and_page(host: Host, image: str, place: str) -> None:
    stem = unique("listed")
    names = [f"{stem}-{number}" for number in range(5)]
    for name in names:
        host.client("sagemaker").create_training_job(**training_request(image, place, TrainingJobName=name))
    for name in names:
        ended_job(host, name)
    pages = list(
        host.client("sagemaker")
        .get_paginator("list_training_jobs")
        .paginate(NameContains=stem, StatusEquals="Completed", PaginationConfig={"PageSize": 2})
    )
    assert [len(page["TrainingJobSummaries"]) for page in pages] == [2, 2, 1]
    assert [entry["TrainingJobName"] for page in pages for entry in page["TrainingJobSummaries"]] == names
    newest = host.client("sagemaker").list_training_jobs(NameContains=stem, SortOrder="Descending", MaxResults=1)
    assert newest["TrainingJobSummaries"][0]["TrainingJobName"] == names[-1]
    none = host.client("sagemaker").list_training_jobs(NameContains=stem, StatusEquals="Failed")
    assert none["TrainingJobSummaries"] == []


def test_tags_are_added_listed_and_deleted(host: Host, completed: dict[str, Any]) -> None:
    client, arn = host.client("sagemaker"), completed["TrainingJobArn"]
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "run", "Value": "r1"}, {"Key": "team", "Value": "shop"}])
    client.delete_tags(ResourceArn=arn, TagKeys=["team"])
    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "run", "Value": "r1"}]
    code, _ = refusal(client.list_tags, ResourceArn=job_arn("absent"))
    assert code == "ValidationException"


def test_each_change_is_an_event_in_the_documented_shape(host: Host, image: str, place: str) -> None:
    tap = EventTap(host, "aws.sagemaker", "SageMaker Training Job State Change")
    hyperparameters = {"behaviour": "fail", "status": 3, "failure": "no"}
    job = trained(host, image, place, hyperparameters=hyperparameters, Tags=[{"Key": "runId", "Value": "v1-r1"}])
    name = job["TrainingJobName"]
    events = tap.until(lambda event: event["detail"]["TrainingJobStatus"] == "Failed")
    own = [event for event in events if event["detail"]["TrainingJobName"] == name]
    assert [event["detail"]["SecondaryStatus"] for event in own] == ["Starting", "Downloading", "Training", "Failed"]
    last = own[-1]
    assert last["resources"] == [job["TrainingJobArn"]]
    assert last["account"] == ACCOUNT
    detail = last["detail"]
    assert detail["FailureReason"] == "AlgorithmError: no, exit code: 3"
    assert detail["Tags"] == {"runId": "v1-r1"}
    assert detail["HyperParameters"] == hyperparameters | {"status": "3"}
    assert detail["RoleArn"] == ROLE
    assert detail["CreationTime"] == int(job["CreationTime"].timestamp() * 1000)
    assert detail["SecondaryStatusTransitions"][0]["Status"] == "Starting"


# ---- what outlives what ------------------------------------------------------------------------------------------


def test_sigkill_follows_when_sigterm_is_ignored(another_host: Any) -> None:
    host = another_host(LAPTOP_AWS_STOP_GRACE_SECONDS="0.5").start()
    image, place = build_image(host), bucket(host)
    request = training_request(image, place, hyperparameters={"behaviour": "hang"})
    host.client("sagemaker").create_training_job(**request)
    wait_for_log(host, LOG_GROUP, "waiting")
    host.client("sagemaker").stop_training_job(TrainingJobName=request["TrainingJobName"])
    assert ended_job(host, request["TrainingJobName"], 10)["TrainingJobStatus"] == "Stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_that_ran_when_the_host_ended_is_failed_and_leaves_no_process(another_host: Any, number: int) -> None:
    host = another_host().start()
    image, place = build_image(host), bucket(host)
    finished = trained(host, image, place)
    request = training_request(image, place, hyperparameters={"behaviour": "hang"})
    name = request["TrainingJobName"]
    host.client("sagemaker").create_training_job(**request)
    wait_for_log(host, LOG_GROUP, "waiting")
    bundle = host.root / "work" / "training" / name / "model" / "bundle.json"
    pid = json.loads(bundle.read_text())["pid"]
    assert is_alive(pid)
    eventually(lambda: name in "".join(path.read_text() for path in (host.root / "state").glob("sagemaker*.json")), 20)
    host.stop(number)
    eventually(lambda: not is_alive(pid))

    again = another_host(host.root).start()
    job = ended_job(again, name)
    assert job["FailureReason"].startswith("InternalServerError: We encountered an internal error. Please try again.")
    assert not bundle.exists()
    earlier = again.client("sagemaker").describe_training_job(TrainingJobName=finished["TrainingJobName"])
    assert earlier["TrainingJobStatus"] == "Completed"


# ---- several instances -----------------------------------------------------------------------------------------------


TWO = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 30}


def test_each_instance_has_its_own_folder_the_whole_data_and_the_names_of_all(
    host: Host, image: str, place: str
) -> None:
    job = trained(host, image, place, ResourceConfig=TWO)
    assert job["TrainingJobStatus"] == "Completed", job["FailureReason"]
    members = archive_members(host, job["ModelArtifacts"]["S3ModelArtifacts"])
    first, second = (json.loads(members[f"127.0.0.{number}.json"]) for number in (1, 2))
    for number, seen in enumerate((first, second), start=1):
        resources = seen["config"]["resourceconfig"]
        assert (resources["current_host"], resources["hosts"]) == (f"127.0.0.{number}", ["127.0.0.1", "127.0.0.2"])
        assert resources["network_interface_name"] == "lo"
        assert seen["files"] == ["dataset/manifest.json", "dataset/train/part-00000.csv"]
    bases = {seen["environment"]["SAGEMAKER_BASE_DIR"] for seen in (first, second)}
    assert len(bases) == 2
    assert first["environment"]["MASTER_PORT"] == second["environment"]["MASTER_PORT"]
    streams = host.client("logs").describe_log_streams(
        logGroupName=LOG_GROUP, logStreamNamePrefix=f"{job['TrainingJobName']}/"
    )["logStreams"]
    assert [stream["logStreamName"].split("/")[1][:6] for stream in streams] == ["algo-1", "algo-2"]


def test_an_instance_that_fails_ends_the_job_with_its_reason_and_the_others(host: Host, image: str, place: str) -> None:
    behaviour = {"behaviour": "hang", "behaviour-127.0.0.2": "fail", "status": 3, "failure": "the second one failed"}
    job = trained(host, image, place, ResourceConfig=TWO, hyperparameters=behaviour)
    assert (job["TrainingJobStatus"], job["FailureReason"]) == (
        "Failed",
        "AlgorithmError: the second one failed, exit code: 3",
    )
    eventually(lambda: not (host.root / "work" / "training" / job["TrainingJobName"]).exists())


def test_an_instance_that_ends_early_with_success_leaves_the_job_to_the_others(
    host: Host, image: str, place: str
) -> None:
    request = training_request(
        image, place, ResourceConfig=TWO, hyperparameters={"behaviour": "wait", "behaviour-127.0.0.2": "train"}
    )
    host.client("sagemaker").create_training_job(**request)
    eventually(lambda: "waiting" in own_lines(host, request["TrainingJobName"]))
    host.client("sagemaker").stop_training_job(TrainingJobName=request["TrainingJobName"])
    assert ended_job(host, request["TrainingJobName"])["TrainingJobStatus"] == "Stopped"


def test_a_job_without_an_instance_is_refused(host: Host, image: str, place: str) -> None:
    request = training_request(image, place, ResourceConfig=TWO | {"InstanceCount": 0})
    code, message = refusal(host.client("sagemaker").create_training_job, **request)
    assert code == "ValidationException"
    assert "InstanceCount 0" in message
