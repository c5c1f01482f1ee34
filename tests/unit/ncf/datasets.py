"""Fixtures for tests that fit models: datasets with obvious answers, in the format of `emr/preprocess.py`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

torch.set_num_threads(1)

VERSION = "v20260102t030405z-0a1b2c3d"
RUN = f"{VERSION}-r1"


def checkerboard(users: int = 32, items: int = 32) -> list[tuple[str, str]]:
    """Return (user, item) pairs: even users have all even items, odd users all odd items.

    The last item of each user is the held-out one. The users take turns, so that every item stays in train.
    """
    pairs = []
    for user in range(users):
        own = [item for item in range(items) if item % 2 == user % 2]
        held_out = own[(user // 2) % len(own)]
        pairs += [(f"u{user:03d}", f"i{item:03d}") for item in own if item != held_out] + [
            (f"u{user:03d}", f"i{held_out:03d}")
        ]
    return pairs


def shop(seed: int = 5, users: int = 120, items: int = 60, tastes: int = 4, each: int = 12) -> list[tuple[str, str]]:
    """Return (user, item) pairs of customers who mostly buy in one of `tastes` groups of items.

    Some items are more popular than others.
    """
    random = np.random.default_rng(seed)
    taste_of_item, taste_of_user = np.arange(items) % tastes, random.integers(0, tastes, users)
    attraction = random.pareto(2.0, items) + 0.5
    pairs = []
    for user in range(users):
        weight = attraction * np.where(taste_of_item == taste_of_user[user], 15.0, 1.0)
        chosen = random.choice(items, size=each, replace=False, p=weight / weight.sum())
        pairs += [(f"u{user:03d}", f"i{item:03d}") for item in chosen]
    return pairs


def write_dataset(
    path: Path,
    interactions: Iterable[tuple[str, str]],
    *,
    version: str = VERSION,
    held_out: bool = True,
    categories: Mapping[str, str] | None = None,
    new_items: Iterable[str] = (),
) -> Path:
    """Write a dataset version from (user, item) pairs in order of time; each user's last pair goes to test.

    Indices follow the sorted ids. With `held_out` false there is no test interaction. `categories` maps item ids.
    `new_items` are of the catalogue alone.
    """
    rows = list(interactions)
    user_ids, item_ids = sorted({user for user, _ in rows}), sorted({item for _, item in rows} | {*new_items})
    user_index = {user: index for index, user in enumerate(user_ids)}
    item_index = {item: index for index, item in enumerate(item_ids)}
    last = {user: position for position, (user, _) in enumerate(rows)}
    counts = {user: sum(1 for other, _ in rows if other == user) for user in user_ids}
    parts: dict[str, list[tuple[int, int, int, float]]] = {"train": [], "test": []}
    for position, (user, item) in enumerate(rows):
        folder = "test" if held_out and counts[user] > 1 and last[user] == position else "train"
        parts[folder].append((user_index[user], item_index[item], 1_700_000_000 + position, 1.0))
    popularity = np.bincount([row[1] for row in parts["train"]], minlength=len(item_ids))
    order = np.lexsort((np.arange(len(item_ids)), -popularity))
    tables = {
        "train": interactions_table(sorted(parts["train"], key=lambda row: (row[0], row[2], row[1]))),
        "test": interactions_table(sorted(parts["test"])),
        "users": pa.table(
            {"user_index": pa.array(range(len(user_ids)), pa.int32()), "user_id": pa.array(user_ids, pa.string())}
        ),
        "items": pa.table(
            {
                "item_index": pa.array(range(len(item_ids)), pa.int32()),
                "item_id": pa.array(item_ids, pa.string()),
                "title": pa.array([None] * len(item_ids), pa.string()),
                "category": pa.array([(categories or {}).get(item) for item in item_ids], pa.string()),
            }
        ),
        "popularity": pa.table(
            {"item_index": pa.array(order, pa.int32()), "interactions": pa.array(popularity[order], pa.int64())}
        ),
    }
    for folder, table in tables.items():
        (path / folder).mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path / folder / "part-00000.parquet")
    write_manifest(path, version)
    return path


def interactions_table(rows: Sequence[tuple[int, int, int, float]]) -> pa.Table:
    columns: list[Any] = list(zip(*rows, strict=True)) or [[], [], [], []]
    return pa.table(
        {
            "user_index": pa.array(columns[0], pa.int32()),
            "item_index": pa.array(columns[1], pa.int32()),
            "timestamp": pa.array(columns[2], pa.int64()),
            "weight": pa.array(columns[3], pa.float32()),
        }
    )


def write_manifest(path: Path, version: str = VERSION) -> None:
    """Write manifest.json for the files in `path`."""
    files, counts = [], {"read": 0, "quarantined": 0, "duplicates": 0, "belowSupport": 0, "coldTestItems": 0}
    for file in sorted(path.glob("*/*.parquet")):
        content, rows = file.read_bytes(), pq.read_metadata(file).num_rows
        name = file.relative_to(path).as_posix()
        digest = hashlib.sha256(content).hexdigest()
        files.append({"path": name, "size": len(content), "sha256": digest, "rows": rows})
        counts[file.parent.name] = counts.get(file.parent.name, 0) + rows
    counts["read"] = counts["interactions"] = sum(counts.get(name, 0) for name in ("train", "test", "repeats"))
    counts.pop("popularity", None)
    manifest = {
        "schemaVersion": "1.0",
        "datasetVersion": version,
        "parentVersion": None,
        "codeVersion": "test",
        "source": "s3://bucket/raw/drop/",
        "files": files,
        "counts": counts,
        "parameters": {},
        "timeSpan": {"first": 0, "last": 0},
    }
    (path / "manifest.json").write_text(json.dumps(manifest))


def rewrite_items(path: Path, columns: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
    """Replace or add columns of items/, with `kinds` as the manifest's itemColumns."""
    file = path / "items" / "part-00000.parquet"
    table = pq.read_table(file)
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        table = (
            table.append_column(name, pa.array(values))
            if place < 0
            else table.set_column(place, name, pa.array(values))
        )
    pq.write_table(table, file)
    write_manifest(path)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["itemColumns"] = dict(kinds)
    if "is_withdrawn" in table.schema.names:
        manifest["counts"]["withdrawnItems"] = sum(table["is_withdrawn"].to_pylist())
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture(scope="session")
def shop_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("shop"), shop())


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    return write_dataset


@pytest.fixture
def rewrite_manifest() -> Callable[[Path], None]:
    return write_manifest


@pytest.fixture(scope="session")
def checkerboard_pairs() -> list[tuple[str, str]]:
    return checkerboard()


@pytest.fixture
def shop_pairs() -> list[tuple[str, str]]:
    return shop()


@pytest.fixture
def table() -> Callable[..., pa.Table]:
    return interactions_table
