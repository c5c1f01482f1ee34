"""Which of two models earns more clicks, what share the second one gets, and when the trial ends. Pure.

What is estimated is the ratio of the click rates, Other's to AllTraffic's:
- The share moves and click rates have a daily course, so rates over the whole trial would compare different hours
  (Simpson's paradox). Clicks are compared within periods in which the share stays, and the periods are pooled by
  Mantel and Haenszel's ratio: R = sum(c_O n_A / n) / sum(c_A n_O / n), n = n_A + n_O.
- A person sees many lists, so impressions are not independent. People are in 32 groups, each person in one; the
  variance of log R is that between the groups (random groups; Wolter, Introduction to Variance Estimation, 2007,
  chapter 2), whatever the people in them do again and again.
- The trial is looked at every 15 minutes, so the interval holds at all looks together: the asymptotic confidence
  sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (Annals of Statistics 52, 2024; Robbins' normal
  mixture), with the information 1 / variance as its time. Its bounds are those of a normal variable; 32 groups give
  Student's, by Wallace's approximation (Annals of Mathematical Statistics 30, 1959).

The share follows the probability that Other is better, which is the expectation of Thompson sampling (Thompson,
Biometrika 25, 1933): the same for the same counts, without noise of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

from trials.limits import GROUPS, Limits

_NORMAL = NormalDist()
_HALF = 0.5
"""Clicks that are added to each side, spread over the groups, so that a side without any has a logarithm."""


class Verdict(StrEnum):
    """How a trial ends; the sides are the endpoint's variants."""

    OTHER_IS_BETTER = "OTHER_IS_BETTER"
    OTHER_IS_WORSE = "OTHER_IS_WORSE"
    UNDECIDED = "UNDECIDED"


@dataclass(frozen=True)
class Side:
    """Impressions and clicks of one side in one period, by group [GROUPS]."""

    impressions: Sequence[int]
    clicks: Sequence[int]


@dataclass(frozen=True)
class Evidence:
    """The sums over periods, by group: `other[g]` = sum(c_O n_A / n), `all_traffic[g]` = sum(c_A n_O / n).

    `impressions` and `clicks` are those of AllTraffic and of Other.
    """

    all_traffic: tuple[float, ...] = (0.0,) * GROUPS
    other: tuple[float, ...] = (0.0,) * GROUPS
    impressions: tuple[int, int] = (0, 0)
    clicks: tuple[int, int] = (0, 0)

    def plus(self, all_traffic: Side, other: Side) -> Evidence:
        """Return the evidence with one period more."""
        ours, theirs = list(self.all_traffic), list(self.other)
        cells = zip(all_traffic.impressions, all_traffic.clicks, other.impressions, other.clicks, strict=True)
        for group, (n_a, c_a, n_o, c_o) in enumerate(cells):
            if n_a and n_o:
                ours[group] += c_a * n_o / (n_a + n_o)
                theirs[group] += c_o * n_a / (n_a + n_o)
        return Evidence(
            tuple(ours),
            tuple(theirs),
            (self.impressions[0] + sum(all_traffic.impressions), self.impressions[1] + sum(other.impressions)),
            (self.clicks[0] + sum(all_traffic.clicks), self.clicks[1] + sum(other.clicks)),
        )


@dataclass(frozen=True)
class Estimate:
    """The logarithm of the ratio of the click rates, its standard error, and the always-valid interval around it."""

    log_ratio: float
    error: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """How much more Other is clicked, as a fraction: 0.05 is 5 % more."""
        return math.expm1(self.log_ratio)

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the interval of `difference`."""
        return math.expm1(self.low), math.expm1(self.high)

    def chance(self, expected: float) -> float:
        """The probability that Other is better, after a normal prior of the deviation `expected` around 0."""
        information = self.error**-2
        return _NORMAL.cdf(self.log_ratio * information / math.sqrt(information + expected**-2))


def estimate(evidence: Evidence, limits: Limits) -> Estimate | None:
    """Return the estimate; None while there are too few clicks or groups for one."""
    shown, clicks = sum(evidence.impressions), sum(evidence.clicks)
    # Clicks that the smaller side would have at equal rates: a side that nobody clicks must not wait for its own.
    if not shown or min(evidence.impressions) * clicks / shown < limits.minimum_clicks:
        return None
    pairs = [pair for pair in zip(evidence.all_traffic, evidence.other, strict=True) if pair[0] or pair[1]]
    if len(pairs) < limits.minimum_groups:
        return None
    pairs = [(ours + _HALF / len(pairs), theirs + _HALF / len(pairs)) for ours, theirs in pairs]
    ours, theirs = (sum(side) for side in zip(*pairs, strict=True))
    squares = sum((other / theirs - all_traffic / ours) ** 2 for all_traffic, other in pairs)
    error = math.sqrt(squares * len(pairs) / (len(pairs) - 1))
    if not error:
        return None
    log_ratio = math.log(theirs / ours)
    half = error * _bound(error**-2, len(pairs) - 1, limits)
    return Estimate(log_ratio, error, log_ratio - half, log_ratio + half)


def _bound(information: float, freedom: int, limits: Limits) -> float:
    """Half of the interval in standard errors: Robbins' mixture, as a quantile of Student's distribution."""
    mixed = information * limits.expected**2
    normal = math.sqrt((1 + 1 / mixed) * math.log((1 + mixed) / (1 - limits.confidence) ** 2))
    return students(normal, freedom)


def students(normal: float, freedom: int) -> float:
    """Return the quantile of Student's distribution that has the probability of `normal`, a normal quantile."""
    scaled = normal * (8 * freedom + 3) / (8 * freedom + 1)
    return math.sqrt(freedom * math.expm1(scaled**2 / freedom))


def verdict(found: Estimate | None, days: float, limits: Limits) -> Verdict | None:
    """Return how the trial ends after `days`; None if it goes on."""
    if found is not None:
        harm = -math.log1p(-limits.harm) if days < limits.minimum_days else 0.0
        if found.high < -harm:
            return Verdict.OTHER_IS_WORSE
        if found.low > harm:
            return Verdict.OTHER_IS_BETTER
    return Verdict.UNDECIDED if days >= limits.maximum_days else None


def share(found: Estimate | None, current: float, days_since_step: float, limits: Limits) -> float:
    """Return the share that Other is to have, `days_since_step` after the last move; `current` if it stays."""
    if found is None or days_since_step < limits.step_days:
        return current
    wanted = found.chance(limits.expected)
    # A trial that a person began outside the limits is not forced into them.
    wanted = min(max(wanted, min(limits.least_share, current)), max(limits.most_share, current))
    move = min(max(wanted - current, -limits.step), limits.step)
    at_limit = wanted in (limits.least_share, limits.most_share)
    return round(current + move, 4) if abs(move) >= limits.least_step or at_limit else current
