"""The whole training job: the training by `training/train.py`, and the latency of the server with the new model.

If the server would refuse the model, the training fails. The callers are the command `train`, `python -m
training.launch` on this machine, and torchrun (`torchrun --nproc-per-node 2 -m -- container.job --…`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Any

from training import train
from training.train import TrainingFailed

PR_SET_PDEATHSIG = 1


def measure_serving(model: Path) -> dict[str, Any]:
    """Return the latency by `serving/latency.py` of the bundle in `model`. Raises TrainingFailed."""
    try:
        # Imported only now, so that the server's compiler takes no memory during the fit.
        from serving import latency
        from serving.serve import CannotServe
    except Exception as error:
        raise TrainingFailed(f"the server in this image cannot be loaded: {type(error).__name__}: {error}") from error
    try:
        return latency.measure(model)
    except CannotServe as error:
        raise TrainingFailed(f"the server would refuse this model: {error}") from error


def end_with_parent() -> None:
    """Make Linux end this process when torchrun, its parent, ends in any way: it has another process group."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with_parent()
    train.run(sys.argv[1:], os.environ, measure_serving)
