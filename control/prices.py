"""The price of an hour of a training instance: the stack's parameter, else AWS's list price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PARAMETER = "TrainingPricePerHour"
LIST_PRICES: Mapping[str, float] = {
    "ml.c5.xlarge": 0.204,
    "ml.c5.2xlarge": 0.408,
    "ml.c5.9xlarge": 1.836,
    "ml.g4dn.xlarge": 0.7364,
    "ml.g4dn.2xlarge": 0.94,
    "ml.g4dn.4xlarge": 1.505,
    "ml.g4dn.8xlarge": 2.72,
    "ml.g4dn.12xlarge": 4.89,
    "ml.g4dn.16xlarge": 5.44,
    "ml.g5.xlarge": 1.408,
    "ml.m5.large": 0.115,
    "ml.m5.xlarge": 0.23,
    "ml.m5.2xlarge": 0.461,
    "ml.p3.2xlarge": 3.825,
    "ml.p3.8xlarge": 14.688,
}
"""US dollars an hour on demand in us-east-1, for SageMaker training (https://aws.amazon.com/sagemaker/pricing/)."""


@dataclass(frozen=True)
class Price:
    """US dollars an hour of one instance. `source` says whose price it is, in words; 0 is an unknown price."""

    per_hour: float = 0.0
    source: str = ""


def price_of(instance_type: str, parameters: Mapping[str, str]) -> Price:
    """The price by the stack's parameter, else the list price, else one that is unknown."""
    given = float(parameters.get(PARAMETER) or 0)
    if given > 0:
        return Price(given, f"the stack's {PARAMETER}")
    listed = LIST_PRICES.get(instance_type, 0.0)
    return Price(listed, f"list price of us-east-1; set the stack's {PARAMETER} for yours") if listed else Price()
