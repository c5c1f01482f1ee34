"""The answer of a custom resource to CloudFormation. Pure."""

from __future__ import annotations

import json
from typing import Any

CODE, SETTINGS = "preparation-code", "settings"
MAXIMUM_REASON_LENGTH = 1000


def body(event: dict[str, Any], *, data: dict[str, str] | None = None, error: str | None = None) -> bytes:
    """Return the JSON to PUT to the ResponseURL: FAILED with `error`, otherwise SUCCESS.

    The physical id never changes: with a new id, CloudFormation would delete the old resource after every update.
    """
    own = SETTINGS if event.get("ResourceType") == "Custom::Settings" else CODE
    document: dict[str, Any] = {
        "Status": "FAILED" if error else "SUCCESS",
        "PhysicalResourceId": event.get("PhysicalResourceId") or own,
        "StackId": event.get("StackId"),
        "RequestId": event.get("RequestId"),
        "LogicalResourceId": event.get("LogicalResourceId"),
        "Data": data or {},
    }
    if error:
        document["Reason"] = error[:MAXIMUM_REASON_LENGTH]
    return json.dumps(document).encode()
