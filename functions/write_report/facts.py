"""The facts of a run for its report, from the ledger, documents and logs. Pure.

Everything but the run's record may be missing: a run that failed early has no evaluation, no job and no epochs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from contracts import lines
from contracts.lines import Epoch
from contracts.outcomes import Counts
from shared.records import Decision, Run

STAGES = ("gate", "registration", "deployment")
COUNTS = (
    "interactions",
    "users",
    "items",
    "train",
    "test",
    "quarantined",
    "duplicates",
    "belowSupport",
    "coldTestItems",
    "tiedTestUsers",
    "withdrawnItems",
    "catalogueItems",
)


@dataclass(frozen=True)
class Cost:
    """Duration in seconds and cost in US dollars of the training job; `price` per instance and hour, 0 if unknown."""

    instance_type: str
    billed_seconds: int
    longest_seconds: int
    price: float
    instances: int = 1

    @property
    def actual(self) -> float:
        """Cost in US dollars."""
        return self.price * self.instances * self.billed_seconds / 3600

    @property
    def estimated(self) -> float:
        """Maximum cost in US dollars, at the time limit."""
        return self.price * self.instances * self.longest_seconds / 3600


@dataclass(frozen=True)
class Facts:
    """The facts of one run. `manifest` is that of its dataset, `before` that of the earlier model's dataset."""

    run: Run
    decisions: dict[str, Decision] = field(default_factory=dict)
    report: dict[str, Any] | None = None
    manifest: dict[str, Any] | None = None
    before: dict[str, Any] | None = None
    epochs: tuple[Epoch, ...] = ()
    cost: Cost | None = None
    earned: dict[str, Counts] = field(default_factory=dict)
    """By source of the answers."""


def epochs(log: list[str]) -> tuple[Epoch, ...]:
    """Return the epochs in a training log, in order. If an epoch was trained twice (a job resumed from its checkpoint),
    the later one counts.
    """
    found = {epoch.epoch: epoch for line in log if (epoch := lines.epoch_in(line))}
    return tuple(found[number] for number in sorted(found))


def cost(job: dict[str, Any] | None, price: float) -> Cost | None:
    """Return the cost, from DescribeTrainingJob; None without a job."""
    if job is None:
        return None
    resources = job.get("ResourceConfig", {})
    return Cost(
        str(resources.get("InstanceType", "")),
        int(job.get("BillableTimeInSeconds", 0)),
        int(job.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 0)),
        price,
        int(resources.get("InstanceCount", 1)),
    )


def timeline(facts: Facts) -> list[tuple[str, str, float | None]]:
    """Return (step, ISO 8601 time, seconds since the previous step), by time."""
    moments = [("the run began", facts.run.get("startedAt"))]
    words = {"gate": "judged", "registration": "registered", "deployment": "deployment began"}
    moments += [(words[stage], facts.decisions[stage]["updatedAt"]) for stage in STAGES if stage in facts.decisions]
    moments.append((f"ended as {facts.run.get('status')}", facts.run.get("endedAt")))
    known = sorted(((str(when), what) for what, when in moments if when), key=lambda pair: pair[0])
    steps: list[tuple[str, str, float | None]] = []
    for position, (when, what) in enumerate(known):
        seconds = (_parsed(when) - _parsed(known[position - 1][0])).total_seconds() if position else None
        steps.append((what, when, seconds))
    return steps


def _parsed(moment: str) -> datetime:
    return datetime.fromisoformat(moment.replace("Z", "+00:00"))
