"""The gate's limits themselves: a figure that equals its limit passes, and nothing more."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import pytest

from evaluate import gate
from evaluate.policy import Policy
from tests.unit.functions.cloud import RUN, VERSION
from tests.unit.functions.test_gate import (
    FIRST,
    FOUR,
    LATER,
    changed,
    differing,
    figures,
    report,
)


def failed(document: dict[str, Any], policy: dict[str, Any], run: gate.Run = LATER) -> list[str]:
    checks = gate.judge(document, Policy.from_document(policy), run).checks
    return [check.name for check in checks if not check.passed]


SLICES = {"newUsers": {"users": 100, **{name: figures(0.04, 0.02)[name] for name in ("sampled", "full")}}}
WORSE_SLICE = {"newUsers": {**SLICES["newUsers"], "full": {"hitRate": 0.04, "ndcg": 0.01}}}


def with_slices(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    document = changed(changed(differing(0.01), "candidate.slices", ours), "incumbent.slices", theirs)
    document["difference"]["slices"] = {
        name: {key: {"mean": 0.0, "standardError": 0.0} for key in FOUR} for name in ours
    }
    return document


@pytest.mark.parametrize(
    ("document", "policy"),
    [
        (differing(0.01), {"minimumTestUsers": 610}),
        (changed(differing(0.01), "serving.p99Milliseconds", 100.0), {}),
        (changed(differing(0.01), "data.formerUsers", 0.5), {}),
        (changed(differing(0.01), "data.interactions", 10.0), {}),
        (changed(differing(0.01), "candidate.largestExposure", 0.95), {}),
        (differing(0.01), {"floors": {"fullHitRate": 0.12}}),
        (differing(0.01, hit_rate=0.04), {}),  # as popularity's
        (with_slices(SLICES, SLICES), {"sliceFloors": {"newUsers": {"fullNdcg": 0.02}}}),
    ],
)
def test_a_figure_at_its_limit_passes(document: dict[str, Any], policy: dict[str, Any]) -> None:
    assert failed(document, policy) == []


def test_people_at_the_minimum_are_enough_even_if_some_are_left_out() -> None:
    document = changed(differing(0.01), "people", {"withTest": 610, "learnedAgain": 600, "learnedWhenNew": 0,
                                                   "notDrawn": 0, "fair": 10})  # fmt: skip
    assert failed(changed(document, "protocol.testUsers", 10), {"minimumTestUsers": 10}) == []


def test_a_slice_with_the_least_number_of_users_is_checked() -> None:
    assert failed(with_slices(WORSE_SLICE, SLICES), {"minimumSliceUsers": 100}) == ["slice.newUsers.fullNdcg"]
    assert failed(with_slices(WORSE_SLICE, SLICES), {"minimumSliceUsers": 101}) == []


def test_the_confidence_that_is_asked_for_is_enough() -> None:
    one_error = {"better": {"confidence": NormalDist().cdf(1.0)}}
    assert failed(differing(0.01, 0.01), one_error) == []


def test_no_gain_is_not_better_however_little_confidence_is_asked_for() -> None:
    half = {"better": {"confidence": 0.5}}
    assert failed(differing(0.0, 0.01), half) == ["better.fullNdcg"]
    verdict = gate.judge(differing(0.0, 0.0), Policy.from_document(half), LATER)
    assert ": 0.0% sure that it is better" in verdict.reasons[0]


def test_a_report_may_measure_a_model_that_serves_no_more_where_none_serves() -> None:
    assert failed(differing(0.01), {}, gate.Run(RUN, VERSION)) == []


@pytest.mark.parametrize("without", ["candidate", "baselines.popularity"])
def test_a_limit_with_repeats_checks_nothing_where_one_of_both_has_none(without: str) -> None:
    repeats = {"withRepeats": {"users": 10, **{name: figures(0.1, 0.1)[name] for name in ("sampled", "full")}}}
    document = report()
    for place in {"candidate", "baselines.popularity"} - {without}:
        document = changed(document, f"{place}.slices", repeats)
    asked = {"baselineGains": {"popularity": {"withRepeatsNdcg": 0.5}}}
    assert "baseline.popularity.withRepeatsNdcg" not in failed(document, asked, FIRST)


def test_chance_excuses_a_loss_only_where_one_is_allowed() -> None:
    ease = {**figures(0.12, 0.061), "difference": {key: {"mean": -0.001, "standardError": 0.01} for key in FOUR}}
    document = changed(report(), "baselines.ease", ease)
    assert failed(document, {"baselineGains": {"ease": {"fullNdcg": -0.01}}}, FIRST) == []
    assert failed(document, {"baselineGains": {"ease": {"fullNdcg": 0}}}, FIRST) == ["baseline.ease.fullNdcg"]


def test_a_floor_of_a_slice_with_the_least_number_of_users_is_checked() -> None:
    policy = {"sliceFloors": {"newUsers": {"fullNdcg": 0.03}}, "minimumSliceUsers": 100}
    assert failed(with_slices(SLICES, SLICES), policy) == ["floor.newUsers.fullNdcg"]
