"""The document of a trial: read strictly, and a side that stays a person's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts import recent_events, trials
from contracts.documents import Unfit
from contracts.trials import ALL_TRAFFIC, OTHER, Trial

RUN, EARLIER = "v20260102t000000z-00000000-r1", "v20260101t000000z-00000000-r1"
TRIAL = Trial(trial_id="7f", all_traffic=RUN, other=EARLIER, share=0.2)
PEOPLE = [recent_events.of_user(str(number)) for number in range(5_000)]


def test_a_document_that_was_written_is_read_back() -> None:
    assert Trial.from_json(TRIAL.to_json()) == TRIAL
    ended = Trial(trial_id="7f", all_traffic=RUN, other=EARLIER, share=0.2, ended_at="2026-11-29T10:00:00Z")
    assert Trial.from_json(ended.to_json()) == ended


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"schemaVersion": "2.0"}, "schemaVersion must be 1.0, not '2.0'"),
        ({"trialId": ""}, "trialId must be 1 to 80 letters"),
        ({"trialId": "a b"}, "trialId must be 1 to 80 letters"),
        ({"trialId": 7}, "trialId must be 1 to 80 letters"),
        ({"runs": [RUN]}, "runs must be an object with AllTraffic and Other"),
        ({"runs": {"AllTraffic": RUN}}, "runs: .*missing: Other"),
        ({"runs": {"AllTraffic": RUN, "Other": EARLIER, "Third": RUN}}, "runs: .*unknown: Third"),
        ({"runs": {"AllTraffic": RUN, "Other": "x"}}, "runs.Other must be a run id, not 'x'"),
        ({"share": 1.1}, "share must be a number from 0 to 1, not 1.1"),
        ({"share": -0.1}, "share must be a number from 0 to 1"),
        ({"share": True}, "share must be a number from 0 to 1"),
        ({"share": "0.5"}, "share must be a number from 0 to 1"),
        ({"endedAt": ""}, "endedAt must be a time"),
        ({"endedAt": None}, "endedAt must be a time"),
        ({"more": 1}, ".*unknown: more"),
    ],
)
def test_a_field_that_is_not_right_is_named_with_its_value(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(Unfit, match=f"serving/trial.json: {words}"):
        Trial.from_json(json.dumps(TRIAL.to_document() | changed))


def test_a_share_that_is_no_finite_number_is_refused() -> None:
    with pytest.raises(Unfit):
        Trial.from_json(json.dumps(TRIAL.to_document()).replace("0.2", "NaN"))


def test_the_share_of_the_people_is_that_of_the_trial() -> None:
    others = sum(TRIAL.side_of(pk) == OTHER for pk in PEOPLE)
    assert 920 <= others <= 1080  # 1,000 expected; the deviation is 28
    assert [TRIAL.side_of(pk) for pk in PEOPLE] == [TRIAL.side_of(pk) for pk in PEOPLE]


def test_a_moved_share_moves_only_the_people_between() -> None:
    more = Trial(trial_id="7f", all_traffic=RUN, other=EARLIER, share=0.3)
    moved = [(TRIAL.side_of(pk), more.side_of(pk)) for pk in PEOPLE]
    assert (OTHER, ALL_TRAFFIC) not in moved
    assert 420 <= moved.count((ALL_TRAFFIC, OTHER)) <= 580


def test_sides_of_two_trials_and_groups_of_people_are_independent() -> None:
    half = Trial(trial_id="7f", all_traffic=RUN, other=EARLIER, share=0.5)
    again = Trial(trial_id="80", all_traffic=RUN, other=EARLIER, share=0.5)
    both = sum(half.side_of(pk) == OTHER == again.side_of(pk) for pk in PEOPLE)
    assert 1150 <= both <= 1350
    first = [pk for pk in PEOPLE if recent_events.group(pk, 32) < 16]
    assert 0.46 <= sum(half.side_of(pk) == OTHER for pk in first) / len(first) <= 0.54


def test_shares_of_none_and_of_all_are_that() -> None:
    for share, side in ((0.0, ALL_TRAFFIC), (1.0, OTHER)):
        trial = Trial(trial_id="7f", all_traffic=RUN, other=EARLIER, share=share)
        assert {trial.side_of(pk) for pk in PEOPLE} == {side}


def test_an_ended_trial_has_no_sides() -> None:
    ended = Trial(trial_id="7f", all_traffic=RUN, other=EARLIER, share=0.5, ended_at="2026-11-29T10:00:00Z")
    assert ended.side_of(PEOPLE[0]) is None


def test_the_key_is_the_one_that_recommend_may_read() -> None:
    assert trials.KEY == "serving/trial.json"
