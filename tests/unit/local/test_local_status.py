"""Lines of `status` about what recommendations earned in the last day, and about a trial of two models."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from boto3.dynamodb.types import TypeSerializer

from contracts.outcomes import PK, Answers, Counts, Window
from control.ledger import Ledger
from local import status
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
