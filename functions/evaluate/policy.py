"""The gate's policy: what a model must reach. Pure.

    {"minimumTestUsers": 20,
     "floors": {"sampledHitRate": 0.15, "sampledNdcg": 0.08, "fullHitRate": 0, "fullNdcg": 0, "coverage": 0},
     "margins": {"sampledHitRate": 0, "sampledNdcg": 0}}

`floors` are absolute. `margins` are what the candidate must be better by than the incumbent on the same test set: 0
is "not worse", a negative margin tolerates that much loss, a positive one asks for progress. What is left out has the
default above. With 99 negatives a model that guesses has a sampled hit rate at 10 of 0.10 and an NDCG of 0.045, so
the default floors refuse a guess.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidInput

FIGURES = ("sampledHitRate", "sampledNdcg", "fullHitRate", "fullNdcg", "coverage")
DEFAULT_FLOORS = {"sampledHitRate": 0.15, "sampledNdcg": 0.08, "fullHitRate": 0.0, "fullNdcg": 0.0, "coverage": 0.0}
DEFAULT_MARGINS = {"sampledHitRate": 0.0, "sampledNdcg": 0.0}
DEFAULT_MINIMUM_TEST_USERS = 20


@dataclass(frozen=True)
class Policy:
    """The thresholds of the gate; floors in [0, 1], margins in [-1, 1]."""

    minimum_test_users: int
    floors: Mapping[str, float]
    margins: Mapping[str, float]

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Policy:
        """The policy in a JSON object. Raises InvalidInput naming the key that is unknown or out of range."""
        unknown = sorted(set(document) - {"minimumTestUsers", "floors", "margins"})
        if unknown:
            raise InvalidInput(
                f"GatePolicy has an unknown key {unknown[0]}; there are minimumTestUsers, floors and margins"
            )
        users = document.get("minimumTestUsers", DEFAULT_MINIMUM_TEST_USERS)
        if isinstance(users, bool) or not isinstance(users, int) or users < 1:
            raise InvalidInput(f"GatePolicy.minimumTestUsers must be an integer of at least 1, not {users!r}")
        return cls(
            minimum_test_users=users,
            floors=_thresholds(document.get("floors", {}), "floors", DEFAULT_FLOORS, 0.0),
            margins=_thresholds(document.get("margins", {}), "margins", DEFAULT_MARGINS, -1.0),
        )


def _thresholds(given: Any, name: str, defaults: Mapping[str, float], least: float) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise InvalidInput(f"GatePolicy.{name} must be an object, not {given!r}")
    for figure, value in given.items():
        if figure not in FIGURES:
            raise InvalidInput(f"GatePolicy.{name} has an unknown figure {figure}; there are {', '.join(FIGURES)}")
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
            or not least <= value <= 1
        ):
            raise InvalidInput(f"GatePolicy.{name}.{figure} must be a number from {least:g} to 1, not {value!r}")
    return {**defaults, **{figure: float(value) for figure, value in given.items()}}
