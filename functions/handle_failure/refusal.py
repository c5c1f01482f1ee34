"""The preparation's own word on data that it refused: `quarantine/<version>/report.json`. Pure."""

from __future__ import annotations

from contracts import documents
from contracts.documents import Unfit


def reasons(content: bytes) -> list[str]:
    """Why the data was refused; empty when the report does not say that it was."""
    try:
        report = documents.read_object(content, "report.json")
    except Unfit:
        return []
    if report.get("status") != "refused":
        return []
    given = report.get("reasons")
    return (
        [str(reason) for reason in given]
        if isinstance(given, list) and given
        else ["the data was refused without a reason"]
    )
