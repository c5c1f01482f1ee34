"""The gate: accepted models, models rejected with their figures, and invalid reports, which fail the run."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest

from contracts import schemas
from evaluate import gate
from evaluate.policy import Policy
from shared.errors import UntrustworthyReport
from tests.unit.functions.cloud import (
    RUN,
    VERSION,
)

INCUMBENT = "v20261122t000000z-00000000-r1"
FIRST = gate.Run(RUN, VERSION)
LATER = gate.Run(RUN, VERSION, INCUMBENT)
POLICY = Policy.from_document({"minimumTestUsers": 20})


def figures(hit_rate: float, ndcg: float, coverage: float = 0.3) -> dict[str, Any]:
    return {
        "sampled": {"hitRate": 0.7, "ndcg": 0.4},
        "full": {"hitRate": hit_rate, "ndcg": ndcg},
        "standardErrors": dict.fromkeys(FOUR, 0.004),
        "coverage": coverage,
        "largestExposure": 0.2,
        "slices": {},
    }


FOUR = ("sampledHitRate", "sampledNdcg", "fullHitRate", "fullNdcg")


def report(incumbent: dict[str, Any] | None = None, **candidate: float) -> dict[str, Any]:
    """A report of 610 users. With an incumbent, the candidate's NDCG is 0.01 better than the incumbent's 0.05, and the
    standard error of the difference is 0.004.
    """
    document: dict[str, Any] = {
        "schemaVersion": "2.0",
        "runId": RUN,
        "datasetVersion": VERSION,
        "codeVersion": "5f" * 32,
        "bundleDigest": "c4" * 32,
        "protocol": {
            "split": "leave-last-out",
            "moment": None,
            "k": 10,
            "negatives": 99,
            "seed": 42,
            "ties": "against",
            "testUsers": 610,
            "fewestNegatives": 99,
            "fullCatalogue": "seen items excluded",
            "epoch": "last",
        },
        "data": None,
        "people": {"withTest": 610, "learnedAgain": 0, "learnedWhenNew": 0, "notDrawn": 0, "fair": 610},
        "candidate": {"model": "neumf", **figures(**{"hit_rate": 0.12, "ndcg": 0.06, **candidate})},
        "incumbent": incumbent,
        "baselines": {"popularity": figures(0.04, 0.02, 0.01)},
        "difference": None,
        "serving": {"answers": 600, "p50Milliseconds": 0.1, "p99Milliseconds": 0.4},
    }
    if incumbent is not None:
        document["data"] = dict.fromkeys(("formerUsers", "formerItems", "users", "items", "interactions"), 1.0)
        document["data"] |= {"itemShift": 0.0, "eventShift": None}
        document["difference"] = {
            **{name: {"mean": 0.01, "standardError": 0.004, "lower": 0.002, "upper": 0.018} for name in FOUR},
            "slices": {},
            "confidence": 0.95,
            "resamples": 1000,
        }
    return document


def incumbent(hit_rate: float = 0.11, ndcg: float = 0.05, run_id: str = INCUMBENT) -> dict[str, Any]:
    return {"runId": run_id, "datasetVersion": run_id[:-3], "model": "neumf", **figures(hit_rate, ndcg)}


def differing(mean: float, error: float = 0.004, **more: float) -> dict[str, Any]:
    """A report whose candidate's NDCG differs from the incumbent's 0.05 by `mean`, with its standard error."""
    document = report(incumbent(), ndcg=0.05 + mean, **more)
    document["difference"]["fullNdcg"] |= {"mean": mean, "standardError": error}
    return document


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
def test_the_first_model_must_beat_popularity() -> None:
    verdict = gate.judge(report(), POLICY, FIRST)
    assert verdict.outcome == "ACCEPTED"
    assert [check.name for check in verdict.checks] == [
        "baseline.popularity.fullHitRate",
        "baseline.popularity.fullNdcg",
        "ceiling.largestExposure",
        "serving.p99Milliseconds",
    ]
    assert (
        "NDCG at 10 is 0.0600 against 0.0200 of the baseline popularity (+200.0%); gain of 5% required"
        in verdict.reasons
    )
    assert verdict.reasons[-1] == "tested by leave-last-out on all 610 test users"


def test_a_candidate_below_a_floor_is_rejected_with_its_figures() -> None:
    policy = Policy.from_document({"floors": {"fullHitRate": 0.2}})
    verdict = gate.judge(report(), policy, FIRST)
    assert verdict.outcome == "REJECTED"
    assert verdict.reasons[0] == "hit rate at 10 is 0.1200, below the floor of 0.2"


@pytest.mark.parametrize(
    ("candidate", "name"),
    [({"hit_rate": 0.039}, "baseline.popularity.fullHitRate"), ({"ndcg": 0.0209}, "baseline.popularity.fullNdcg")],
)
@pytest.mark.fault("E13")
def test_a_candidate_that_does_not_beat_popularity_is_rejected(candidate: dict[str, Any], name: str) -> None:
    verdict = gate.judge(report(**candidate), POLICY, FIRST)
    assert [check.name for check in verdict.checks if not check.passed] == [name]
    assert "of the baseline popularity" in verdict.reasons[0]


@pytest.mark.fault("E13")
def test_a_candidate_that_is_popularity_itself_is_rejected() -> None:
    document = report(hit_rate=0.04, ndcg=0.02)
    assert gate.judge(document, POLICY, FIRST).outcome == "REJECTED"


def test_a_required_gain_over_a_baseline_without_a_hit_needs_a_hit() -> None:
    document = report(ndcg=0.0)
    document["baselines"]["popularity"]["full"]["ndcg"] = 0.0
    failed = [check.name for check in gate.judge(document, POLICY, FIRST).checks if not check.passed]
    assert failed == ["baseline.popularity.fullNdcg"]


# Better than the incumbent


@pytest.mark.parametrize(
    ("mean", "error", "outcome"),
    [
        (0.01, 0.004, "ACCEPTED"),  # 2.5 standard errors: 99.4 % sure
        (0.0066, 0.004, "ACCEPTED"),  # 1.65: 95.05 %
        (0.0065, 0.004, "REJECTED"),  # 1.625: 94.8 %
        (0.0, 0.004, "REJECTED"),
        (-0.01, 0.004, "REJECTED"),
        (-0.01, 0.5, "REJECTED"),
        (0.01, 0.0, "ACCEPTED"),
        (-0.01, 0.0, "REJECTED"),
    ],
)
@pytest.mark.fault("E04", "E05")
def test_better_means_shown_to_be_better(mean: float, error: float, outcome: str) -> None:
    assert gate.judge(differing(mean, error), POLICY, LATER).outcome == outcome


@pytest.mark.fault("E04")
def test_a_rejection_says_how_sure_a_gain_is() -> None:
    assert gate.judge(differing(-0.01), POLICY, LATER).reasons == [
        "NDCG at 10 is 0.0400 against the incumbent's 0.0500 (-20.0%): 0.6% sure that it is better, 95% asked",
        "tested by leave-last-out on all 610 test users",
    ]


@pytest.mark.fault("E05")
def test_a_policy_can_ask_for_a_gain_and_for_another_figure_and_confidence() -> None:
    def outcome(**better: Any) -> str:
        return gate.judge(differing(0.01), Policy.from_document({"better": better}), LATER).outcome

    assert outcome(minimumGain=0.05) == "ACCEPTED"  # 0.0075 above the required 0.0025: 1.9 standard errors
    assert outcome(minimumGain=0.1) == "REJECTED"
    assert outcome(confidence=0.995) == "REJECTED"
    assert outcome(figure="fullHitRate", confidence=0.99) == "ACCEPTED"


@pytest.mark.fault("E05")
def test_non_inferiority_is_an_option_that_is_named_so() -> None:
    policy = Policy.from_document({"better": {"minimumGain": -0.1}})
    verdict = gate.judge(differing(0.003), policy, LATER)
    assert verdict.outcome == "ACCEPTED"
    assert any("97.7% sure that the loss is at most 10% (non-inferiority), 95% asked" in one for one in verdict.reasons)
    assert gate.judge(differing(-0.001), policy, LATER).outcome == "REJECTED"


@pytest.mark.fault("E05")
def test_a_candidate_equal_in_every_figure_is_unchanged() -> None:
    document = report({**incumbent(), **figures(0.12, 0.06)})
    document["difference"]["fullNdcg"] |= {"mean": 0.0, "standardError": 0.0}
    verdict = gate.judge(document, POLICY, LATER)
    assert verdict.outcome == "UNCHANGED"
    assert verdict.reasons[0] == "the model equals the serving model in every figure: it is not deployed"


@pytest.mark.parametrize(
    "path", ["candidate.full.ndcg", "candidate.sampled.hitRate", "candidate.coverage", "candidate.largestExposure"]
)
def test_a_candidate_that_differs_in_one_figure_is_not_unchanged(path: str) -> None:
    document = changed(report({**incumbent(), **figures(0.12, 0.06)}), path, 0.123)
    assert gate.judge(document, POLICY, LATER).outcome != "UNCHANGED"


@pytest.mark.fault("E11")
def test_better_in_one_figure_does_not_make_up_for_a_loss_in_another() -> None:
    assert gate.judge(differing(0.01, coverage=0.14), POLICY, LATER).outcome == "REJECTED"


def sliced(ndcg: float, users: int = 120) -> dict[str, Any]:
    rates = {"hitRate": 0.1, "ndcg": ndcg}
    return {"tailItems": {"users": users, "sampled": dict(rates), "full": rates}}


def later(**candidate: Any) -> dict[str, Any]:
    """A report that every check of the default policy passes, with an incumbent, a strong baseline, a slice and
    repeats.
    """
    document = report(incumbent(), **candidate)
    document["baselines"]["ease"] = figures(0.11, 0.06)
    models = ((document["candidate"], 0.03), (document["incumbent"], 0.04), (document["baselines"]["ease"], 0.02))
    for model, ndcg in models:
        model["slices"] = {**sliced(ndcg), "withRepeats": sliced(2 * ndcg)["tailItems"]}
    document["difference"]["slices"] = {
        name: {figure: {"mean": -0.01, "standardError": 0.004} for figure in FOUR}
        for name in ("tailItems", "withRepeats")
    }
    return document


EVERY_CHECK = {
    "floor.sampledHitRate": ({"floors": {"sampledHitRate": 0.71}}, {}),
    "floor.sampledNdcg": ({"floors": {"sampledNdcg": 0.41}}, {}),
    "floor.fullHitRate": ({"floors": {"fullHitRate": 0.13}}, {}),
    "floor.fullNdcg": ({"floors": {"fullNdcg": 0.07}}, {}),
    "floor.coverage": ({"floors": {"coverage": 0.31}}, {}),
    "ceiling.largestExposure": ({}, {"candidate.largestExposure": 0.96}),
    "serving.p99Milliseconds": ({"maximumServingMilliseconds": 0.3}, {}),
    "baseline.popularity.fullHitRate": ({}, {"baselines.popularity.full.hitRate": 0.13}),
    "baseline.popularity.fullNdcg": ({}, {"baselines.popularity.full.ndcg": 0.061}),
    "baseline.ease.fullNdcg": ({}, {"baselines.ease.full.ndcg": 0.067}),
    "incumbent.coverage": ({}, {"incumbent.coverage": 0.61}),
    "better.fullNdcg": ({}, {"difference.fullNdcg.mean": 0.006}),
    "slice.tailItems.fullNdcg": ({}, {"candidate.slices.tailItems.full.ndcg": 0.0253}),
    "floor.tailItems.fullNdcg": ({"sliceFloors": {"tailItems": {"fullNdcg": 0.031}}}, {}),
    "floor.withRepeats.fullHitRate": ({"sliceFloors": {"withRepeats": {"fullHitRate": 0.11}}}, {}),
    "incumbent.withRepeatsNdcg": ({"incumbentGains": {"withRepeatsNdcg": -0.2}}, {}),
    "baseline.ease.withRepeatsNdcg": ({"baselineGains": {"ease": {"withRepeatsNdcg": 0.6}}}, {}),
}
ANY_LIMIT = {
    "floors": dict.fromkeys((*FOUR, "coverage"), 0.01),
    "sliceFloors": {"tailItems": {"fullNdcg": 0.01}, "withRepeats": {"fullHitRate": 0.01}},
    "incumbentGains": {"withRepeatsNdcg": -1},
    "baselineGains": {"ease": {"fullNdcg": -1, "withRepeatsNdcg": -1}},
}


def test_the_table_has_every_check_there_is() -> None:
    verdict = gate.judge(later(), Policy.from_document(ANY_LIMIT), LATER)
    assert verdict.outcome == "ACCEPTED", verdict.reasons
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
    assert verdict.checks[0].name == name  # the failed check comes first
    assert verdict.outcome == "REJECTED"
    assert len(verdict.reasons) == 2


def test_the_sentences_of_the_later_checks_carry_their_numbers() -> None:
    reasons = {check.name: check.sentence for check in gate.judge(later(), POLICY, LATER).checks}
    shown = "the most-recommended item reaches 20.0% of users, within the limit of 95%"
    assert reasons["ceiling.largestExposure"] == shown
    strong = "NDCG at 10 is 0.0600 against 0.0600 of the baseline ease (+0.0%); loss of 10% allowed"
    assert reasons["baseline.ease.fullNdcg"] == strong
    better = "NDCG at 10 is 0.0600 against the incumbent's 0.0500 (+20.0%): 99.4% sure that it is better, 95% asked"
    assert reasons["better.fullNdcg"] == better
    assert reasons["serving.p99Milliseconds"] == "p99 latency is 0.4 ms, within the limit of 100 ms"
    assert reasons["slice.tailItems.fullNdcg"] == (
        "NDCG at 10 of tailItems (120 users) is 0.0300 against the incumbent's 0.0400 (-25.0%); "
        "a loss of 20% beyond chance is allowed"
    )
    assert reasons["incumbent.coverage"] == (
        "coverage is 0.3000 against 0.3000 of the incumbent (+0.0%); loss of 50% allowed"
    )


def test_a_slice_of_few_users_is_not_checked() -> None:
    document = changed(later(), "candidate.slices.tailItems", sliced(0.0, users=99)["tailItems"])
    assert gate.judge(document, POLICY, LATER).outcome == "ACCEPTED"


def test_a_floor_of_a_slice_carries_its_numbers_and_one_that_cannot_be_checked_is_said() -> None:
    policy = Policy.from_document(
        {"sliceFloors": {"tailItems": {"fullNdcg": 0.02}, "newUsers": {"fullNdcg": 0.5}, "heavyUsers": {}}}
    )
    verdict = gate.judge(later(), policy, LATER)
    assert "NDCG at 10 of tailItems (120 users) is 0.0300, at or above the floor of 0.02" in verdict.reasons
    assert (
        "note: the floor of newUsers was not checked: 0 test users are in it, below the minimum of 100"
        in verdict.reasons
    )
    few = gate.judge(changed(later(), "candidate.slices.tailItems.users", 99), policy, LATER)
    assert few.outcome == "ACCEPTED"
    assert not any("heavyUsers" in reason for reason in few.reasons), "it has no floor"
    assert any("the floor of tailItems was not checked: 99 test users" in reason for reason in few.reasons)


def test_limits_on_repeats_check_nothing_where_the_dataset_has_none() -> None:
    limits = {"incumbentGains": {"withRepeatsNdcg": 1}, "baselineGains": {"popularity": {"withRepeatsNdcg": 1}}}
    assert gate.judge(differing(0.01), Policy.from_document(limits), LATER).outcome == "ACCEPTED"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("data", None, "data must be an object"),
        ("data.formerUsers", 1.1, "data.formerUsers must be a number from 0 to 1"),
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
        ("difference.fullNdcg.standardError", -0.1, "difference.fullNdcg.standardError must be a number from 0 to 1"),
        ("people.fair", -1, "people.fair must be an integer of at least 0"),
        ("serving", None, "serving must be an object"),
        ("serving.p99Milliseconds", float("nan"), "serving.p99Milliseconds must be a number"),
    ],
)
def test_a_slice_or_an_interval_that_cannot_be_believed_is_a_fault(path: str, value: Any, words: str) -> None:
    with pytest.raises(UntrustworthyReport) as caught:
        gate.judge(changed(later(), path, value), POLICY, LATER)
    assert words in str(caught.value)


def test_a_slice_without_its_difference_is_a_fault() -> None:
    with pytest.raises(UntrustworthyReport, match=r"difference\.slices has no tailItems"):
        gate.judge(changed(later(), "difference.slices", {}), POLICY, LATER)


def test_all_failed_checks_are_named_together() -> None:
    assert len(gate.judge(differing(-0.04, hit_rate=0.01), POLICY, LATER).reasons) == 4


@pytest.mark.parametrize(
    ("instance_type", "device", "is_told"),
    [
        ("ml.g4dn.xlarge", "cpu", True),
        ("ml.gr6.4xlarge", "cpu", True),
        ("ml.p6-b200.48xlarge", "cpu", True),
        ("ml.g4dn.xlarge", "cuda", False),
        ("ml.g4dn.xlarge", None, False),
        ("ml.m5.xlarge", "cpu", False),
        ("ml.c7g.xlarge", "cpu", False),
        (None, "cpu", False),
    ],
)
def test_a_training_that_paid_for_a_gpu_and_used_its_cpu_is_noted(
    instance_type: str | None, device: str | None, is_told: bool
) -> None:
    document = report() | ({"device": device} if device else {})
    verdict = gate.judge(document, POLICY, gate.Run(RUN, VERSION, instance_type=instance_type))
    words = f"note: the training asked for {instance_type}, a GPU machine, and ran on its CPU: PyTorch found no CUDA"
    assert [reason.startswith(words) for reason in verdict.reasons].count(True) == is_told
    assert (verdict.gpu is not None) is is_told and verdict.outcome == gate.ACCEPTED


@pytest.mark.parametrize(
    ("paid", "used", "is_told"), [(4, 1, True), (4, 4, False), (1, 1, False), (4, None, False), (None, 1, False)]
)
def test_a_training_that_paid_for_more_machines_than_it_used_is_noted(
    paid: int | None, used: int | None, is_told: bool
) -> None:
    document = report() | ({"machines": used} if used else {})
    verdict = gate.judge(document, POLICY, gate.Run(RUN, VERSION, instance_count=paid))
    model = document["candidate"]["model"]
    words = f"note: the training paid for 4 machines and used 1: {model} is trained on one; set TrainingInstanceCount"
    assert [reason.startswith(words) for reason in verdict.reasons].count(True) == is_told
    assert verdict.outcome == gate.ACCEPTED
