"""Limits of a trial's decision: the parameter `TrialLimits`, such as `{"minimumDays": 3}`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

GROUPS = 32
"""Groups of people, by `contracts.recent_events.group`."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a decision. Shares and differences are fractions, times days."""

    confidence: float = 0.95
    """Probability that no decision of a trial of equal models is wrong."""
    expected: float = 0.1
    """Size of the differences that are expected: the interval is best for it, and the prior's deviation."""
    minimum_clicks: int = 200
    """Clicks that each side would need at equal rates before anything is estimated."""
    minimum_groups: int = 24
    """Groups that must have people on both sides."""
    minimum_days: float = 7.0
    maximum_days: float = 28.0
    harm: float = 0.1
    """A side that surely gets this share fewer clicks is stopped before `minimum_days`."""
    least_share: float = 0.2
    most_share: float = 0.8
    step: float = 0.1
    """Largest move of the share at once."""
    least_step: float = 0.02
    """A smaller move is not made: each one begins a period."""
    step_days: float = 0.25
    """Shortest time between two moves."""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Limits:
        """Read `{"minimumDays": 7, …}`; a missing key has its default. Raises ValueError naming each invalid key."""
        keys = {_camel(one.name): one for one in fields(cls)}
        problems = [f"{key} is unknown; the keys are {', '.join(keys)}" for key in sorted(set(document) - set(keys))]
        for key, value in document.items():
            low, high = _RANGES.get(key, (0, 0))
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if key in keys and not (is_number and low <= value <= high):
                problems.append(f"{key} must be a number from {low} to {high}, not {value!r}")
        if problems:
            raise ValueError("; ".join(problems))
        limits = cls(**{keys[key].name: value for key, value in document.items()})
        if limits.minimum_days > limits.maximum_days or limits.least_share > limits.most_share:
            raise ValueError("minimumDays must not exceed maximumDays, nor leastShare mostShare")
        return limits


_RANGES: dict[str, tuple[float, float]] = {
    "confidence": (0.5, 0.9999),
    "expected": (0.001, 1),
    "minimumClicks": (10, 1_000_000),
    "minimumGroups": (8, GROUPS),
    "minimumDays": (0, 365),
    "maximumDays": (0.01, 365),
    "harm": (0.001, 0.9),
    "leastShare": (0, 1),
    "mostShare": (0, 1),
    "step": (0.001, 1),
    "leastStep": (0.001, 1),
    "stepDays": (0, 365),
}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
