"""What training and preparation say of their progress on standard output, read from their log lines
(docs/contracts.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

EPOCH = re.compile(r"\bepoch=(?P<epoch>\d+)/(?P<total>\d+)\b(?P<rest>.*)")
STEP = re.compile(r"\bstep=(?P<step>[\w-]+)(?P<rest>.*)")
EVALUATION = re.compile(r"\bevaluation (?P<rest>hit_rate_at_\d+=.*)")
PAIR = re.compile(r"(?P<name>[A-Za-z_]\w*)=(?P<value>\S+)")


@dataclass(frozen=True)
class Epoch:
    """One line `epoch=3/20 train_loss=0.2345 …`; `figures` are the pairs after the first."""

    epoch: int
    total: int
    figures: dict[str, str]

    @property
    def note(self) -> str:
        """What is worth showing beside a progress bar."""
        parts = [f"train loss {self.figures['train_loss']}"] if "train_loss" in self.figures else []
        if rate := self.figures.get("samples_per_second"):
            try:
                parts.append(f"{float(rate):,.0f} samples/s")
            except ValueError:
                parts.append(f"{rate} samples/s")
        return ", ".join(parts)


def pairs(text: str) -> dict[str, str]:
    """The `name=value` pairs in a line, in their order."""
    return {match["name"]: match["value"] for match in PAIR.finditer(text)}


def epoch_in(line: str) -> Epoch | None:
    """The epoch that a training log line reports, or None. An epoch beyond the total, or of zero, is no report."""
    match = EPOCH.search(line)
    if match is None:
        return None
    epoch, total = int(match["epoch"]), int(match["total"])
    return Epoch(epoch, total, pairs(match["rest"])) if 1 <= epoch <= total else None


def step_in(line: str) -> str | None:
    """A preparation step as a person reads it (`read: rows 100,836`), or None when the line reports none."""
    match = STEP.search(line)
    if match is None:
        return None
    figures = [f"{name.replace('_', ' ')} {grouped(value)}" for name, value in pairs(match["rest"]).items()]
    return match["step"].replace("_", " ") + (f": {', '.join(figures)}" if figures else "")


def evaluation_in(line: str) -> dict[str, str] | None:
    """The figures of an `evaluation …` line, or None."""
    match = EVALUATION.search(line)
    return pairs(match["rest"]) if match else None


def grouped(text: str) -> str:
    """Whole numbers with thousands apart; anything else as it is."""
    return f"{int(text):,}" if text.isdigit() else text
