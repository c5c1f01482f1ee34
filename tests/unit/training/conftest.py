"""Fixtures: a training job on a small dataset, as the container and `training.launch` run it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from container.job import measure_serving
from tests.unit.ncf.datasets import (  # noqa: F401
    checkerboard_pairs,
    rewrite_manifest,
    shop_dataset,
    shop_pairs,
    table,
    write,
)
from training import train

ROOT = Path(__file__).resolve().parents[3]
VERSION = "v20260102t030405z-0a1b2c3d"
RUN = f"{VERSION}-r1"


@dataclass
class Job:
    """A training job's folders, arguments, exit status and output."""

    root: Path
    environment: dict[str, str]
    argv: list[str]
    status: int | None = None
    stdout: str = ""
    stderr: str = ""

    @property
    def model(self) -> Path:
        return self.root / "model"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    def failure(self) -> str:
        return (self.root / "output" / "failure").read_text()

    def output(self, name: str) -> Any:
        return json.loads((self.root / "output" / "data" / name).read_text())

    def run(self) -> Job:
        """Run the job in this process, which is faster than a separate process."""
        handler = signal.getsignal(signal.SIGTERM)
        stdout, stderr = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
                self.status = train.main(self.argv, self.environment, measure_serving)
        finally:
            signal.signal(signal.SIGTERM, handler)
        self.stdout, self.stderr = stdout.getvalue(), stderr.getvalue()
        return self

    def start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "container.job", *self.argv]
        return subprocess.Popen(
            command, env=self.environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run_process(self) -> Job:
        process = self.start()
        self.stdout, self.stderr = process.communicate(timeout=500)
        self.status = process.returncode
        return self


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """Return a function that makes a Job; its keyword arguments are hyperparameters (None: omitted)."""

    def make(dataset: Path, *, name: str = "job", incumbent: Path | None = None, **hyperparameters: object) -> Job:
        root = tmp_path / name
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SM_")},
            "OMP_NUM_THREADS": "1",
            "SM_CHANNEL_DATASET": str(dataset),
            "SM_MODEL_DIR": str(root / "model"),
            "SM_OUTPUT_DIR": str(root / "output"),
            "SM_OUTPUT_DATA_DIR": str(root / "output" / "data"),
            "SM_CHECKPOINT_DIR": str(root / "checkpoints"),
        }
        if incumbent is not None:
            environment["SM_CHANNEL_INCUMBENT"] = str(incumbent)
        named = {"run_id": RUN, "dataset_version": VERSION, "code_version": "sha256:test", "device": "cpu"}
        argv = []
        for key, value in {**named, **hyperparameters}.items():
            if value is not None:
                argv += [f"--{key}", str(value)]
        return Job(root, environment, argv)

    return make
