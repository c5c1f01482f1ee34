"""The tables of `make bench-training`: quality, cost of evaluation, throughput compared with peers, and growth."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress
from rich.table import Table

from benchmarks import environment
from benchmarks.training import split

PROJECT_ROOT = Path(__file__).resolve().parents[2]
PEERS = {
    "RecBole 1.2.1": PROJECT_ROOT / "benchmarks" / "training" / "peers" / "recbole_neumf.py",
    "plain DataLoader loop": PROJECT_ROOT / "benchmarks" / "training" / "peers" / "plain_loop.py",
}
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
SEEDS = (1, 2, 3, 4, 5)
MODELS: dict[str, dict[str, Any]] = {
    "popularity": {"model": "popularity"},
    "als, 64 factors": {"model": "als"},
    "ease, λ = 500": {"model": "ease", "ease_l2": 500, "ease_dropout": 0},
    "ease, λ = 1000": {"model": "ease", "ease_l2": 1000, "ease_dropout": 0},
    "ease (default)": {"model": "ease"},
    "neumf as in the paper, factors 8": {
        "model": "neumf", "factors": 8, "mlp_layers": "32,16,8", "start": "random", "fusion": 0, "loss": "bce",
        "negatives_per_positive": 4, "batch_size": 2048, "learning_rate": 0.003, "epochs": 12,
    },
    "gmf": {"model": "gmf"},
    "neumf, not fused": {"model": "neumf", "fusion": 0},
    "neumf (default)": {"model": "neumf"},
}  # fmt: skip
SEEDED = ("neumf, not fused", "neumf (default)")
SMALL_NEUMF = {
    "model": "neumf", "factors": 8, "mlp_layers": "32,16,8", "start": "random", "fusion": 0, "learning_rate": 0.001,
    "negatives_per_positive": 4, "epochs": 1,
}  # fmt: skip
BATCHES = (2_048, 32_768, 262_144)
REPEATS = 3


def measure(data: Path, settings: dict[str, Any], rows: int | None = None) -> dict[str, Any]:
    """Run one training in `worker.py` and return its measurements."""
    command = [sys.executable, "-m", "benchmarks.training.worker", "--data", str(data.absolute())]
    command += ["--rows", str(rows)] if rows else []
    command += ["--set", *(f"{name}={value}" for name, value in settings.items())]
    return _json_of(command, PROJECT_ROOT)


def _json_of(command: list[str], folder: Path | None = None) -> dict[str, Any]:
    done = subprocess.run(command, env=ENVIRONMENT, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number == 0 else "right")
    return table


def _spread(values: Iterable[float], digits: int = 4) -> str:
    values = list(values)
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def quality(data: Path, progress: Progress) -> Table:
    """Return the figures of every model on the paper's split: mean and standard deviation over the seeds.

    A model without randomness is fitted once.
    """
    table = _table(
        f"MovieLens-1M, split and 99 negatives of He et al. 2017; mean ± deviation of {len(SEEDS)} seeds",
        "model", "HR@10", "NDCG@10", "full HR@10", "full NDCG@10", "coverage", "fit cpu-s", "peak MiB",
    )  # fmt: skip
    jobs = [(name, seed) for name in MODELS for seed in (SEEDS if name in SEEDED else SEEDS[:1])]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in MODELS}
    for name, seed in progress.track(jobs, description="quality"):
        runs[name].append(measure(data, {**MODELS[name], "seed": seed}))
    for name, results in runs.items():
        figures = [
            _spread(result[protocol][figure] for result in results)
            for protocol in ("sampled", "full")
            for figure in ("hitRate", "ndcg")
        ]
        coverage = statistics.mean(result["coverage"] for result in results)
        cpu = statistics.median(result["cpuSeconds"] for result in results)
        peak = max(result["peakRssMiB"] for result in results)
        table.add_row(name, *figures, f"{coverage:.2f}", f"{cpu:.1f}", str(peak))
    return table


def evaluation(data: Path, progress: Progress) -> Table:
    """Return the processor time of ranking the whole catalogue and 99 negatives for every test user."""
    table = _table("Evaluation of all test users, sampled and full catalogue", "model", "cpu-s")
    for name in progress.track(["gmf", "neumf", "als", "ease"], description="evaluation"):
        settings = {"model": name, **({"epochs": 1} if name in ("gmf", "neumf") else {})}
        times = [measure(data, settings)["evaluationCpuSeconds"] for _ in range(REPEATS)]
        table.add_row(name, f"{statistics.median(times):.2f}")
    return table


def throughput(data: Path, progress: Progress) -> Table:
    """Return the samples per cpu-second of the same NeuMF (factors 8, MLP 32-16-8, one thread) here and in peers.

    They are measured in turn.
    """
    python = environment.python("peers", PROJECT_ROOT / "benchmarks" / "training" / "peers" / "requirements.txt")
    loaded = split.load(data).dataset
    table = _table(
        f"NeuMF, factors 8, MLP 32-16-8: thousand samples a cpu-second, one thread, median of {REPEATS} runs in turn",
        "trainer", *(f"batch {batch:,}" for batch in BATCHES), "peak MiB",
    )  # fmt: skip
    measured: dict[tuple[str, int], list[float]] = {}
    peaks: dict[str, int] = {}

    def record(name: str, batch: int, rate: float, peak: int) -> None:
        measured.setdefault((name, batch), []).append(rate)
        peaks[name] = max(peak, peaks.get(name, 0))

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.npz"
        np.savez(
            file, user=loaded.train.user, item=loaded.train.item, users=loaded.users, items=loaded.items
        )  # fmt: skip
        for batch in progress.track([batch for _ in range(REPEATS) for batch in BATCHES], description="throughput"):
            for name, script in PEERS.items():
                arguments = ["--data", str(file), "--batch", str(batch), "--seconds", "8"]
                result = _json_of([str(python), str(script), *arguments])
                record(name, batch, result["samples"] / result["cpuSeconds"], result["peakRssMiB"])
            for name, loss in _losses():
                result = measure(data, SMALL_NEUMF | {"loss": loss, "batch_size": batch})
                record(name, batch, result["samplesPerCpuSecond"], result["fitPeakRssMiB"])
    for name in [*PEERS, *(name for name, _ in _losses())]:
        rates = [statistics.median(measured[name, batch]) for batch in BATCHES]
        table.add_row(name, *(f"{rate / 1000:,.0f}" for rate in rates), str(peaks[name]))
    return table


def _losses() -> Iterator[tuple[str, str]]:
    yield "ours, bce: own negatives for each interaction", "bce"
    yield "ours, block_bce: shared negatives (default)", "block_bce"
    yield "ours, block_softmax: shared negatives", "block_softmax"


def growth(data: Path, progress: Progress) -> Table:
    """Return the time and memory of an epoch by the number of rows and of factors."""
    table = _table("Growth of the default training: one epoch", "what", "seconds", "peak MiB")
    cases: list[tuple[str, dict[str, Any], int | None]] = [
        (f"{rows:,} generated rows", {"model": "neumf", "fusion": 0, "start": "random"}, rows)
        for rows in (250_000, 1_000_000, 4_000_000)
    ]
    cases += [
        (f"ml-1m, {factors} factors", {"model": "neumf", "fusion": 0, "factors": factors}, None)
        for factors in (16, 64, 256)
    ]
    for name, settings, rows in progress.track(cases, description="growth"):
        result = measure(data, settings | {"epochs": 3}, rows)
        table.add_row(name, f"{result['epochSeconds']:.2f}", str(result["fitPeakRssMiB"]))
    return table


TABLES = {"quality": quality, "evaluation": evaluation, "throughput": throughput, "growth": growth}
