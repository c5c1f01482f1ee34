"""What a page tells of a run, taken out of what others wrote. Pure.

Everything but the run's record may be missing: a run that failed early has no report, no job, no curves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from contracts import lines
from contracts.lines import Epoch
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
)


@dataclass(frozen=True)
class Cost:
    """Seconds and US dollars of the training job; `price` per hour, 0 where nobody said."""

    instance_type: str
    billed_seconds: int
    longest_seconds: int
    price: float

    @property
    def actual(self) -> float:
        """What it cost."""
        return self.price * self.billed_seconds / 3600

    @property
    def estimated(self) -> float:
        """What it could have cost at most."""
        return self.price * self.longest_seconds / 3600


@dataclass(frozen=True)
class Facts:
    """Of one run. `manifest` and `before` are of its dataset and of the one that the serving model had learned from."""

    run: Run
    decisions: dict[str, Decision] = field(default_factory=dict)
    report: dict[str, Any] | None = None
    manifest: dict[str, Any] | None = None
    before: dict[str, Any] | None = None
    epochs: tuple[Epoch, ...] = ()
    cost: Cost | None = None


def epochs(log: list[str]) -> tuple[Epoch, ...]:
    """The epochs in a training's log, in order. Of an epoch that was trained twice (a job that went on from its
    checkpoint) the later one counts.
    """
    found = {epoch.epoch: epoch for line in log if (epoch := lines.epoch_in(line))}
    return tuple(found[number] for number in sorted(found))


def cost(job: dict[str, Any] | None, price: float) -> Cost | None:
    """From DescribeTrainingJob; None without a job."""
    if job is None:
        return None
    return Cost(
        str(job.get("ResourceConfig", {}).get("InstanceType", "")),
        int(job.get("BillableTimeInSeconds", 0)),
        int(job.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 0)),
        price,
    )


def timeline(facts: Facts) -> list[tuple[str, str, float | None]]:
    """(what, when as ISO 8601, seconds since the step before) in the order of time."""
    moments = [("the run began", facts.run.get("startedAt"))]
    words = {"gate": "judged", "registration": "registered", "deployment": "deployment began"}
    moments += [(words[stage], facts.decisions[stage]["updatedAt"]) for stage in STAGES if stage in facts.decisions]
    moments.append((f"ended as {facts.run.get('status')}", facts.run.get("endedAt")))
    told = sorted(((str(when), what) for what, when in moments if when), key=lambda pair: pair[0])
    steps: list[tuple[str, str, float | None]] = []
    for position, (when, what) in enumerate(told):
        seconds = (_parsed(when) - _parsed(told[position - 1][0])).total_seconds() if position else None
        steps.append((what, when, seconds))
    return steps


def _parsed(moment: str) -> datetime:
    return datetime.fromisoformat(moment.replace("Z", "+00:00"))
