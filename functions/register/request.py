"""The CreateModelPackage call of a run, and the check that a package is the one of a model. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from shared import tags

APPROVED, PENDING, REJECTED = "Approved", "PendingManualApproval", "Rejected"
LONGEST_VALUE = 256
"""Maximum characters of a value in CustomerMetadataProperties."""
_STATUS = {"auto": APPROVED, "manual": PENDING}


@dataclass(frozen=True)
class Model:
    """A judged model: its identity, its location, ETag and version of its archive, the digest of its bundle, and the
    gate's verdict.
    """

    run_id: str
    dataset_version: str
    code_version: str
    job_name: str
    image: str
    model_data_url: str
    model_data_etag: str
    report_uri: str
    bundle_digest: str
    model_data_version: str | None = None
    verdict: str = "ACCEPTED"
    reasons: tuple[str, ...] = ()

    def properties(self) -> dict[str, str]:
        """Return the metadata that says which model this is."""
        version = {"modelDataVersionId": self.model_data_version} if self.model_data_version else {}
        return {
            "runId": self.run_id,
            "datasetVersion": self.dataset_version,
            "codeVersion": self.code_version,
            "trainingJobName": self.job_name,
            "image": self.image,
            "modelDataETag": self.model_data_etag,
            **version,
            "bundleDigest": self.bundle_digest,
        }

    def container(self) -> dict[str, str]:
        """Return the container that serves this model."""
        return {"Image": self.image, "ModelDataUrl": self.model_data_url}


def description(run_id: str) -> str:
    """Return the package's description. ListModelPackages shows it, so a run's package is found without describing
    each.
    """
    return f"run {run_id}"


def describes(package: dict[str, Any], model: Model) -> bool:
    """True if a described package is of this run, this archive, this bundle and this image. Another one of the same run
    is not adopted: it was not made by an earlier try.
    """
    containers = package.get("InferenceSpecification", {}).get("Containers", [])
    found = package.get("CustomerMetadataProperties", {})
    return (
        len(containers) == 1
        and model.container().items() <= containers[0].items()
        and model.properties().items() <= found.items()
    )


def create_model_package_group(group_name: str, name_prefix: str) -> dict[str, Any]:
    """Return the call."""
    return {
        "ModelPackageGroupName": group_name,
        "ModelPackageGroupDescription": "Every model that was judged, with its metrics",
        "Tags": tags.listed(name_prefix),
    }


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
            "Containers": [model.container()],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "ModelMetrics": {
            "ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": model.report_uri}}
        },
        "CustomerMetadataProperties": {
            **model.properties(),
            "verdict": model.verdict.lower(),
            "reasons": _legal(" / ".join(model.reasons)) or "none",
        },
    }


def _legal(text: str) -> str:
    """Reduce `text` to the characters and the length that a value may have."""
    return re.sub(r"([^\w.:/=+\-@]|\s)+", " ", text)[:LONGEST_VALUE].strip()
