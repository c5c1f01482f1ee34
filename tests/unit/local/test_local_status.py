"""The lines of `status` about a trial of two models."""

from __future__ import annotations

from typing import Any

from local.status import trial_lines

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
