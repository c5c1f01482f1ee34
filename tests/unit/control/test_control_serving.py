"""Who serves and served, as rows; the input of a rollback."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from control import serving
from control.serving import Former, Served

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


def test_a_period_knows_how_long_it_was_and_whether_a_person_began_it() -> None:
    rows = serving.periods(ITEMS, now=datetime(2026, 1, 5, tzinfo=UTC).timestamp())
    assert [row["seconds"] for row in rows] == [2 * 86400, 86400, 86400]
    assert [row["isRollback"] for row in rows] == [True, False, False]


def test_offers_to_go_back_to_the_models_that_are_kept_but_the_one_that_serves() -> None:
    kept = [{"pk": f"CHAMPION#{run}"} for run in ("a-r1", "b-r1")]
    (former,) = serving.formers(kept, ITEMS)
    assert (former.run_id, former.until[:10]) == ("b-r1", "2026-01-03")
    assert "complaints" in former.taken_back and "taken back" in former.label
    assert serving.formers([{"pk": "CHAMPION#a-r1"}], ITEMS) == [], "the archive of b-r1 is deleted"
    assert serving.formers([], []) == []


def test_what_a_rollback_changes_is_said_before() -> None:
    former = Former("a-r1", taken_back="it was taken back")
    to = Served("a-r1", {"fullNdcg": 0.05}, {"users": 1000, "items": 90})
    assert serving.differences(former, to, Served("b-r1", {"fullNdcg": 0.06}, {"users": 1200, "items": 95})) == (
        "it knows 1,000 people; the one that serves knows 1,200",
        "it knows 90 items; the one that serves knows 95",
        "its NDCG was 0.0500 on its own test, 0.0600 that of the one that serves on another test",
        "it was taken back: it would serve again all the same",
    )
    assert serving.differences(Former("a-r1"), Served("a-r1"), Served("b-r1")) == ()
    assert "it knows" in serving.roll_back("m", "a-r1", "b-r1", ("it knows 1",)).consequences[-1]


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
