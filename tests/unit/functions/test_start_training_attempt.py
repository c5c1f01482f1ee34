"""The next training job of a run, and whether an execution may continue it."""

from __future__ import annotations

from typing import Any

import pytest

from start_training import attempt

MINE, OTHER = "arn:mine", "arn:other"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (None, None),
        ({"status": "RUNNING"}, None),
        *(({"status": status, "executionArn": MINE}, None) for status in ("RUNNING", "PARKED", "DEPLOYED", "REJECTED")),
        *(({"status": status, "executionArn": OTHER}, None) for status in ("FAILED", "ABORTED", "ROLLED_BACK")),
        *(
            ({"status": status, "executionArn": OTHER}, f"it is {status} as {OTHER}")
            for status in ("RUNNING", "PARKED")
        ),
        *(
            ({"status": status, "executionArn": OTHER}, f"it ended as {status}; start the next attempt")
            for status in ("DEPLOYED", "REJECTED", "UNCHANGED")
        ),
    ],
)
def test_a_run_has_one_execution_and_is_not_repeated_after_its_verdict(state: Any, words: str | None) -> None:
    assert attempt.refusal(state, MINE) == words


@pytest.mark.parametrize(
    ("status", "job", "number"),
    [
        (None, None, 1),
        (None, {"TrainingJobStatus": "Failed"}, 1),
        ("FAILED", None, 2),
        ("FAILED", {"TrainingJobStatus": "Completed"}, 2),
        ("FAILED", {"TrainingJobStatus": "InProgress"}, 2),
        ("FAILED", {"TrainingJobStatus": "Failed"}, 3),
        ("ABORTED", {"TrainingJobStatus": "Stopped"}, 3),
        ("RUNNING", {"TrainingJobStatus": "Failed"}, 2),
        ("PARKED", {"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: loss"}, 2),
        ("RUNNING", {"TrainingJobStatus": "Failed", "FailureReason": "CapacityError: none"}, 3),
    ],
)
def test_a_job_is_replaced_only_if_it_failed_and_a_person_or_the_capacity_is_why(
    status: str | None, job: Any, number: int
) -> None:
    state: Any = None if status is None else {"status": status, "trainingAttempt": 2}
    assert attempt.following(state, job) == number
