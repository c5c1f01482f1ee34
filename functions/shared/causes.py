"""The name and reason of an error in a state machine's `$states.errorOutput`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts import documents
from contracts.documents import Unfit

MAXIMUM_REASON_LENGTH = 1000


@dataclass(frozen=True)
class Cause:
    """`error` is the error name that the state machine branched on; `reason` is its message."""

    error: str
    reason: str

    @classmethod
    def from_state(cls, output: Any) -> Cause:
        """Read `{"Error", "Cause"}`. A Lambda function's Cause is JSON, that of a task token plain text."""
        if not isinstance(output, dict):
            return cls("Unknown", "the state machine gave no reason")
        error = str(output.get("Error") or "Unknown")
        text = str(output.get("Cause") or "")
        try:
            document = documents.read(text, "the cause")
        except Unfit:
            document = None
        if isinstance(document, dict) and isinstance(document.get("errorMessage"), str):
            text = document["errorMessage"]
        text = text.encode("utf-8", "replace").decode()  # half of a surrogate pair could not be stored
        return cls(error, (text or f"{error}: no cause was given")[:MAXIMUM_REASON_LENGTH])
