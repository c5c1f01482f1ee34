"""What a state machine says of an error (`$states.errorOutput`), read for people. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

MAXIMUM_REASON_LENGTH = 1000


@dataclass(frozen=True)
class Cause:
    """`error` is the name that the state machine branched on, `reason` the sentence behind it."""

    error: str
    reason: str

    @classmethod
    def from_state(cls, output: Any) -> Cause:
        """From `{"Error", "Cause"}`; the Cause of a Lambda function is a JSON document, that of a task token plain
        text.
        """
        if not isinstance(output, dict):
            return cls("Unknown", "the state machine did not say why")
        error = str(output.get("Error") or "Unknown")
        text = str(output.get("Cause") or "")
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if isinstance(document, dict) and isinstance(document.get("errorMessage"), str):
            text = document["errorMessage"]
        return cls(error, (text or f"{error}, without a cause")[:MAXIMUM_REASON_LENGTH])
