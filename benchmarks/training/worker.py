"""One training in a separate process, to measure its time and memory. The last line of its output is JSON."""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.training import split
from contracts.lines import Epoch
from ncf.dataset import Dataset, Pairs
from ncf.evaluation import Evaluation
from ncf.interface import Context
from ncf.registry import kind_named
from training.hyperparameters import Hyperparameters

VERSION = "v20260101t000000z-00000000"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, help="train on a generated shop with this number of interactions instead")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="hyperparameters")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    given = dict(pair.split("=", 1) for pair in arguments.set)
    hyperparameters = Hyperparameters.read(
        {"run_id": f"{VERSION}-r1", "dataset_version": VERSION, "code_version": "benchmark", "device": "cpu", **given}
    )
    if arguments.rows:
        dataset, negatives = generated(arguments.rows), None
    else:
        loaded = split.load(arguments.data)
        dataset, negatives = loaded.dataset, loaded.negatives
    reports: list[Epoch] = []
    before = time.process_time()
    kind = kind_named(hyperparameters.model)
    model = kind.fit(dataset, hyperparameters.chosen, Context(report=reports.append))
    result: dict[str, Any] = {"cpuSeconds": time.process_time() - before}
    if reports:
        # The time is that of the whole fit, including the work before the first epoch.
        samples = sum(report.samples_per_second * report.seconds for report in reports)
        result["samplesPerCpuSecond"] = samples / result["cpuSeconds"]
        result["epochSeconds"] = statistics.median(report.seconds for report in reports)
    result["fitPeakRssMiB"] = peak_rss_mib()
    if negatives is not None:
        evaluation = Evaluation(dataset, k=10, negatives=99, seed=1, device="cpu", given=negatives)
        before = time.process_time()
        outcome = evaluation.measure(model).to_dict()
        result["evaluationCpuSeconds"] = time.process_time() - before
        result["sampled"], result["full"], result["coverage"] = (
            outcome[name] for name in ("sampled", "full", "coverage")
        )
    result["peakRssMiB"] = peak_rss_mib()
    print(json.dumps(result))


def generated(rows: int) -> Dataset:
    """Generate a shop with about `rows` interactions, with as many per user and per item as MovieLens-1M has.

    Items differ in popularity, and users in their tastes.
    """
    random = np.random.default_rng(rows)
    users, items = max(rows // 165, 10), max(rows // 270, 10)
    user = random.integers(0, users, int(rows * 1.1))
    item = (items * random.random(user.size) ** 2.0).astype(np.int64)
    train = Pairs.of(user, (item + user % 7) % items, users, items)
    last = np.searchsorted(train.user, np.arange(users), side="right") - 1
    return Dataset(
        version="generated",
        fingerprint="",
        user_ids=[str(user) for user in range(users)],
        item_ids=[str(item) for item in range(items)],
        train=train,
        test=Pairs.of(train.user[last], train.item[last], users, items),
        popularity=np.bincount(train.item, minlength=items),
        latest=np.full(users, -1),
    )


def peak_rss_mib() -> int:
    """Return the peak memory of this process alone, in MiB (see `peers/measurement.py`)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) // 1024 if found else 0


if __name__ == "__main__":
    main()
