"""The gate: accepted models, models rejected with their figures, and invalid reports, which fail the run."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest

from contracts import schemas
from evaluate import gate
from evaluate.policy import Policy
from shared.errors import InvalidInput, NotComparable, UntrustworthyReport
from tests.unit.functions.cloud import (
    RUN,
    VERSION,
)

INCUMBENT = "v20261122t000000z-00000000-r1"
FIRST = gate.Run(RUN, VERSION)
LATER = gate.Run(RUN, VERSION, INCUMBENT)
POLICY = Policy.from_document({"minimumTestUsers": 20})


def figures(hit_rate: float, ndcg: float, full: float = 0.1, coverage: float = 0.3) -> dict[str, Any]:
    return {
        "sampled": {"hitRate": hit_rate, "ndcg": ndcg},
        "full": {"hitRate": full, "ndcg": full / 2},
        "coverage": coverage,
        "largestExposure": 0.2,
        "slices": {},
    }


def report(incumbent: dict[str, Any] | None = None, **candidate: float) -> dict[str, Any]:
    interval = {"mean": 0.01, "lower": -0.01, "upper": 0.03}
    document: dict[str, Any] = {
        "schemaVersion": "1.2",
        "runId": RUN,
        "datasetVersion": VERSION,
        "codeVersion": "5f" * 32,
        "bundleDigest": "c4" * 32,
        "protocol": {
            "split": "leave-last-out",
            "k": 10,
            "negatives": 99,
            "seed": 42,
            "ties": "against",
            "testUsers": 610,
            "fewestNegatives": 99,
            "fullCatalogue": "seen items excluded",
            "epoch": "last",
        },
        "candidate": {"model": "neumf", **figures(**{"hit_rate": 0.7, "ndcg": 0.4, **candidate})},
        "incumbent": incumbent,
        "baselines": {"popularity": figures(0.45, 0.25, 0.05, 0.01)},
        "difference": None,
        "serving": {"answers": 600, "p50Milliseconds": 0.1, "p99Milliseconds": 0.4},
    }
    if incumbent is not None:
        document["difference"] = {
            "sampledNdcg": interval,
            "sampledHitRate": dict(interval),
            "fullNdcg": dict(interval),
            "fullHitRate": dict(interval),
            "confidence": 0.95,
            "resamples": 1000,
        }
    return document


def incumbent(hit_rate: float = 0.65, ndcg: float = 0.38, run_id: str = INCUMBENT) -> dict[str, Any]:
    return {"runId": run_id, "datasetVersion": run_id[:-3], "model": "neumf", **figures(hit_rate, ndcg)}


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(document)
    *steps, last = path.split(".")
    place = document
    for step in steps:
        place = place[step]
    place[last] = value
    return document


@pytest.mark.parametrize("incumbent_too", [False, True])
def test_the_reports_of_these_tests_are_of_the_kind_that_training_writes(incumbent_too: bool) -> None:
    schema = schemas.load("evaluation")
    jsonschema.Draft202012Validator(schema).validate(report(incumbent() if incumbent_too else None))


# The verdict


@pytest.mark.fault("E07")
def test_the_first_model_needs_the_floors_and_must_beat_popularity() -> None:
    verdict = gate.judge(report(), POLICY, FIRST)
    assert verdict.accepted
    assert [check.name for check in verdict.checks] == [
        "floor.sampledHitRate",
        "floor.sampledNdcg",
        "floor.fullHitRate",
        "floor.fullNdcg",
        "floor.coverage",
        "ceiling.largestExposure",
        "serving.p99Milliseconds",
        "popularity.sampledHitRate",
        "popularity.sampledNdcg",
    ]
    assert "hit rate at 10 is 0.7000, better than popularity's 0.4500" in verdict.reasons


def test_a_candidate_below_a_floor_is_rejected_with_its_figures() -> None:
    policy = Policy.from_document({"minimumTestUsers": 20, "floors": {"sampledHitRate": 0.55}})
    verdict = gate.judge(report(hit_rate=0.5), policy, FIRST)
    assert not verdict.accepted
    assert verdict.reasons == ["hit rate at 10 is 0.5000, below the floor of 0.55"]


@pytest.mark.parametrize(
    ("candidate", "name"),
    [
        ({"hit_rate": 0.45}, "popularity.sampledHitRate"),
        ({"ndcg": 0.25}, "popularity.sampledNdcg"),
    ],
)
@pytest.mark.fault("E13")
def test_a_candidate_no_better_than_popularity_is_rejected(candidate: dict[str, Any], name: str) -> None:
    verdict = gate.judge(report(**candidate), POLICY, FIRST)
    assert [check.name for check in verdict.checks if not check.passed] == [name]
    assert "not better than popularity's" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("candidate", "name"),
    [
        ({"hit_rate": 0.64}, "incumbent.sampledHitRate"),
        ({"ndcg": 0.37}, "incumbent.sampledNdcg"),
    ],
)
@pytest.mark.fault("E04")
def test_rejects_a_candidate_worse_than_the_incumbent(candidate: dict[str, Any], name: str) -> None:
    verdict = gate.judge(report(incumbent(), **candidate), POLICY, LATER)
    assert [check.name for check in verdict.checks if not check.passed] == [name]
    assert "worse than the incumbent's" in verdict.reasons[0]
    assert "on the same test set" in verdict.reasons[0]


@pytest.mark.fault("E11")
def test_better_in_one_figure_does_not_make_up_for_worse_in_another() -> None:
    assert not gate.judge(report(incumbent(), hit_rate=0.9, ndcg=0.37), POLICY, LATER).accepted


@pytest.mark.fault("E05")
def test_an_equal_candidate_is_not_worse() -> None:
    assert gate.judge(report(incumbent(0.7, 0.4)), POLICY, LATER).accepted


@pytest.mark.fault("E05")
def test_a_positive_margin_asks_for_progress_and_a_negative_one_tolerates_loss() -> None:
    strict = Policy.from_document({"margins": {"sampledHitRate": 0.02}})
    loose = Policy.from_document({"margins": {"sampledHitRate": -0.02, "sampledNdcg": -0.02}})
    assert not gate.judge(report(incumbent(0.69, 0.4)), strict, LATER).accepted
    assert gate.judge(report(incumbent(0.71, 0.41)), loose, LATER).accepted
    assert not gate.judge(report(incumbent(0.73, 0.41)), loose, LATER).accepted


def test_a_collapsed_coverage_is_rejected_when_the_policy_has_a_floor_for_it() -> None:
    policy = Policy.from_document({"floors": {"coverage": 0.05}})
    verdict = gate.judge(report(coverage=0.01), policy, FIRST)
    assert verdict.reasons == ["coverage is 0.0100, below the floor of 0.05"]


def sliced(ndcg: float, users: int = 120) -> dict[str, Any]:
    rates = {"hitRate": 0.5, "ndcg": ndcg}
    return {"tailItems": {"users": users, "sampled": rates, "full": dict(rates)}}


def later(**candidate: Any) -> dict[str, Any]:
    """A report that every check of the default policy passes, with an incumbent, a strong baseline and a slice."""
    document = report(incumbent(), **candidate)
    document["baselines"]["ease"] = figures(0.69, 0.41)
    document["candidate"]["slices"] = sliced(0.30)
    document["incumbent"]["slices"] = sliced(0.38)
    return document


EVERY_CHECK = {
    "floor.sampledHitRate": ({"floors": {"sampledHitRate": 0.71}}, {}),
    "floor.sampledNdcg": ({"floors": {"sampledNdcg": 0.41}}, {}),
    "floor.fullHitRate": ({"floors": {"fullHitRate": 0.11}}, {}),
    "floor.fullNdcg": ({"floors": {"fullNdcg": 0.06}}, {}),
    "floor.coverage": ({"floors": {"coverage": 0.31}}, {}),
    "ceiling.largestExposure": ({}, {"candidate.largestExposure": 0.96}),
    "serving.p99Milliseconds": ({"maximumServingMilliseconds": 0.3}, {}),
    "popularity.sampledHitRate": ({}, {"baselines.popularity.sampled.hitRate": 0.7}),
    "popularity.sampledNdcg": ({}, {"baselines.popularity.sampled.ndcg": 0.4}),
    "ease.sampledNdcg": ({}, {"baselines.ease.sampled.ndcg": 0.43}),
    "incumbent.sampledHitRate": ({}, {"incumbent.sampled.hitRate": 0.71}),
    "incumbent.sampledNdcg": ({}, {"incumbent.sampled.ndcg": 0.41}),
    "interval.sampledHitRate": ({}, {"difference.sampledHitRate.lower": -0.09}),
    "interval.sampledNdcg": ({}, {"difference.sampledNdcg.lower": -0.06}),
    "slice.tailItems.sampledNdcg": ({}, {"candidate.slices.tailItems.sampled.ndcg": 0.27}),
}


def test_the_table_has_every_check_there_is() -> None:
    verdict = gate.judge(later(), POLICY, LATER)
    assert verdict.accepted, verdict.reasons
    assert {check.name for check in verdict.checks} == EVERY_CHECK.keys()


@pytest.mark.parametrize("name", EVERY_CHECK)
@pytest.mark.fault("E05", "E11", "E13")
def test_each_check_alone_refuses_what_it_is_for(name: str) -> None:
    policy: Any
    policy, changes = EVERY_CHECK[name]
    document = later()
    for path, value in changes.items():
        document = changed(document, path, value)
    verdict = gate.judge(document, Policy.from_document(policy), LATER)
    assert [check.name for check in verdict.checks if not check.passed] == [name]
    assert not verdict.accepted
    assert len(verdict.reasons) == 1


def test_the_sentences_of_the_later_checks_carry_their_numbers() -> None:
    reasons = {check.name: check.sentence for check in gate.judge(later(), POLICY, LATER).checks}
    shown = "the most-recommended item reaches 20.0% of users, within the limit of 95%"
    assert reasons["ceiling.largestExposure"] == shown
    worse = "NDCG at 10 is 0.4000, meets the allowed loss of 0.02 against EASE's 0.4100 on the same test set"
    assert reasons["ease.sampledNdcg"] == worse
    interval = (
        "change of NDCG at 10 against the incumbent: at least -0.0100 (95 % confidence), at or above the limit of -0.05"
    )
    assert reasons["interval.sampledNdcg"] == interval
    slow = "p99 latency is 0.4 ms, within the limit of 100 ms"
    assert reasons["serving.p99Milliseconds"] == slow
    fall = (
        "NDCG at 10 for tailItems (120 users) is 0.3000, the incumbent's is 0.3800: the loss is within the limit of 0.1"
    )
    assert reasons["slice.tailItems.sampledNdcg"] == fall


def test_a_model_is_not_held_against_itself_as_a_baseline() -> None:
    document = changed(changed(later(), "candidate.model", "ease"), "baselines.ease.sampled.ndcg", 0.6)
    assert gate.judge(document, POLICY, LATER).accepted


def test_an_interval_of_few_users_and_a_slice_of_few_are_not_looked_at() -> None:
    document = changed(changed(later(), "protocol.testUsers", 199), "difference.sampledNdcg.lower", -0.5)
    assert gate.judge(document, POLICY, LATER).accepted
    document = changed(later(), "candidate.slices", sliced(0.0, users=99))
    assert gate.judge(document, POLICY, LATER).accepted


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("candidate.slices", None, "candidate.slices must be an object"),
        ("candidate.slices.tailItems.users", 0, "candidate.slices.tailItems.users must be an integer of at least 1"),
        (
            "incumbent.slices.tailItems.sampled.ndcg",
            2,
            "slices.tailItems.sampled.ndcg must be a number from 0 to 1, not 2",
        ),
        ("candidate.slices.tailItems.full", None, "candidate.slices.tailItems.full must be an object"),
        ("candidate.largestExposure", None, "candidate.largestExposure must be a number"),
        ("difference.fullNdcg.lower", None, "difference.fullNdcg.lower must be a number"),
        ("serving", None, "serving must be an object"),
        ("serving.p99Milliseconds", float("nan"), "serving.p99Milliseconds must be a number"),
    ],
)
def test_a_slice_or_an_interval_that_cannot_be_believed_is_a_fault(path: str, value: Any, words: str) -> None:
    with pytest.raises(UntrustworthyReport) as caught:
        gate.judge(changed(later(), path, value), POLICY, LATER)
    assert words in str(caught.value)


def test_all_failed_checks_are_named_together() -> None:
    assert len(gate.judge(report(incumbent(), hit_rate=0.1, ndcg=0.05), POLICY, LATER).reasons) == 6


# Faults, never rejections


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), None, "0.9", True, 1.0001, -0.0001, [], {}]
)
@pytest.mark.parametrize(
    "path",
    [
        "candidate.sampled.hitRate",
        "candidate.full.ndcg",
        "candidate.coverage",
        "baselines.popularity.sampled.ndcg",
        "incumbent.sampled.hitRate",
    ],
)
@pytest.mark.fault("E03")
def test_a_figure_that_is_no_finite_rate_is_a_fault(path: str, value: Any) -> None:
    with pytest.raises(UntrustworthyReport) as caught:
        gate.judge(changed(report(incumbent()), path, value), POLICY, LATER)
    assert str(caught.value).startswith(f"evaluation.json: {path} must be a number from 0 to 1, not ")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("schemaVersion", "2.0", "schemaVersion must be 1.x"),
        ("schemaVersion", None, "schemaVersion must be 1.x"),
        ("runId", INCUMBENT, "the report belongs to another run"),
        ("datasetVersion", "v20261122t000000z-00000000", "the report belongs to another run"),
        ("protocol", None, "protocol must be an object"),
        ("protocol.k", "10", "protocol.k must be an integer of at least 1"),
        ("protocol.testUsers", 19, "19 test users, below the minimum of 20"),
        ("protocol.testUsers", 610.5, "protocol.testUsers must be an integer of at least 1"),
        ("candidate", [], "candidate must be an object"),
        ("candidate.sampled", None, "candidate.sampled must be an object"),
        ("baselines", {}, "baselines.popularity is missing; it must be an object"),
        ("difference", None, "difference must be an object"),
        (
            "difference.sampledNdcg.lower",
            float("nan"),
            "difference.sampledNdcg.lower must be a number from -1 to 1",
        ),
    ],
)
@pytest.mark.fault("E08", "E10")
def test_a_report_that_cannot_be_believed_is_a_fault(path: str, value: Any, words: str) -> None:
    with pytest.raises(UntrustworthyReport) as caught:
        gate.judge(changed(report(incumbent()), path, value), POLICY, LATER)
    assert words in str(caught.value)


def test_every_baseline_must_be_believable_even_one_that_no_check_reads() -> None:
    document = changed(report(), "baselines.ease", figures(float("nan"), 0.3))
    with pytest.raises(UntrustworthyReport, match=r"baselines\.ease\.sampled\.hitRate"):
        gate.judge(document, POLICY, FIRST)


@pytest.mark.fault("E08", "E09")
def test_a_candidate_that_was_not_measured_against_the_serving_model_is_no_automatic_winner() -> None:
    with pytest.raises(NotComparable, match=f"not comparable: {INCUMBENT} serves"):
        gate.judge(report(), POLICY, LATER)


@pytest.mark.fault("E08")
def test_a_candidate_measured_against_another_model_is_not_comparable() -> None:
    other = incumbent(run_id="v20261121t000000z-00000000-r1")
    with pytest.raises(NotComparable, match="and the report measures 'v20261121t000000z-00000000-r1'"):
        gate.judge(report(other), POLICY, LATER)


# The policy


def test_what_a_policy_leaves_out_has_its_default() -> None:
    policy = Policy.from_document({"floors": {"coverage": 0.2}})
    assert policy.floors["coverage"] == 0.2
    assert policy.floors["sampledHitRate"] == 0.15
    assert policy.margins == {"sampledHitRate": 0.0, "sampledNdcg": 0.0}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"floor": {}}, "GatePolicy has an unknown key floor"),
        ({"minimumTestUsers": 0}, "GatePolicy: minimumTestUsers must be an integer of at least 1, not 0"),
        ({"minimumTestUsers": True}, "GatePolicy: minimumTestUsers must be an integer of at least 1, not True"),
        ({"floors": 0.5}, "GatePolicy: floors must be an object, not 0.5"),
        ({"floors": {"hitRate": 0.5}}, "GatePolicy: floors has an unknown key hitRate"),
        ({"floors": {"coverage": 1.5}}, "GatePolicy: floors.coverage must be a number from 0 to 1, not 1.5"),
        ({"floors": {"coverage": float("nan")}}, "GatePolicy: floors.coverage must be a number from 0 to 1, not nan"),
        ({"margins": {"sampledNdcg": "0"}}, "GatePolicy: margins.sampledNdcg must be a number from -1 to 1, not '0'"),
        ({"minimumSliceUsers": 0.5}, "GatePolicy: minimumSliceUsers must be an integer of at least 1, not 0.5"),
        (
            {"ceilings": {"coverage": 1}},
            "GatePolicy: ceilings has an unknown key coverage; the keys are largestExposure",
        ),
        (
            {"maximumServingMilliseconds": 0},
            "GatePolicy: maximumServingMilliseconds must be a number above 0, not 0",
        ),
        ({"sliceMargins": {"coverage": 0}}, "GatePolicy: sliceMargins has an unknown key coverage"),
        (
            {"lowestDifference": {"sampledNdcg": -2}},
            "lowestDifference.sampledNdcg must be a number from -1 to 1, not -2",
        ),
    ],
)
def test_names_the_key_of_a_policy_that_cannot_be_used(document: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Policy.from_document(document)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"minimumTestUsers": 20, "floors": {"coverage": 0.1}, "ceilings": {"largestExposure": 0.5}},
        {"margins": {"sampledNdcg": -0.01}, "lowestDifference": {"fullNdcg": -1}, "minimumSliceUsers": 1},
        {"floors": {"coverage": -0.1}},
        {"ceilings": {"coverage": 0.1}},
        {"lowestDifference": {"coverage": 0}},
        {"sliceMargins": {"sampledNdcg": "0"}},
        {"minimumTestUsers": 0},
        {"minimumIntervalUsers": 1.5},
        {"maximumServingMilliseconds": 20},
        {"maximumServingMilliseconds": 0},
        {"maximumServingMilliseconds": "20"},
        {"other": 1},
    ],
)
def test_the_schema_of_the_policy_and_the_code_refuse_the_same(document: dict[str, Any]) -> None:
    schema = schemas.load("policy")
    by_schema = jsonschema.Draft202012Validator(schema).is_valid(document)
    try:
        Policy.from_document(document)
        by_code = True
    except InvalidInput:
        by_code = False
    assert by_schema == by_code
