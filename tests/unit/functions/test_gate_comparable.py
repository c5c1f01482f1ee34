"""Before models are compared: the protocol, the people and the data must allow it."""

from __future__ import annotations

from typing import Any

import pytest

from evaluate import gate
from evaluate.policy import Policy
from shared.errors import NotComparable, UntrustworthyReport
from tests.unit.functions.cloud import RUN, VERSION
from tests.unit.functions.test_gate import (
    FIRST,
    INCUMBENT,
    LATER,
    POLICY,
    changed,
    differing,
    incumbent,
    later,
    report,
)

# The protocol


def by_time(document: dict[str, Any]) -> dict[str, Any]:
    return changed(changed(document, "protocol.split", "global-time"), "protocol.moment", 1_700_000_000)


@pytest.mark.parametrize("wanted", ["any", "global-time", None])
def test_a_verdict_says_by_which_protocol_it_was_reached(wanted: str | None) -> None:
    policy = Policy.from_document({"protocol": wanted} if wanted else {})
    assert gate.judge(by_time(report()), policy, FIRST).reasons[-1] == (
        "tested by global-time (interactions from 2023-11-14T22:13:20Z on) on all 610 test users"
    )


@pytest.mark.parametrize("document", [report(), later()])
@pytest.mark.fault("E08")
def test_a_test_by_another_protocol_than_the_policys_is_not_comparable(document: dict[str, Any]) -> None:
    with pytest.raises(NotComparable) as caught:
        gate.judge(
            document, Policy.from_document({"protocol": "global-time"}), LATER if document["incumbent"] else FIRST
        )
    assert str(caught.value) == (
        "not comparable: the dataset is split by leave-last-out, and the policy asks for global-time. Set "
        '{"split": "global-time"} in PreparationParameters and prepare the data again, or set protocol to '
        "leave-last-out or any in policy/gate.json"
    )


def test_the_figures_of_two_protocols_are_not_taken_for_a_collapse() -> None:
    """By leave-last-out, a serving model's NDCG was 0.3; by global time, on several items a user, it is 0.05."""
    other = gate.Run(RUN, VERSION, INCUMBENT, 0.3, "leave-last-out")
    verdict = gate.judge(by_time(differing(0.01)), POLICY, other)
    assert verdict.outcome == "ACCEPTED"
    assert verdict.people.endswith(
        "; the serving model was judged by leave-last-out: its figures of then are not compared with those of now"
    )
    same = gate.judge(by_time(differing(0.01)), POLICY, gate.Run(RUN, VERSION, INCUMBENT, 0.3, "global-time"))
    assert (same.outcome, "the data changed" in same.reasons[0]) == ("REJECTED", True)
    assert "judged by" not in same.people


# The people


def people(**numbers: int) -> dict[str, Any]:
    document = report(incumbent())
    document["people"] |= numbers
    document["protocol"]["testUsers"] = document["people"]["fair"] or document["people"]["withTest"]
    return document


def test_the_verdict_says_who_was_left_out_and_why() -> None:
    document = people(learnedAgain=103, learnedWhenNew=7, notDrawn=100, fair=400)
    assert gate.judge(document, POLICY, LATER).reasons[-1] == (
        "tested by leave-last-out on 400 of 610 test users; left out: 103 whose items the incumbent had learned "
        "because they had them before, 7 whose items the incumbent had learned because they were too new to test, "
        "100 not drawn for the sample"
    )


@pytest.mark.parametrize("fair", [0, 19])
@pytest.mark.fault("E08")
def test_too_few_people_whose_items_the_incumbent_has_not_learned_are_not_comparable(fair: int) -> None:
    with pytest.raises(NotComparable) as caught:
        gate.judge(people(learnedAgain=600 - fair, learnedWhenNew=10, fair=fair), POLICY, LATER)
    assert f"{INCUMBENT} learned the test items of {610 - fair} of 610 test users; {fair} are left" in str(caught.value)
    assert "below the minimum of 20" in str(caught.value)


def test_a_report_whose_people_contradict_its_protocol_is_a_fault() -> None:
    document = changed(people(fair=400), "protocol.testUsers", 610)
    with pytest.raises(UntrustworthyReport, match=r"people\.fair must be protocol\.testUsers, 610, or 0, not 400"):
        gate.judge(document, POLICY, LATER)


# The data


def of_data(**figures: float) -> dict[str, Any]:
    document = differing(0.01)
    document["data"] |= figures
    return document


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"formerUsers": 0.0}, "0% of the serving model's users are in the data (at least 50% expected)"),
        ({"formerItems": 0.1}, "10% of the serving model's items are in the data (at least 50% expected)"),
        ({"interactions": 0.4}, "40% of the serving model's number of interactions (at least 50% expected)"),
        ({"interactions": 11.0}, "1100% of the serving model's number of interactions (at most 1000% expected)"),
        ({"itemShift": 0.6}, "the popularity of items has moved: stability index 0.60 (at most 0.5 expected)"),
        ({"eventShift": 0.6}, "the mix of event types has moved: stability index 0.60 (at most 0.5 expected)"),
        (
            {"withdrawnItems": 0.6},
            "60% of the items that the serving model recommends are withdrawn (at most 50% expected)",
        ),
    ],
)
@pytest.mark.fault("E14")
def test_data_that_are_unlike_the_serving_models_are_taken_for_broken(figures: dict[str, float], words: str) -> None:
    document = of_data(**figures)
    verdict = gate.judge(document, POLICY, LATER)
    assert verdict.outcome == "REJECTED"
    assert verdict.reasons[0] == f"the data changed: {words}"
    assert verdict.reasons[1].startswith('if the change is meant, put {"dataChange": {"action": "warn"}} into policy')
    warning = gate.judge(document, Policy.from_document({"dataChange": {"action": "warn"}}), LATER)
    assert warning.outcome == "ACCEPTED"
    assert any(words in reason for reason in warning.reasons)


@pytest.mark.fault("E14")
def test_a_serving_model_that_collapses_on_the_new_test_says_that_the_data_changed() -> None:
    # Its NDCG of 0.05 with a standard error of 0.004 is less than half of 0.117 even with two standard errors more.
    run = gate.Run(RUN, VERSION, INCUMBENT, 0.117)
    verdict = gate.judge(differing(0.01), POLICY, run)
    assert verdict.outcome == "REJECTED"
    assert "the serving model's NDCG is 0.0500, and was 0.1170 when it was judged" in verdict.reasons[0]
    assert gate.judge(differing(0.01), POLICY, gate.Run(RUN, VERSION, INCUMBENT, 0.115)).outcome == "ACCEPTED"
