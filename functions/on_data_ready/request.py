"""The StartExecution call of a run. Pure. The same run always gives the same bytes, so the call is idempotent."""

from __future__ import annotations

import json
from typing import Any

from on_data_ready.announcement import Announcement
from shared import names


def start_execution(announcement: Announcement, state_machine_arn: str, attempt: int = 1) -> dict[str, Any]:
    """Return the call; the execution's name is the run id."""
    run_id = names.run_id(announcement.version, attempt)
    document = {
        "runId": run_id,
        "datasetVersion": announcement.version,
        "attempt": attempt,
        "manifest": {"bucket": announcement.bucket, "key": announcement.key},
    }
    return {"stateMachineArn": state_machine_arn, "name": run_id, "input": json.dumps(document, sort_keys=True)}
