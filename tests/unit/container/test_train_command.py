import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from container import train as command

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
VERSION = "v20260102t030405z-0a1b2c3d"


@pytest.fixture
def container(tmp_path: Path, shop_dataset: Path) -> Callable[..., Path]:
    """Return a function that makes SageMaker's folder, with the shop as the channel `dataset`."""

    def make(hyperparameters: Any, channels: Any = None) -> Path:
        base = tmp_path / "opt-ml"
        (base / "input" / "config").mkdir(parents=True)
        (base / "input" / "data").mkdir()
        (base / "input" / "data" / "dataset").symlink_to(shop_dataset)
        (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(hyperparameters))
        (base / "input" / "config" / "inputdataconfig.json").write_text(json.dumps(channels or {"dataset": {}}))
        return base

    return make


def start(base: Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "SAGEMAKER_BASE_DIR": str(base),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "container.train"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


HYPERPARAMETERS = {
    "run_id": f"{VERSION}-r1",
    "dataset_version": VERSION,
    "code_version": "sha256:test",
    "epochs": "1",
}


def test_trains_in_the_folder_of_sagemaker(container: Callable[..., Path]) -> None:
    base = container(HYPERPARAMETERS)
    process = start(base)
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (0, "")
    assert "epoch=1/1 " in stdout
    assert (base / "model" / "bundle.json").exists()
    assert sorted(path.name for path in (base / "output" / "data").iterdir()) == [
        "evaluation.json",
        "golden.json",
        "popular.json",
    ]
    assert [path.name for path in (base / "checkpoints").iterdir()] == ["checkpoint.safetensors"]


def test_a_sigterm_to_the_container_reaches_the_training(container: Callable[..., Path]) -> None:
    base = container(HYPERPARAMETERS | {"epochs": "1000", "factors": "8"})
    process = start(base)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch=2/"):
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert list((base / "model").iterdir()) == []


@pytest.mark.parametrize(
    ("hyperparameters", "reason"),
    [
        (HYPERPARAMETERS | {"epochs": 3}, "hyperparameter epochs must be a string, not 3"),
        (HYPERPARAMETERS | {"surprise": "1"}, "hyperparameter surprise is not known"),
        ([], "hyperparameters.json must be a JSON object, not a list"),
    ],
)
def test_the_failure_file_has_the_reason_of_a_refusal(
    hyperparameters: Any, reason: str, container: Callable[..., Path]
) -> None:
    base = container(hyperparameters)
    process = start(base)
    process.communicate(timeout=120)
    assert process.returncode == 1
    assert (base / "output" / "failure").read_text().startswith(reason)


def test_channels_and_outputs_become_variables() -> None:
    assert command.environment(Path("/opt/ml"), {"dataset": {}, "incumbent": {}}) == {
        "SM_MODEL_DIR": "/opt/ml/model",
        "SM_OUTPUT_DIR": "/opt/ml/output",
        "SM_OUTPUT_DATA_DIR": "/opt/ml/output/data",
        "SM_CHECKPOINT_DIR": "/opt/ml/checkpoints",
        "SM_CHANNEL_DATASET": "/opt/ml/input/data/dataset",
        "SM_CHANNEL_INCUMBENT": "/opt/ml/input/data/incumbent",
    }


def test_each_value_is_one_argument() -> None:
    assert command.arguments({"epochs": "3", "code_version": "a --epochs 5"}) == [
        "--epochs",
        "3",
        "--code_version",
        "a --epochs 5",
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"epochs": "1", "epochs": "2"}', "hyperparameters.json has the key 'epochs' twice"),
        ("[" * 100_000, "hyperparameters.json is nested too deeply"),
        ('{"epochs": 1%s}' % ("0" * 400), "hyperparameters.json: epochs must be a number within the range of a double"),
    ],
)
def test_hyperparameters_are_read_strictly(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "hyperparameters.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"^{reason}"):
        command.read_object(path)
