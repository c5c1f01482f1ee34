"""Which job an AWS state-change event speaks of. Pure. The event's own status is not read: the job is asked."""

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
    """`kind` of token and the `name` under which it is held; for PREPARATION `name` is the job run's id, still to be
    resolved.
    """

    kind: JobKind
    name: str

    def is_ours(self, name_prefix: str, endpoint_name: str, application_id: str, detail: dict[str, Any]) -> bool:
        """Whether the job can be one of this stack's; others in the account are left alone."""
        if self.kind in (JobKind.TRAINING, JobKind.TRANSFORM):
            return self.name.startswith(f"{name_prefix}-")
        if self.kind == JobKind.ENDPOINT:
            return self.name == endpoint_name
        if self.kind == JobKind.PREPARATION:
            return detail.get("applicationId") == application_id
        return True


def from_event(event: dict[str, Any]) -> JobReference:
    """The job that an EventBridge event speaks of. Raises InvalidInput naming what is wrong with it."""
    found = _JOBS.get(event.get("detail-type", ""))
    if found is None:
        raise InvalidInput(
            f"detail-type must be one of {', '.join(sorted(_JOBS))}, not {str(event.get('detail-type'))[:120]!r}"
        )
    kind, field = found
    name = event["detail"].get(field)
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"detail.{field} must be a non-empty string")
    return JobReference(kind, name)
