"""The preparation's reasons for refusing data, from `quarantine/<version>/report.json`. Pure."""

from __future__ import annotations

from contracts import documents
from contracts.documents import Unfit


def reasons(content: bytes) -> list[str]:
    """The reasons in the report; empty if the report does not say that the data was refused."""
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
        else ["the data was refused; no reason was given"]
    )
