"""The preparation's own word on data that it refused: `quarantine/<version>/report.json`. Pure."""

from __future__ import annotations

import json


def reasons(content: bytes) -> list[str]:
    """Why the data was refused; empty when the report does not say that it was."""
    try:
        report = json.loads(content)
    except (ValueError, RecursionError):
        return []
    if not isinstance(report, dict) or report.get("status") != "refused":
        return []
    given = report.get("reasons")
    return (
        [str(reason) for reason in given]
        if isinstance(given, list) and given
        else ["the data was refused without a reason"]
    )
