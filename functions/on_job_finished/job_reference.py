"""The job named by an AWS state-change event. Pure. The event's status is ignored: the job itself is described."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidInput
from shared.records import JobKind

# detail-type -> (kind of token, field of detail that names the job)
_JOBS = {
    "SageMaker Training Job State Change": (JobKind.TRAINING, "TrainingJobName"),
    "SageMaker Transform Job State Change": (JobKind.TRANSFORM, "TransformJobName"),
    "SageMaker Endpoint State Change": (JobKind.ENDPOINT, "EndpointName"),
    "SageMaker Model Package State Change": (JobKind.APPROVAL, "ModelPackageArn"),
    "EMR Serverless Job Run State Change": (JobKind.PREPARATION, "jobRunId"),
}


@dataclass(frozen=True)
class JobReference:
    """The `kind` and `name` of a job's token. For PREPARATION, `name` is the job run's id, not yet its name."""

    kind: JobKind
    name: str

    def is_ours(self, name_prefix: str, endpoint_name: str, application_id: str, detail: dict[str, Any]) -> bool:
        """True if the job can belong to this stack; other jobs in the account are ignored."""
        if self.kind in (JobKind.TRAINING, JobKind.TRANSFORM):
            return self.name.startswith(f"{name_prefix}-")
        if self.kind == JobKind.ENDPOINT:
            return self.name == endpoint_name
        if self.kind == JobKind.PREPARATION:
            return detail.get("applicationId") == application_id
        return True


def from_event(event: dict[str, Any]) -> JobReference:
    """Read the job in an EventBridge event. Raises InvalidInput naming the fault."""
    found = _JOBS.get(str(event.get("detail-type")))
    if found is None:
        raise InvalidInput(
            f"detail-type must be one of {', '.join(sorted(_JOBS))}, not {str(event.get('detail-type'))[:120]!r}"
        )
    kind, field = found
    name = event["detail"].get(field)
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"detail.{field} must be a non-empty string")
    return JobReference(kind, name)
