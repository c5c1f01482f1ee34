"""The progress of training and preparation, as a person reads it. contracts/lines.py parses a training's lines."""

from __future__ import annotations

import re

from contracts.lines import Epoch, pairs
from contracts.values import integer_in

STEP = re.compile(r"\bstep=(?P<step>[\w-]+)(?P<rest>.*)")


def note(epoch: Epoch) -> str:
    """The text next to a progress bar."""
    return f"train loss {epoch.loss:.4f}, {epoch.samples_per_second:,.0f} samples/s"


def step_in(line: str) -> str | None:
    """A preparation step as text (`read: rows 100,836`), or None if the line has none."""
    match = STEP.search(line)
    if match is None:
        return None
    figures = [f"{name.replace('_', ' ')} {grouped(value)}" for name, value in pairs(match["rest"]).items()]
    return match["step"].replace("_", " ") + (f": {', '.join(figures)}" if figures else "")


def grouped(text: str) -> str:
    """Whole numbers with thousands separators; other text unchanged."""
    number = integer_in(text)
    return text if number is None else f"{number:,}"
