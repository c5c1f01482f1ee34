"""Executions of the state machines, read from their histories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts import documents
from contracts.documents import Unfit

OVER = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


@dataclass
class StateVisit:
    """One visit to a state, from an execution's history. `left` is None while it lasts; times are epoch seconds."""

    name: str
    entered: float
    left: float | None = None
    output: Any = None

    @property
    def has_failed(self) -> bool:
        """True if the visit ended with an error that the state machine caught."""
        return isinstance(self.output, dict) and self.output.get("failedState") == self.name


@dataclass
class ExecutionView:
    """The state of an execution, built from its history event by event."""

    visits: list[StateVisit] = field(default_factory=list)
    last_event_id: int = 0

    def feed(self, event: Mapping[str, Any]) -> StateVisit | None:
        """Process one history event; return the visit that it ended, if any. A repeated event is ignored."""
        if event["id"] <= self.last_event_id:
            return None
        self.last_event_id = event["id"]
        kind, moment = event["type"], event["timestamp"].timestamp()
        if kind.endswith("StateEntered"):
            self.visits.append(StateVisit(event["stateEnteredEventDetails"]["name"], moment))
        elif kind.endswith("StateExited"):
            details = event["stateExitedEventDetails"]
            for visit in reversed(self.visits):
                if visit.name == details["name"] and visit.left is None:
                    visit.left, visit.output = moment, read_json(details.get("output"))
                    return visit
        return None

    @property
    def current(self) -> StateVisit | None:
        """The state that the execution is in."""
        return self.visits[-1] if self.visits and self.visits[-1].left is None else None


def read_json(content: bytes | str | None) -> Any:
    try:
        return documents.read(content or "null", "it")
    except Unfit:
        return None


def execution_reason(execution: Mapping[str, Any]) -> str:
    """The reason for an execution's failure, from the execution itself."""
    error, cause = execution.get("error", ""), execution.get("cause", "")
    return ": ".join(part for part in (error, cause) if part) or f"the execution ended {execution['status']}"
