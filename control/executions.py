"""Executions of the state machines, read from their histories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts import documents
from contracts.documents import Unfit
from control.connection import Clients

OVER = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
PAGE_EVENTS = 100
"""Events asked for at once when a known history is read on; a new one is read by 1,000, the most."""
SHOWN_CHARACTERS = 20_000
"""Characters of an input or output that are kept."""
_BEGINS = ("TaskScheduled", "LambdaFunctionScheduled", "ActivityScheduled")
_FAULTS = (
    *(f"Task{how}" for how in ("Failed", "TimedOut", "StartFailed", "SubmitFailed")),
    *(f"LambdaFunction{how}" for how in ("Failed", "TimedOut", "StartFailed", "ScheduleFailed")),
    *(f"Activity{how}" for how in ("Failed", "TimedOut", "ScheduleFailed")),
    "EvaluationFailed",
    "MapStateFailed",
    "ParallelStateFailed",
    "MapRunFailed",
)
_OF_CONTAINER = ("MapState", "ParallelState", "MapRun")


@dataclass
class StateVisit:
    """One visit to a state, from an execution's history. `left` is None while it lasts; times are epoch seconds.

    `status` is RUNNING, RETRIED (it failed and is tried again), SUCCEEDED, CAUGHT (it failed, and another state
    follows), FAILED, TIMED_OUT or ABORTED.
    """

    name: str
    entered: float
    left: float | None = None
    output: Any = None
    kind: str = ""
    given: str = ""
    """Its input, as JSON."""
    gave: str = ""
    """Its output, as JSON."""
    submitted: Any = None
    """What the called function answered at once, while the state waits for its job."""
    attempts: int = 0
    error: str = ""
    status: str = "RUNNING"

    @property
    def has_failed(self) -> bool:
        """True if the visit ended with an error that the state machine caught."""
        return isinstance(self.output, dict) and self.output.get("failedState") == self.name

    @property
    def retries(self) -> int:
        """How often it was tried again."""
        return max(self.attempts - 1, 0)

    @property
    def is_over(self) -> bool:
        """True if it will not change any more, unless the execution is redriven."""
        return self.status not in ("RUNNING", "RETRIED")


@dataclass
class ExecutionView:
    """The state of an execution, built from its history event by event."""

    visits: list[StateVisit] = field(default_factory=list)
    last_event_id: int = 0
    status: str = "RUNNING"
    error: str = ""
    _visit_of: dict[int, StateVisit] = field(default_factory=dict)
    """The visit that an event belongs to, by the event's id."""

    def feed(self, event: Mapping[str, Any]) -> StateVisit | None:
        """Process one history event; return the visit that it ended, if any. A repeated event is ignored."""
        if event["id"] <= self.last_event_id:
            return None
        self.last_event_id = event["id"]
        kind, moment = event["type"], event["timestamp"].timestamp()
        details = details_of(event)
        if kind.endswith("StateEntered"):
            self._enter(event, kind.removesuffix("StateEntered"), details, moment)
            return None
        visit = self._own_visit(event, kind, details)
        if visit is not None:
            self._visit_of[event["id"]] = visit
        if kind.endswith("StateExited"):
            return self._exit(visit, details, moment)
        if kind.startswith("Execution"):
            self._change(kind.removeprefix("Execution"), details, moment)
        elif visit is not None:
            _happen(visit, kind, details)
        return None

    def _enter(self, event: Mapping[str, Any], kind: str, details: Mapping[str, Any], moment: float) -> None:
        visit = StateVisit(details["name"], moment, kind=kind, given=str(details.get("input", ""))[:SHOWN_CHARACTERS])
        self.visits.append(visit)
        self._visit_of[event["id"]] = visit

    def _own_visit(self, event: Mapping[str, Any], kind: str, details: Mapping[str, Any]) -> StateVisit | None:
        before = self._visit_of.get(event.get("previousEventId", 0))
        if kind.endswith("StateExited"):
            if before is not None and before.name == details["name"] and before.left is None:
                return before
            return self._last_open(lambda visit: visit.name == details["name"])
        if kind.startswith(_OF_CONTAINER):
            wanted = "Parallel" if kind.startswith("Parallel") else "Map"
            return self._last_open(lambda visit: visit.kind == wanted)
        return before

    def _last_open(self, fits: Any) -> StateVisit | None:
        return next((visit for visit in reversed(self.visits) if visit.left is None and fits(visit)), None)

    def _exit(self, visit: StateVisit | None, details: Mapping[str, Any], moment: float) -> StateVisit | None:
        if visit is None:
            return None
        text = str(details.get("output", ""))
        visit.left, visit.output, visit.gave = moment, read_json(text), text[:SHOWN_CHARACTERS]
        visit.status = "CAUGHT" if visit.error and visit.status == "RETRIED" else "SUCCEEDED"
        return visit

    def _change(self, what: str, details: Mapping[str, Any], moment: float) -> None:
        if what == "Redriven":
            for visit in self.visits:
                if visit.status in ("FAILED", "TIMED_OUT", "ABORTED"):
                    visit.left, visit.status = None, "RUNNING"
            self.status, self.error = "RUNNING", ""
            return
        status = {"Succeeded": "SUCCEEDED", "Failed": "FAILED", "TimedOut": "TIMED_OUT", "Aborted": "ABORTED"}.get(what)
        if status is None:
            return
        self.status, self.error = status, _fault(details)
        for visit in self.visits:
            if visit.left is None:
                visit.left = moment
                visit.status = status if status != "SUCCEEDED" else "ABORTED"
                visit.error = visit.error or self.error

    @property
    def current(self) -> StateVisit | None:
        """The state that the execution is in."""
        return self.visits[-1] if self.visits and self.visits[-1].left is None else None

    def visit_of(self, event_id: int) -> StateVisit | None:
        """The visit that an event belongs to."""
        return self._visit_of.get(event_id)

    def of(self, name: str) -> list[StateVisit]:
        """The visits to a state, in order."""
        return [visit for visit in self.visits if visit.name == name]


def _happen(visit: StateVisit, kind: str, details: Mapping[str, Any]) -> None:
    if kind in _BEGINS:
        visit.attempts += 1
        visit.status = "RUNNING"
    elif kind in _FAULTS:
        visit.error, visit.status = _fault(details), "RETRIED"
    elif kind == "TaskSubmitted":
        visit.submitted = read_json(details.get("output"))
    elif kind.endswith("Succeeded") and not kind.startswith("MapIteration"):
        visit.status = "RUNNING"


def _fault(details: Mapping[str, Any]) -> str:
    error, cause = details.get("error", ""), details.get("cause", "")
    told = read_json(cause)
    if isinstance(told, Mapping) and told.get("errorMessage"):
        cause = told["errorMessage"]
    return ": ".join(str(part) for part in (error, cause) if part)[:SHOWN_CHARACTERS]


def details_of(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The details of a history event, whatever its type; empty if it has none."""
    return next((value for name, value in event.items() if name.endswith("EventDetails")), {})


def summary_of(event: Mapping[str, Any]) -> str:
    """The content of a history event besides its type, in short: its error, or the called resource."""
    details = details_of(event)
    return _fault(details)[:300] or str(details.get("resource", ""))


@dataclass
class Follower:
    """Reads one execution: the first `poll` its whole history, the next ones only what is new."""

    clients: Clients
    arn: str
    view: ExecutionView = field(default_factory=ExecutionView)
    events: list[Mapping[str, Any]] = field(default_factory=list)
    """All events in order, without their inputs and outputs, which the visits have."""

    def poll(self) -> int:
        """Read new events; return how many there are."""
        found = self._whole() if not self.events else self._newer()
        for event in found:
            self.view.feed(event)
            self.events.append(
                {name: event[name] for name in ("id", "type", "timestamp")}
                | {"what": summary_of(event), "state": self.state_of(event)}
            )
        return len(found)

    def state_of(self, event: Mapping[str, Any]) -> str:
        """The name of the state that an event belongs to, or nothing."""
        visit = self.view.visit_of(event["id"])
        return visit.name if visit is not None else ""

    def _whole(self) -> list[Mapping[str, Any]]:
        pages = self.clients.client("stepfunctions").get_paginator("get_execution_history")
        return [event for page in pages.paginate(executionArn=self.arn, maxResults=1000) for event in page["events"]]

    def _newer(self) -> list[Mapping[str, Any]]:
        """The events after the last one that is known, read backwards from the end of the history."""
        known, found = self.view.last_event_id, list[Mapping[str, Any]]()
        pages = self.clients.client("stepfunctions").get_paginator("get_execution_history")
        for page in pages.paginate(executionArn=self.arn, maxResults=PAGE_EVENTS, reverseOrder=True):
            found += (event for event in page["events"] if event["id"] > known)
            if any(event["id"] <= known for event in page["events"]):
                break
        return found[::-1]


def read_json(content: bytes | str | None) -> Any:
    try:
        return documents.read(content or "null", "it")
    except Unfit:
        return None


def execution_reason(execution: Mapping[str, Any]) -> str:
    """The reason for an execution's failure, from the execution itself."""
    error, cause = execution.get("error", ""), execution.get("cause", "")
    return ": ".join(part for part in (error, cause) if part) or f"the execution ended {execution['status']}"
