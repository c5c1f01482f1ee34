"""The CreateModelPackage call of a run, and the check that a package belongs to a run. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

APPROVED, PENDING, REJECTED = "Approved", "PendingManualApproval", "Rejected"
LONGEST_VALUE = 256
"""Maximum characters of a value in CustomerMetadataProperties."""
_STATUS = {"auto": APPROVED, "manual": PENDING}


@dataclass(frozen=True)
class Model:
    """A judged model: its identity, its location, the ETag of its archive at registration, and the gate's verdict."""

    run_id: str
    dataset_version: str
    code_version: str
    job_name: str
    image: str
    model_data_url: str
    model_data_etag: str
    report_uri: str
    verdict: str = "ACCEPTED"
    reasons: tuple[str, ...] = ()


def description(run_id: str) -> str:
    """Return the package's description. ListModelPackages shows it, so a run's package is found without describing
    each.
    """
    return f"run {run_id}"


def belongs_to(package: dict[str, Any], run_id: str) -> bool:
    """True if a described package belongs to this run."""
    return bool(package.get("CustomerMetadataProperties", {}).get("runId") == run_id)


def create_model_package(model: Model, group_name: str, approval: str) -> dict[str, Any]:
    """Return the call. Its client token is the run id (29 of at most 36 characters), so a repeated call registers
    nothing new. A model that the gate rejected is Rejected for every value of `approval`.
    """
    return {
        "ModelPackageGroupName": group_name,
        "ModelPackageDescription": description(model.run_id),
        "ClientToken": model.run_id,
        "ModelApprovalStatus": _STATUS[approval] if model.verdict == "ACCEPTED" else REJECTED,
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
            "verdict": model.verdict.lower(),
            "reasons": _legal(" / ".join(model.reasons)) or "none",
        },
    }


def _legal(text: str) -> str:
    """Reduce `text` to the characters and the length that a value may have."""
    return re.sub(r"([^\w.:/=+\-@]|\s)+", " ", text)[:LONGEST_VALUE].strip()
