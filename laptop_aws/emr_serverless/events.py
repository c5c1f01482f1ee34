"""The state change events of EMR Serverless, in the shapes that AWS documents: ISO times, no resources."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from laptop_aws import registry
from laptop_aws.store import Record, scope


def application_changed(application: Record) -> None:
    detail = {
        "applicationId": application["applicationId"],
        "applicationName": application.get("name"),
        "arn": application["arn"],
        "releaseLabel": application["releaseLabel"],
        "state": application["state"],
        "type": application["type"],
        "createdAt": iso(application["createdAt"]),
        "updatedAt": iso(application["updatedAt"]),
        "autoStopConfig": application["autoStopConfiguration"],
        "autoStartConfig": application["autoStartConfiguration"],
    }
    _emit("EMR Serverless Application State Change", detail)


def job_run_changed(job_run: Record, previous: str | None) -> None:
    detail = {
        "jobRunId": job_run["jobRunId"],
        "jobRunName": job_run.get("name"),
        "applicationId": job_run["applicationId"],
        "arn": job_run["arn"],
        "releaseLabel": job_run["releaseLabel"],
        "state": job_run["state"],
        "previousState": previous,
        "createdBy": job_run["createdBy"],
        "updatedAt": iso(job_run["updatedAt"]),
        "createdAt": iso(job_run["createdAt"]),
    }
    _emit("EMR Serverless Job Run State Change", detail)


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _emit(detail_type: str, detail: dict[str, Any]) -> None:
    account, region = scope()
    kept = {name: value for name, value in detail.items() if value is not None}
    registry.emit_event("aws.emr-serverless", detail_type, kept, region=region, account=account)
