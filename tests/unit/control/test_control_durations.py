"""Time in which a run waited does not count as its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from control.durations import in_words, waited

START = datetime(2026, 11, 29, 10, tzinfo=UTC)
NOW = START.timestamp() + 1000


def event(seconds: float, kind: str, state: str | None = None) -> dict[str, Any]:
    details = {} if state is None else {"stateEnteredEventDetails": {"name": state}}
    return {"type": kind, "timestamp": START + timedelta(seconds=seconds), **details}


TRAINED = [
    event(0, "ExecutionStarted"),
    event(0, "TaskStateEntered", "StartTraining"),
    event(0, "TaskScheduled"),
    event(40, "TaskSucceeded"),
    event(40, "TaskStateExited"),
]


def test_a_run_that_works_all_the_time_waited_for_nothing() -> None:
    assert waited([*TRAINED, event(50, "ExecutionSucceeded")], NOW) == 0


def test_the_time_until_a_person_decides_is_waiting() -> None:
    asked = [event(50, "TaskStateEntered", "AwaitApproval"), event(50, "TaskScheduled"), event(51, "TaskSubmitted")]
    assert waited([*TRAINED, *asked], NOW) == 950
    decided = [event(350, "TaskSucceeded"), event(350, "TaskStateExited")]
    assert waited([*TRAINED, *asked, *decided, event(360, "ExecutionSucceeded")], NOW) == 300


def test_a_parked_run_waits_between_its_tries() -> None:
    parked = [
        event(50, "TaskStateEntered", "Deploy"),
        event(50, "TaskScheduled"),
        event(52, "TaskFailed"),
        event(112, "TaskScheduled"),
        event(114, "TaskFailed"),
    ]
    assert waited([*TRAINED, *parked], NOW) == 60 + (1000 - 114)
    over = [event(174, "TaskScheduled"), event(180, "TaskSucceeded"), event(180, "TaskStateExited")]
    assert waited([*TRAINED, *parked, *over, event(181, "ExecutionSucceeded")], NOW) == 120


def test_a_failed_last_try_is_no_waiting_after_the_end() -> None:
    failed = [event(50, "TaskStateEntered", "Deploy"), event(50, "TaskScheduled"), event(52, "TaskFailed")]
    caught = [event(52, "TaskStateExited"), event(53, "TaskStateEntered", "RollBack"), event(53, "TaskScheduled")]
    assert waited([*TRAINED, *failed, *caught, event(80, "ExecutionFailed")], NOW) == 0


@pytest.mark.parametrize("end", ["ExecutionAborted", "ExecutionTimedOut"])
def test_an_execution_that_was_stopped_waits_no_longer(end: str) -> None:
    asked = [event(50, "TaskStateEntered", "AwaitApproval"), event(50, "TaskScheduled")]
    assert waited([*TRAINED, *asked, event(90, end)], NOW) == 40


def test_an_empty_history_waited_for_nothing() -> None:
    assert waited([], NOW) == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (0.4, "0 s"), (37.4, "37 s"), (59.6, "1 min 0 s"), (245, "4 min 5 s"), (11_520, "3 h 12 min")],
)
def test_a_duration_is_told_in_the_units_that_people_use(seconds: float | None, words: str) -> None:
    assert in_words(seconds) == words
