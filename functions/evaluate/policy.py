"""The gate's policy: the thresholds of each check. Pure.

`contracts/policy.schema.json` defines the keys, their meaning, limits and defaults. `floors` and `ceilings` are
absolute. `baselineMargins` and `margins` are the required gains over the strong baseline and over the serving model: 0
means "not worse", a negative margin allows that loss. With few test users the confidence interval is always wide, so it
is checked only from `minimumIntervalUsers` on.

With 99 negatives a random model has a sampled hit rate at 10 of 0.10 and an NDCG of 0.045, so it fails the default
floors. docs/decisions/0008-what-the-gate-asks.md explains the other defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts import schemas
from contracts.documents import Unfit
from shared.errors import InvalidInput

FIGURES = ("sampledHitRate", "sampledNdcg", "fullHitRate", "fullNdcg", "coverage")

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
    def from_document(cls, document: Mapping[str, Any], called: str = "GatePolicy") -> Policy:
        """Read a policy; missing keys get their defaults. Raises InvalidInput naming the document (`called`) and each
        key that is unknown or out of range.
        """
        try:
            schemas.check(document, "policy", called)
        except Unfit as error:
            raise InvalidInput(str(error)) from error
        filled = schemas.defaults(dict(document), "policy")
        return cls(
            minimum_test_users=int(filled["minimumTestUsers"]),
            floors=filled["floors"],
            ceilings=filled["ceilings"],
            baseline_margins=filled["baselineMargins"],
            margins=filled["margins"],
            lowest_difference=filled["lowestDifference"],
            minimum_interval_users=int(filled["minimumIntervalUsers"]),
            slice_margins=filled["sliceMargins"],
            minimum_slice_users=int(filled["minimumSliceUsers"]),
            maximum_serving_milliseconds=float(filled["maximumServingMilliseconds"]),
        )
