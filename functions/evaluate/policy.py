"""The gate's policy: what a model must reach. Pure.

    {"minimumTestUsers": 20,
     "floors": {"sampledHitRate": 0.15, "sampledNdcg": 0.08, "fullHitRate": 0, "fullNdcg": 0, "coverage": 0},
     "ceilings": {"largestExposure": 0.95},
     "baselineMargins": {"sampledNdcg": -0.02},
     "margins": {"sampledHitRate": 0, "sampledNdcg": 0},
     "lowestDifference": {"sampledHitRate": -0.08, "sampledNdcg": -0.05}, "minimumIntervalUsers": 200,
     "sliceMargins": {"sampledNdcg": -0.1}, "minimumSliceUsers": 100,
     "maximumServingMilliseconds": 100}

`floors` and `ceilings` are absolute. `baselineMargins` are what the candidate must be better by than the strong
baseline of the report (EASE or ALS), `margins` than the incumbent on the same test set: 0 is "not worse", a negative
margin tolerates that much loss, a positive one asks for progress. `lowestDifference` is where the interval of the
difference to the incumbent may begin: what of a loss cannot be ruled out. With few test users an interval is wide
whatever the model, so it is looked at from `minimumIntervalUsers` on. `sliceMargins` hold for every slice of at least
`minimumSliceUsers`. `maximumServingMilliseconds` is what 99 of 100 answers may take, as measured by the server's own
code where the model was made, without HTTP.

What is left out has the default above. With 99 negatives a model that guesses has a sampled hit rate at 10 of 0.10 and
an NDCG of 0.045, so the default floors refuse a guess. docs/decisions/0008-what-the-gate-asks.md says why the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidInput

FIGURES = ("sampledHitRate", "sampledNdcg", "fullHitRate", "fullNdcg", "coverage")
RATES = FIGURES[:4]
"""Those that are a mean over users: they have differences with intervals, and slices."""
DEFAULT_FLOORS = {"sampledHitRate": 0.15, "sampledNdcg": 0.08, "fullHitRate": 0.0, "fullNdcg": 0.0, "coverage": 0.0}
DEFAULT_CEILINGS = {"largestExposure": 0.95}
DEFAULT_BASELINE_MARGINS = {"sampledNdcg": -0.02}
DEFAULT_MARGINS = {"sampledHitRate": 0.0, "sampledNdcg": 0.0}
DEFAULT_LOWEST_DIFFERENCE = {"sampledHitRate": -0.08, "sampledNdcg": -0.05}
DEFAULT_SLICE_MARGINS = {"sampledNdcg": -0.1}
DEFAULT_MAXIMUM_SERVING_MILLISECONDS = 100.0
DEFAULT_USERS = {"minimumTestUsers": 20, "minimumIntervalUsers": 200, "minimumSliceUsers": 100}

Thresholds = Mapping[str, float]


@dataclass(frozen=True)
class Policy:
    """The thresholds of the gate by figure; floors and ceilings in [0, 1], the others in [-1, 1]."""

    minimum_test_users: int
    floors: Thresholds
    ceilings: Thresholds
    baseline_margins: Thresholds
    margins: Thresholds
    lowest_difference: Thresholds
    minimum_interval_users: int
    slice_margins: Thresholds
    minimum_slice_users: int
    maximum_serving_milliseconds: float

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Policy:
        """The policy in a JSON object. Raises InvalidInput naming the key that is unknown or out of range."""
        for name in sorted(document):
            if name not in KEYS:
                raise InvalidInput(f"GatePolicy has an unknown key {name}; there are {', '.join(KEYS)}")

        def thresholds(name: str, defaults: Thresholds, figures: tuple[str, ...], least: float) -> dict[str, float]:
            return _thresholds(document.get(name, {}), name, defaults, figures, least)

        users = {name: _users(document, name, default) for name, default in DEFAULT_USERS.items()}
        return cls(
            minimum_test_users=users["minimumTestUsers"],
            floors=thresholds("floors", DEFAULT_FLOORS, FIGURES, 0.0),
            ceilings=thresholds("ceilings", DEFAULT_CEILINGS, ("largestExposure",), 0.0),
            baseline_margins=thresholds("baselineMargins", DEFAULT_BASELINE_MARGINS, FIGURES, -1.0),
            margins=thresholds("margins", DEFAULT_MARGINS, FIGURES, -1.0),
            lowest_difference=thresholds("lowestDifference", DEFAULT_LOWEST_DIFFERENCE, RATES, -1.0),
            minimum_interval_users=users["minimumIntervalUsers"],
            slice_margins=thresholds("sliceMargins", DEFAULT_SLICE_MARGINS, RATES, -1.0),
            minimum_slice_users=users["minimumSliceUsers"],
            maximum_serving_milliseconds=_milliseconds(document),
        )


KEYS = (
    "minimumTestUsers", "floors", "ceilings", "baselineMargins", "margins", "lowestDifference", "minimumIntervalUsers",
    "sliceMargins", "minimumSliceUsers", "maximumServingMilliseconds",
)  # fmt: skip


def _users(document: Mapping[str, Any], name: str, default: int) -> int:
    users = document.get(name, default)
    if isinstance(users, bool) or not isinstance(users, int) or users < 1:
        raise InvalidInput(f"GatePolicy.{name} must be an integer of at least 1, not {users!r}")
    return users


def _milliseconds(document: Mapping[str, Any]) -> float:
    name = "maximumServingMilliseconds"
    value = document.get(name, DEFAULT_MAXIMUM_SERVING_MILLISECONDS)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise InvalidInput(f"GatePolicy.{name} must be a number above 0, not {value!r}")
    return float(value)


def _thresholds(
    given: Any, name: str, defaults: Thresholds, figures: tuple[str, ...], least: float
) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise InvalidInput(f"GatePolicy.{name} must be an object, not {given!r}")
    for figure, value in given.items():
        if figure not in figures:
            raise InvalidInput(f"GatePolicy.{name} has an unknown figure {figure}; there are {', '.join(figures)}")
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
            or not least <= value <= 1
        ):
            raise InvalidInput(f"GatePolicy.{name}.{figure} must be a number from {least:g} to 1, not {value!r}")
    return {**defaults, **{figure: float(value) for figure, value in given.items()}}
