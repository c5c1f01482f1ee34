"""Parses the progress lines in the logs of training and preparation (docs/contracts.md)."""

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
        """The text next to a progress bar."""
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
    """The epoch in a training log line, or None. An epoch of zero or above the total is ignored."""
    match = EPOCH.search(line)
    if match is None:
        return None
    epoch, total = int(match["epoch"]), int(match["total"])
    return Epoch(epoch, total, pairs(match["rest"])) if 1 <= epoch <= total else None


def step_in(line: str) -> str | None:
    """A preparation step as text (`read: rows 100,836`), or None if the line has none."""
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
    """Whole numbers with thousands separators; other text unchanged."""
    return f"{int(text):,}" if text.isdigit() else text
