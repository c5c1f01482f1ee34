"""The learning curves as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from contracts.lines import Epoch

LOSS, VALIDATION, QUIET = "#1f5fa8", "#c2571a", "#666666"
DOTS_PER_INCH = 140


def draw(path: Path, history: Sequence[Epoch], title: str, subtitle: str) -> None:
    """Write `path` (PNG): the training loss by epoch and, where there was validation, its NDCG below."""
    validated = [epoch for epoch in history if epoch.validation_ndcg is not None]
    # A Figure without pyplot has no global state, and Agg draws the PNG without a display.
    figure = Figure(figsize=(8, 7 if validated else 4.5), layout="constrained")
    figure.suptitle(title, fontsize=13, fontweight="bold")
    axes = figure.subplots(2 if validated else 1, sharex=True, squeeze=False)[:, 0]
    axes[0].set_title(subtitle, fontsize=9, color=QUIET)
    _curve(axes[0], [e.epoch for e in history], [e.loss for e in history], LOSS, "training loss")
    if validated:
        values = [epoch.validation_ndcg or 0.0 for epoch in validated]
        _curve(axes[1], [epoch.epoch for epoch in validated], values, VALIDATION, "NDCG on validation")
        best = max(validated, key=lambda epoch: (epoch.validation_ndcg or 0.0, -epoch.epoch))
        axes[1].axvline(best.epoch, color=QUIET, linewidth=0.8, linestyle=":")
        axes[1].set_title(f"best: {best.validation_ndcg:.4f} after epoch {best.epoch}", fontsize=9, color=QUIET)
    axes[-1].set_xlabel("epoch")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.align_ylabels(axes)
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")


def _curve(axes: Axes, epochs: Sequence[int], values: Sequence[float], colour: str, label: str) -> None:
    axes.plot(epochs, values, color=colour, linewidth=1.8, marker="o", markersize=4 if len(epochs) <= 40 else 0)
    axes.set_ylabel(label)
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
