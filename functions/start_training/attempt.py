"""The next training job of a run. Pure.

A retry of the state adopts the job of an earlier try. A run that failed after its training and is restarted adopts its
completed job. A failed job is replaced by a new one, under a new name, only if the run was redriven or restarted, or if
the job found no capacity and so trained nothing.
"""

from __future__ import annotations

from typing import Any

from shared.records import UNFINISHED, Run, RunStatus


def current(state: Run | None) -> int:
    """Return the attempt in the ledger; 1 if there is none."""
    return state.get("trainingAttempt", 1) if state else 1


def following(state: Run | None, job: dict[str, Any] | None) -> int:
    """Return the attempt to make, given the run's ledger state and the DescribeTrainingJob of the current attempt
    (None: no such job).
    """
    attempt = current(state)
    if job is None or job["TrainingJobStatus"] not in ("Failed", "Stopped"):
        return attempt
    redriven = state is not None and state.get("status") not in (None, *UNFINISHED)
    without_capacity = str(job.get("FailureReason", "")).startswith("CapacityError")
    return attempt + 1 if redriven or without_capacity else attempt


def refusal(state: Run | None, execution_arn: str) -> str | None:
    """Return why this execution may not continue the run; None if it may. A run has one execution at a time, and a
    run that ended with a verdict is not repeated.
    """
    if state is None or state.get("executionArn") in (None, execution_arn):
        return None
    if state.get("status") in UNFINISHED:
        return f"it is {state['status']} as {state['executionArn']}"
    if state.get("status") in (RunStatus.DEPLOYED, RunStatus.REJECTED, RunStatus.UNCHANGED):
        return f"it ended as {state['status']}; start the next attempt"
    return None
