"""Which training job of a run comes next. Pure.

A retry of the state adopts the job that an earlier try created; so does a run that is restarted after it failed later
on: its training is done. A job that failed is replaced by a new one, under a new name, only when the run was redriven
or restarted after its failure, or when the job found no capacity: then nothing had been trained.
"""

from __future__ import annotations

from typing import Any

from shared.records import UNFINISHED, Run, RunStatus


def current(state: Run | None) -> int:
    """The attempt that the ledger knows; the first if it knows none."""
    return state.get("trainingAttempt", 1) if state else 1


def following(state: Run | None, job: dict[str, Any] | None) -> int:
    """The attempt to make, given the run's ledger state and what SageMaker says of the current attempt's job (None:
    no such job).
    """
    attempt = current(state)
    if job is None or job["TrainingJobStatus"] not in ("Failed", "Stopped"):
        return attempt
    redriven = state is not None and state.get("status") not in (None, *UNFINISHED)
    without_capacity = str(job.get("FailureReason", "")).startswith("CapacityError")
    return attempt + 1 if redriven or without_capacity else attempt


def refusal(state: Run | None, execution_arn: str) -> str | None:
    """Why this execution may not take up the run (None: it may). One execution has a run at a time, and what ended well
    is not done again.
    """
    if state is None or state.get("executionArn") in (None, execution_arn):
        return None
    if state.get("status") in UNFINISHED:
        return f"it is {state['status']} as {state['executionArn']}"
    if state.get("status") in (RunStatus.DEPLOYED, RunStatus.REJECTED):
        return f"it ended as {state['status']}; start the next attempt"
    return None
