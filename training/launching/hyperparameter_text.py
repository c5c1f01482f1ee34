"""Hyperparameters as texts, and the refusal, for a training on this machine and on SageMaker alike."""

from __future__ import annotations

from typing import Any

from ncf.parameters import text_of


class Refused(Exception):
    """The command cannot be carried out; the message says why, and what can be done."""


def texts_of(hyperparameters: dict[str, Any]) -> dict[str, str]:
    return {name: text_of(value) for name, value in hyperparameters.items()}
