"""Costs of a month of each environment of samconfig.toml: `make assemble` writes them to docs/reference/costs.md.

PRICES are list prices of us-east-1 in US dollars, written down by hand; `make preflight` asks AWS's price list for
those of an account's region.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from contracts import hours
from delivery.preflight import settings
from delivery.preflight.settings import Settings

PAGE = "docs/reference/costs.md"
TABLE = re.compile(r"^\| environment \|.*?(?=\n\n)", re.MULTILINE | re.DOTALL)
PRICES = {"ml.m5.large": 0.115, "ml.m5.xlarge": 0.23, "ml.g4dn.xlarge": 0.736}
"""An hour of a SageMaker machine, training or endpoint."""
VCPU_HOUR, GIGABYTE_HOUR = 0.0421, 0.0046
"""Of EMR Serverless on ARM."""
SPOT = 0.35
"""Share of the price that a spot machine costs, about."""
ALARM, KEY = 0.10, 1.00
"""A month of one CloudWatch alarm and of one KMS key."""
HOURS, DAYS = 730, 30
TRAINING_MINUTES, PREPARATION_MINUTES = 15, 10
"""Billed minutes of the one training and the one preparation of each day, about those of 20 million interactions."""
ENVIRONMENTS = ("dev", "staging", "prod")


@dataclass(frozen=True)
class Month:
    """A month of one environment, in US dollars, without requests and stored bytes."""

    environment: str
    machines: str
    endpoint: float
    training: float
    preparation: float
    fixed: float

    @property
    def total(self) -> float:
        return self.endpoint + self.training + self.preparation + self.fixed


def month(found: Settings) -> Month:
    """Return the month of an environment. Raises KeyError for an instance type without a price here."""
    values = found.values
    machine, count = values["EndpointInstanceType"], int(values["EndpointInstanceCount"])
    trainer, trainers = values["TrainingInstanceType"], int(values["TrainingInstanceCount"])
    share = SPOT if values["TrainingUseSpot"] == "true" else 1.0
    capacity = found.template["Mappings"]["PreparationCapacities"][values["PreparationCapacity"]]
    cores, gigabytes = (float(capacity[name].split()[0]) for name in ("Cpu", "Memory"))
    kinds = [resource["Type"] for resource in found.template["Resources"].values()]
    return Month(
        found.environment,
        f"{count} × {machine}",
        PRICES[machine] * count * HOURS * hours.parse(values["EndpointHours"]).a_week / hours.ALWAYS.a_week,
        PRICES[trainer] * trainers * share * DAYS * TRAINING_MINUTES / 60,
        (cores * VCPU_HOUR + gigabytes * GIGABYTE_HOUR) * DAYS * PREPARATION_MINUTES / 60,
        kinds.count("AWS::CloudWatch::Alarm") * ALARM + kinds.count("AWS::KMS::Key") * KEY,
    )


def table(months: Iterable[Month]) -> str:
    """Return the months as a table in Markdown."""
    lines = [
        "| environment | endpoint, in its hours | | a training a day | a preparation a day | alarms, key | a month |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in months:
        figures = (one.endpoint, one.training, one.preparation, one.fixed, one.total)
        cells = (one.environment, one.machines, *(f"${figure:,.0f}" for figure in figures))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def assemble(root: Path) -> dict[str, str]:
    """Return `docs/reference/costs.md` → its text, with the table of the environments of `root`/samconfig.toml."""
    text = (root / PAGE).read_text("utf-8")
    written = table(month(settings.read(root, name)) for name in ENVIRONMENTS)
    return {PAGE: TABLE.sub(lambda _: written, text, count=1)}
