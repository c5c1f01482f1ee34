"""The outcome of a job from its AWS description; None while the job has not ended. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.records import JobError

_OUT_OF_TIME = {"MaxRuntimeExceeded", "MaxWaitTimeExceeded"}


@dataclass(frozen=True)
class Outcome:
    """The end of a job: `output` on success, otherwise `error` and `cause` (a sentence)."""

    output: dict[str, Any] | None = None
    error: JobError | None = None
    cause: str | None = None


def training(job: dict[str, Any]) -> Outcome | None:
    """Return the outcome of a training job, from DescribeTrainingJob."""
    name, status = job["TrainingJobName"], job["TrainingJobStatus"]
    if status == "Completed":
        model = job.get("ModelArtifacts", {}).get("S3ModelArtifacts", "")
        return Outcome(
            output={
                "jobName": name,
                "modelDataUrl": model,
                "outputUrl": f"{job['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{name}/output/output.tar.gz",
                "image": job["AlgorithmSpecification"]["TrainingImage"],
                "instanceType": job.get("ResourceConfig", {}).get("InstanceType"),
                "instanceCount": job.get("ResourceConfig", {}).get("InstanceCount"),
            }
        )
    if status == "Failed":
        reason = job.get("FailureReason") or "no reason was given"
        error = JobError.CAPACITY_UNAVAILABLE if reason.startswith("CapacityError") else JobError.TRAINING_FAILED
        return Outcome(error=error, cause=f"training job {name} failed: {reason}")
    if status == "Stopped":
        how = job.get("SecondaryStatus", "Stopped")
        if how in _OUT_OF_TIME:
            return Outcome(
                error=JobError.TRAINING_FAILED,
                cause=f"training job {name} ran out of time ({how}); the model of a stopped job is not used",
            )
        return Outcome(error=JobError.TRAINING_STOPPED, cause=f"training job {name} was stopped by a request")
    return None


def transform(job: dict[str, Any], run_id: str) -> Outcome | None:
    """Return the outcome of the transform job that writes the lists of a run, from DescribeTransformJob."""
    name, status = job["TransformJobName"], job["TransformJobStatus"]
    if status == "Completed":
        return Outcome(output={"outcome": "Written", "runId": run_id, "jobName": name})
    if status == "Failed":
        reason = job.get("FailureReason") or "no reason was given"
        error = JobError.CAPACITY_UNAVAILABLE if reason.startswith("CapacityError") else JobError.TRANSFORM_FAILED
        return Outcome(error=error, cause=f"transform job {name} failed: {reason}")
    if status == "Stopped":
        return Outcome(error=JobError.TRANSFORM_STOPPED, cause=f"transform job {name} was stopped by a request")
    return None


def preparation(job: dict[str, Any], dataset_version: str) -> Outcome | None:
    """Return the outcome of the EMR Serverless job run that writes `dataset_version`, from GetJobRun."""
    name, run, state = job.get("name", ""), job["jobRunId"], job["state"]
    if state == "SUCCESS":
        return Outcome(output={"datasetVersion": dataset_version, "jobRunId": run, "alreadyPrepared": False})
    details = job.get("stateDetails") or "no reason was given"
    if state == "FAILED":
        return Outcome(error=JobError.PREPARATION_FAILED, cause=f"preparation job {name} ({run}) failed: {details}")
    if state == "CANCELLED":
        remedy = "; the parameter PreparationTimeoutMinutes sets the limit" if "timeout" in details.lower() else ""
        cause = f"preparation job {name} ({run}) was cancelled: {details}{remedy}"
        return Outcome(error=JobError.PREPARATION_STOPPED, cause=cause)
    return None


def endpoint(description: dict[str, Any] | None, name: str, wanted: str) -> Outcome | None:
    """Return the outcome of an endpoint's creation or update to the configuration `wanted`, from DescribeEndpoint
    (None: the endpoint does not exist).

    InService alone is not enough: after an automatic rollback the endpoint is InService on the earlier configuration.
    """
    if description is None:
        return Outcome(
            error=JobError.ENDPOINT_FAILED, cause=f"endpoint {name} was deleted during its update to {wanted}"
        )
    status, serves = description["EndpointStatus"], description["EndpointConfigName"]
    reason = description.get("FailureReason") or "no reason was given"
    if status == "InService" and serves == wanted:
        return Outcome(output={"endpointName": name, "endpointConfigName": wanted})
    if status == "InService":
        return Outcome(
            error=JobError.ENDPOINT_ROLLED_BACK,
            cause=f"endpoint {name} is InService on {serves}, not on {wanted}: "
            f"SageMaker rolled the update back: {reason}",
        )
    if status == "Failed":
        return Outcome(
            error=JobError.ENDPOINT_FAILED, cause=f"endpoint {name} failed during its update to {wanted}: {reason}"
        )
    if status in ("OutOfService", "UpdateRollbackFailed"):
        return Outcome(
            error=JobError.ENDPOINT_UNUSABLE, cause=f"endpoint {name} is {status}; a person must look at it: {reason}"
        )
    return None


def approval(package: dict[str, Any]) -> Outcome | None:
    """Return a person's decision, from DescribeModelPackage. A rejection is an output, not an error."""
    status = package.get("ModelApprovalStatus")
    if status not in ("Approved", "Rejected"):
        return None
    words = package.get("ApprovalDescription") or "no reason was given"
    return Outcome(output={"status": status, "reason": words})
