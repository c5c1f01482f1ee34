"""Two processes under torchrun train one model together, and the first one writes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ncf import bundle as bundles
from ncf.fitting.checkpoint import NAMES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
# Without `--`, torchrun reads --start as an abbreviation of its own option.
JOB = ("-m", "--", "container.job")
SETTINGS = {"factors": 8, "mlp_layers": "16,8", "start": "random", "fusion": 0, "batch_size": 1}


LAST_WORDS = """
import atexit, os, pathlib
if "RANK" in os.environ:
    atexit.register(pathlib.Path(__file__).with_name("finalized-" + os.environ["RANK"]).touch)
"""


def started(job: Any, *script: str) -> subprocess.Popen[str]:
    """Start two processes of `script` or, without one, of the training job."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = job.environment | {"GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(
        [*torchrun, *(script or JOB), *job.argv],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


FIT = """
import hashlib, os, sys
from pathlib import Path
import torch
from ncf import dataset_files
from ncf.fitting.loop import fit
from ncf.plan import Plan
from ncf.interface import Context
from ncf.network import Architecture
from ncf.fitting.distributed import end, join, leave

processes = join(os.environ, torch.device("cpu"))
dataset = dataset_files.load(Path(os.environ["SM_CHANNEL_DATASET"]), "v20260102t030405z-0a1b2c3d")
architecture = Architecture("neumf", 8, (16, 8))
plan = Plan(epochs=2, batch_size=64, learning_rate=0.01, negatives_per_positive=4, dropout=0.1, seed=7, loss="bce")
content = b"".join(tensor.numpy().tobytes() for tensor in fit(dataset, architecture, plan, Context()).state().values())
Path(os.environ["SM_OUTPUT_DIR"]).mkdir(parents=True, exist_ok=True)
Path(os.environ["SM_OUTPUT_DIR"], f"rank-{processes.rank}").write_text(hashlib.sha256(content).hexdigest())
"""
RESUME = """
import shutil
from dataclasses import replace
from ncf.interface import Stopped

plan, said, calls = replace(plan, epochs=3), [], iter(range(1_000))
folder = Path(os.environ["SM_CHECKPOINT_DIR"])
own = folder / str(processes.rank)
fitting = (dataset, architecture, plan)
try:
    fit(*fitting, Context(checkpoints=own, stop=lambda: next(calls) >= 120), fingerprint="f")
except Stopped:
    pass
processes.any(False, torch.device("cpu"))
if processes.rank == 1:
    shutil.copytree(folder / "0", own, dirs_exist_ok=True)
    latest = own / "checkpoint.safetensors"
    content = latest.read_bytes()
    latest.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
context = Context(checkpoints=own, report=lambda epoch: said.append(str(epoch.epoch)), warn=said.append)
resumed = fit(*fitting, context, fingerprint="f").state()
content = b"".join(tensor.numpy().tobytes() for tensor in resumed.values())
Path(os.environ["SM_OUTPUT_DIR"], f"resumed-{processes.rank}").write_text(hashlib.sha256(content).hexdigest())
Path(os.environ["SM_OUTPUT_DIR"], f"said-{processes.rank}").write_text("\\n".join(said))
leave()
end(0)
"""


def test_two_processes_end_with_the_same_weights_and_resume_from_the_latest_checkpoint_that_both_can_read(
    job: Callable[..., Any], shop_dataset: Path, tmp_path: Path
) -> None:
    """Each process has its own samples, so the weights would differ if gradients were not shared. Each has its own
    folder; the latest checkpoint is damaged in that of the second process alone.
    """
    script = tmp_path / "fit_and_resume_together.py"
    script.write_text(FIT + RESUME)
    together = job(shop_dataset)
    together.environment["PYTHONPATH"] = str(ROOT)
    _, stderr = (process := started(together, str(script))).communicate(timeout=120)
    assert process.returncode == 0, stderr
    for fit in ("rank", "resumed"):
        first, second = ((together.root / "output" / f"{fit}-{rank}").read_text() for rank in range(2))
        assert first == second
    said = [(together.root / "output" / f"said-{rank}").read_text().splitlines() for rank in range(2)]
    assert said[0] == [
        f"warning: {NAMES[0]} cannot be used: another process cannot use it",
        f"warning: training resumes from {NAMES[1]}, in epoch 3",
        "3",
    ]
    assert said[1][0].startswith(f"warning: {NAMES[0]} cannot be used: its content has another sha256")
    assert said[1][1:] == ["3"]


@pytest.mark.parametrize("loss", ["bce", "block_bce"])
def test_two_processes_train_a_model_as_good_as_one_process(
    loss: str, job: Callable[..., Any], tmp_path: Path, write: Callable[..., Path], checkerboard_pairs: Any
) -> None:
    """On a checkerboard the withheld item ranks first, as with one process (test_every_model.py)."""
    board = write(tmp_path / "board", checkerboard_pairs)
    alone = {"recent_neighbours": 0, "learning_rate": 0.01, "evaluation_k": 1}  # the network, without other parts
    settings = {"epochs": 12, "batch_size": 64} if loss == "bce" else {"epochs": 8}
    together = job(board, name="together", **(SETTINGS | alone | settings), loss=loss)
    (tmp_path / "sitecustomize.py").write_text(LAST_WORDS)
    together.environment["PYTHONPATH"] = os.pathsep.join((str(tmp_path), str(ROOT)))
    process = started(together)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert not [*tmp_path.glob("finalized-*")], "a thread of gloo could have aborted it"
    assert stdout.count("epoch={0}/{0} ".format(settings["epochs"])) == 1, "only the first process reports"
    assert stdout.count("evaluation hit_rate_at_1=") == 1
    figures = together.output("evaluation.json")["candidate"]
    assert figures["full"]["hitRate"] == 1.0
    assert figures["sampled"]["hitRate"] == 1.0
    assert bundles.load(together.model).model.name == "neumf"


def test_two_stopped_processes_resume_together(job: Callable[..., Any], shop_dataset: Path) -> None:
    settings = SETTINGS | {"loss": "block_bce", "epochs": 400}
    stopped = job(shop_dataset, name="stopped", **settings)
    process = started(stopped)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch=2/"):
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert sorted(path.name for path in stopped.checkpoints.iterdir()) == sorted(NAMES)
    assert list(stopped.model.iterdir()) == []
    again = started(stopped)
    assert again.stdout is not None
    began = time.monotonic()
    first = next(line for line in again.stdout if line.startswith("epoch="))
    again.send_signal(signal.SIGTERM)
    _, stderr = again.communicate(timeout=120)
    assert not first.startswith("epoch=1/"), first
    assert "starts from the beginning" not in stderr
    assert time.monotonic() - began < 100
