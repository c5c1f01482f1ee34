"""Who serves and served, as rows; the input of a rollback."""

from __future__ import annotations

import json
from typing import Any

import pytest

from control import serving

ROLLBACK = "arn:aws:states:us-east-1:000000000000:execution:ncf-rollback:r1"
ITEMS: list[dict[str, Any]] = [
    {"sk": "SINCE#1", "runId": "a-r1", "since": "2026-01-01T00:00:00+00:00", "why": "first", "by": "x:a-r1"},
    {"sk": "SINCE#2", "runId": "b-r1", "since": "2026-01-02T00:00:00+00:00", "why": "better", "replaced": "a-r1"},
    {
        "sk": "CURRENT",
        "runId": "a-r1",
        "since": "2026-01-03T00:00:00+00:00",
        "why": "complaints",
        "by": ROLLBACK,
        "previous": {"runId": "b-r1"},
    },
]


def test_lists_who_served_the_newest_first_until_the_next_one() -> None:
    rows = serving.periods(ITEMS)
    assert [row["run"] for row in rows] == ["a-r1", "b-r1", "a-r1"]
    assert rows[0]["until"] == "serves now"
    assert rows[1]["until"] == rows[0]["since"]
    assert (rows[0]["why"], rows[0]["by"], rows[0]["replaced"]) == ("complaints", "r1", "b-r1")


def test_offers_to_go_back_to_any_model_but_the_one_that_serves() -> None:
    assert serving.champions(ITEMS) == ["b-r1"]
    assert serving.champions([]) == []


def test_the_end_of_a_split_is_a_percent_of_zero() -> None:
    assert serving.rollback_input("", percent=0) == {"percent": 0}
    assert serving.rollback_input("why", to="a-r1") == {"reason": "why", "to": "a-r1"}


@pytest.mark.parametrize("percent", [-1, 100])
def test_refuses_a_share_that_is_none(percent: int) -> None:
    with pytest.raises(ValueError, match=f"not {percent}"):
        serving.rollback_input("why", percent=percent)


def test_work_that_is_over_is_not_open() -> None:
    records: list[dict[str, Any]] = [
        {"pk": "RUN#a", "status": "PARKED", "startedAt": None},
        {"pk": "RUN#b", "status": "FAILED"},
    ]
    assert serving.open_work(records) == [{"name": "a", "status": "PARKED", "since": "-"}]


def test_going_back_starts_the_machine_with_run_and_reason() -> None:
    action = serving.roll_back("machine", "a-r1", "b-r1")
    assert action.with_reason is not None
    (call,) = action.with_reason("complaints")
    assert (call.service, call.method) == ("stepfunctions", "start_execution")
    assert call.parameters["stateMachineArn"] == "machine"
    assert json.loads(call.parameters["input"]) == {"reason": "complaints", "to": "a-r1"}


def test_a_split_names_the_other_model_and_its_end_names_none() -> None:
    begin, end = serving.split("m", "a-r1", 30), serving.split("m", "a-r1", 0)
    assert json.loads(begin.calls[0].parameters["input"]) == {"to": "a-r1", "percent": 30}
    assert json.loads(end.calls[0].parameters["input"]) == {"percent": 0}
