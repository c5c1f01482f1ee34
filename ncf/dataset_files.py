"""Reading a dataset version from its folder. Every file is checked against `manifest.json`.

`docs/contracts.md` describes the folder: `train/`, `test/`, `users/`, `items/`, `popularity/` (Parquet) and
`manifest.json`, which lists every file with its size, sha256 and rows. Other files are not read.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from contracts import counts, documents
from contracts.documents import Unfit
from ncf.dataset import BrokenDataset, Dataset, Pairs

SCHEMA_VERSION = "1.0"
MANIFEST = "manifest.json"

INTERACTIONS = {"user_index": pa.int32(), "item_index": pa.int32(), "timestamp": pa.int64(), "weight": pa.float32()}
COLUMNS: dict[str, dict[str, pa.DataType]] = {
    "train": INTERACTIONS,
    "test": INTERACTIONS,
    "users": {"user_index": pa.int32(), "user_id": pa.string()},
    "items": {"item_index": pa.int32(), "item_id": pa.string(), "title": pa.string(), "category": pa.string()},
    "popularity": {"item_index": pa.int32(), "interactions": pa.int64()},
}
NULLABLE = {"title", "category"}


def load(directory: Path, expected_version: str | None = None) -> Dataset:
    """Read and check the dataset in `directory`.

    Raises BrokenDataset, naming the file, if the dataset is of another version than `expected_version` (where one is
    given), if a file is missing or differs from the manifest in size, sha256, rows or columns, if an index has no id,
    if a test pair is in train, or if there is too little to learn from or to test on.
    """
    manifest, fingerprint = _read_manifest(directory)
    if expected_version not in (None, manifest["datasetVersion"]):
        raise BrokenDataset(
            MANIFEST, f"is of dataset version {manifest['datasetVersion']!r}, this run is for {expected_version!r}"
        )
    tables = {folder: _read_folder(directory, folder, manifest) for folder in COLUMNS}

    user_ids = _ids(tables["users"], "user")
    item_ids = _ids(tables["items"], "item")
    users, items = len(user_ids), len(item_ids)
    train = _interactions(tables["train"], "train/", users, items)
    test = _interactions(tables["test"], "test/", users, items)
    if len(train) < 2:
        raise BrokenDataset("train/", f"has {len(train)} distinct interactions: there is nothing to learn from")
    if items < 2:
        raise BrokenDataset("items/", "has 1 item: there is nothing to choose between")
    if len(test) == 0:
        raise BrokenDataset("test/", "has no interaction: no user has an item to test on")
    if np.unique(test.user).size != tables["test"].num_rows:
        raise BrokenDataset("test/", "has more than one interaction of a user")
    leaked = np.intersect1d(train.user * items + train.item, test.user * items + test.item).size
    if leaked:
        raise BrokenDataset("test/", f"has {leaked} interactions that are also in train: the figures would be too good")

    popularity = np.zeros(items, dtype=np.int64)
    popular_items = tables["popularity"]["item_index"].to_numpy()
    _check_range(popular_items, items, "popularity/", "item_index")
    if np.unique(popular_items).size != popular_items.size:
        raise BrokenDataset("popularity/", "has an item twice")
    popularity[popular_items] = tables["popularity"]["interactions"].to_numpy()
    counted = np.bincount(tables["train"]["item_index"].to_numpy(), minlength=items)
    if not np.array_equal(popularity, counted):
        item = int(np.flatnonzero(popularity != counted)[0])
        raise BrokenDataset(
            "popularity/", f"says {popularity[item]} interactions of item_index {item}, train/ has {counted[item]}"
        )
    latest = _latest(tables["train"], users)
    return Dataset(
        manifest["datasetVersion"],
        fingerprint,
        user_ids,
        item_ids,
        train,
        test,
        popularity,
        latest,
        _categories(tables["items"]),
    )


def _categories(items: pa.Table) -> list[list[str]]:
    """Return the categories of each item, in the order of the item indices. `category` separates them by `|`."""
    order = np.argsort(items["item_index"].to_numpy(), kind="stable")
    categories = items["category"].to_pylist()
    if not any(categories):
        return []
    return [sorted({name.strip() for name in (categories[row] or "").split("|")} - {""}) for row in order]


def _read_manifest(directory: Path) -> tuple[dict[str, Any], str]:
    try:
        content = (directory / MANIFEST).read_bytes()
    except OSError as error:
        raise BrokenDataset(MANIFEST, f"cannot be read from {directory}: {error.strerror}") from error
    try:
        manifest = documents.read(content, "it")
    except Unfit as error:
        raise BrokenDataset(MANIFEST, f"cannot be used: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("schemaVersion") != SCHEMA_VERSION:
        found = manifest.get("schemaVersion") if isinstance(manifest, dict) else manifest
        raise BrokenDataset(MANIFEST, f"schemaVersion is {found!r}, known is {SCHEMA_VERSION!r}")
    for name, kind in (("datasetVersion", str), ("files", list), ("counts", dict)):
        if not isinstance(manifest.get(name), kind):
            raise BrokenDataset(MANIFEST, f"{name} must be a {kind.__name__}, not {manifest.get(name)!r}")
    for file in manifest["files"]:
        if not isinstance(file, dict):
            raise BrokenDataset(MANIFEST, f"files must hold objects, not {file!r}")
        for name, wanted in (("path", str), ("size", int), ("sha256", str), ("rows", int)):
            if not isinstance(file.get(name), wanted):
                raise BrokenDataset(MANIFEST, f"files: {name} must be a {wanted.__name__}, not {file.get(name)!r}")
        path = PurePosixPath(file["path"])
        if len(path.parts) != 2 or path.parts[0] not in COLUMNS or path.parts[1] == "..":
            raise BrokenDataset(MANIFEST, f"files: path {file['path']!r} is not <{'|'.join(COLUMNS)}>/<name>")
    if faults := counts.contradictions(manifest):
        raise BrokenDataset(MANIFEST, "; ".join(faults))
    return manifest, hashlib.sha256(content).hexdigest()


def _read_folder(directory: Path, folder: str, manifest: dict[str, Any]) -> pa.Table:
    """Read the files of a folder in the order of their names; each is checked against its entry in the manifest."""
    entries = sorted(
        (file for file in manifest["files"] if PurePosixPath(file["path"]).parts[0] == folder), key=lambda f: f["path"]
    )
    columns = COLUMNS[folder]
    tables = [_read_file(directory, entry, columns) for entry in entries]
    return pa.concat_tables(tables) if tables else pa.schema(list(columns.items())).empty_table()


def _read_file(directory: Path, entry: dict[str, Any], columns: dict[str, pa.DataType]) -> pa.Table:
    name, path = entry["path"], directory / entry["path"]
    if not path.is_file():
        raise BrokenDataset(name, "is missing")
    if (size := path.stat().st_size) != entry["size"]:
        raise BrokenDataset(name, f"has {size} bytes, the manifest says {entry['size']}")
    with path.open("rb") as file:
        if (sha256 := hashlib.file_digest(file, "sha256").hexdigest()) != entry["sha256"]:
            raise BrokenDataset(name, f"has sha256 {sha256}, the manifest says {entry['sha256']}")
    try:
        with pq.ParquetFile(path) as parquet:
            schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
            for column, kind in columns.items():
                if column not in schema.names:
                    raise BrokenDataset(name, f"column {column!r} is missing; the file has {', '.join(schema.names)}")
                if schema.field(column).type != kind:
                    raise BrokenDataset(name, f"column {column!r} is {schema.field(column).type}, not {kind}")
            if rows != entry["rows"]:
                raise BrokenDataset(name, f"has {rows} rows, the manifest says {entry['rows']}")
            table = parquet.read(columns=list(columns)).select(list(columns))
    except (pa.ArrowException, OSError) as error:
        raise BrokenDataset(name, f"cannot be read as Parquet: {error}") from error
    for column in columns:
        if column not in NULLABLE and table[column].null_count:
            raise BrokenDataset(name, f"column {column!r} has {table[column].null_count} nulls")
    return table.replace_schema_metadata(None)


def _ids(table: pa.Table, kind: str) -> list[str]:
    """Return the ids in the order of their indices. Raises BrokenDataset unless the indices are 0 … n-1."""
    index = table[f"{kind}_index"].to_numpy()
    if index.size == 0:
        raise BrokenDataset(f"{kind}s/", "has no row")
    order = np.argsort(index, kind="stable")
    if not np.array_equal(index[order], np.arange(index.size)):
        raise BrokenDataset(f"{kind}s/", f"{kind}_index is not every number from 0 to {index.size - 1} once")
    ids = table[f"{kind}_id"].take(pa.array(order)).to_pylist()
    if len(set(ids)) != len(ids):
        raise BrokenDataset(f"{kind}s/", f"has a {kind}_id twice")
    found: list[str] = ids
    return found


def _interactions(table: pa.Table, folder: str, users: int, items: int) -> Pairs:
    user, item = table["user_index"].to_numpy(), table["item_index"].to_numpy()
    _check_range(user, users, folder, "user_index")
    _check_range(item, items, folder, "item_index")
    return Pairs.of(user, item, users, items)


def _latest(table: pa.Table, users: int) -> NDArray[np.int64]:
    """Return the item of each user's last interaction [users], or -1; at equal times, the greatest index."""
    user, item = table["user_index"].to_numpy(), table["item_index"].to_numpy()
    latest = np.full(users, -1, dtype=np.int64)
    order = np.lexsort((item, table["timestamp"].to_numpy(), user))
    latest[user[order]] = item[order]  # for a repeated index, numpy keeps the last value
    return latest


def _check_range(index: NDArray[Any], count: int, file: str, column: str) -> None:
    if index.size and (index.min() < 0 or index.max() >= count):
        wrong = index[(index < 0) | (index >= count)][0]
        raise BrokenDataset(file, f"{column} {wrong} has no id: the ids go from 0 to {count - 1}")
