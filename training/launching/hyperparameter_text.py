"""Hyperparameters as text, and the refusal of a command: for trainings on this machine and on SageMaker."""

from __future__ import annotations

from typing import Any

from ncf.parameters import text_of


class Refused(Exception):
    """The command cannot be carried out; the message has the reason, and what the user can do."""


def texts_of(hyperparameters: dict[str, Any]) -> dict[str, str]:
    """Return every hyperparameter as the text for its command-line option."""
    return {name: text_of(value) for name, value in hyperparameters.items()}
