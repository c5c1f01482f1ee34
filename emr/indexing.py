"""Assigns an index to each user and item: ids of the parent version keep theirs, new ids follow in order.
When most of them are not used any more, the others are numbered anew.

All transforms are pure: frames in, frames out.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

import identifiers
from contracts import item_fields, limits
from parquet_files import quoted

#: monotonically_increasing_id: partition number from this bit on, row number in the partition below it.
_PARTITION_BIT = 33
#: Items without an interaction to which a catalogue may add, as a share of the others: each costs as much as they do.
MOST_NEW = 0.5
_FIRST = ("item_index", "item_id", "title", "category")


@dataclass(frozen=True)
class OfCatalogue:
    """Items that only the catalogue has, with indices: as many as allowed (`number`) of all (`total`)."""

    rows: DataFrame
    number: int
    total: int


def number(ids: DataFrame, id_column: str, index_column: str, start: int = 0) -> tuple[DataFrame, int]:
    """Numbers distinct ids in sorted order (UTF-8 bytes) from `start`, without a gap; returns the frame and the count.

    Spark sorts the ids into ranges, and each range starts after the sizes of the ranges before it, so no single task
    sees all ids. The sorted frame is persisted, because its ranges must stay the same between counting and numbering.
    """
    position = F.monotonically_increasing_id()
    ordered = ids.select(id_column).orderBy(id_column).withColumn("position", position).persist()
    partition = F.shiftright("position", _PARTITION_BIT).cast("int")
    sizes = {row["partition"]: row["rows"] for row in _sizes(ordered.withColumn("partition", partition))}
    starts, total = [], 0
    for index in range(max(sizes, default=0) + 1):
        starts.append(F.lit(start + total))
        total += sizes.get(index, 0)
    within = F.col("position").bitwiseAND((1 << _PARTITION_BIT) - 1)
    offset = F.get(F.array(*starts), partition)
    return ordered.select((offset + within).cast("int").alias(index_column), id_column), total


def _sizes(ordered: DataFrame) -> list[Row]:
    sizes: list[Row] = ordered.groupBy("partition").agg(F.count("*").alias("rows")).collect()
    return sizes


def unknown_ids(interactions: DataFrame, id_column: str, parent: DataFrame | None) -> DataFrame:
    """Distinct ids of the interactions that the parent's map does not have."""
    ids = interactions.select(id_column).distinct()
    return ids if parent is None else ids.join(parent.select(id_column), id_column, "left_anti")


def used(parent: DataFrame, interactions: DataFrame, id_column: str) -> DataFrame:
    """The rows of the parent's map whose ids have an interaction."""
    return parent.join(interactions.select(id_column).distinct(), id_column, "left_semi")


def compacted(parent: DataFrame, interactions: DataFrame, id_column: str, index_column: str) -> DataFrame:
    """A map of the ids that have an interaction, numbered from 0 in sorted order, with what the parent's map tells of
    them.
    """
    numbered, _ = number(interactions.select(id_column).distinct(), id_column, index_column)
    return numbered.join(parent.drop(index_column), id_column, "left")


def clean_catalogue(catalogue: DataFrame) -> DataFrame:
    """One row for each item of the catalogue: `item_id, title, category`, trimmed, null instead of empty, the further
    columns as they are, and `is_repeated`: it had several rows that differ.

    If an item has several rows, the one with the smallest title wins, so the order of the file has no effect.
    """
    further = [F.col(quoted(name)) for name in catalogue.columns if name not in ("item_id", "title", "category")]
    identifier, title, category = identifiers.of(F.col("item_id")), _text_or_null("title"), _categories()
    described = catalogue.select(
        identifier.alias("item_id"), title.alias("title"), category.alias("category"), *further
    )
    row = F.struct(F.col("title").isNull().alias("is_untitled"), "title", "category", *further)
    return (
        described.where(F.coalesce("item_id", F.lit("")) != "")
        .groupBy("item_id")
        .agg(F.min(row).alias("row"), F.max(row).alias("last"))
        .select("item_id", "row.*", (~F.col("row").eqNullSafe(F.col("last"))).alias("is_repeated"))
        .drop("is_untitled")
    )


def _categories() -> Column:
    """The categories, with `|` between them, as they are or from a JSON list or a path such as Home > Kitchen."""
    text = _text_or_null("category")
    listed = F.array_join(F.from_json(text, "array<string>"), "|")
    parted = F.when(text.contains("|"), text).otherwise(F.regexp_replace(text, r"\s+>\s+", "|"))
    return F.when(text.startswith("["), F.coalesce(F.nullif(listed, F.lit("")), text)).otherwise(parted)


def _text_or_null(column: str) -> Column:
    text = F.trim(column)
    return F.when((text != "") & (text != "(no genres listed)"), text)


def describe(items: DataFrame, catalogue: DataFrame | None, sold: Column | None = None) -> DataFrame:
    """The items as the parent version has them, and those that `catalogue` (`clean_catalogue`) has as it has them, with
    `is_described`: the catalogue has it; `is_sold`: what `sold`, a column over the catalogue, tells of it;
    `was_withdrawn` and `is_repeated`.

    A row of the catalogue replaces all that was known of its item, so a title that the shop has taken away is gone. An
    item without a row keeps what was known, apart from columns whose type is another one now.
    """
    nothing = F.lit(False)
    was = F.coalesce("is_withdrawn", nothing) if "is_withdrawn" in items.columns else nothing
    known = items.withColumn("was_withdrawn", was).drop("is_withdrawn")
    for column in ("title", "category"):
        if column not in known.columns:
            known = known.withColumn(column, F.lit(None).cast("string"))
    own = [name for name in known.columns if name not in (*_FIRST, "was_withdrawn")]
    if catalogue is None:
        return known.select(
            *_FIRST, *map(quoted, own), nothing.alias("is_described"), F.lit(None).cast("boolean").alias("is_sold"),
            "was_withdrawn", nothing.alias("is_repeated"),
        )  # fmt: skip
    types = {name.casefold(): (name, catalogue.schema[name].dataType) for name in catalogue.columns}
    new = [name for name in catalogue.columns if name not in ("item_id", "is_repeated")]
    own = [name for name in own if types.get(name.casefold(), (name, None))[1] in (None, known.schema[name].dataType)]
    joined = known.alias("known").join(
        catalogue.select(
            "item_id",
            nothing.isNotNull().alias("is_described"),
            (F.lit(None).cast("boolean") if sold is None else sold).alias("is_sold"),
            "is_repeated",
            *(F.col(quoted(name)).alias(f"new_{name}") for name in new),
        ).alias("new"),
        "item_id",
        "left",
    )
    is_described = F.coalesce("is_described", nothing)
    known_as = {name.casefold(): F.col(f"known.{quoted(name)}") for name in (*own, "title", "category")}
    columns = [
        F.when(is_described, F.col(f"new.{quoted(f'new_{name}')}"))
        .otherwise(known_as.get(name.casefold(), F.lit(None)))
        .alias(name)
        for name in new
    ]
    gone = [name for name in own if name.casefold() not in types][: max(0, item_fields.COLUMNS + 2 - len(new))]
    return joined.select(
        "item_index", "item_id", *columns,
        *(F.when(~is_described, known_as[name.casefold()]).alias(name) for name in gone),
        is_described.alias("is_described"), "is_sold", "was_withdrawn",
        F.coalesce("is_repeated", nothing).alias("is_repeated"),
    )  # fmt: skip


def of_catalogue_alone(
    items: DataFrame, catalogue: DataFrame, sold: Column | None, start: int, idle: int
) -> OfCatalogue:
    """The items for sale of `catalogue` (`clean_catalogue`) that `items` lack, which are numbered below `start`.

    They are as many as MOST_NEW allows, the first in sorted order; `idle` of `items` have no interaction, and count. An
    id that is longer than one of interactions may be is left out.
    """
    new = catalogue.join(items.select("item_id"), "item_id", "left_anti").drop("is_repeated")
    new = new.where(F.length("item_id") <= limits.ID_CHARACTERS)
    if sold is not None:
        new = new.where(F.coalesce(sold, F.lit(True)))
    numbered, total = number(new, "item_id", "item_index", start)
    most = max(0, int(MOST_NEW * (start - idle)) - idle)
    numbered = numbered.where(F.col("item_index") < start + most)
    return OfCatalogue(numbered.join(new, "item_id").withColumn("is_withdrawn", F.lit(False)), min(total, most), total)


def with_indices(interactions: DataFrame, users: DataFrame, items: DataFrame) -> DataFrame:
    """The interactions whose ids are in the maps, with the other columns of both, `user_index` and `item_index`."""
    return interactions.join(users, "user_id").join(items, "item_id")
