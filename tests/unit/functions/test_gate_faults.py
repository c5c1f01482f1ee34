"""The gate: reports that cannot be believed fail the run, and policies that cannot be used are named."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from contracts import schemas
from evaluate import gate
from evaluate.policy import Policy
from shared.errors import InvalidInput, NotComparable, UntrustworthyReport
from tests.unit.functions.test_gate import FIRST, INCUMBENT, LATER, POLICY, changed, figures, incumbent, report

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
        ("schemaVersion", "1.1", "schemaVersion must be 2.x"),
        ("schemaVersion", None, "schemaVersion must be 2.x"),
        ("runId", INCUMBENT, "the report belongs to another run"),
        ("datasetVersion", "v20261122t000000z-00000000", "the report belongs to another run"),
        ("protocol", None, "protocol must be an object"),
        ("protocol.k", "10", "protocol.k must be an integer of at least 1"),
        ("people.withTest", 19, "19 test users, below the minimum of 20"),
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
    with pytest.raises(UntrustworthyReport, match=r"baselines\.ease\.full\.hitRate"):
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
    assert policy.ceilings == {"largestExposure": 0.95}
    assert (policy.better.figure, policy.better.confidence, policy.better.minimum_gain) == ("fullNdcg", 0.95, 0.0)
    assert policy.baseline_gains["popularity"] == {"fullHitRate": 0, "fullNdcg": 0.05}


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
        ({"margins": {"sampledNdcg": 0}}, "GatePolicy has an unknown key margins"),
        ({"sliceGains": {"fullNdcg": "0"}}, "GatePolicy: sliceGains.fullNdcg must be a number from -1 to 1, not '0'"),
        ({"better": {"confidence": 95}}, "GatePolicy: better.confidence must be a number from 0.5 to 0.999, not 95"),
        ({"better": {"figure": "hitRate"}}, "GatePolicy: better.figure must be"),
        ({"baselineGains": {"ease": {"ndcg": 0}}}, "GatePolicy: baselineGains.ease has an unknown key ndcg"),
        ({"baselineGains": {"ease": 0}}, "GatePolicy: baselineGains.ease must be an object, not 0"),
        ({"minimumSliceUsers": 0.5}, "GatePolicy: minimumSliceUsers must be an integer of at least 1, not 0.5"),
        (
            {"ceilings": {"coverage": 1}},
            "GatePolicy: ceilings has an unknown key coverage; the keys are largestExposure",
        ),
        (
            {"maximumServingMilliseconds": 0},
            "GatePolicy: maximumServingMilliseconds must be a number above 0, not 0",
        ),
        ({"sliceGains": {"coverage": 0}}, "GatePolicy: sliceGains has an unknown key coverage"),
        ({"sliceFloors": {"oldUsers": {}}}, "GatePolicy: sliceFloors"),
        ({"sliceFloors": {"newUsers": {"fullNdcg": 2}}}, "sliceFloors.newUsers.fullNdcg must be a number from 0 to 1"),
        ({"sliceFloors": {"newUsers": {"coverage": 0}}}, "sliceFloors.newUsers has an unknown key coverage"),
        ({"incumbentGains": {"fullNdcg": -2}}, "incumbentGains.fullNdcg must be a number from -1 to 1, not -2"),
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
        {"incumbentGains": {"sampledNdcg": -0.01}, "better": {"minimumGain": -1}, "minimumSliceUsers": 1},
        {"baselineGains": {"als": {"fullNdcg": -0.5}, "others": {}}},
        {"baselineGains": {"als": {"fullNdcg": 2}}},
        {"floors": {"coverage": -0.1}},
        {"ceilings": {"coverage": 0.1}},
        {"sliceGains": {"coverage": 0}},
        {"sliceGains": {"sampledNdcg": "0"}},
        {"minimumTestUsers": 0},
        {"minimumSliceUsers": 1.5},
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
