"""The container's `train` command: runs a training job on SageMaker's folder, in this process or with other machines.

The folder is /opt/ml, or SAGEMAKER_BASE_DIR. `input/config/hyperparameters.json` becomes the command-line arguments,
and each channel in `input/config/inputdataconfig.json` becomes a variable SM_CHANNEL_<NAME>. SM_MODEL_DIR,
SM_OUTPUT_DATA_DIR, SM_OUTPUT_DIR and SM_CHECKPOINT_DIR are the folders for output.

`input/config/resourceconfig.json` names the hosts of the job. On several, torchrun trains a model that can be trained
together (`container/hosts.py`); the first host trains any other model alone, and the others end with status 0.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

from container import hosts
from container.hosts import Hosts, HostsFailed
from container.job import measure_serving
from contracts import documents
from ncf.registry import kind_named
from training import train
from training.hyperparameters import InvalidHyperparameter


def read_object(path: Path) -> dict[str, Any]:
    """Read the JSON object in `path`; without the file, return an empty one. Raises ValueError for other content."""
    if not path.exists():
        return {}
    return documents.read_object(path.read_bytes(), path.name)


def arguments(hyperparameters: dict[str, Any]) -> list[str]:
    """Return `--name value` for each hyperparameter. Raises ValueError for a value that is not a string."""
    argv = []
    for name, value in hyperparameters.items():
        if not isinstance(value, str):
            raise ValueError(f"hyperparameter {name} must be a string, not {value!r}")
        argv += [f"--{name}", value]
    return argv


def environment(base: Path, channels: dict[str, Any]) -> dict[str, str]:
    """Return the environment variables of a training job (`training/train.py`)."""
    return {
        "SM_MODEL_DIR": str(base / "model"),
        "SM_OUTPUT_DIR": str(base / "output"),
        "SM_OUTPUT_DATA_DIR": str(base / "output" / "data"),
        "SM_CHECKPOINT_DIR": str(base / "checkpoints"),
        **{f"SM_CHANNEL_{name.upper()}": str(base / "input" / "data" / name) for name in channels},
    }


def main() -> int:
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    try:
        config = base / "input" / "config"
        argv = arguments(read_object(config / "hyperparameters.json"))
        variables = environment(base, read_object(config / "inputdataconfig.json"))
        machines = Hosts.from_config(read_object(config / "resourceconfig.json"))
        for name in ("SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR", "SM_CHECKPOINT_DIR"):
            Path(variables[name]).mkdir(parents=True, exist_ok=True)
        if machines.are_several and (status := _together(machines, argv, variables)) is not None:
            return status
    except (ValueError, OSError, InvalidHyperparameter, HostsFailed) as error:
        return _fail(base / "output", str(error))
    train.run(argv, {**os.environ, **variables}, measure_serving)


def _together(machines: Hosts, argv: list[str], variables: dict[str, str]) -> int | None:
    """Train on all machines and return this one's exit status. Returns None if this one is to train alone."""
    hyperparameters = train.parse(argv)
    if kind_named(hyperparameters.model).trains_together:
        gpus = 0 if hyperparameters.device == "cpu" else torch.cuda.device_count()
        return hosts.train_together(machines, max(1, gpus), argv, variables)
    print(
        f"note: {hyperparameters.model} is trained on one machine, {machines.names[0]}; "
        f"the other {len(machines.names) - 1} of the job end now",
        flush=True,
    )
    return 0 if machines.rank else None


def _fail(output: Path, reason: str) -> int:
    """Write the reason to standard error and, unless a process of the training has written its own, to `failure`."""
    print(f"error: {reason}", file=sys.stderr)
    output.mkdir(parents=True, exist_ok=True)
    if not (output / "failure").exists():
        (output / "failure").write_text(f"{reason[: train.LONGEST_FAILURE]}\n", encoding="utf-8")
    return 1


if __name__ == "__main__":
    sys.exit(main())
