"""A large shop's dataset, as the preparation would write it, and the whole cost of a training job on it.

Activity of people and popularity of items have long tails; seven of ten choices are within a person's three tastes.
Each (user, item) counts once, users need two items, and each user's last interaction is the test.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.table import Table

VERSION = "v20260101t000000z-00000000"
USERS, ITEMS = 500_000, 100_000
_ROWS_AT_ONCE = 1_000_000
_START, _SPAN = 1_672_531_200, 3 * 365 * 86_400


def generate(rows: int, users: int = USERS, items: int = ITEMS) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the user, the item and the time of `rows` interactions."""
    random = np.random.default_rng(7)
    tastes = max(20, min(400, items // 250))
    activity = np.cumsum(random.lognormal(0, 1.2, users))
    popularity = 1.0 / (random.permutation(items) + 20.0) ** 0.9
    every = np.cumsum(popularity)
    taste = random.integers(0, tastes, items)
    order = np.argsort(taste, kind="stable")
    begin = np.searchsorted(taste[order], np.arange(tastes + 1))
    within = np.append(0.0, np.cumsum(popularity[order]))
    own = random.integers(0, tastes, (users, 3))
    joined = random.beta(1.2, 2.0, users) * 0.9
    parts = []
    for first in range(0, rows, _ROWS_AT_ONCE):
        n = min(_ROWS_AT_ONCE, rows - first)
        user = np.minimum(np.searchsorted(activity, random.random(n) * activity[-1]), users - 1)
        chosen = own[user, random.integers(0, 3, n)]
        least, most = within[begin[chosen]], within[begin[chosen + 1]]
        place = np.searchsorted(within[1:], least + random.random(n) * (most - least))
        anything = np.searchsorted(every, random.random(n) * every[-1])
        item = np.where(random.random(n) < 0.7, order[np.minimum(place, items - 1)], np.minimum(anything, items - 1))
        time = _START + ((joined[user] + (1 - joined[user]) * random.random(n)) * _SPAN).astype(np.int64)
        parts.append((user.astype(np.int32), item.astype(np.int32), time))
    user, item, time = (np.concatenate(column) for column in zip(*parts, strict=True))
    return user, item, time


def write(folder: Path, rows: int) -> None:
    """Write the dataset of a shop with `rows` interactions."""
    user, item, time = generate(rows)
    order = np.lexsort((time, user.astype(np.int64) * ITEMS + item))
    user, item, time = user[order], item[order], time[order]
    is_last = np.append((user[1:] != user[:-1]) | (item[1:] != item[:-1]), True)
    user, item, time = user[is_last], item[is_last], time[is_last]
    distinct = user.size
    supported = np.bincount(user)[user] > 1
    user, item, time = user[supported], item[supported], time[supported]
    user_ids, user = np.unique(user, return_inverse=True)
    item_ids, item = np.unique(item, return_inverse=True)
    order = np.lexsort((time, user))
    user, item, time = user[order], item[order], time[order]
    is_last = np.append(user[1:] != user[:-1], True)
    is_cold = is_last & (np.bincount(item[~is_last], minlength=item_ids.size)[item] == 0)
    is_test = is_last & ~is_cold  # nothing could be learned of an item that only test has
    popularity = np.bincount(item[~is_test], minlength=item_ids.size)
    ids = {"user": user_ids, "item": item_ids}
    tables = {
        "train": _interactions(user[~is_test], item[~is_test], time[~is_test]),
        "test": _interactions(user[is_test], item[is_test], time[is_test]),
        **{
            f"{kind}s": pa.table(
                {
                    f"{kind}_index": pa.array(np.arange(own.size), pa.int32()),
                    f"{kind}_id": pa.array([f"{kind}{number:010d}" for number in own], pa.string()),
                    **({"title": pa.nulls(own.size, pa.string())} if kind == "item" else {}),
                    **({"category": pa.nulls(own.size, pa.string())} if kind == "item" else {}),
                }
            )
            for kind, own in ids.items()
        },
    }
    most_popular = np.lexsort((np.arange(item_ids.size), -popularity))
    tables["popularity"] = pa.table(
        {
            "item_index": pa.array(most_popular, pa.int32()),
            "interactions": pa.array(popularity[most_popular], pa.int64()),
        }
    )
    counts = {"read": rows, "duplicates": rows - distinct, "belowSupport": distinct - user.size}
    counts |= {"interactions": user.size, "coldTestItems": int(is_cold.sum())}
    _put(folder, tables, {name: int(count) for name, count in counts.items()})


def _interactions(user: NDArray[Any], item: NDArray[Any], time: NDArray[Any]) -> pa.Table:
    return pa.table(
        {
            "user_index": pa.array(user, pa.int32()),
            "item_index": pa.array(item, pa.int32()),
            "timestamp": pa.array(time, pa.int64()),
            "weight": pa.array(np.ones(user.size), pa.float32()),
        }
    )


def _put(folder: Path, tables: dict[str, pa.Table], counts: dict[str, int]) -> None:
    files = []
    for name, table in tables.items():
        path = folder / name / "part-00000.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(table, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files.append(
            {
                "path": f"{name}/{path.name}",
                "size": path.stat().st_size,
                "sha256": digest,
                "rows": table.num_rows,
            }
        )
        if name != "popularity":
            counts[name] = table.num_rows
    manifest = {
        "schemaVersion": "1.0",
        "datasetVersion": VERSION,
        "parentVersion": None,
        "codeVersion": "benchmark",
        "source": "generated",
        "files": files,
        "counts": counts,
        "parameters": {},
        "timeSpan": {"first": _START, "last": _START + _SPAN},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def cost(rows: int, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what a training job on the shop costs, reading, baselines and evaluations included, and its figures."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        # Another process, because the peak of the memory must be that of the training alone.
        subprocess.run([sys.executable, "-m", __spec__.name, str(root / "dataset"), str(rows)], check=True)
        folders = {"SM_CHANNEL_DATASET": "dataset", "SM_MODEL_DIR": "model", "SM_OUTPUT_DATA_DIR": "data"}
        folders |= {"SM_CHECKPOINT_DIR": "checkpoints"}
        environment = os.environ | {variable: str(root / folder) for variable, folder in folders.items()}
        given = {"run_id": f"{VERSION}-r1", "dataset_version": VERSION, "code_version": "benchmark", "device": "cpu"}
        arguments = [f"--{key}={value}" for key, value in (given | (settings or {})).items()]
        process = subprocess.Popen([sys.executable, "-m", "training.train", *arguments], env=environment, stdout=2)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"the training of {rows} rows ended with status {process.returncode}")
        report = json.loads((root / "data" / "evaluation.json").read_text())
        counts = json.loads((root / "dataset" / "manifest.json").read_text())["counts"]
    return {
        "users": counts["users"],
        "items": counts["items"],
        "cpuSeconds": used.ru_utime + used.ru_stime,
        "peakRssMiB": used.ru_maxrss // 1024,
        "ndcg": report["candidate"]["full"]["ndcg"],
        "hitRate": report["candidate"]["sampled"]["hitRate"],
        "baselines": {name: each["full"]["ndcg"] for name, each in report["baselines"].items()},
    }


def table(rows: Iterable[int]) -> Table:
    """Return the whole cost of a training job on shops of these sizes."""
    found = Table("rows", "people", "items", "cpu-s", "peak MiB", "full NDCG@10", "strongest baseline")
    for number in rows:
        told = cost(number)
        name, best = max(told["baselines"].items(), key=lambda each: float(each[1]))
        cells = (number, told["users"], told["items"], round(told["cpuSeconds"]), told["peakRssMiB"])
        found.add_row(*(f"{cell:,}" for cell in cells), f"{told['ndcg']:.4f}", f"{name} {best:.4f}")
    return found


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
