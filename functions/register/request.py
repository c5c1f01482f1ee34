"""The CreateModelPackage call of a run, and how its package is recognised. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

APPROVED, PENDING, REJECTED = "Approved", "PendingManualApproval", "Rejected"
LONGEST_VALUE = 256
"""Characters of a value in CustomerMetadataProperties."""
_STATUS = {"auto": APPROVED, "manual": PENDING}


@dataclass(frozen=True)
class Model:
    """A model that was judged: what it is, where it is, the ETag that its archive had when it was registered, and what
    the gate said of it.
    """

    run_id: str
    dataset_version: str
    code_version: str
    job_name: str
    image: str
    model_data_url: str
    model_data_etag: str
    report_uri: str
    accepted: bool = True
    reasons: tuple[str, ...] = ()


def description(run_id: str) -> str:
    """The package's description: ListModelPackages shows it, so that a run's package is found without opening each."""
    return f"run {run_id}"


def belongs_to(package: dict[str, Any], run_id: str) -> bool:
    """Whether a described package is the one of this run."""
    return bool(package.get("CustomerMetadataProperties", {}).get("runId") == run_id)


def create_model_package(model: Model, group_name: str, approval: str) -> dict[str, Any]:
    """The call. The client token is the run id (29 of at most 36 characters), so that a repeated call registers
    nothing new. What the gate rejected is registered as Rejected, whatever `approval` says.
    """
    return {
        "ModelPackageGroupName": group_name,
        "ModelPackageDescription": description(model.run_id),
        "ClientToken": model.run_id,
        "ModelApprovalStatus": _STATUS[approval] if model.accepted else REJECTED,
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
            "verdict": "accepted" if model.accepted else "rejected",
            "reasons": _legal(" / ".join(model.reasons)) or "none",
        },
    }


def _legal(text: str) -> str:
    """As much of `text` as a value may hold, in the characters that it may hold."""
    return re.sub(r"([^\w.:/=+\-@]|\s)+", " ", text)[:LONGEST_VALUE].strip()
