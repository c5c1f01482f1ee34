"""Trials of two models in simulated shops whose click rates are known, decided by `trials.decision` as in service.

A shop has people of very different activity (log-normal, deviation 1.2) and willingness to click (exponential), so a
few people make many of the impressions. Activity and click rates have a daily course, and click rates fall by 30 %
over the four weeks. Other's click rates are those of AllTraffic, times one plus the difference. Each trial begins with
half of the people on each side and is looked at every 15 minutes. Lost clicks are those that the better model would
have brought in the four weeks, in expectation; after a verdict one model serves.

The second table has other rules on the same shops, two equal models: how often each calls one of them better.
- z-test at the end: all impressions are alike and independent, looked at once;
- z-test at each look: the same, every 15 minutes;
- beta-binomial at each look: ends when one side is better with 97.5 %; uniform prior, people ignored;
- always valid, people ignored: our interval with the variance of independent impressions;
- groups, at each look: the variance between groups of people, and the usual interval;
- pooled rates: ours, without periods: the share moves while click rates do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.progress import track
from rich.table import Table

from trials import decision
from trials.decision import GROUPS, Evidence, Limits, Side, Verdict

DIFFERENCES = (0.0, 0.05, 0.1, 0.2, -0.2)
TRIALS = 1_000
LIMITS = Limits()
PEOPLE, VIEWS, RATE = 10_000, 10_000, 0.05
"""People, impressions a day, and clicks of an impression."""
LOOKS_A_DAY, BLOCK = 96, 24
"""Looks a day, and looks between two moves of the share."""
FALL = 0.3

Counts = NDArray[np.int64]  # [looks, 2 (impressions, clicks), 2 (AllTraffic, Other), GROUPS]


class Shop:
    """One simulated shop, and the draws of its customers."""

    def __init__(self, difference: float, seed: int) -> None:
        self._draws = np.random.default_rng(seed)
        activity = np.cumsum(self._draws.lognormal(0, 1.2, PEOPLE))
        self._activity = activity / activity[-1]
        self._willing = np.minimum(self._draws.exponential(1, PEOPLE), 8.0)
        self._place = self._draws.random(PEOPLE)
        self._group = self._draws.integers(GROUPS, size=PEOPLE)
        self._difference = difference
        self._days = LIMITS.maximum_days

    def block(self, first: int, share: float) -> tuple[Counts, float, float]:
        """Return what is counted in the looks from `first` on, by look; the clicks that this share loses in
        expectation, and those that AllTraffic alone would.
        """
        looks = np.arange(first, first + BLOCK)
        course = np.sin(2 * np.pi * looks / LOOKS_A_DAY)
        views = self._draws.poisson(VIEWS / LOOKS_A_DAY * (1 + 0.8 * course))
        look = np.repeat(np.arange(BLOCK), views)
        person = np.searchsorted(self._activity, self._draws.random(len(look)))
        hour = (1 + 0.3 * course) * (1 - FALL * looks / (LOOKS_A_DAY * self._days))
        rate = RATE * self._willing[person] * hour[look]
        side = (self._place[person] < share).astype(np.int64)
        clicked = self._draws.random(len(look)) < rate * (1 + self._difference * side)
        cell = (look * 2 + side) * GROUPS + self._group[person]
        counts = np.stack(
            [
                np.bincount(cells, minlength=BLOCK * 2 * GROUPS).reshape(BLOCK, 2, GROUPS)
                for cells in (cell, cell[clicked])
            ],
            axis=1,
        )
        gained = self._difference * rate
        alone = float(np.maximum(gained, 0).sum())
        return counts, alone - float((gained * side).sum()), alone


@dataclass
class Trial:
    """How one trial went: the verdict, its day, the share at the end, and the lost clicks."""

    verdict: Verdict = Verdict.UNDECIDED
    days: float = LIMITS.maximum_days
    share: float = 0.5
    lost: float = 0.0
    pooled: bool = False
    """Whether rates that are pooled over all periods called one side better."""


def run(difference: float, seed: int, limits: Limits = LIMITS) -> Trial:
    """Run one trial from its begin to the end of the four weeks."""
    shop, trial, evidence = Shop(difference, seed), Trial(), Evidence()
    total, current, moved, ended = _nothing(), _nothing(), 0, False
    for first in range(0, int(limits.maximum_days * LOOKS_A_DAY), BLOCK):
        counts, lost, alone = shop.block(first, trial.share)
        if ended:
            trial.lost += alone if trial.verdict != Verdict.OTHER_IS_BETTER else lost
            continue
        trial.lost += lost
        for look in range(BLOCK):
            current, total = current + counts[look], total + counts[look]
            days = (first + look + 1) / LOOKS_A_DAY
            found = decision.estimate(_plus(evidence, current), limits)
            verdict = decision.verdict(found, days, limits)
            if look % 12 == 0:
                pooled = decision.estimate(_plus(Evidence(), total), limits)
                trial.pooled |= decision.verdict(pooled, days, limits) not in (None, Verdict.UNDECIDED)
            if verdict is not None:
                trial.verdict, trial.days, ended = verdict, days, True
                break
        if ended:
            trial.share = 1.0 if trial.verdict == Verdict.OTHER_IS_BETTER else 0.0
            continue
        share = decision.share(found, trial.share, (first + BLOCK) / LOOKS_A_DAY - moved, limits)
        if share != trial.share:
            evidence, current, moved, trial.share = _plus(evidence, current), _nothing(), (first + BLOCK) / LOOKS_A_DAY, share
    return trial


def _nothing() -> NDArray[np.int64]:
    return np.zeros((2, 2, GROUPS), np.int64)


def _plus(evidence: Evidence, counts: NDArray[np.int64]) -> Evidence:
    (ours, theirs), (our_clicks, their_clicks) = counts.tolist()
    return evidence.plus(Side(ours, our_clicks), Side(theirs, their_clicks))
