"""Findings of the checks: a sentence, why it matters, and the command that mends it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a finding ends a deployment: FAULT stops it, WARNING may surprise later, UNKNOWN could not be looked at."""

    FINE = "fine"
    WARNING = "warning"
    UNKNOWN = "unknown"
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """One finding. `why` and `command` are empty for what is fine."""

    level: Level
    what: str
    why: str = ""
    command: str = ""


def text(findings: Iterable[Finding]) -> str:
    """The findings as text, faults first."""
    order = (Level.FAULT, Level.WARNING, Level.UNKNOWN, Level.FINE)
    lines = []
    for finding in sorted(findings, key=lambda one: order.index(one.level)):
        lines.append(f"{finding.level.upper():8} {finding.what}")
        lines += [f"         {part}" for part in (finding.why, finding.command) if part]
    return "\n".join(lines)
