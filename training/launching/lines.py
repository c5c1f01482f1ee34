"""The lines of a training's standard output (docs/contracts.md, "Container")."""

from __future__ import annotations

import re
from dataclasses import dataclass

EPOCH = re.compile(r"epoch=(?P<epoch>\d+)/(?P<epochs>\d+) (?P<rest>.*)")
PAIR = re.compile(r"(?P<name>[a-z_]\w*)=(?P<value>\S+)")


@dataclass(frozen=True)
class Epoch:
    """One `epoch=…` line."""

    epoch: int
    epochs: int
    loss: float
    rate: float
    seconds: float
    ndcg: float | None = None


def epoch_in(line: str) -> Epoch | None:
    """Return the epoch that `line` reports, or None for another line."""
    match = EPOCH.fullmatch(line.strip())
    if match is None:
        return None
    pairs = {pair["name"]: pair["value"] for pair in PAIR.finditer(match["rest"])}
    try:
        return Epoch(
            epoch=int(match["epoch"]),
            epochs=int(match["epochs"]),
            loss=float(pairs["train_loss"]),
            rate=float(pairs["samples_per_second"]),
            seconds=float(pairs["seconds"]),
            ndcg=float(pairs["validation_ndcg"]) if "validation_ndcg" in pairs else None,
        )
    except (KeyError, ValueError):
        return None


def is_evaluation(line: str) -> bool:
    """True for the last line of a training."""
    return line.startswith("evaluation hit_rate_at_")
