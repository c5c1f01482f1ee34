"""One execution in progress: its open task tokens, its history, its payload limit, and how to end it."""

from __future__ import annotations

import contextvars
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ministack.core.responses import now_iso
from ministack.services import stepfunctions as sfn

from laptop_aws.correction import corrects

PAYLOAD_LIMIT_BYTES = 262_144

Context = dict[str, Any]
State = dict[str, Any]
Execution = dict[str, Any]


class Stopped(BaseException):
    """The execution was aborted or timed out; its threads end without writing more history."""


class Run:
    """One execution in progress: its open task tokens, and how to end it."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.lock = threading.RLock()
        self._stop = threading.Event()
        self._tokens: set[str] = set()

    def check(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def sleep(self, seconds: float) -> None:
        if self._stop.wait(max(0.0, seconds)):
            raise Stopped

    def stop(self) -> None:
        self._stop.set()
        for token in list(self._tokens):
            info = sfn._task_tokens.get(token)
            if info:
                info["event"].set()

    @contextmanager
    def waiting_for(self, token: str) -> Iterator[dict[str, Any]]:
        """Keeps a task token registered while its task runs."""
        now = time.monotonic()
        info = {"event": threading.Event(), "result": None, "error": None, "heartbeat": None, "beat": now}
        sfn._task_tokens[token] = info
        self._tokens.add(token)
        try:
            yield info
        finally:
            self._tokens.discard(token)
            sfn._task_tokens.pop(token, None)
            ended_tokens.append(token)
            del ended_tokens[:-10_000]


ended_tokens: list[str] = []
runs: dict[str, Run] = {}
previous_event: contextvars.ContextVar[int | None] = contextvars.ContextVar("previous_event", default=None)
current: contextvars.ContextVar[Run | None] = contextvars.ContextVar("current", default=None)


def compact(value: Any) -> str:
    """JSON in the form that Step Functions writes."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def too_large(text: str) -> bool:
    return len(text) > PAYLOAD_LIMIT_BYTES // 4 and len(text.encode()) > PAYLOAD_LIMIT_BYTES


def within_limit(value: Any, what: str) -> str:
    """The value as JSON. Raises States.DataLimitExceeded above 256 KiB."""
    text = compact(value)
    if too_large(text):
        raise sfn._ExecutionError(
            "States.DataLimitExceeded", f"{what} with a size exceeding the maximum number of bytes service limit."
        )
    return text


# ---- history ----


@corrects(
    "ministack.services.stepfunctions:_add_event",
    source="b1db143ccd21",
    aws="each event names the one that led to it, in its own branch",
    ministack="names none, and numbers the events of branches by chance",
    test="test_each_event_of_the_history_names_the_one_before_it_in_its_own_branch",
)
def add_event(execution: Execution, event_type: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
    run = runs.get(execution.get("executionArn", ""))
    if run is None:
        return append_event(execution, event_type, details)
    with run.lock:
        if current.get() is run:
            run.check()
        return append_event(execution, event_type, details)


def append_event(execution: Execution, event_type: str, details: dict[str, Any] | None) -> dict[str, Any]:
    events = execution["events"]
    before = previous_event.get()
    event: dict[str, Any] = {
        "id": len(events) + 1,
        "previousEventId": len(events) if before is None else before,
        "type": event_type,
        "timestamp": now_iso(),
        **(details or {}),
    }
    events.append(event)
    previous_event.set(event["id"])
    return event


def join_branches(execution: Execution) -> None:
    previous_event.set(len(execution["events"]))


@contextmanager
def branches_of(execution: Execution, kind: str) -> Iterator[None]:
    """Continues the history after the last event of all branches with the result of the Parallel or Map state."""
    try:
        yield
    except sfn._ExecutionError:
        join_branches(execution)
        add_event(execution, f"{kind}StateFailed")
        raise
    join_branches(execution)
    add_event(execution, f"{kind}StateSucceeded")


@corrects(
    "ministack.services.stepfunctions:_scaled_sleep",
    source="5ed19df2efa9",
    aws="a Wait ends with its execution",
    ministack="its thread sleeps on",
    test="test_aborting_voids_the_token_and_ends_the_history",
)
def sleep(seconds: float) -> None:
    """A wait that ends with the execution."""
    run = current.get()
    scaled = seconds * sfn._SFN_WAIT_SCALE
    if run is not None:
        run.sleep(scaled)
    elif scaled > 0:
        time.sleep(scaled)
