"""The decision of a trial, on counts whose answer is known."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from statistics import NormalDist

import pytest

from trials import decision
from trials.decision import Estimate, Evidence, Side, Verdict
from trials.limits import GROUPS, Limits

LIMITS = Limits()


def side(shown: float, rate: float, noise: float = 0.0, seed: int = 1) -> Side:
    """`shown` impressions and their clicks in each group, by a rate that differs between groups by `noise`."""
    draws = random.Random(seed)
    clicks = [round(shown * rate * (1 + noise * draws.uniform(-1, 1))) for _ in range(GROUPS)]
    return Side([round(shown)] * GROUPS, clicks)


def known(log_ratio: float, error: float, half: float) -> Estimate:
    return Estimate(log_ratio, error, log_ratio - half, log_ratio + half)


def of(ours: Side, theirs: Side) -> Estimate:
    found = decision.estimate(Evidence().plus(ours, theirs), LIMITS)
    assert found is not None
    return found


# The estimate


def test_the_difference_is_that_of_the_rates() -> None:
    found = of(side(1000, 0.05, 0.2, 1), side(1000, 0.06, 0.2, 2))
    assert 0.15 < found.difference < 0.25
    low, high = found.interval
    assert low < found.difference < high


def test_sides_of_very_different_size_compare_by_rate() -> None:
    found = of(side(9500, 0.05, 0.1, 1), side(500, 0.05, 0.1, 2))
    assert abs(found.difference) < 0.05 and found.low < 0 < found.high


def test_the_sides_are_treated_alike() -> None:
    ours, theirs = side(1000, 0.05, 0.2, 1), side(800, 0.06, 0.2, 2)
    one, other = of(ours, theirs), of(theirs, ours)
    assert one.log_ratio == pytest.approx(-other.log_ratio)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_rates_that_change_while_the_share_moves_are_no_difference() -> None:
    """Simpson's paradox: click rates fall while Other's share grows; in each period both sides have the same rate."""
    evidence, shown, clicks = Evidence(), [0, 0], [0, 0]
    for share, rate in ((0.1, 0.08), (0.5, 0.05), (0.8, 0.03)):
        sides = side(10_000 * (1 - share), rate), side(10_000 * share, rate)
        evidence = evidence.plus(*sides)
        for number, one in enumerate(sides):
            shown[number] += sum(one.impressions)
            clicks[number] += sum(one.clicks)
    pooled = (clicks[1] / shown[1]) / (clicks[0] / shown[0]) - 1
    assert pooled < -0.3
    noisy = evidence.plus(side(1000, 0.05, 0.1, 1), side(1000, 0.05, 0.1, 2))
    found = decision.estimate(noisy, LIMITS)
    assert found is not None and abs(found.difference) < 0.01


def test_a_period_with_one_side_alone_says_nothing() -> None:
    both = Evidence().plus(side(1000, 0.05, 0.2, 1), side(1000, 0.06, 0.2, 2))
    alone = both.plus(side(5000, 0.5), Side([0] * GROUPS, [0] * GROUPS))
    assert (alone.all_traffic, alone.other) == (both.all_traffic, both.other)
    assert alone.impressions[0] == both.impressions[0] + 5000 * GROUPS


def test_a_few_people_who_click_all_day_widen_the_interval() -> None:
    usual = of(side(1000, 0.05, 0.1, 1), side(1000, 0.05, 0.1, 2))
    clicks = list(side(1000, 0.05, 0.1, 2).clicks)
    clicks[7] += 400  # one person of Other, again and again
    heavy = of(side(1000, 0.05, 0.1, 1), Side([1000] * GROUPS, clicks))
    assert heavy.difference > 0.2 and heavy.low < 0
    assert heavy.error > 5 * usual.error


def test_the_interval_is_wider_than_that_of_one_look_and_not_twice_as_wide() -> None:
    found = of(side(1000, 0.05, 0.2, 1), side(1000, 0.05, 0.2, 2))
    half = (found.high - found.log_ratio) / found.error
    assert 2.04 * 1.3 < half < 2.04 * 2  # Student's, 31 degrees of freedom


def test_the_bound_is_that_of_the_mixture_for_many_groups() -> None:
    """A value by hand: information 900, expected 0.1, so the mixed information is 9."""
    bound = decision._bound(900, 10_000_000, LIMITS)
    assert bound == pytest.approx(math.sqrt(10 / 9 * math.log(10 / 0.05**2)), rel=1e-4)


@pytest.mark.parametrize(("normal", "expected"), [(1.96, 2.0395), (3.0, 3.2609)])  # by integration
def test_32_groups_give_students_quantile(normal: float, expected: float) -> None:
    assert decision.students(normal, GROUPS - 1) == pytest.approx(expected, rel=0.002)


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(),
        Evidence().plus(side(100, 0.05), side(100, 0.05)),  # 160 clicks a side
        Evidence().plus(side(10_000, 0.05), Side([0] * GROUPS, [0] * GROUPS)),
        Evidence().plus(*(Side([10_000] * 20 + [0] * 12, [500 + n] * 20 + [0] * 12) for n in (0, 9))),  # 20 groups
        Evidence().plus(side(1000, 0.05), side(1000, 0.05)),  # every group alike: no error can be seen
    ],
)
def test_too_little_is_no_estimate(evidence: Evidence) -> None:
    assert decision.estimate(evidence, LIMITS) is None


def test_a_side_that_nobody_clicks_is_stopped_at_once() -> None:
    broken = Side([200] * GROUPS, [0] * GROUPS)
    found = of(side(200, 0.1, 0.2, 1), broken)
    assert decision.verdict(found, 0.1, LIMITS) == Verdict.OTHER_IS_WORSE
    assert decision.verdict(of(broken, side(200, 0.1, 0.2, 1)), 0.1, LIMITS) == Verdict.OTHER_IS_BETTER


def test_a_few_clicks_say_nothing_of_a_side_that_has_none() -> None:
    assert decision.estimate(Evidence().plus(side(50, 0.1), Side([50] * GROUPS, [0] * GROUPS)), LIMITS) is None


# The verdict


@pytest.mark.parametrize(
    ("log_ratio", "half", "days", "expected"),
    [
        (0.05, 0.04, 8, Verdict.OTHER_IS_BETTER),
        (-0.05, 0.04, 8, Verdict.OTHER_IS_WORSE),
        (0.05, 0.06, 8, None),
        (0.05, 0.04, 3, None),  # before the shortest time
        (-0.05, 0.04, 3, None),
        (0.2, 0.09, 0.5, Verdict.OTHER_IS_BETTER),  # AllTraffic surely gets 10 % fewer clicks
        (-0.2, 0.09, 0.5, Verdict.OTHER_IS_WORSE),
        (0.2, 0.1, 0.5, None),
        (-0.2, 0.1, 0.5, None),
        (0.05, 0.06, 28, Verdict.UNDECIDED),
        (0.05, 0.04, 28, Verdict.OTHER_IS_BETTER),
    ],
)
def test_a_trial_ends_when_it_is_decided_or_out_of_time(
    log_ratio: float, half: float, days: float, expected: Verdict | None
) -> None:
    assert decision.verdict(known(log_ratio, half / 3, half), days, LIMITS) == expected


@pytest.mark.parametrize(("days", "expected"), [(27.9, None), (28, Verdict.UNDECIDED)])
def test_a_trial_without_an_estimate_ends_when_its_time_is_over(days: float, expected: Verdict | None) -> None:
    assert decision.verdict(None, days, LIMITS) == expected


# The share


@pytest.mark.parametrize(
    ("log_ratio", "current", "expected"),
    [
        (0.0, 0.5, 0.5),
        (0.5, 0.5, 0.6),  # at most ten points
        (-0.5, 0.5, 0.4),
        (0.5, 0.75, 0.8),  # at most four fifths
        (0.5, 0.8, 0.8),
        (-0.5, 0.2, 0.2),
        (-0.5, 0.05, 0.05),  # begun below the limit: not forced up
        (0.5, 0.05, 0.15),
        (0.5, 0.9, 0.9),
        (-0.5, 0.9, 0.8),
        (0.0005, 0.5, 0.5),  # too small a move
        (0.5, 0.79, 0.8),  # unless it reaches the limit
    ],
)
def test_the_share_follows_the_probability_in_bounded_steps(log_ratio: float, current: float, expected: float) -> None:
    assert decision.share(known(log_ratio, 0.02, 0.06), current, 1.0, LIMITS) == pytest.approx(expected)


def test_the_probability_is_that_of_the_posterior() -> None:
    found = known(0.05, 0.05, 0.15)  # information 400, of the prior 100: mean 0.04, deviation sqrt(1 / 500)
    assert found.chance(0.1) == pytest.approx(1 - NormalDist(0.04, math.sqrt(1 / 500)).cdf(0))


def test_the_share_stays_until_there_is_an_estimate_and_a_time_has_passed() -> None:
    assert decision.share(None, 0.3, 5, LIMITS) == 0.3
    assert decision.share(known(0.5, 0.02, 0.06), 0.3, 0.24, LIMITS) == 0.3
    assert decision.share(known(0.5, 0.02, 0.06), 0.3, 0.25, LIMITS) == pytest.approx(0.4)


def test_the_same_counts_give_the_same_share() -> None:
    found = of(side(1000, 0.05, 0.2, 1), side(1000, 0.052, 0.2, 2))
    assert decision.share(found, 0.5, 1, LIMITS) == decision.share(replace(found), 0.5, 1, LIMITS)
