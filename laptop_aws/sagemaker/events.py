"""The state change events of SageMaker, in the shapes that AWS documents: times in epoch milliseconds, tags as a map,
endpoint states in capitals."""

from __future__ import annotations

import re
from typing import Any

from laptop_aws import registry
from laptop_aws.sagemaker.store import tags_of
from laptop_aws.store import Record, public, scope

_JOB_MEMBERS = (
    "TrainingJobName",
    "TrainingJobArn",
    "TrainingJobStatus",
    "SecondaryStatus",
    "FailureReason",
    "HyperParameters",
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ModelArtifacts",
    "ResourceConfig",
    "StoppingCondition",
    "CreationTime",
    "TrainingStartTime",
    "TrainingEndTime",
    "LastModifiedTime",
    "SecondaryStatusTransitions",
    "FinalMetricDataList",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
)
_TRANSFORM_MEMBERS = (
    "TransformJobName",
    "TransformJobArn",
    "TransformJobStatus",
    "FailureReason",
    "ModelName",
    "MaxConcurrentTransforms",
    "ModelClientConfig",
    "MaxPayloadInMB",
    "BatchStrategy",
    "Environment",
    "TransformInput",
    "TransformOutput",
    "DataCaptureConfig",
    "TransformResources",
    "CreationTime",
    "TransformStartTime",
    "TransformEndTime",
    "DataProcessing",
)
_PACKAGE_MEMBERS = (
    "ModelPackageName",
    "ModelPackageGroupName",
    "ModelPackageVersion",
    "ModelPackageArn",
    "ModelPackageDescription",
    "CreationTime",
    "LastModifiedTime",
    "InferenceSpecification",
    "SourceAlgorithmSpecification",
    "ValidationSpecification",
    "ModelPackageStatus",
    "ModelPackageStatusDetails",
    "CertifyForMarketplace",
    "ModelApprovalStatus",
    "ApprovalDescription",
    "MetadataProperties",
    "ModelMetrics",
    "CustomerMetadataProperties",
)


def training_job_changed(job: Record) -> None:
    _emit("SageMaker Training Job State Change", job["TrainingJobArn"], _chosen(job, _JOB_MEMBERS))


def transform_job_changed(job: Record) -> None:
    _emit("SageMaker Transform Job State Change", job["TransformJobArn"], _chosen(job, _TRANSFORM_MEMBERS))


def model_package_changed(package: Record) -> None:
    _emit("SageMaker Model Package State Change", package["ModelPackageArn"], _chosen(package, _PACKAGE_MEMBERS))


def endpoint_changed(endpoint: Record) -> None:
    variants = [
        {
            "VariantName": variant["VariantName"],
            "CurrentWeight": variant["CurrentWeight"],
            "DesiredWeight": variant["DesiredWeight"],
            "CurrentInstanceCount": variant["CurrentInstanceCount"],
            "DesiredInstanceCount": variant["DesiredInstanceCount"],
        }
        for variant in endpoint.get("ProductionVariants", ())
    ]
    detail = _chosen(
        endpoint,
        ("EndpointName", "EndpointArn", "EndpointConfigName", "CreationTime", "LastModifiedTime", "FailureReason"),
    )
    detail |= {"ProductionVariants": variants, "EndpointStatus": capitals(endpoint["EndpointStatus"])}
    _emit("SageMaker Endpoint State Change", endpoint["EndpointArn"], detail)


def capitals(status: str) -> str:
    """``InService`` as the events spell it: ``IN_SERVICE``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", status).upper()


def _chosen(record: Record, members: tuple[str, ...]) -> dict[str, Any]:
    shown = public(record)
    return {name: _in_milliseconds(name, shown[name]) for name in members if name in shown}


def _in_milliseconds(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_milliseconds(key, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_milliseconds(name, item) for item in value]
    if isinstance(value, float) and (name.endswith("Time") or name == "Timestamp"):
        return int(value * 1000)
    return value


def _emit(detail_type: str, resource: str, detail: dict[str, Any]) -> None:
    account, region = scope()
    registry.emit_event(
        "aws.sagemaker", detail_type, detail | {"Tags": tags_of(resource)}, [resource], region=region, account=account
    )
