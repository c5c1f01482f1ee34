"""A new model with a parameter needs only one new file; then the command line trains it and the server answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
MODEL = '''
"""Popularity with damped counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ncf import parameters
from ncf.dataset import Dataset
from ncf.interface import Context, Kind, Tensors, require_keys
from ncf.parameters import number, parameter


@dataclass(frozen=True, kw_only=True)
class Parameters(parameters.Parameters):
    damping: float = parameter(
        "Added to each item's count, above 0.", number("a number above 0", lambda value: value > 0), 1.0
    )


class Damped:
    name = "damped"

    def __init__(self, scores: Tensor) -> None:
        self._scores = scores

    @property
    def device(self) -> torch.device:
        return self._scores.device

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        return self._scores[items]

    def catalogue(self, users: Tensor) -> Tensor:
        return self._scores.repeat(users.shape[0], 1)

    def related(self, item: int) -> Tensor | None:
        return None

    def describe(self) -> dict[str, Any]:
        return {"model": self.name}

    def state(self) -> dict[str, Tensor]:
        return {"scores": self._scores}

    def to(self, device: torch.device) -> Damped:
        return Damped(self._scores.to(device))


def fit(dataset: Dataset, parameters: Parameters, context: Context) -> Damped:
    return Damped(torch.log(torch.as_tensor(dataset.popularity).double() + parameters.damping))


def layout(description: Mapping[str, Any], users: int, items: int) -> dict[str, Tensors]:
    require_keys(description)
    return {"scores": Tensors(torch.float64, (items,))}


def restore(description: Mapping[str, Any], state: Mapping[str, Tensor], users: int, items: int) -> Damped:
    return Damped(state["scores"])


KINDS = (Kind("damped", Parameters, fit, layout, restore),)
'''


def run(folder: Path, environment: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "container.job", *argv]
    return subprocess.run(
        command, cwd=folder, env=environment | {"PYTHONPATH": str(folder)}, capture_output=True, text=True, timeout=120
    )


def test_a_new_model_needs_only_one_new_file(job: Callable[..., Any], shop_dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "ncf", tmp_path / "code" / "ncf", ignore=shutil.ignore_patterns("__pycache__"))
    for package in ("contracts", "training", "serving", "container"):
        (tmp_path / "code" / package).symlink_to(ROOT / package)
    added = tmp_path / "code" / "ncf" / "models" / "damped.py"
    added.write_text(MODEL)

    done = job(shop_dataset, model="damped", damping=2.5)
    ended = run(tmp_path / "code", done.environment, *done.argv)
    assert ended.returncode == 0, ended.stderr
    report = done.output("evaluation.json")
    assert (report["candidate"]["model"], report["protocol"]["epoch"]) == ("damped", "closed-form")
    assert report["serving"]["answers"] >= 3, "the server answers for it"
    scores = load_file(done.model / "weights.safetensors")["scores"]
    assert (scores.exp() - 2.5).min().item() >= -1e-9

    refused = job(shop_dataset, name="refused", model="damped", damping=-1)
    assert run(tmp_path / "code", refused.environment, *refused.argv).returncode == 1
    assert refused.failure() == "hyperparameter damping must be a number above 0, not '-1'\n"
    helped = run(tmp_path / "code", dict(os.environ), "--help")
    assert "als, cooccurrence, damped, ease, gmf" in helped.stdout
    assert "--damping DAMPING" in helped.stdout and "Added to each item's count, above 0." in helped.stdout
