"""Which training job of a run comes next. Pure.

A retry of the state adopts the job that an earlier try created. A job that failed is replaced by a new one, under a
new name, only when the run was redriven after its failure, or when the job found no capacity: then nothing had been
trained.
"""

from __future__ import annotations

from typing import Any


def current(state: dict[str, Any] | None) -> int:
    """The attempt that the ledger knows; the first if it knows none."""
    return int((state or {}).get("trainingAttempt", 1))


def following(state: dict[str, Any] | None, job: dict[str, Any] | None) -> int:
    """The attempt to make, given the run's ledger state and what SageMaker says of the current attempt's job (None:
    no such job).
    """
    attempt = current(state)
    if job is None or job["TrainingJobStatus"] not in ("Failed", "Stopped"):
        return attempt
    redriven = state is not None and state.get("status") not in (None, "RUNNING")
    without_capacity = str(job.get("FailureReason", "")).startswith("CapacityError")
    return attempt + 1 if redriven or without_capacity else attempt
