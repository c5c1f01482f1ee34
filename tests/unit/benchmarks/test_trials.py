"""Simulated trials end as their known click rates say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import trials
from trials.decision import Verdict

SHORT = replace(trials.LIMITS, maximum_days=3.0, minimum_days=1.0)


@pytest.mark.parametrize(("difference", "verdict"), [(1.0, Verdict.OTHER_IS_BETTER), (-0.6, Verdict.OTHER_IS_WORSE)])
def test_a_great_difference_is_found_within_two_days(difference: float, verdict: Verdict) -> None:
    trial = trials.run(difference, 1, SHORT)
    assert trial.verdict == verdict and trial.days < 1.5
    assert 0 < trial.lost < trial.lost_by_half


def test_equal_models_end_undecided_and_the_same_seed_gives_the_same_trial() -> None:
    first = trials.run(0.0, 7, SHORT)
    assert (first.verdict, first.lost, first.lost_by_half) == (Verdict.UNDECIDED, 0, 0)
    assert trials.run(0.0, 7, SHORT) == first
