"""Trials of two models in simulated shops whose click rates are known, decided by `trials.decision` as in service.

A shop has people of different activity (log-normal, deviation 1) and willingness to click (gamma, shape 2), so a few
people make many of the impressions. Activity and click rates have a daily course, and click rates fall by 30 % over the
four weeks. Other's click rates are those of AllTraffic, times one plus the difference. Each trial begins with half of
the people on each side and is looked at every 15 minutes. Lost clicks are those that the better model would have
brought in the four weeks, in expectation; after a verdict one model serves, and after none AllTraffic.

The second table has other rules with two equal models and a fixed half of the people: how often each calls one of them
better. They look from 200 clicks of each side on.
- z-test at the end: impressions count as independent; one look, after four weeks;
- z-test at each look: the same, every 15 minutes;
- beta-binomial at each look: ends when one side is better with 97.5 % after a uniform prior, people ignored;
- always valid, people ignored: our interval with the variance of independent impressions;
- groups at each look: the variance between groups of people, and the usual interval;
- pooled rates: ours, with the moving share, but as if the whole trial were one period (looked at every 3 hours).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from statistics import NormalDist, mean, median

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.progress import track
from rich.table import Table

from trials import decision
from trials.decision import Evidence, Side, Verdict
from trials.limits import GROUPS, Limits

DIFFERENCES = (0.0, 0.05, 0.1, 0.2, -0.2)
TRIALS, FIXED = 1_000, 200
"""Trials of each difference, and those of them that are repeated with a fixed half."""
LIMITS = Limits()
PEOPLE, VIEWS, RATE = 20_000, 10_000, 0.05
"""People, impressions a day, and clicks of an impression."""
LOOKS_A_DAY, BLOCK = 96, 24
"""Looks a day, and looks between two moves of the share."""
FALL = 0.3

Counts = NDArray[np.int64]  # [looks, 2 (impressions, clicks), 2 (AllTraffic, Other), GROUPS]


class Shop:
    """One simulated shop, and the draws of its customers."""

    def __init__(self, difference: float, seed: int) -> None:
        self._draws = np.random.default_rng(seed)
        activity = np.cumsum(self._draws.lognormal(0, 1.0, PEOPLE))
        self._activity = activity / activity[-1]
        self._willing = self._draws.gamma(2, 0.5, PEOPLE)
        self._place = self._draws.random(PEOPLE)
        self._group = self._draws.integers(GROUPS, size=PEOPLE)
        self._difference = difference
        self._days = LIMITS.maximum_days

    def block(self, first: int, share: float) -> tuple[Counts, float, float]:
        """Return what is counted in the looks from `first` on, by look; and the clicks that are lost in expectation,
        with this share and with a half.
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
        best = np.maximum(gained, 0).sum()
        return counts, float(best - (gained * side).sum()), float(best - gained.sum() / 2)


@dataclass
class Trial:
    """How one trial went: the verdict, its day, the share at the end, and lost clicks in four weeks."""

    verdict: Verdict = Verdict.UNDECIDED
    days: float = LIMITS.maximum_days
    share: float = 0.5
    lost: float = 0.0
    lost_by_half: float = 0.0
    """Lost clicks if half of the people stay on each side for four weeks."""
    pooled: bool = False
    """Whether rates that are pooled over all periods called one side better."""


def run(difference: float, seed: int, limits: Limits = LIMITS) -> Trial:
    """Run one trial from its beginning to the end of the four weeks."""
    shop, trial, evidence = Shop(difference, seed), Trial(), Evidence()
    total, current, moved, ended = _nothing(), _nothing(), 0.0, False
    for first in range(0, int(limits.maximum_days * LOOKS_A_DAY), BLOCK):
        counts, lost, half = shop.block(first, trial.share)
        trial.lost, trial.lost_by_half = trial.lost + lost, trial.lost_by_half + half
        for look in range(0 if not ended else BLOCK, BLOCK):
            days = (first + look + 1) / LOOKS_A_DAY
            current, total = current + counts[look], total + counts[look]
            found = decision.estimate(_plus(evidence, current), limits)
            verdict = decision.verdict(found, days, limits)
            if difference == 0 and look % 12 == 0:
                pooled = decision.verdict(decision.estimate(_plus(Evidence(), total), limits), days, limits)
                trial.pooled |= pooled not in (None, Verdict.UNDECIDED)
            if verdict is not None:
                trial.verdict, trial.days, ended = verdict, days, True
                trial.share = float(verdict == Verdict.OTHER_IS_BETTER)
                break
        if not ended:
            now = (first + BLOCK) / LOOKS_A_DAY
            share = decision.share(found, trial.share, now - moved, limits)
            if share != trial.share:
                evidence, current, moved, trial.share = _plus(evidence, current), _nothing(), now, share
    return trial


def _nothing() -> NDArray[np.int64]:
    return np.zeros((2, 2, GROUPS), np.int64)


def _plus(evidence: Evidence, counts: NDArray[np.int64]) -> Evidence:
    (ours, theirs), (our_clicks, their_clicks) = counts.tolist()
    return evidence.plus(Side(ours, our_clicks), Side(theirs, their_clicks))


def other_rules(seed: int) -> dict[str, bool]:
    """Return which other rules call one of two equal models better."""
    shop, looks = Shop(0.0, seed), int(LIMITS.maximum_days * LOOKS_A_DAY)
    counts = np.concatenate([shop.block(first, 0.5)[0] for first in range(0, looks, BLOCK)]).cumsum(axis=0)
    shown, clicks = counts.sum(axis=3).transpose(1, 0, 2).astype(float)  # [looks, 2]
    is_looked = clicks.min(axis=1) >= LIMITS.minimum_clicks
    shown, clicks, counts = shown[is_looked], clicks[is_looked], counts[is_looked]
    rates, pooled = clicks / shown, clicks.sum(axis=1) / shown.sum(axis=1)
    z = np.abs(rates[:, 1] - rates[:, 0]) / np.sqrt(pooled * (1 - pooled) * (1 / shown).sum(axis=1))
    posterior = (clicks + 1) / (shown + 2)
    spread = np.sqrt((posterior * (1 - posterior) / (shown + 3)).sum(axis=1))
    mixed = LIMITS.expected**2 / ((1 - rates) / clicks).sum(axis=1)
    alpha = 1 - LIMITS.confidence
    bound = np.sqrt((1 + 1 / mixed) * np.log((1 + mixed) / alpha**2))
    by_group = counts[:, 1] / np.maximum(counts[:, 0], 1)  # [looks, 2, GROUPS]
    paired = by_group[:, 1] - by_group[:, 0]
    t = np.abs(paired.mean(axis=1)) / (paired.std(axis=1, ddof=1) / math.sqrt(GROUPS))
    usual, of_groups = NormalDist().inv_cdf(1 - alpha / 2), 2.04  # Student's, 31 degrees of freedom
    return {
        "z-test at the end": bool(z[-1] > usual),
        "z-test at each look": bool((z > usual).any()),
        "beta-binomial at each look": bool((np.abs(posterior[:, 1] - posterior[:, 0]) / spread > usual).any()),
        "always valid, people ignored": bool((z > bound).any()),
        "groups at each look": bool((t > of_groups).any()),
    }


def tables() -> Group:
    """Return both tables."""
    verdicts = Table("difference", "Other", "AllTraffic", "undecided", "days", "lost", "half", "half, decided")
    half = replace(LIMITS, least_share=0.5, most_share=0.5)
    false: Counter[str] = Counter()
    for difference in DIFFERENCES:
        found = [run(difference, seed) for seed in track(range(TRIALS), f"{difference:+.0%}")]
        fixed = [run(difference, seed, half) for seed in track(range(FIXED), "half")] if difference else []
        if not difference:
            false["ours"] = sum(trial.verdict != Verdict.UNDECIDED for trial in found)
            false["pooled rates"] = sum(trial.pooled for trial in found)
        counted = Counter(trial.verdict for trial in found)
        verdicts.add_row(
            f"{difference:+.0%}",
            *(f"{counted[verdict] / TRIALS:.1%}" for verdict in _SHOWN),
            f"{median(trial.days for trial in found):.1f}",
            *(f"{mean(lost):.0f}" for lost in ([t.lost for t in found], [t.lost_by_half for t in found])),
            f"{mean(trial.lost for trial in fixed):.0f}" if fixed else "",
        )
    for seed in track(range(TRIALS), "other rules"):
        false.update({name: int(is_wrong) for name, is_wrong in other_rules(seed).items()})
    rules = Table("rule", "calls one of two equal models better")
    for name, number in false.items():
        rules.add_row(name, f"{number / TRIALS:.1%}")
    return Group(verdicts, rules)


_SHOWN = (Verdict.OTHER_IS_BETTER, Verdict.OTHER_IS_WORSE, Verdict.UNDECIDED)
