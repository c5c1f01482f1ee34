"""Reading a dataset version from its folder. Every file is checked against `manifest.json`.

`docs/reference/contracts.md` describes the folder: `train/`, `test/`, `users/`, `items/`, `popularity/`, by global
time also `repeats/` (Parquet), and `manifest.json`, which lists every file with its size, sha256 and rows. Other
files are not read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from contracts import counts, documents, item_fields, splits
from contracts.documents import Unfit
from contracts.values import is_integer, shown
from ncf.dataset import RECENT_DAYS, BrokenDataset, Dataset, History, Pairs, Split
from ncf.item_fields import ItemFields

SCHEMA_VERSIONS = re.compile(r"1\.[0-9]+")
MANIFEST = "manifest.json"

INTERACTIONS = {"user_index": pa.int32(), "item_index": pa.int32(), "timestamp": pa.int64(), "weight": pa.float32()}
COLUMNS: dict[str, dict[str, pa.DataType]] = {
    "train": INTERACTIONS,
    "test": INTERACTIONS,
    "repeats": INTERACTIONS,
    "users": {"user_index": pa.int32(), "user_id": pa.string()},
    "items": {"item_index": pa.int32(), "item_id": pa.string(), "title": pa.string(), "category": pa.string()},
    "popularity": {"item_index": pa.int32(), "interactions": pa.int64()},
}
PAIR = {"events": pa.int32(), "worth": pa.float32(), "is_bought": pa.bool_()}
"""Further columns of train/, from manifest 1.2 on."""
NULLABLE = {"title", "category"}
_TYPES = {
    item_fields.NUMBER: pa.float64(),
    item_fields.BOOLEAN: pa.bool_(),
    item_fields.TEXT: pa.string(),
    item_fields.TIME: pa.int64(),
}
_EPOCH, _LATEST = datetime(1970, 1, 1), 60 * 10**9
"""Times are shown up to the year 3871; 9999 is the last of `datetime`."""
_ITEMS_AT_ONCE = 10_000
DAY = 86_400


def load(directory: Path, expected_version: str | None = None) -> Dataset:
    """Read and check the dataset in `directory`.

    Raises BrokenDataset, naming the file, if the dataset is of another version than `expected_version` (where one is
    given), if a file is missing or differs from the manifest in size, sha256, rows or columns, if an index has no id,
    if a test pair is in train, if a test interaction is older than the training that it is judged against, or if there
    is too little to learn from or to test on.
    """
    manifest, fingerprint = _read_manifest(directory)
    if expected_version not in (None, manifest["datasetVersion"]):
        raise BrokenDataset(
            MANIFEST, f"is of dataset version {manifest['datasetVersion']!r}, this run is for {expected_version!r}"
        )
    has_pairs = int(manifest["schemaVersion"].partition(".")[2]) >= 2
    further = {"train": PAIR if has_pairs else {}, "items": _item_columns(manifest)}
    tables = {
        folder: _read_folder(directory, folder, manifest, {**columns, **further.get(folder, {})})
        for folder, columns in COLUMNS.items()
    }

    user_ids = _ids(tables["users"], "user")
    item_ids = _ids(tables["items"], "item")
    users, items = len(user_ids), len(item_ids)
    train = _interactions(tables["train"], "train/", users, items)
    test = _interactions(tables["test"], "test/", users, items)
    repeats = _interactions(tables["repeats"], "repeats/", users, items)
    if len(train) < 2:
        raise BrokenDataset("train/", f"has {len(train)} distinct interactions: there is nothing to learn from")
    if items < 2:
        raise BrokenDataset("items/", "has 1 item: there is nothing to choose between")
    split = _split(manifest)
    _check_pairs(train, test, repeats, items, split)
    for folder, pairs in (("test", test), ("repeats", repeats)):
        if len(pairs) != tables[folder].num_rows:
            raise BrokenDataset(f"{folder}/", "has a (user, item) more than once")
        _check_times(tables["train"], tables[folder], f"{folder}/", users, split)

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
    return Dataset(
        manifest["datasetVersion"],
        fingerprint,
        user_ids,
        item_ids,
        train,
        test,
        popularity,
        _latest(tables["train"], user_ids, item_ids, split.seed),
        _categories(tables["items"]),
        split,
        repeats,
        _recent(tables["train"], items),
        _history(tables["train"], train, items),
        manifest.get("parentVersion"),
        _event_types(manifest),
        withdrawn=_withdrawn(tables["items"]),
        learned_until=_learned_until(tables["train"], split),
        fields=_fields(tables["items"], manifest),
        **(_pairs(tables["train"], train, items) if has_pairs else {}),
    )


def _learned_until(train: pa.Table, split: Split) -> int:
    """Return the moment, in epoch seconds, before which all of train happened."""
    return int(train["timestamp"].to_numpy().max()) + 1 if split.moment is None else split.moment


def _pairs(table: pa.Table, train: Pairs, items: int) -> dict[str, NDArray[Any]]:
    """Return `events`, `worth` and `is_bought` in the order of `train`; a pair of several rows has
    their sums, and is bought if one of its rows is.
    """
    user, item, events, worth, is_bought = (table[name].to_numpy() for name in ("user_index", "item_index", *PAIR))
    for name, is_wrong in (("events", events < 1), ("worth", ~((worth > 0) & np.isfinite(worth)))):
        if is_wrong.any():
            raise BrokenDataset(
                "train/", f"{name} of a pair must be above 0, not {table[name][int(np.flatnonzero(is_wrong)[0])]}"
            )
    pairs = len(train)
    place = np.searchsorted(train.user * items + train.item, user.astype(np.int64) * items + item)
    if user.size == pairs:
        order = np.argsort(place)
        return {"events": events[order], "worth": worth[order], "is_bought": is_bought[order]}
    return {
        "events": np.bincount(place, events, pairs).astype(np.int32),
        "worth": np.bincount(place, worth, pairs).astype(np.float32),
        "is_bought": np.bincount(place, is_bought, pairs) > 0,
    }


def _event_types(manifest: dict[str, Any]) -> dict[str, int]:
    found = manifest.get("eventTypes", {})
    if not isinstance(found, dict) or not all(type(rows) is int and rows > 0 for rows in found.values()):
        raise BrokenDataset(MANIFEST, f"eventTypes must hold numbers of rows above 0, not {shown(found)}")
    return found


def _split(manifest: dict[str, Any]) -> Split:
    """Return how the dataset is split. Older manifests do not say it: they are leave-last-out."""
    given = manifest.get("split", {})
    if not isinstance(given, dict):
        raise BrokenDataset(MANIFEST, f"split must be an object, not {shown(given)}")
    split = Split(**{name: given[name] for name in ("protocol", "moment", "seed") if name in given})
    if split.protocol not in splits.PROTOCOLS:
        raise BrokenDataset(
            MANIFEST, f"split.protocol is {shown(split.protocol)}, known are {' and '.join(splits.PROTOCOLS)}"
        )
    if split.protocol == splits.GLOBAL_TIME and not is_integer(split.moment):
        raise BrokenDataset(MANIFEST, f"split.moment must be epoch seconds, not {shown(split.moment)}")
    if split.protocol == splits.LEAVE_LAST_OUT and split.moment is not None:
        raise BrokenDataset(MANIFEST, f"split.moment must be null for leave-last-out, not {shown(split.moment)}")
    if not is_integer(split.seed):
        raise BrokenDataset(MANIFEST, f"split.seed must be an integer, not {shown(split.seed)}")
    return split


def _check_pairs(train: Pairs, test: Pairs, repeats: Pairs, items: int, split: Split) -> None:
    if len(test) == 0:
        raise BrokenDataset("test/", "has no interaction: no user has an item to test on")
    learned = train.user * items + train.item
    leaked = np.isin(test.user * items + test.item, learned, assume_unique=True).sum()
    if leaked:
        raise BrokenDataset("test/", f"has {leaked} interactions that are also in train: the figures would be too good")
    if split.protocol == splits.LEAVE_LAST_OUT:
        if np.unique(test.user).size != len(test):
            raise BrokenDataset("test/", "has more than one interaction of a user")
        if len(repeats):
            raise BrokenDataset("repeats/", f"has {len(repeats)} interactions, but the split is {split.protocol}")
    unlearned = len(repeats) - np.isin(repeats.user * items + repeats.item, learned, assume_unique=True).sum()
    if unlearned:
        raise BrokenDataset("repeats/", f"has {unlearned} interactions that are not in train: they belong to test")


def _check_times(train: pa.Table, later: pa.Table, folder: str, users: int, split: Split) -> None:
    """Raise BrokenDataset if an interaction of `later` is older than the training it is judged against.

    That is this user's train by leave-last-out, and the moment of the split, which all of train precedes, by global
    time.
    """
    learned, times = train["timestamp"].to_numpy(), later["timestamp"].to_numpy()
    if split.moment is not None:
        if late := int((learned >= split.moment).sum()):
            raise BrokenDataset(
                "train/", f"has {late} interactions at or after the moment of the split, {split.moment}"
            )
        older, what = int((times < split.moment).sum()), f"the moment of the split, {split.moment}"
    else:
        newest = np.full(users, np.iinfo(np.int64).min)
        np.maximum.at(newest, train["user_index"].to_numpy(), learned)
        older, what = int((times < newest[later["user_index"].to_numpy()]).sum()), "the same user's newest one in train"
    if older:
        raise BrokenDataset(
            folder, f"has {older} interactions that are older than {what}: a test must follow its training"
        )


def _categories(items: pa.Table) -> list[list[str]]:
    """Return the categories of each item, in the order of the item indices. `category` separates them by `|`."""
    order = np.argsort(items["item_index"].to_numpy(), kind="stable")
    categories = items["category"].to_pylist()
    if not any(categories):
        return []
    return [sorted({name.strip() for name in (categories[row] or "").split("|")} - {""}) for row in order]


def _withdrawn(items: pa.Table) -> NDArray[np.int64]:
    if "is_withdrawn" not in items.column_names:
        return np.empty(0, np.int64)
    index = items["item_index"].to_numpy().astype(np.int64)
    return np.sort(index[items["is_withdrawn"].to_numpy()])


def _fields(items: pa.Table, manifest: dict[str, Any]) -> ItemFields:
    """Return title, category and further columns of each item, in the order of the item indices."""
    kinds = {"title": item_fields.TEXT, "category": item_fields.TEXT} | manifest.get("itemColumns", {})
    if all(items[name].null_count == items.num_rows for name in kinds):
        return ItemFields()
    ordered = items.take(np.argsort(items["item_index"].to_numpy(), kind="stable")).select(list(kinds))
    return ItemFields.pack(
        {name: _shown(value, kinds[name]) for name, value in row.items()}
        for batch in ordered.to_batches(_ITEMS_AT_ONCE)
        for row in batch.to_pylist()
    )


def _shown(value: Any, kind: str) -> Any:
    """Return a value as answers have it: a time as text, a whole number as an integer."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return None
    if kind == item_fields.TIME:
        return (_EPOCH + timedelta(seconds=value)).isoformat() + "Z" if abs(value) < _LATEST else None
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _item_columns(manifest: dict[str, Any]) -> dict[str, pa.DataType]:
    """Return the columns of items/ that older datasets lack."""
    kinds = manifest.get("itemColumns", {})
    if not isinstance(kinds, dict) or not all(kind in item_fields.KINDS for kind in kinds.values()):
        raise BrokenDataset(MANIFEST, f"itemColumns must hold {', '.join(item_fields.KINDS)}, not {shown(kinds)}")
    own = {"is_withdrawn": pa.bool_()} if "withdrawnItems" in manifest["counts"] else {}
    return own | {name: _TYPES[kind] for name, kind in kinds.items()}


def _read_manifest(directory: Path) -> tuple[dict[str, Any], str]:
    try:
        content = (directory / MANIFEST).read_bytes()
    except OSError as error:
        raise BrokenDataset(MANIFEST, f"cannot be read from {directory}: {error.strerror}") from error
    try:
        manifest = documents.read(content, "it")
    except Unfit as error:
        raise BrokenDataset(MANIFEST, f"cannot be used: {error}") from error
    found = manifest.get("schemaVersion") if isinstance(manifest, dict) else manifest
    if not isinstance(found, str) or not SCHEMA_VERSIONS.fullmatch(found):
        raise BrokenDataset(MANIFEST, f"schemaVersion is {shown(found)}, known is 1.x")
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


def _read_folder(directory: Path, folder: str, manifest: dict[str, Any], columns: dict[str, pa.DataType]) -> pa.Table:
    """Read the files of a folder in the order of their names; each is checked against its entry in the manifest."""
    entries = sorted(
        (file for file in manifest["files"] if PurePosixPath(file["path"]).parts[0] == folder), key=lambda f: f["path"]
    )
    nullable = {*NULLABLE, *manifest.get("itemColumns", {})}
    tables = [_read_file(directory, entry, columns, nullable) for entry in entries]
    return pa.concat_tables(tables) if tables else pa.schema(list(columns.items())).empty_table()


def _read_file(
    directory: Path, entry: dict[str, Any], columns: dict[str, pa.DataType], nullable: Collection[str]
) -> pa.Table:
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
        if column not in nullable and table[column].null_count:
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


def _recent(table: pa.Table, items: int) -> dict[int, NDArray[np.int64]]:
    """Return the interactions of each item in the last days of train [items], by the number of days."""
    time, item = table["timestamp"].to_numpy(), table["item_index"].to_numpy()
    return {days: np.bincount(item[time >= time.max() - days * DAY], minlength=items) for days in RECENT_DAYS}


def _history(table: pa.Table, train: Pairs, items: int) -> History:
    """Return the items of each user in the order of time; a repeated pair has the place of its last row.

    Of those at the same time a hash of the indices decides, because the order of the file is that of the ids.
    """
    user, item, time = (table[name].to_numpy() for name in ("user_index", "item_index", "timestamp"))
    is_sorted = (user[1:] > user[:-1]) | ((user[1:] == user[:-1]) & (time[1:] >= time[:-1]))
    if not is_sorted.all():  # the preparation sorts each file
        order = np.lexsort((time, user))
        user, item, time = user[order], item[order], time[order]
    if item.size > len(train):
        backwards = user[::-1].astype(np.int64) * items + item[::-1]
        kept = np.sort(item.size - 1 - np.unique(backwards, return_index=True)[1])
        user, item, time = user[kept], item[kept], time[kept]
    is_tied = np.append(False, (user[1:] == user[:-1]) & (time[1:] == time[:-1]))
    tied = np.flatnonzero(is_tied | np.append(is_tied[1:], False))
    moment = np.cumsum(~is_tied[tied])
    in_order = item.copy()
    in_order[tied] = item[tied][np.lexsort((_scattered(user[tied], item[tied]), moment))]
    return History(in_order, is_tied, (time // 3600).astype(np.int32))


def _scattered(user: NDArray[Any], item: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a hash of each pair [pairs], by the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    mixed = (user.astype(np.uint64) << np.uint64(32)) ^ item.astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _latest(table: pa.Table, user_ids: list[str], item_ids: list[str], seed: int) -> NDArray[np.int64]:
    """Return the item of each user's last interaction [users], or -1; at equal times, the greatest draw decides."""
    user, item, time = (table[name].to_numpy() for name in ("user_index", "item_index", "timestamp"))
    newest = np.full(len(user_ids), np.iinfo(np.int64).min)
    np.maximum.at(newest, user, time)
    is_newest = time == newest[user]
    user, item = user[is_newest], item[is_newest]
    is_tied = np.bincount(user, minlength=len(user_ids))[user] > 1
    draws = np.zeros(user.size, dtype=np.int64)
    tied = zip(user[is_tied].tolist(), item[is_tied].tolist(), strict=True)
    draws[is_tied] = [splits.draw(seed, user_ids[u], item_ids[i]) for u, i in tied]
    latest = np.full(len(user_ids), -1, dtype=np.int64)
    order = np.lexsort((draws, user))
    latest[user[order]] = item[order]  # for a repeated index, numpy keeps the last value
    return latest


def _check_range(index: NDArray[Any], count: int, file: str, column: str) -> None:
    if index.size and (index.min() < 0 or index.max() >= count):
        wrong = index[(index < 0) | (index >= count)][0]
        raise BrokenDataset(file, f"{column} {wrong} has no id: the ids go from 0 to {count - 1}")
