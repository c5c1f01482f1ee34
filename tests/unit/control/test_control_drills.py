"""Drills promise what the documents say, and their ends are told apart from others."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from control import drills
from control.drills import (
    DEAD_ENDPOINT,
    DRILLS,
    DUPLICATE_EVENT,
    FULL_DISK,
    KILLED_TRAINING,
    LOST_CALLBACK,
    WORSE_DATA,
    Drill,
    Observed,
    judge,
)
from tests import faults

ROOT = Path(__file__).resolve().parents[3]
SAME = Observed(seconds=40, serving_before="a-r1", serving_now="a-r1", run_id="b-r1", reasons=("it is worse",))


def plain(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("drill", DRILLS.values(), ids=lambda drill: drill.name)
def test_a_drill_promises_what_the_documents_say(drill: Drill) -> None:
    assert drill.expected
    for expected in drill.expected:
        text = (ROOT / expected.source).read_text(encoding="utf-8")
        if expected.fault:
            assert faults.listed()[expected.fault] == expected.case
            text = "\n".join(re.findall(rf"^\| {expected.fault} \|.*$", text, re.MULTILINE))
        assert plain(expected.words) in plain(text)


@pytest.mark.parametrize("drill", DRILLS.values(), ids=lambda drill: drill.name)
def test_nothing_seen_yet_is_no_end_and_too_long_without_an_end_is_not_as_expected(drill: Drill) -> None:
    assert judge(drill, Observed(seconds=1)).is_as_expected is None
    late = judge(drill, Observed(seconds=drills.LONGEST_SECONDS + 1))
    assert late.is_as_expected is False
    assert late.end


def test_worse_data_are_to_be_rejected_while_the_model_serves_on() -> None:
    rejected = judge(WORSE_DATA, replace(SAME, dataset_status="CLAIMED", run_status="REJECTED"))
    assert rejected.is_as_expected
    assert rejected.end == "The run ended REJECTED; model a-r1 serves, as before."
    assert rejected.reasons == ("it is worse",)
    deployed = replace(SAME, dataset_status="CLAIMED", run_status="DEPLOYED", serving_now="b-r1")
    assert judge(WORSE_DATA, deployed).is_as_expected is False
    assert judge(WORSE_DATA, replace(SAME, run_status="REJECTED", serving_now="b-r1")).is_as_expected is False
    refused = judge(WORSE_DATA, replace(SAME, dataset_status="QUARANTINED"))
    assert (refused.is_as_expected, refused.end) == (False, "The data were not used: QUARANTINED.")


def test_a_duplicate_event_may_start_nothing() -> None:
    seen = replace(SAME, handled=1, executions_before=2, executions_now=2)
    assert judge(DUPLICATE_EVENT, seen).is_as_expected
    assert judge(DUPLICATE_EVENT, replace(seen, seconds=3)).is_as_expected is None, "a run could still start"
    assert judge(DUPLICATE_EVENT, replace(seen, executions_now=3)).is_as_expected is False


def test_a_training_is_stopped_once_it_trains_and_the_run_is_to_end_without_an_alarm() -> None:
    training = replace(SAME, run_status="RUNNING", job_status="InProgress")
    assert judge(KILLED_TRAINING, training).due == "stop"
    assert judge(KILLED_TRAINING, replace(training, job_status="Stopping")).due == ""
    stopped = replace(SAME, run_status="ABORTED", job_status="Stopped", seconds_since_job=30)
    assert judge(KILLED_TRAINING, stopped).is_as_expected
    assert judge(KILLED_TRAINING, replace(stopped, seconds_since_job=3)).is_as_expected is None, (
        "a notification may still come"
    )
    assert judge(KILLED_TRAINING, replace(stopped, notices=1)).is_as_expected is False
    assert judge(KILLED_TRAINING, replace(stopped, reasons=())).is_as_expected is False
    assert judge(KILLED_TRAINING, replace(stopped, serving_now="")).is_as_expected is False
    assert judge(KILLED_TRAINING, replace(stopped, run_status="DEPLOYED")).is_as_expected is False
    too_late = judge(KILLED_TRAINING, replace(stopped, job_status="Completed", run_status="DEPLOYED"))
    assert too_late.is_as_expected is False
    assert "before it could be stopped" in too_late.end


def test_without_an_endpoint_the_api_is_to_answer_from_another_source() -> None:
    gone = replace(SAME, source_before="personalized", answer_status=200, answer_source="popular")
    assert judge(DEAD_ENDPOINT, gone).is_as_expected
    assert judge(DEAD_ENDPOINT, gone).needs_setting_right
    assert judge(DEAD_ENDPOINT, replace(gone, endpoint_status="Deleting")).is_as_expected is None
    assert judge(DEAD_ENDPOINT, replace(gone, answer_source="personalized")).is_as_expected is None
    down = replace(gone, answer_status=503, answer_source="", seconds=drills.LONGEST_ANSWER_SECONDS + 1)
    assert judge(DEAD_ENDPOINT, down).is_as_expected is False
    assert judge(DEAD_ENDPOINT, down).needs_setting_right


def test_the_rule_is_switched_on_only_after_the_callback_was_lost() -> None:
    trains = replace(SAME, is_rule_on=False, run_status="RUNNING", job_status="InProgress", is_waiting=True)
    assert judge(LOST_CALLBACK, trains).due == ""
    ended = replace(trains, job_status="Completed", seconds_since_job=2)
    assert judge(LOST_CALLBACK, ended).due == ""
    assert judge(LOST_CALLBACK, replace(ended, seconds_since_job=drills.SETTLED_SECONDS)).due == "reconcile"
    assert judge(LOST_CALLBACK, replace(ended, is_waiting=False)).due == "reconcile", "it was answered meanwhile"
    assert judge(LOST_CALLBACK, replace(trains, seconds=drills.LONGEST_SECONDS + 1)).due == "reconcile"


def test_a_lost_callback_is_to_change_nothing_in_the_end() -> None:
    over = replace(SAME, run_status="UNCHANGED", job_status="Completed", was_lost=True)
    assert judge(LOST_CALLBACK, over).is_as_expected
    assert judge(LOST_CALLBACK, replace(over, run_status="DEPLOYED", serving_now="b-r1")).is_as_expected
    assert judge(LOST_CALLBACK, replace(over, run_status="FAILED")).is_as_expected is False
    assert judge(LOST_CALLBACK, replace(over, was_lost=False)).is_as_expected is False


def test_with_a_full_disk_a_change_is_to_be_refused_while_answers_go_on() -> None:
    assert judge(FULL_DISK, SAME).due == "fill"
    full = replace(
        SAME,
        was_full=True,
        refusal="Nothing was changed: the disk has 0 bytes free and 900 are needed.",
        was_readable=True,
        answer_status=200,
        answer_source="personalized",
        goes_on=True,
    )
    assert judge(FULL_DISK, full).is_as_expected
    for other in ({"refusal": ""}, {"was_readable": False}, {"answer_status": 503}, {"goes_on": False}):
        seen = judge(FULL_DISK, replace(full, **other))
        assert seen.is_as_expected is False
        assert seen.end.count("not seen") == 1
    assert judge(FULL_DISK, replace(full, refusal="too many requests")).is_as_expected is False
