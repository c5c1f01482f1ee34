"""A training job as a whole, by the script contract of `training/train.py`: training, and how long the server that will
serve the model takes to answer.

A model that the server would refuse fails its training. Run by the command `train`, by `python -m training.launch` on
this machine, and by torchrun (`torchrun --nproc-per-node 2 -m -- container.job --…`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from training import train
from training.train import TrainingFailed


def measure_serving(model: Path) -> dict[str, Any]:
    """The times of `serving/latency.py` for the bundle in `model`. Raises TrainingFailed."""
    try:
        # Loaded when the model is there: fitting does not need the server's compiler in memory.
        from serving import latency
        from serving.serve import CannotServe
    except Exception as error:
        raise TrainingFailed(f"the server in this image cannot be loaded: {type(error).__name__}: {error}") from error
    try:
        return latency.measure(model)
    except CannotServe as error:
        raise TrainingFailed(f"the server would refuse this model: {error}") from error


if __name__ == "__main__":
    train.run(sys.argv[1:], os.environ, measure_serving)
