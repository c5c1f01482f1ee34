"""Assigns an index to each user and item: ids of the parent version keep theirs, new ids follow in order.
When most of them are not used any more, the others are numbered anew.

All transforms are pure: frames in, frames out.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

#: monotonically_increasing_id: partition number from this bit on, row number in the partition below it.
_PARTITION_BIT = 33


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
    """One row for each item of the catalogue: `item_id, title, category`, trimmed, null instead of empty.

    If an item has several rows, the smallest title wins, so the order of the file has no effect.
    """
    identifier, title, category = F.trim("item_id"), _text_or_null("title"), _text_or_null("category")
    described = catalogue.select(identifier.alias("item_id"), title.alias("title"), category.alias("category"))
    smallest = F.min(F.struct(F.col("title").isNull().alias("is_untitled"), "title", "category")).alias("smallest")
    return (
        described.where(F.coalesce("item_id", F.lit("")) != "")
        .groupBy("item_id")
        .agg(smallest)
        .select("item_id", "smallest.title", "smallest.category")
    )


def _text_or_null(column: str) -> Column:
    text = F.trim(column)
    return F.when((text != "") & (text != "(no genres listed)"), text)


def describe(items: DataFrame, catalogue: DataFrame | None) -> DataFrame:
    """`item_index, item_id, title, category`, from the catalogue, else `items`, else null; and with a catalogue
    `is_described boolean`: the item is in it.
    """
    known = items
    for column in ("title", "category"):
        if column not in known.columns:
            known = known.withColumn(column, F.lit(None).cast("string"))
    if catalogue is None:
        return known.select("item_index", "item_id", "title", "category")
    updates = catalogue.select(
        "item_id",
        F.lit(True).alias("is_described"),
        F.col("title").alias("new_title"),
        F.col("category").alias("new_category"),
    )
    return known.join(updates, "item_id", "left").select(
        "item_index",
        "item_id",
        F.coalesce("new_title", "title").alias("title"),
        F.coalesce("new_category", "category").alias("category"),
        F.coalesce("is_described", F.lit(False)).alias("is_described"),
    )


def with_indices(interactions: DataFrame, users: DataFrame, items: DataFrame) -> DataFrame:
    """The interactions whose ids are in the maps, with `user_index int` and `item_index int` as further columns."""
    return interactions.join(users.select("user_id", "user_index"), "user_id").join(
        items.select("item_id", "item_index"), "item_id"
    )
