"""Training jobs: the API operations, and the handling of a start and an end of the host."""

from __future__ import annotations

import re

from laptop_aws import objects
from laptop_aws.objects import S3Uri, TransferFailed
from laptop_aws.sagemaker import listing
from laptop_aws.sagemaker.job_runs import JobRuns
from laptop_aws.sagemaker.store import arn, store, tag
from laptop_aws.sagemaker.training_run import MESSAGES, TrainingRun
from laptop_aws.service_model import ServiceError, validation_error
from laptop_aws.store import Record, now, public, scope

INTERRUPTED = (
    "InternalServerError: We encountered an internal error. Please try again. "
    "(The embedded AWS ended while this training job ran.)"
)
runs: JobRuns[TrainingRun] = JobRuns("training", lambda: store.tables().training_jobs, "TrainingJobStatus")


# ---- operations ------------------------------------------------------------------------------------------------------


def create(request: Record) -> Record:
    name = request["TrainingJobName"]
    if name in store.tables().training_jobs:
        raise _name_in_use(name)
    _check(request)
    moment = now()
    job = {key: value for key, value in request.items() if key != "Tags"} | {
        "TrainingJobArn": arn("training-job", name),
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Starting",
        "SecondaryStatusTransitions": [
            {"Status": "Starting", "StartTime": moment, "StatusMessage": MESSAGES["Starting"]}
        ],
        "CreationTime": moment,
        "LastModifiedTime": moment,
        "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
        "EnableInterContainerTrafficEncryption": request.get("EnableInterContainerTrafficEncryption", False),
        "EnableManagedSpotTraining": request.get("EnableManagedSpotTraining", False),
        "StoppingCondition": {"MaxRuntimeInSeconds": 86_400} | request.get("StoppingCondition", {}),
        "ProfilingStatus": "Disabled",
    }
    with store.lock:
        if name in store.tables().training_jobs:
            raise _name_in_use(name)
        store.tables().training_jobs[name] = job
        run = TrainingRun(job)
        runs.add(name, run)
    tag(job["TrainingJobArn"], request.get("Tags"))
    runs.start(name, run)
    return {"TrainingJobArn": job["TrainingJobArn"]}


def describe(request: Record) -> Record:
    with store.lock:
        return public(_find(request["TrainingJobName"]))


def stop(request: Record) -> Record:
    runs.stop(request["TrainingJobName"], _find)
    return {}


def list_jobs(request: Record) -> Record:
    with store.lock:
        rows, token = listing.select(
            store.tables().training_jobs.values(), request, name="TrainingJobName", status="TrainingJobStatus"
        )
        members = (
            "TrainingJobName",
            "TrainingJobArn",
            "CreationTime",
            "TrainingEndTime",
            "LastModifiedTime",
            "TrainingJobStatus",
            "SecondaryStatus",
        )
        return listing.answer("TrainingJobSummaries", [listing.summary(row, *members) for row in rows], token)


def _find(name: str) -> Record:
    job = store.tables().training_jobs.get(name)
    if job is None:
        raise validation_error("Requested resource not found.")
    return job


def _name_in_use(name: str) -> ServiceError:
    return ServiceError(
        "ResourceInUse",
        "Training job names must be unique within an AWS account and region, and a training job with this name "
        "already exists "
        f"({arn('training-job', name)})",
    )


def _check(request: Record) -> None:
    """Checks that AWS makes at once, beyond the service model. Raises ServiceError."""
    algorithm = request["AlgorithmSpecification"]
    if not algorithm.get("TrainingImage"):
        raise validation_error(
            "You must specify a TrainingImage: the embedded AWS has no built-in or Marketplace algorithms."
        )
    if (count := request.get("ResourceConfig", {}).get("InstanceCount", 1)) < 1:
        raise validation_error(f"Invalid InstanceCount {count} in ResourceConfig: it must be at least 1.")
    for definition in algorithm.get("MetricDefinitions", ()):
        try:
            re.compile(definition["Regex"])
        except re.error as error:
            raise validation_error(
                f"Invalid regular expression {definition['Regex']!r} of metric {definition['Name']!r}: {error}"
            ) from None
    if request.get("EnableManagedSpotTraining"):
        condition = request.get("StoppingCondition", {})
        if condition.get("MaxWaitTimeInSeconds", -1) < condition.get("MaxRuntimeInSeconds", 86_400):
            raise validation_error(
                "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds "
                "when EnableManagedSpotTraining is set to true"
            )
    names = [channel["ChannelName"] for channel in request.get("InputDataConfig", ())]
    if len(set(names)) != len(names):
        raise validation_error(f"Input channel names must be unique: {', '.join(names)}")
    for channel in request.get("InputDataConfig", ()):
        _check_channel(channel, channel.get("InputMode", algorithm["TrainingInputMode"]), request.get("RoleArn", ""))


def _check_channel(channel: Record, mode: str, role: str) -> None:
    source = channel["DataSource"].get("S3DataSource")
    if source is None or source["S3DataType"] != "S3Prefix" or mode == "Pipe":
        raise validation_error(
            f"Channel {channel['ChannelName']!r}: the embedded AWS reads S3DataSource with S3DataType S3Prefix in "
            "modes File and FastFile only."
        )
    try:
        uri = S3Uri.parse(source["S3Uri"])
        found = objects.list_keys(uri)
    except TransferFailed:
        found = []
    if not found:
        bucket = source["S3Uri"].removeprefix("s3://").partition("/")[0]
        raise validation_error(
            f'No S3 objects found under S3 URL "{source["S3Uri"]}" given in input data source. Please ensure that '
            "the bucket exists in the selected "
            f'region ({scope()[1]}), that objects exist under that S3 prefix, and that the role "{role}" has '
            '"s3:ListBucket" permissions on '
            f'bucket "{bucket}".'
        )


# ---- the host's life -------------------------------------------------------------------------------------------------


def fail_interrupted() -> None:
    """Marks the jobs that ran when the host ended as Failed, and sends their events."""
    runs.fail_interrupted(TrainingRun, INTERRUPTED)
