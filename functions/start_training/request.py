"""The CreateTrainingJob call of a run. Pure. The container's side: docs/reference/contracts.md, "Container"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts import lines
from contracts.durations import seconds_of
from contracts.limits import PARAMETER_CHARACTERS
from contracts.values import is_number, shown
from shared import names, tags, volumes
from shared.errors import InvalidInput

METRICS = [{"Name": name, "Regex": regex} for name, regex in lines.METRICS.items()]
VOLUME_GIGABYTES = 50
IDENTITY = ("runId", "datasetVersion")
"""Tags that say whose job it is; the others say who pays."""
_OURS = ("run_id", "dataset_version", "code_version", "incumbent_digest")


@dataclass(frozen=True)
class Run:
    """The run that trains; `incumbent_url` is the serving model's archive, None before the first model, and
    `incumbent_digest` that of its bundle, None if the model was promoted before digests were recorded.
    """

    run_id: str
    dataset_version: str
    attempt: int
    incumbent_url: str | None = None
    incumbent_digest: str | None = None


def from_event(event: dict[str, Any]) -> tuple[str, str]:
    """Return run id and dataset version of the state's input. Raises InvalidInput if one is invalid or they do not
    belong together.
    """
    run_id = names.require_run_id(event.get("runId"))
    version = names.require_dataset_version(event.get("datasetVersion"), "datasetVersion")
    if names.version_of(run_id) != version:
        raise InvalidInput(f"runId {run_id} does not belong to datasetVersion {version}")
    return run_id, version


def code_version(image_uri: str) -> str:
    """Return the image's digest, which identifies the version of the code."""
    return image_uri.rpartition("@sha256:")[2]


def hyperparameters(given: dict[str, Any], run: Run, image_uri: str) -> dict[str, str]:
    """Return all hyperparameters as strings, as SageMaker requires. Raises InvalidInput naming an invalid one."""
    values: dict[str, str] = {}
    for name, value in given.items():
        if name in _OURS:
            raise InvalidInput(f"Hyperparameters.{name} is set by the platform")
        if isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, list):
            text = ",".join(str(part) for part in value)
        elif isinstance(value, str) or is_number(value):
            text = str(value)
        else:
            raise InvalidInput(
                f"Hyperparameters.{name} must be a string, a number, a boolean or a list, not {shown(value)}"
            )
        if len(text) > PARAMETER_CHARACTERS:
            raise InvalidInput(f"Hyperparameters.{name} has {len(text)} characters, more than {PARAMETER_CHARACTERS}")
        values[name] = text
    if run.incumbent_digest:
        values["incumbent_digest"] = run.incumbent_digest
    return values | {
        "run_id": run.run_id,
        "dataset_version": run.dataset_version,
        "code_version": code_version(image_uri),
    }


def require_time_for_search(given: dict[str, Any], max_runtime_seconds: int) -> None:
    """Raise InvalidInput unless `search`, where it is given, is a length of time that leaves the job time to train."""
    text = given.get("search") or ""
    if text == "":
        return
    try:
        seconds = seconds_of(str(text))
    except ValueError as error:
        raise InvalidInput(f"Hyperparameters.search {error}, not {shown(text)}") from error
    if seconds >= max_runtime_seconds:
        raise InvalidInput(
            f"Hyperparameters.search is {text}, but the whole job may take {max_runtime_seconds} s: shorten the search "
            "or raise TrainingMaxRuntimeSeconds"
        )


def create_training_job(
    run: Run,
    *,
    name_prefix: str,
    data_bucket: str,
    artifacts_bucket: str,
    image_uri: str,
    role_arn: str,
    instance_type: str,
    instance_count: int = 1,
    use_spot: bool,
    max_runtime_seconds: int,
    given_hyperparameters: dict[str, Any],
    kms_key_arn: str = "",
) -> dict[str, Any]:
    """Return the call. With spot capacity the job may wait for as long as it may run.

    Every instance gets all channels, and the checkpoints. Raises InvalidInput for less than one instance.
    """
    if instance_count < 1:
        raise InvalidInput(f"TrainingInstanceCount must be at least 1, not {instance_count}")
    require_time_for_search(given_hyperparameters, max_runtime_seconds)
    name = names.training_job(name_prefix, run.run_id, run.attempt)
    channels = [_channel("dataset", f"s3://{data_bucket}/datasets/{run.dataset_version}/")]
    if run.incumbent_url:
        channels.append(_channel("incumbent", run.incumbent_url))
    stopping = {"MaxRuntimeInSeconds": max_runtime_seconds}
    if use_spot:
        stopping["MaxWaitTimeInSeconds"] = 2 * max_runtime_seconds
    volume_key = volumes.key_of(instance_type, kms_key_arn)
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": image_uri,
            "TrainingInputMode": "File",
            "MetricDefinitions": METRICS,
        },
        "RoleArn": role_arn,
        "InputDataConfig": channels,
        "OutputDataConfig": {
            "S3OutputPath": f"s3://{artifacts_bucket}/training",
            **({"KmsKeyId": kms_key_arn} if kms_key_arn else {}),
        },
        "CheckpointConfig": {
            "S3Uri": f"s3://{artifacts_bucket}/checkpoints/{name}/",
            "LocalPath": "/opt/ml/checkpoints",
        },
        "ResourceConfig": {
            "InstanceType": instance_type,
            "InstanceCount": instance_count,
            "VolumeSizeInGB": VOLUME_GIGABYTES,
            **({"VolumeKmsKeyId": volume_key} if volume_key else {}),
        },
        "StoppingCondition": stopping,
        "HyperParameters": hyperparameters(given_hyperparameters, run, image_uri),
        "EnableManagedSpotTraining": use_spot,
        "EnableNetworkIsolation": True,
        "Tags": tags.listed(name_prefix, runId=run.run_id, datasetVersion=run.dataset_version),
    }


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}
