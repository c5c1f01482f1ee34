"""Checks each row, and keeps one interaction for each (user, item) with enough support.

All transforms are pure: frames in, frames out.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

MAXIMUM_ID_LENGTH = 256
#: 2100-01-01 in epoch seconds. A fixed bound, not the clock, so that the same rows are bad at any time. Milliseconds
#: that are read as seconds are above it for all times since February 1970.
FIRST_IMPLAUSIBLE_SECOND = 4_102_444_800

_CONTROL_CHARACTER = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"
#: Spark's replacement for bytes that are not UTF-8. With it, two different ids could become equal.
_UNDECODABLE = "\N{REPLACEMENT CHARACTER}"
_INTEGER = r"^[+-]?\d+$"
_ISO_8601 = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?)?$"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_NOT_FINITE = r"(?i)^[+-]?(nan|inf(inity)?)$"


def parse(raw: DataFrame, event_types: tuple[str, ...] = ()) -> DataFrame:
    """Converts and checks text rows (see `reading`).

    Returns `user_id string, item_id string, timestamp bigint (epoch seconds), weight float`, `reason` (null for a good
    row), `is_wanted` (its event type is requested) and, for bad rows, `raw` with the original texts, and `file`.
    A row with several problems has the first reason.
    """
    user, item = F.trim("user_id"), F.trim("item_id")
    stamp, weight = F.trim("timestamp"), F.trim("weight")
    seconds = _seconds(stamp)
    number = F.when(weight.rlike(_NUMBER), weight.try_cast("double")).cast("float")
    reason = F.coalesce(
        F.when(F.col("line").isNotNull(), F.lit("malformed_row")),
        _id_problem(user, "user_id"),
        _id_problem(item, "item_id"),
        F.when(F.coalesce(stamp, F.lit("")) == "", F.lit("timestamp_missing")),
        F.when(seconds.isNull(), F.lit("timestamp_unparsable")),
        F.when(
            stamp.rlike(_INTEGER) & (seconds >= FIRST_IMPLAUSIBLE_SECOND) & (seconds < FIRST_IMPLAUSIBLE_SECOND * 1000),
            F.lit("timestamp_milliseconds"),
        ),
        F.when((seconds < 0) | (seconds >= FIRST_IMPLAUSIBLE_SECOND), F.lit("timestamp_out_of_range")),
        F.when(F.coalesce(weight, F.lit("")) == "", F.lit("weight_missing")),
        F.when(weight.rlike(_NOT_FINITE) | (F.abs(number) == float("inf")), F.lit("weight_not_finite")),
        F.when(number.isNull(), F.lit("weight_unparsable")),
    )
    # A row without an event type is not wanted; isin would return null.
    is_wanted = F.coalesce(F.trim("event_type").isin(*event_types), F.lit(False)) if event_types else F.lit(True)
    texts = [F.col(name) for name in ("user_id", "item_id", "timestamp", "event_type", "weight", "line")]
    checked = raw.select(
        user.alias("parsed_user"),
        item.alias("parsed_item"),
        seconds.alias("parsed_timestamp"),
        # -0.0 and 0.0 are equal but differ in bytes.
        (number + F.lit(0.0).cast("float")).alias("parsed_weight"),
        reason.alias("reason"),
        is_wanted.alias("is_wanted"),
        F.struct(*texts).alias("texts"),
        "file",
    )
    is_bad = F.col("reason").isNotNull()
    return checked.select(
        F.col("parsed_user").alias("user_id"),
        F.col("parsed_item").alias("item_id"),
        F.col("parsed_timestamp").alias("timestamp"),
        F.col("parsed_weight").alias("weight"),
        "reason",
        "is_wanted",
        F.when(is_bad, F.col("texts")).alias("raw"),
        F.when(is_bad, F.col("file")).alias("file"),
    )


def _id_problem(identifier: Column, name: str) -> Column:
    return (
        F.when(F.coalesce(identifier, F.lit("")) == "", F.lit(f"{name}_missing"))
        .when(F.length(identifier) > MAXIMUM_ID_LENGTH, F.lit(f"{name}_too_long"))
        .when(identifier.rlike(_CONTROL_CHARACTER), F.lit(f"{name}_control_character"))
        .when(identifier.contains(_UNDECODABLE), F.lit(f"{name}_not_utf8"))
    )


def _seconds(stamp: Column) -> Column:
    """Epoch seconds of an integer or of an ISO-8601 text (UTC without a zone, fractions dropped); null for other texts.

    The pattern comes before the cast, because the cast also accepts a time of day alone and adds today's date.
    """
    return F.when(stamp.rlike(_INTEGER), stamp.try_cast("bigint")).when(
        stamp.rlike(_ISO_8601), F.unix_seconds(stamp.try_cast("timestamp"))
    )


def good_rows(parsed: DataFrame) -> DataFrame:
    """`user_id, item_id, timestamp, weight` of the good rows with a wanted event type."""
    return parsed.where(F.col("reason").isNull() & F.col("is_wanted")).select(
        "user_id", "item_id", "timestamp", "weight"
    )


def bad_rows(parsed: DataFrame) -> DataFrame:
    """`reason, file` and the texts of the bad rows."""
    return parsed.where(F.col("reason").isNotNull()).select("reason", "file", "raw.*")


def tally(parsed: DataFrame) -> DataFrame:
    """`reason, is_wanted, rows`: the number of rows by outcome."""
    return parsed.groupBy("reason", "is_wanted").agg(F.count("*").alias("rows"))


def latest_per_pair(rows: DataFrame) -> DataFrame:
    """One row for each (user_id, item_id): the latest, and at equal time the one with the greatest weight.

    The model learns which items a user chose, not how often, so the last time and weight of a pair are enough. A pair
    with one row cannot be in both train and test.
    """
    latest = F.max(F.struct("timestamp", "weight")).alias("latest")
    return (
        rows.groupBy("user_id", "item_id").agg(latest).select("user_id", "item_id", "latest.timestamp", "latest.weight")
    )


def with_support(rows: DataFrame) -> DataFrame:
    """Adds `user_interactions bigint`, the number of rows of the row's user."""
    return rows.withColumn("user_interactions", F.count("*").over(Window.partitionBy("user_id")))


def supported(counted: DataFrame, minimum_user: int, minimum_item: int) -> DataFrame:
    """Rows of `with_support` whose user has at least `minimum_user` items and whose item at least `minimum_item` users.

    Removing an item can bring a user below the minimum, and removing a user an item, so both are repeated until
    nothing changes (a k-core). With `minimum_item` 1 one pass is enough: each remaining item has a user.

    Each round is a local checkpoint: the plan of a persisted frame holds the plan of the round before several times, so
    the plans of a few rounds fill the driver's memory.
    """
    remaining = counted.where(F.col("user_interactions") >= minimum_user)
    if minimum_item <= 1:
        return remaining
    remaining = remaining.localCheckpoint()
    count = remaining.count()
    while True:
        eligible = remaining.groupBy("item_id").agg(F.count("*").alias("n")).where(F.col("n") >= minimum_item)
        narrowed = remaining.drop("user_interactions").join(eligible.select("item_id"), "item_id", "left_semi")
        narrowed = with_support(narrowed).where(F.col("user_interactions") >= minimum_user)
        narrowed = narrowed.localCheckpoint()
        narrowed_count = narrowed.count()
        if narrowed_count == count:
            return narrowed
        remaining, count = narrowed, narrowed_count


def summary(rows: DataFrame) -> DataFrame:
    """One row: `rows`, `first` and `last` timestamp, `most` interactions of one user, and `one_user` and `one_item`:
    true if all rows have the same user, or the same item. Without rows, all columns except `rows` are null.
    """
    return rows.agg(
        F.count("*").alias("rows"),
        (F.min("user_id") == F.max("user_id")).alias("one_user"),
        (F.min("item_id") == F.max("item_id")).alias("one_item"),
        F.min("timestamp").alias("first"),
        F.max("timestamp").alias("last"),
        F.max("user_interactions").alias("most"),
    )
