"""A worse copy of a drop: the same users and times with random items, so that there is nothing to learn."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pyarrow
import pyarrow.parquet

from contracts import sources
from contracts.column_names import KEYS
from contracts.columns import Columns
from contracts.layouts import Layout
from local.data import Drop, open_plain
from local.project import Problem

#: The columns of the copies, by meaning.
_NAMES = {
    "user": "user_id",
    "item": "item_id",
    "timestamp": "timestamp",
    "event_type": "event_type",
    "weight": "weight",
}


def spoil(drop: Drop, folder: Path, seed: int) -> Drop:
    """Write a copy of each interactions file into `folder`, Parquet as Parquet and text as CSV; every row has an item
    that is drawn from all items of its file. Raises Problem if a file cannot be read.
    """
    spoiled = {}
    for key, (layout, columns) in drop.opened.items():
        ending = sources.ending_of(key)
        is_parquet = layout.kind == "parquet"
        copy = f"{key[: len(key) - len(ending)]}{ending.replace('.', '-')}{'.parquet' if is_parquet else '.csv'}"
        target = folder / copy
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            (_spoil_parquet if is_parquet else _spoil_text)(drop.interactions[key], target, layout, columns, seed)
        except (OSError, EOFError, ValueError, csv.Error, pyarrow.ArrowException) as error:
            raise Problem(f"{drop.interactions[key]} cannot be read: {error}") from error
        spoiled[copy] = target
    said = {key: value for key, value in drop.parameters.items() if key not in KEYS.values()}
    patterns = {columns.time_format for _, columns in drop.opened.values()}
    if len(patterns) == 1 and (pattern := patterns.pop()):
        said["timestampFormat"] = pattern
    return Drop(spoiled, drop.catalogue, said)


def _used(layout: Layout, columns: Columns) -> dict[str, str]:
    """The columns of a file by their names in the copy; those of its folders' names are not in it."""
    named = asdict(columns)
    return {own: named[meaning] for meaning, own in _NAMES.items() if named[meaning] in layout.names}


def _spoil_parquet(source: Path, target: Path, layout: Layout, columns: Columns, seed: int) -> None:
    used = _used(layout, columns)
    table = pyarrow.parquet.read_table(source, columns=[*used.values()]).select([*used.values()])
    table = table.rename_columns([*used])
    position = table.column_names.index("item_id")
    items = table["item_id"].unique()
    generator = random.Random(seed)
    drawn = items.take(pyarrow.array([generator.randrange(len(items)) for _ in range(table.num_rows)], pyarrow.int64()))
    pyarrow.parquet.write_table(table.set_column(position, "item_id", drawn), target)


def _spoil_text(source: Path, target: Path, layout: Layout, columns: Columns, seed: int) -> None:
    used = _used(layout, columns)
    rows = list(_rows(source, layout, [layout.names.index(name) for name in used.values()], [*used.values()]))
    position = [*used].index("item_id")
    items = sorted({row[position] for row in rows})
    generator = random.Random(seed)
    for row in rows:
        row[position] = generator.choice(items)
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(used)
        writer.writerows(rows)


def _rows(source: Path, layout: Layout, positions: list[int], names: list[str]) -> Iterator[list[str]]:
    """The used fields of each row that fits the layout."""
    encoding = "cp1252" if layout.encoding == "latin-1" else "utf-8-sig"
    with io.TextIOWrapper(open_plain(source), encoding=encoding, errors="replace", newline="") as file:
        if layout.kind == "json":
            for line in file:
                if line.strip():
                    found = json.loads(line)
                    yield ["" if found.get(name) is None else str(found[name]) for name in names]
            return
        if layout.is_quoted:
            rows: Iterator[list[str]] = csv.reader(file, delimiter=layout.separator)
        else:
            rows = (line.rstrip("\r\n").split(layout.separator) for line in file)
        ahead = len(layout.skipped) + (layout.header is not None)
        for row in rows:
            if ahead and (len(row) > 1 or any(map(str.strip, row))):
                ahead -= 1
            elif len(row) == len(layout.names) and any(map(str.strip, row)):
                yield [row[position] for position in positions]
