"""The container's `train` command: runs a training job in this process on SageMaker's folder.

The folder is /opt/ml, or SAGEMAKER_BASE_DIR. `input/config/hyperparameters.json` becomes the command-line arguments,
and each channel in `input/config/inputdataconfig.json` becomes a variable SM_CHANNEL_<NAME>. SM_MODEL_DIR,
SM_OUTPUT_DATA_DIR, SM_OUTPUT_DIR and SM_CHECKPOINT_DIR are the folders for output.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from container.job import measure_serving
from contracts import documents
from training import train


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
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        (base / "output").mkdir(parents=True, exist_ok=True)
        (base / "output" / "failure").write_text(f"{error}\n", encoding="utf-8")
        return 1
    for name in ("SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR", "SM_CHECKPOINT_DIR"):
        Path(variables[name]).mkdir(parents=True, exist_ok=True)
    train.run(argv, {**os.environ, **variables}, measure_serving)


if __name__ == "__main__":
    sys.exit(main())
