"""The CreateModelPackage call of a run, and how its package is recognised. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

APPROVED, PENDING = "Approved", "PendingManualApproval"
_STATUS = {"auto": APPROVED, "manual": PENDING}


@dataclass(frozen=True)
class Model:
    """An accepted model: what it is, where it is, and the ETag that its archive had when it was registered."""

    run_id: str
    dataset_version: str
    code_version: str
    job_name: str
    image: str
    model_data_url: str
    model_data_etag: str
    report_uri: str


def description(run_id: str) -> str:
    """The package's description: ListModelPackages shows it, so that a run's package is found without opening each."""
    return f"run {run_id}"


def belongs_to(package: dict[str, Any], run_id: str) -> bool:
    """Whether a described package is the one of this run."""
    return package.get("CustomerMetadataProperties", {}).get("runId") == run_id


def create_model_package(model: Model, group_name: str, approval: str) -> dict[str, Any]:
    """The call. The client token is the run id (29 of at most 36 characters), so that a repeated call registers
    nothing new.
    """
    return {
        "ModelPackageGroupName": group_name,
        "ModelPackageDescription": description(model.run_id),
        "ClientToken": model.run_id,
        "ModelApprovalStatus": _STATUS[approval],
        "InferenceSpecification": {
            "Containers": [{"Image": model.image, "ModelDataUrl": model.model_data_url}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "ModelMetrics": {
            "ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": model.report_uri}}
        },
        "CustomerMetadataProperties": {
            "runId": model.run_id,
            "datasetVersion": model.dataset_version,
            "codeVersion": model.code_version,
            "trainingJobName": model.job_name,
            "image": model.image,
            "modelDataETag": model.model_data_etag,
        },
    }
