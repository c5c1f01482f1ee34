"""Time that an execution worked: without that in which it only waited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WAITING_STATES = ("AwaitApproval",)
"""States in which nothing works until a person acts."""
TRIED = ("TaskFailed", "TaskTimedOut", "TaskSubmitFailed", "TaskStartFailed", "LambdaFunctionFailed")
BEGUN = ("TaskScheduled", "LambdaFunctionScheduled")


def waited(events: Sequence[Mapping[str, Any]], until: float) -> float:
    """Seconds of a history (from its first event on) in which nothing worked: in a state of WAITING_STATES, and between
    a try that failed and the next one, as a parked run waits. `until`: now, in epoch seconds, for what still waits.
    """
    total, since, is_approval, over = 0.0, None, False, None
    for event in events:
        kind, moment = str(event["type"]), event["timestamp"].timestamp()
        over = moment
        if kind.endswith("StateEntered"):
            is_approval = event["stateEnteredEventDetails"]["name"] in WAITING_STATES
            since = moment if is_approval else None
        elif kind.endswith("StateExited") or (kind in BEGUN and not is_approval):
            total += moment - since if since is not None else 0.0
            since, is_approval = None, False
        elif kind in TRIED and not is_approval:
            since = moment
        elif kind.startswith("Execution") and kind != "ExecutionStarted":
            total += moment - since if since is not None else 0.0
            return total
    if since is not None and over is not None:
        total += max(0.0, until - since)
    return total


def in_words(seconds: float | None) -> str:
    """A duration as text: `37 s`, `4 min 5 s`, `3 h 12 min`; `-` for None."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
