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
EXAMPLE = ROOT / "examples" / "item_knn.py"


def run(folder: Path, environment: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "container.job", *argv]
    return subprocess.run(
        command, cwd=folder, env=environment | {"PYTHONPATH": str(folder)}, capture_output=True, text=True, timeout=120
    )


def test_a_new_model_needs_only_one_new_file(job: Callable[..., Any], shop_dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "ncf", tmp_path / "code" / "ncf", ignore=shutil.ignore_patterns("__pycache__"))
    for package in ("contracts", "training", "serving", "container"):
        (tmp_path / "code" / package).symlink_to(ROOT / package)
    shutil.copy(EXAMPLE, tmp_path / "code" / "ncf" / "models")

    done = job(shop_dataset, model="item_knn", knn_neighbours=20)
    ended = run(tmp_path / "code", done.environment, *done.argv)
    assert ended.returncode == 0, ended.stderr
    report = done.output("evaluation.json")
    assert (report["candidate"]["model"], report["protocol"]["epoch"]) == ("item_knn", "closed-form")
    assert report["serving"]["answers"] >= 3, "the server answers for it"
    similarity = load_file(done.model / "weights.safetensors")["similarity"]
    assert similarity.shape == (60, 20) and bool((similarity.diff(dim=1) <= 0).all())

    refused = job(shop_dataset, name="refused", model="item_knn", knn_shrinkage=-1)
    assert run(tmp_path / "code", refused.environment, *refused.argv).returncode == 1
    assert refused.failure() == "hyperparameter knn_shrinkage must be a number of 0 or more, not '-1'\n"
    helped = run(tmp_path / "code", dict(os.environ), "--help")
    words = " ".join(helped.stdout.split())
    assert "als, cooccurrence, ease, gmf, item_knn" in words
    assert "--knn_shrinkage KNN_SHRINKAGE Added to the divisor of a similarity" in words
