"""Lines of `status`: what recommendations earned, a trial of two models, what is waited for and why, and refusals."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ClientError

from contracts.outcomes import PK, Answers, Counts, Window
from control.ledger import Ledger, when
from local import status
from local.console import Show
from local.project import Project
from local.status import trial_lines
from shared.table import _storable

OLD, NEW = "v20261121t000000z-00000001-r1", "v20261122t000000z-00000002-r1"
WINDOWS = [
    Window(start="2026-11-29T10:00Z", rows={Answers(OLD, "personalized"): Counts(1000, 40, 2, 59.8)}),
    Window(
        start="2026-11-29T10:15Z",
        rows={Answers(NEW, "personalized"): Counts(500, 25), Answers(NEW, "related"): Counts(500)},
    ),
]


def test_each_model_has_a_line_the_newest_first() -> None:
    assert status.earned_lines(WINDOWS) == [
        f"{NEW}: shown 1,000, chosen 25 (2.50%), bought 0, value 0.00",
        f"{OLD}: shown 1,000, chosen 40 (4.00%), bought 2, value 59.80",
    ]
    assert status.earned_lines([]) == []


def test_the_last_day_is_97_windows_with_the_one_that_has_not_ended() -> None:
    assert status.last_day(1_795_946_400.0) == ("2026-11-28T10:00Z", "2026-11-29T10:00Z")


def test_the_serving_model_is_told_with_its_data_and_the_one_before_it() -> None:
    since = "2026-11-29T10:00:00"
    record = {"runId": NEW, "since": since, "datasetVersion": NEW[:-3], "previous": {"runId": OLD}}
    lines = status.serving_lines(record, [OLD])
    assert lines == [
        f"serving        {NEW} since {when(since)}",
        f"               trained on dataset {NEW[:-3]}",
        f"               before it: {OLD}",
    ]
    assert status.serving_lines(record, [NEW])[2] == f"{lines[2]}, which is not kept any more"
    assert status.serving_lines(record | {"previous": None}, []) == lines[:2]
    assert status.serving_lines({}, []) == ["serving        no model yet"]


class Client:
    """DynamoDB with these items under one key, a page each."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.items = items

    def get_paginator(self, operation: str) -> Client:
        assert operation == "query"
        return self

    def paginate(self, **call: Any) -> list[dict[str, Any]]:
        values = {name: value["S"] for name, value in call["ExpressionAttributeValues"].items()}
        found = [
            item
            for item in self.items
            if item["pk"] == values[":pk"] and values[":first"] <= item["sk"] <= values[":last"]
        ]
        return [{"Items": [TypeSerializer().serialize(item)["M"]]} for item in found]


def test_the_ledger_is_read_as_the_function_wrote_it() -> None:
    client = Client([{"pk": PK, "sk": one.start, **_storable(one.to_item())} for one in WINDOWS])
    ledger = Ledger(SimpleNamespace(client=lambda _: client), "runs")  # type: ignore[arg-type]  # a stub
    assert ledger.outcomes("2026-11-29T10:00Z", "2026-11-29T10:00Z") == WINDOWS[:1]
    assert ledger.outcomes("2026-11-29T00:00Z", "2026-11-30T00:00Z") == WINDOWS


FIGURES = {
    "days": 3.2,
    "daysLeft": 24.8,
    "impressions": {"AllTraffic": 12000, "Other": 4000},
    "clicks": {"AllTraffic": 600, "Other": 220},
    "difference": 0.1,
    "low": -0.02,
    "high": 0.235,
}
TRIAL: dict[str, Any] = {
    "trialId": "a-trial",
    "share": 0.3,
    "other": "v20261101t000000z-00000000-r1",
    "status": "RUNNING",
    "figures": FIGURES,
}


def test_a_trial_shows_share_rates_difference_and_time_left() -> None:
    assert trial_lines(TRIAL) == [
        "trial          a-trial: 30% of the people get v20261101t000000z-00000000-r1; 24.8 days left",
        "    AllTraffic 600 clicks of 12000 answers (5.00%)",
        "    Other      220 clicks of 4000 answers (5.50%)",
        "    Other has +10.0% clicks, always-valid interval -2.0% to +23.5%",
    ]


def test_a_trial_without_answers_has_no_rates() -> None:
    none = {"AllTraffic": 0, "Other": 0}
    lines = trial_lines(TRIAL | {"figures": {"days": 0.1, "daysLeft": 27.9, "impressions": none, "clicks": none}})
    assert lines[1:] == ["    AllTraffic 0 clicks of 0 answers", "    Other      0 clicks of 0 answers"]


def test_a_decided_trial_shows_its_verdict() -> None:
    assert trial_lines(TRIAL | {"verdict": "OTHER_IS_BETTER"})[0].endswith("; OTHER_IS_BETTER")


def test_before_the_first_look_there_is_nothing_to_show() -> None:
    assert trial_lines({}) == []


def test_who_waits_for_a_person_is_told_with_the_command_and_the_deadline() -> None:
    token = {"jobKind": "APPROVAL", "jobName": "arn", "runId": NEW, "updatedAt": "2026-11-29T10:00:00"}
    (first, command) = status.waiting_lines([status.job(token, {"ApprovalDeadlineHours": "48"})], [])
    moment, deadline = (when(f"2026-{day}T10:00:00") for day in ("11-29", "12-01"))
    assert first == f"waiting for    a person since {moment}, until {deadline}: approve {NEW}, or reject it"
    assert command == f"    .venv/bin/python -m local approve {NEW}"


def test_a_job_is_told_by_its_kind_and_name() -> None:
    token = {"jobKind": "TRAINING", "jobName": "shop-job", "runId": NEW, "updatedAt": "2026-11-29T10:00:00"}
    assert status.waiting_lines([status.job(token, {})], []) == [
        f"waiting for    training shop-job since {when('2026-11-29T10:00:00')}"
    ]


def test_a_parked_run_says_why_it_waits() -> None:
    parked = {"runId": NEW, "since": None, "reasons": ["no capacity for ml.m5.large"]}
    assert status.waiting_lines([], [parked]) == [
        f"parked         {NEW} since -; it goes on by itself",
        "    no capacity for ml.m5.large",
    ]
    assert status.waiting_lines([], []) == ["waiting for    nothing"]


def test_a_pause_is_told_with_who_and_why() -> None:
    paused = {"isPaused": True, "since": "2026-11-29T10:00:00", "who": "ann", "why": "a move"}
    (line,) = status.paused_lines(paused)
    assert f"paused since {when('2026-11-29T10:00:00')}, by ann: a move; new data start nothing until" in line
    assert status.paused_lines({"isPaused": True, "since": "", "who": "", "why": ""})[0].startswith(
        "retraining     paused; new data start nothing"
    )
    assert status.paused_lines({"isPaused": False, "since": "", "who": "", "why": ""}) == []


def test_the_last_refusals_of_runs_and_of_drops_have_their_reasons() -> None:
    runs: list[dict[str, Any]] = [
        {"pk": f"RUN#{NEW}", "status": "RUNNING"},
        *({"pk": f"RUN#v{number}-r1", "status": "REJECTED", "reasons": [f"reason {number}"]} for number in range(5)),
        {"pk": f"RUN#{OLD}", "status": "DEPLOYED"},
    ]
    datasets: list[dict[str, Any]] = [
        {"pk": "DATASET#v8", "status": "QUARANTINED", "reasons": ["all rows are wrong"], "source": "s3://data/raw/x/"},
        {"pk": "DATASET#v9", "status": "CLAIMED"},
    ]
    assert [(one["name"], one["status"], one["reasons"]) for one in status.refusals(runs, datasets)] == [
        ("run v0-r1", "REJECTED", ["reason 0"]),
        ("run v1-r1", "REJECTED", ["reason 1"]),
        ("run v2-r1", "REJECTED", ["reason 2"]),
        ("dataset v8 (s3://data/raw/x/)", "QUARANTINED", ["all rows are wrong"]),
    ]


class Executions:
    """A project whose only execution waited for a person for 30 of its 100 seconds."""

    def client(self, service: str) -> Any:
        return self

    def get_paginator(self, operation: str) -> Any:
        return self

    def paginate(self, executionArn: str, maxResults: int) -> list[dict[str, Any]]:
        if executionArn != "arn":
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "GetExecutionHistory")
        start = datetime(2026, 11, 29, 10, tzinfo=UTC)
        entered = {"name": "AwaitApproval"}
        events = [
            {"type": "TaskStateEntered", "timestamp": start, "stateEnteredEventDetails": entered},
            {"type": "TaskStateExited", "timestamp": start + timedelta(seconds=30)},
        ]
        return [{"events": events}]


def test_a_run_took_the_time_in_which_it_did_not_wait() -> None:
    project: Any = Executions()
    run = {
        "pk": f"RUN#{NEW}",
        "status": "DEPLOYED",
        "executionArn": "arn",
        "startedAt": "2026-11-29T10:00:00Z",
        "endedAt": "2026-11-29T10:01:40Z",
    }
    timed = status._timed(project, run)
    assert (timed["tookSeconds"], timed["waitedSeconds"]) == (70.0, 30.0)
    assert status._row(timed)[3:] == ("1 min 10 s", "30 s")
    forgotten = status._timed(project, run | {"executionArn": "gone"})
    assert (forgotten["tookSeconds"], forgotten["waitedSeconds"]) == (100.0, 0.0)
    assert status._row(status._timed(project, {"pk": f"RUN#{NEW}"}))[1:] == ("?", "-", "-", "")


def test_without_a_host_the_status_says_how_to_start_one_and_json_has_null(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Project(tmp_path, tmp_path / "state", 4599)
    status.show_status(project, Show(), is_json=True)
    assert json.loads(capsys.readouterr().out) == {"embeddedAws": None, "state": None}
    project.make_state_folder()
    status.show_status(project, Show())
    assert "not running (its state is kept): `make up` starts it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rest", "serves", "line"),
    [
        ({}, False, "none yet: the first model that passes the gate creates it"),
        ({"isResting": False}, True, "gone: create it again (docs/on-call.md#endpoint-fallback)"),
        (
            {"isResting": True},
            True,
            "rests outside EndpointHours: the API answers with the lists of a batch, or with popular items",
        ),
    ],
)
def test_an_endpoint_that_rests_or_is_gone_is_not_one_that_was_never_made(
    rest: dict[str, Any], serves: bool, line: str
) -> None:
    error = ClientError({"Error": {"Code": "ValidationException", "Message": "Could not find endpoint"}}, "D")

    def describe(EndpointName: str) -> dict[str, Any]:
        raise error

    client = SimpleNamespace(describe_endpoint=describe)
    project = SimpleNamespace(client=lambda _: client)
    assert status.endpoint_line(project, "ncf-recommender", rest, serves) == line  # type: ignore[arg-type]  # a stub
