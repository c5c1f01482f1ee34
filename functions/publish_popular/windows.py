"""How often each item was chosen in each window, and which items rise. Pure.

An item is trending if its share of all choices in the last 24 hours is above that of the 7 days before. With n choices
now, and e = (its choices before) × (all choices now) / (all choices before), the ratio n / e has the posterior
Gamma(n + A, e + A) under a prior Gamma(A, A), whose mean is 1: no rise. The score is the 5 % quantile of the posterior,
so that an item rises by at least this factor with 95 % certainty. One click on an item that nobody chose before gives
0.6, which is no trend; 20 of them give 2.2. An item whose share stays has less than 1.

The method is the Gamma-Poisson shrinker of DuMouchel (1999), "Bayesian data mining in large frequency tables", The
American Statistician 53(3), and its EB05; with one Gamma that is given, not a mixture of two that is fitted. The
quantile is that of Wilson and Hilferty (1931), "The distribution of chi-square", PNAS 17(12).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

from contracts.item_counts import Counts, hour_number
from contracts.popular_now import LEAST_EVENTS, WINDOWS

PRIOR = 10.0
"""A: the weight of the prior, in choices."""
BEFORE_HOURS = 7 * 24
"""Length of the period before the last 24 hours with which they are compared."""
_Z = 1.6449  # of the normal distribution's 5 %

Totals = dict[str, dict[str, int]]
"""By window (and `before`), the number of each item."""


class Windows:
    """The numbers of each item by window, up to the hour `now` (since 1970), which has begun."""

    def __init__(self, now: int) -> None:
        self._now = now
        self.totals: Totals = {name: {} for name in (*WINDOWS, "before")}

    def add(self, counts: Counts) -> None:
        """Add the sum of a day's files. Periods ahead of now, by a wrong clock, are left out."""
        for period, items in counts.items():
            for name in self._names(hour_number(period), is_day="T" not in period):
                into = self.totals[name]
                for item, number in items.items():
                    into[item] = into.get(item, 0) + number

    def _names(self, hour: int, is_day: bool) -> list[str]:
        if hour > self._now:
            return []
        today = self._now // 24 * 24
        # The windows of days are whole days with today; that of 24 hours ends in the hour that has begun.
        names = [name for name in ("7d", "30d") if hour >= today - WINDOWS[name] + 24]
        if not is_day and hour > self._now - WINDOWS["24h"]:
            return [*names, "24h"]
        return [*names, "before"] if hour >= today - BEFORE_HOURS else names


def rises(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, float]:
    """Return the score of each item that is trending, above 1; none if there are too few choices to tell."""
    all_now, all_before = sum(now.values()), sum(before.values())
    if min(all_now, all_before) < LEAST_EVENTS:
        return {}
    scores = {item: rise(number, before.get(item, 0) * all_now / all_before) for item, number in now.items()}
    return {item: score for item, score in scores.items() if score > 1.0}


def rise(number: int, expected: float) -> float:
    """Return the 5 % quantile of the ratio of `number` to `expected`."""
    shape = number + PRIOR
    return shape / (expected + PRIOR) * (1 - 1 / (9 * shape) - _Z / (3 * sqrt(shape))) ** 3
