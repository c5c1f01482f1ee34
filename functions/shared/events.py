"""The events that this application publishes on the default bus (docs/reference/events.md), and envelope checks of the
events that AWS and our state machines send.
"""

from __future__ import annotations

import json
from typing import Any

from shared.clients import calling
from shared.errors import DependencyFailed, InvalidInput

SOURCE = "ncf.recommender"
SCHEMA_VERSION = "1.0"
DATASET_PREPARED = "DatasetPrepared"
TRAINING_COMPLETED = "TrainingCompleted"
MODEL_REJECTED = "ModelRejected"
MODEL_UNCHANGED = "ModelUnchanged"
MODEL_DEPLOYED = "ModelDeployed"
RUN_FAILED = "RunFailed"
MAXIMUM_REASONS = 20


def entry(
    prefix: str, kind: str, run_id: str | None, dataset_version: str | None, reasons: list[str] | None = None
) -> dict[str, str]:
    """Return the PutEvents entry of one event of the stack whose NamePrefix is `prefix`: its rules match only these,
    because all stacks of an account and region share the bus. An empty `reasons` is left out.
    """
    detail: dict[str, Any] = {
        "schemaVersion": SCHEMA_VERSION,
        "namePrefix": prefix,
        "runId": run_id,
        "datasetVersion": dataset_version,
    }
    if reasons:
        detail["reasons"] = reasons[:MAXIMUM_REASONS]
    return {"Source": SOURCE, "DetailType": kind, "Detail": json.dumps(detail)}


def publish(
    client: Any,
    prefix: str,
    kind: str,
    run_id: str | None,
    dataset_version: str | None,
    reasons: list[str] | None = None,
) -> None:
    """Put one event on the default bus. Raises DependencyFailed when the bus refuses it (PutEvents answers 200 even
    then).
    """
    with calling("events PutEvents"):
        answer = client.put_events(Entries=[entry(prefix, kind, run_id, dataset_version, reasons)])
    if answer.get("FailedEntryCount"):
        result = answer["Entries"][0]
        raise DependencyFailed(f"events PutEvents {kind}: {result.get('ErrorCode')}: {result.get('ErrorMessage')}")


def detail_of(event: Any) -> dict[str, Any]:
    """Return the `detail` of an EventBridge event. Raises InvalidInput for anything else."""
    detail = event.get("detail") if isinstance(event, dict) else None
    if not isinstance(detail, dict):
        raise InvalidInput("the event must be an EventBridge event with an object in detail")
    return detail


def require_task(event: Any, machine: str = "retraining") -> None:
    """Raises InvalidInput when `event` is not the input of a state of `machine` that waits for its task token."""
    if not isinstance(event, dict) or not isinstance(event.get("taskToken"), str):
        raise InvalidInput(f"taskToken must be a string: this function is invoked by the {machine} state machine")
