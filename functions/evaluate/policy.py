"""The gate's policy: the thresholds of each check. Pure.

`contracts/policy.schema.json` defines the keys, their meaning, limits and defaults. `floors` and `ceilings` are
absolute. A gain is a share of the other model's figure: 0 means "no loss", -0.1 allows a loss of a tenth.
docs/decisions/0025-what-better-means.md explains the defaults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from contracts import schemas
from contracts.documents import Unfit
from shared.errors import InvalidInput

FIGURES = ("sampledHitRate", "sampledNdcg", "fullHitRate", "fullNdcg", "coverage")
ANY = "any"
"""The protocol of a policy that does not ask for one."""

Thresholds = Mapping[str, float]


@dataclass(frozen=True)
class Better:
    """The test against the incumbent: the chance that the gain in `figure` is above `minimum_gain` (a share of the
    incumbent's figure) must reach `confidence`.
    """

    figure: str
    confidence: float
    minimum_gain: float


@dataclass(frozen=True)
class DataChange:
    """The limits of how the data may differ from the incumbent's; `stops` says whether a change rejects the model."""

    stops: bool
    minimum_former_users: float
    minimum_former_items: float
    minimum_size: float
    maximum_size: float
    maximum_item_shift: float
    maximum_event_shift: float
    maximum_withdrawn_items: float
    minimum_incumbent_share: float


@dataclass(frozen=True)
class Policy:
    """The thresholds of the gate by figure; floors and ceilings in [0, 1], gains in [-1, 1]."""

    minimum_test_users: int
    protocol: str
    floors: Thresholds
    ceilings: Thresholds
    better: Better
    incumbent_gains: Thresholds
    baseline_gains: Mapping[str, Thresholds]
    slice_floors: Mapping[str, Thresholds]
    slice_gains: Thresholds
    minimum_slice_users: int
    data_change: DataChange
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
        better = filled["better"]
        return cls(
            minimum_test_users=int(filled["minimumTestUsers"]),
            protocol=filled["protocol"],
            floors=filled["floors"],
            ceilings=filled["ceilings"],
            better=Better(better["figure"], float(better["confidence"]), float(better["minimumGain"])),
            incumbent_gains=filled["incumbentGains"],
            baseline_gains=filled["baselineGains"],
            slice_floors=filled["sliceFloors"],
            slice_gains=filled["sliceGains"],
            minimum_slice_users=int(filled["minimumSliceUsers"]),
            data_change=DataChange(
                stops=filled["dataChange"]["action"] == "stop",
                minimum_former_users=float(filled["dataChange"]["minimumFormerUsers"]),
                minimum_former_items=float(filled["dataChange"]["minimumFormerItems"]),
                minimum_size=float(filled["dataChange"]["minimumSize"]),
                maximum_size=float(filled["dataChange"]["maximumSize"]),
                maximum_item_shift=float(filled["dataChange"]["maximumItemShift"]),
                maximum_event_shift=float(filled["dataChange"]["maximumEventShift"]),
                maximum_withdrawn_items=float(filled["dataChange"]["maximumWithdrawnItems"]),
                minimum_incumbent_share=float(filled["dataChange"]["minimumIncumbentShare"]),
            ),
            maximum_serving_milliseconds=float(filled["maximumServingMilliseconds"]),
        )

    def gains_over(self, baseline: str) -> Thresholds:
        """Return the gains that are required over a baseline: its own, otherwise those of the others."""
        return self.baseline_gains.get(baseline, self.baseline_gains.get("others", {}))

    def checked_floors(self, slices: Mapping[str, Any]) -> Iterator[tuple[str, Thresholds]]:
        """Yield each slice that has floors and enough users in `slices` of a report, with its floors."""
        for name, floors in sorted(self.slice_floors.items()):
            if name in slices and slices[name]["users"] >= self.minimum_slice_users:
                yield name, floors
