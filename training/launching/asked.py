"""What both doors, this machine and SageMaker, say no with, and how they write hyperparameters."""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    """What was asked for cannot be done; the message says why, and what can."""


def text_of(value: Any) -> str:
    """A hyperparameter's value as it is given on the command line."""
    return ",".join(str(part) for part in value) if isinstance(value, (tuple, list)) else str(value)


def texts_of(hyperparameters: dict[str, Any]) -> dict[str, str]:
    return {name: text_of(value) for name, value in hyperparameters.items()}
