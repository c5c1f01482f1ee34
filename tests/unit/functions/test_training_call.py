"""The call that creates a training job: instances, hyperparameters, channels and metrics."""

from __future__ import annotations

import re
from typing import Any

import pytest

from shared.errors import InvalidInput
from start_training import attempt, request
from tests.unit.functions.cloud import (
    ARTIFACTS,
    DATA,
    DIGEST,
    IMAGE,
    JOB,
    RUN,
    TAGS,
    VERSION,
)


def call_for(run: request.Run, **changed: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "name_prefix": "ncf",
        "data_bucket": DATA,
        "artifacts_bucket": ARTIFACTS,
        "image_uri": IMAGE,
        "role_arn": "arn:aws:iam::123456789012:role/ncf-training",
        "instance_type": "ml.g4dn.xlarge",
        "use_spot": True,
        "max_runtime_seconds": 3600,
        "given_hyperparameters": {"epochs": 20, "learning_rate": 0.001, "mlp_layers": [64, 32, 16]},
    }
    return request.create_training_job(run, **{**settings, **changed})


def test_the_call_is_whole() -> None:
    assert call_for(request.Run(RUN, VERSION, 1, "s3://a/model.tar.gz")) == {
        "TrainingJobName": JOB,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": request.METRICS,
        },
        "RoleArn": "arn:aws:iam::123456789012:role/ncf-training",
        "InputDataConfig": [
            {
                "ChannelName": "dataset",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": f"s3://{DATA}/datasets/{VERSION}/",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
                "InputMode": "File",
            },
            {
                "ChannelName": "incumbent",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": "s3://a/model.tar.gz",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
                "InputMode": "File",
            },
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{ARTIFACTS}/training"},
        "CheckpointConfig": {"S3Uri": f"s3://{ARTIFACTS}/checkpoints/{JOB}/", "LocalPath": "/opt/ml/checkpoints"},
        "ResourceConfig": {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
        "HyperParameters": {
            "epochs": "20",
            "learning_rate": "0.001",
            "mlp_layers": "64,32,16",
            "run_id": RUN,
            "dataset_version": VERSION,
            "code_version": "5f" * 32,
        },
        "EnableManagedSpotTraining": True,
        "EnableNetworkIsolation": True,
        "Tags": [{"Key": "runId", "Value": RUN}, {"Key": "datasetVersion", "Value": VERSION}, *TAGS],
    }


def test_the_job_has_as_many_instances_as_the_template_says_and_at_least_one() -> None:
    run = request.Run(RUN, VERSION, 1)
    assert call_for(run, instance_count=3)["ResourceConfig"]["InstanceCount"] == 3
    with pytest.raises(InvalidInput, match="TrainingInstanceCount must be at least 1, not 0"):
        call_for(run, instance_count=0)


def test_without_spot_there_is_no_waiting_time_and_without_an_incumbent_no_channel() -> None:
    call = call_for(request.Run(RUN, VERSION, 1), use_spot=False)
    assert call["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600}
    assert [channel["ChannelName"] for channel in call["InputDataConfig"]] == ["dataset"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"run_id": "x"}, "run_id is set by the platform"),
        ({"incumbent_digest": DIGEST}, "incumbent_digest is set by the platform"),
        ({"layers": {"a": 1}}, "layers must be a string, a number, a boolean or a list, not {'a': 1}"),
        ({"note": "x" * 257}, "note has 257 characters, more than 256"),
        ({"note": None}, "note must be a string"),
    ],
)
def test_refuses_hyperparameters_that_sagemaker_would_not_take(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        request.hyperparameters(given, request.Run(RUN, VERSION, 1), IMAGE)
    assert words in str(caught.value)


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (False, "false"), (1, "1"), ("x" * 256, "x" * 256)])
def test_a_hyperparameter_is_text_as_the_container_reads_it(value: Any, text: str) -> None:
    assert request.hyperparameters({"note": value}, request.Run(RUN, VERSION, 1), IMAGE)["note"] == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10", "search must be a length of time from 1s to 24h, such as 90s, 10m or 2h, not '10'"),
        (10, "search must be a length of time from 1s to 24h, such as 90s, 10m or 2h, not 10"),
        ("-1m", "search must be a length of time"),
        ("abc", "search must be a length of time"),
        (
            "1h",
            "search is 1h, but the whole job may take 3600 s: shorten the search or raise TrainingMaxRuntimeSeconds",
        ),
    ],
)
def test_a_search_that_the_job_has_no_time_for_is_refused(text: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        call_for(request.Run(RUN, VERSION, 1), given_hyperparameters={"search": text})
    assert words in str(caught.value)


def test_a_search_travels_as_a_hyperparameter() -> None:
    call = call_for(request.Run(RUN, VERSION, 1), given_hyperparameters={"search": "59m"})
    assert call["HyperParameters"]["search"] == "59m"
    assert (
        call_for(request.Run(RUN, VERSION, 1), given_hyperparameters={"search": ""})["HyperParameters"]["search"] == ""
    )


def test_the_metric_definitions_read_the_lines_that_training_writes() -> None:
    epoch = "epoch=3/20 train_loss=0.2345 samples_per_second=812345 seconds=1.24"
    evaluation = (
        "evaluation hit_rate_at_10=0.7123 ndcg_at_10=0.4321 full_hit_rate_at_10=0.0912 full_ndcg_at_10=4.56e-02"
    )
    read = {metric["Name"]: re.findall(metric["Regex"], f"{epoch}\n{evaluation}") for metric in request.METRICS}
    assert read == {
        "TrainLoss": ["0.2345"],
        "SamplesPerSecond": ["812345"],
        "HitRateAt10": ["0.7123"],
        "NdcgAt10": ["0.4321"],
        "FullHitRateAt10": ["0.0912"],
        "FullNdcgAt10": ["4.56e-02"],
    }


@pytest.mark.parametrize(
    ("state", "described", "number"),
    [
        (None, None, 1),
        ({"status": "RUNNING"}, None, 1),
        ({"status": "RUNNING", "trainingAttempt": 3}, None, 3),
        ({"status": "RUNNING"}, {"TrainingJobStatus": "InProgress"}, 1),
        ({"status": "RUNNING"}, {"TrainingJobStatus": "Completed"}, 1),
        ({"status": "RUNNING"}, {"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: x"}, 1),
        ({"status": "FAILED"}, {"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: x"}, 2),
        ({"status": "ABORTED", "trainingAttempt": 2}, {"TrainingJobStatus": "Stopped"}, 3),
        ({"status": "FAILED"}, {"TrainingJobStatus": "Completed"}, 1),
        ({"status": "RUNNING"}, {"TrainingJobStatus": "Failed", "FailureReason": "CapacityError: none left"}, 2),
    ],
)
def test_a_failed_job_is_replaced_only_after_a_redrive_or_for_want_of_capacity(
    state: Any, described: dict[str, Any] | None, number: int
) -> None:
    assert attempt.following(state, described) == number
