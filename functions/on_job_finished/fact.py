"""Which job an AWS state-change event speaks of. Pure. The event's own status is not read: the job is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidInput

# detail-type -> (kind of token, field of detail that names the job)
_SUBJECTS = {
    "SageMaker Training Job State Change": ("TRAINING", "TrainingJobName"),
    "SageMaker Transform Job State Change": ("TRANSFORM", "TransformJobName"),
    "SageMaker Endpoint State Change": ("ENDPOINT", "EndpointName"),
    "SageMaker Model Package State Change": ("APPROVAL", "ModelPackageArn"),
    "EMR Serverless Job Run State Change": ("PREPARATION", "jobRunId"),
}


@dataclass(frozen=True)
class Fact:
    """`kind` of token and the `name` under which it is held; for PREPARATION `name` is the job run's id, still to be
    resolved.
    """

    kind: str
    name: str

    def is_ours(self, name_prefix: str, endpoint_name: str, application_id: str, detail: dict[str, Any]) -> bool:
        """Whether the job can be one of this stack's; others in the account are left alone."""
        if self.kind in ("TRAINING", "TRANSFORM"):
            return self.name.startswith(f"{name_prefix}-")
        if self.kind == "ENDPOINT":
            return self.name == endpoint_name
        if self.kind == "PREPARATION":
            return detail.get("applicationId") == application_id
        return True


def from_event(event: dict[str, Any]) -> Fact:
    """The fact in an EventBridge event. Raises InvalidInput naming what is wrong with it."""
    subject = _SUBJECTS.get(event.get("detail-type", ""))
    if subject is None:
        raise InvalidInput(
            f"detail-type must be one of {', '.join(sorted(_SUBJECTS))}, not {str(event.get('detail-type'))[:120]!r}"
        )
    kind, field = subject
    name = event["detail"].get(field)
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"detail.{field} must be a non-empty string")
    return Fact(kind, name)
