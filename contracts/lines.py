"""Log lines that one program prints and another parses: those of a training job, and a preparation's last line."""

from __future__ import annotations

import re
from dataclasses import dataclass

_EPOCH = re.compile(r"epoch=(?P<epoch>[0-9]+)/(?P<epochs>[0-9]+) (?P<rest>.*)")
_PAIR = re.compile(r"(?P<name>[a-z_][a-z0-9_]*)=(?P<value>\S+)")
_EVALUATION = "evaluation "
_NUMBER = "([0-9.eE+-]+)"

FILTER = "train_loss="
"""Text that only the lines of an epoch contain; a filter pattern for logs."""
METRICS = {
    "TrainLoss": f"train_loss={_NUMBER}",
    "SamplesPerSecond": f"samples_per_second={_NUMBER}",
    "HitRateAt10": f" hit_rate_at_10={_NUMBER}",
    "NdcgAt10": f" ndcg_at_10={_NUMBER}",
    "FullHitRateAt10": f"full_hit_rate_at_10={_NUMBER}",
    "FullNdcgAt10": f"full_ndcg_at_10={_NUMBER}",
}
"""SageMaker metric definitions: the regular expression of each metric's value, by name."""
VALIDATION = f"validation_ndcg={_NUMBER}"
"""The metric that only a training job with a validation set prints."""

REFUSED, FAILED = "REFUSED: ", "FAILED: "
"""Prefixes of a preparation's last line on standard error: the data was refused (exit 2), or the job failed."""
WARNING = "warning: "
"""Prefix of a preparation's line about data that look wrong."""
UNITED = "united: "
"""Prefix of a preparation's line about the drops that it united."""


@dataclass(frozen=True)
class Epoch:
    """`epoch=3/15 train_loss=0.2345 samples_per_second=812345 seconds=1.24`, then with a validation set
    `validation_ndcg=0.4321`.
    """

    epoch: int
    epochs: int
    loss: float
    samples_per_second: float
    seconds: float
    validation_ndcg: float | None = None

    def __str__(self) -> str:
        line = (
            f"epoch={self.epoch}/{self.epochs} train_loss={self.loss:.4f} "
            f"samples_per_second={self.samples_per_second:.0f} seconds={self.seconds:.2f}"
        )
        return line if self.validation_ndcg is None else f"{line} validation_ndcg={self.validation_ndcg:.4f}"


def pairs(text: str) -> dict[str, str]:
    """Return the `name=value` pairs of a line, in order."""
    return {pair["name"]: pair["value"] for pair in _PAIR.finditer(text)}


def epoch_in(line: str) -> Epoch | None:
    """Parse the epoch that `line` reports; None if it reports none."""
    match = _EPOCH.fullmatch(line.strip())
    if match is None:
        return None
    found = pairs(match["rest"])
    try:
        return Epoch(
            epoch=int(match["epoch"]),
            epochs=int(match["epochs"]),
            loss=float(found["train_loss"]),
            samples_per_second=float(found["samples_per_second"]),
            seconds=float(found["seconds"]),
            validation_ndcg=float(found["validation_ndcg"]) if "validation_ndcg" in found else None,
        )
    except (KeyError, ValueError):
        return None


def evaluation(k: int, sampled: tuple[float, float], full: tuple[float, float]) -> str:
    """Return the last line of a training job; each pair is hit rate and NDCG at `k`."""
    return (
        f"{_EVALUATION}hit_rate_at_{k}={sampled[0]:.4f} ndcg_at_{k}={sampled[1]:.4f} "
        f"full_hit_rate_at_{k}={full[0]:.4f} full_ndcg_at_{k}={full[1]:.4f}"
    )


def evaluation_in(line: str) -> dict[str, str] | None:
    """Parse the figures of a training job's last line, as text; None for any other line."""
    return pairs(line) if line.startswith(f"{_EVALUATION}hit_rate_at_") else None
