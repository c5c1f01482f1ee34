"""Writes tables with fixed file names and row order, describes the files, and builds the manifest and the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.pool import ThreadPool
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

import parquet_files
from arguments import Arguments
from contracts import splits
from contracts.columns import Columns
from refusal import PreparationFailed
from storage import Storage, StoredFile, attempt

MANIFEST_VERSION, REPORT_VERSION = "1.2", "1.0"
ROWS_PER_FILE = 5_000_000
_COMPRESSION = "zstd"
_PART = "_part"
_READERS = 8


@dataclass(frozen=True)
class Table:
    """A table of the dataset.

    name: folder. frame: rows. order: columns that give a unique order of the rows. rows: number of rows.
    below: columns with the values 0..n-1, each with its n. spread_by: one of them; a large table is split into files by
    ranges of its values.
    """

    name: str
    frame: DataFrame
    order: Sequence[Column | str]
    rows: int
    below: Mapping[str, int] = field(default_factory=dict)
    spread_by: str | None = None


def write_table(
    storage: Storage,
    table: Table,
    folder: str,
    staging: str,
    file_format: str = "parquet",
    rows_per_file: int = ROWS_PER_FILE,
) -> None:
    """Writes `table` to `folder/<name>/part-00000.<format>`, `part-00001…`, through `staging` on the same file system.

    Spark chooses random file names, so the files are renamed. One task writes a whole file in `order`, and the file of
    a row depends on the rows alone, so the same rows give equal tables. Their bytes can differ between processes:
    Parquet lists the encodings of a column in no fixed order.
    """
    files = max(1, -(-table.rows // rows_per_file)) if table.spread_by else 1
    draft = f"{staging}/{table.name}"
    if files == 1 or table.spread_by is None:
        writer = table.frame.repartition(1).sortWithinPartitions(*table.order).write
    else:
        part = F.floor(F.col(table.spread_by).cast("bigint") * files / F.lit(table.below[table.spread_by]))
        parts = table.frame.withColumn(_PART, part.cast("int")).repartition(files, _PART)
        writer = parts.sortWithinPartitions(_PART, *table.order).write.partitionBy(_PART)
    if file_format == "json":
        writer.json(draft, "overwrite", ignoreNullFields=False)
    else:
        writer.parquet(draft, "overwrite", compression=_COMPRESSION)
    drafts = [file for file in storage.list_files(draft) if file.name.startswith("part-")]
    numbers = [int(file.path.split("/")[0].removeprefix(f"{_PART}=")) if files > 1 else 0 for file in drafts]
    if len(set(numbers)) != len(numbers):
        raise PreparationFailed(f"{table.name}: a part was written more than once: {[file.path for file in drafts]}")
    for position, (_, file) in enumerate(sorted(zip(numbers, drafts, strict=True))):
        storage.move(file.uri, f"{folder}/{table.name}/part-{position:05d}.{file_format}")


def describe_files(
    session: SparkSession, storage: Storage, folder: str, tables: Sequence[Table]
) -> list[dict[str, Any]]:
    """`path, size, sha256, rows` of each file, sorted by path, as read back from storage: the rows by its footer.

    Raises PreparationFailed if a table does not have the expected number of rows, or has an index that is too large:
    a training would find it, an hour later.
    """
    below = {table.name: table.below for table in tables}
    found = [(table.name, file) for table in tables for file in storage.list_files(f"{folder}/{table.name}")]

    def describe(name: str, file: StoredFile) -> dict[str, Any]:
        rows, greatest = attempt("read", file.uri, lambda: parquet_files.read_extent(session, file.uri, below[name]))
        for column, value in greatest.items():
            if value >= below[name][column]:
                raise PreparationFailed(
                    f"{file.uri} has {column} {value}, but the indices end at {below[name][column] - 1}"
                )
        return {"path": f"{name}/{file.path}", "size": file.size, "sha256": storage.sha256(file.uri), "rows": rows}

    with ThreadPool(min(_READERS, len(found) or 1)) as pool:
        described = pool.starmap(describe, found)
    for table in tables:
        written = sum(file["rows"] for file in described if file["path"].startswith(f"{table.name}/"))
        if written != table.rows:
            raise PreparationFailed(f"{folder}/{table.name} has {written} rows, not the expected {table.rows}")
    return sorted(described, key=lambda file: file["path"])


def build_manifest(
    arguments: Arguments,
    resolved_format: str,
    columns: Columns,
    files: Sequence[Mapping[str, Any]],
    counts: Mapping[str, int],
    time_span: tuple[int, int],
    moment: int | None = None,
    event_types: Mapping[str, int] | None = None,
    figures: Mapping[str, Any] | None = None,
    lineage: Sequence[Mapping[str, Any]] = (),
    is_renumbered: bool = False,
    item_columns: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The manifest (`contracts/manifest.schema.json`). Nothing in it depends on when or where the preparation ran.

    `columns`: those of the first files. `moment`: of a split by global time, in epoch seconds. `event_types`,
    `figures`: of `findings`. `lineage`: of each drop. `is_renumbered`: the indices are not the parent's.
    `item_columns`: the kinds of the further columns of `items/`.
    """
    protocol = splits.LEAVE_LAST_OUT if moment is None else splits.GLOBAL_TIME
    return {
        "schemaVersion": MANIFEST_VERSION,
        "datasetVersion": arguments.dataset_version,
        "parentVersion": None if is_renumbered else arguments.parent_version,
        "codeVersion": arguments.code_version,
        "source": arguments.source,
        "files": list(files),
        "counts": dict(counts),
        "parameters": {
            "format": resolved_format,
            "items": arguments.items,
            "userColumn": columns.user,
            "itemColumn": columns.item,
            "timestampColumn": columns.timestamp,
            "timestampFormat": columns.time_format,
            "eventTypeColumn": columns.event_type or "event_type",
            "weightColumn": columns.weight or "weight",
            "eventTypes": list(arguments.event_types),
            "eventWeights": dict(sorted(arguments.worth.weights.items())),
            "leastValue": arguments.worth.least_value,
            "values": "multiply" if arguments.worth.multiplies else "ignore",
            "halfLifeDays": arguments.worth.half_life_days,
            "boughtTypes": list(arguments.worth.bought_types),
            "minimumUserInteractions": arguments.minimum_user_interactions,
            "minimumItemInteractions": arguments.minimum_item_interactions,
            "maximumBadShare": arguments.maximum_bad_share,
            "split": arguments.split,
            "testShare": arguments.test_share,
            "testDays": arguments.test_days,
            "historyDays": arguments.history_days,
            "compactAbove": arguments.compact_above,
            "absentItems": arguments.absent_items,
            "availableColumn": arguments.available_column,
            "withdrawnColumn": arguments.withdrawn_column,
        },
        "split": {"protocol": protocol, "moment": moment, "seed": splits.SEED},
        "timeSpan": {"first": time_span[0], "last": time_span[1]},
        "eventTypes": dict(event_types or {}),
        "figures": dict(figures or {}),
        "drops": [dict(entry) for entry in lineage],
        "itemColumns": dict(item_columns or {}),
    }


def build_report(
    dataset_version: str, reasons: Sequence[str], read: int, bad: Mapping[str, int], warnings: Sequence[str]
) -> dict[str, Any]:
    """The quarantine report (`contracts/quarantine.schema.json`): refused when there are reasons, accepted when not."""
    return {
        "schemaVersion": REPORT_VERSION,
        "datasetVersion": dataset_version,
        "status": "refused" if reasons else "accepted",
        "reasons": list(reasons),
        "warnings": list(warnings),
        "counts": {"read": read, "quarantined": sum(bad.values())},
        "rows": dict(sorted(bad.items())),
    }


def as_text(document: Mapping[str, Any]) -> str:
    """The document as indented JSON, for programs and people."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
