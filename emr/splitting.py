"""Leave-last-out: the last interaction of each user is for testing, the earlier ones are for training.

All transforms are pure: frames in, frames out.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from cleaning import PAIR
from contracts import splits

_TEST = ("user_index", "item_index", "timestamp", "weight")


def draw(seed: int) -> Column:
    """`contracts.splits.draw` of the columns `user_id` and `item_id`, as a bigint."""
    digest = F.sha2(F.concat_ws("\n", F.lit(str(seed)), "user_id", "item_id"), 256)
    return F.conv(F.substring(digest, 1, splits.DRAW_DIGITS), 16, 10).cast("bigint")


def mark_last(rows: DataFrame) -> DataFrame:
    """Adds to rows of `cleaning.with_support`, of all users: `is_last, is_tied, is_repeated`.

    `is_last`: the last row of a user with at least two; at equal time the one with the greatest draw, so that neither
    ids nor the order of the rows decide. `is_tied`: the last row, if another row of this user has the same time.
    `is_repeated`: an earlier row of the last row's pair, which must not be.
    """
    # By user alone, as `with_support` does: one exchange and one sort serve both.
    user = Window.partitionBy("user_id")
    is_newest = F.col("timestamp") == F.col("user_last")
    drawn = F.when(is_newest, F.struct(draw(splits.SEED).alias("draw"), "item_id"))
    is_item = F.col("item_id") == F.col("newest.item_id")
    has_two = F.col("user_interactions") > 1
    marked = rows.withColumn("drawn", drawn).withColumns(
        {"newest": F.max("drawn").over(user), "newest_rows": F.count("drawn").over(user)}
    )
    return marked.withColumns(
        {
            "is_last": is_newest & is_item & has_two,
            "is_tied": is_newest & is_item & has_two & (F.col("newest_rows") > 1),
            "is_repeated": ~is_newest & is_item,
        }
    ).drop("drawn", "newest", "newest_rows")


def per_item(marked: DataFrame) -> DataFrame:
    """`item_id, interactions bigint (all), earlier bigint (not the last of a user), tied bigint (last by a draw),
    newest bigint (the latest time in train), repeated bigint (pairs that are in both train and test)`.

    An item whose `earlier` is 0 is cold: without its last rows, training would have no interaction with it.
    """
    return marked.groupBy("item_id").agg(
        F.count("*").alias("interactions"),
        F.count_if(~F.col("is_last")).alias("earlier"),
        F.count_if("is_tied").alias("tied"),
        F.coalesce(F.max(F.when(~F.col("is_last"), F.col("timestamp"))), F.max("timestamp")).alias("newest"),
        F.count_if("is_repeated").alias("repeated"),
    )


def facts(items: DataFrame) -> DataFrame:
    """Sums over the rows of `per_item`: `items, rows`; the last rows of users, `last`, and those of cold items, `cold`;
    of the others those that are `tied`; `newest`; `repeated`.
    """
    is_cold = F.col("earlier") == 0
    return items.agg(
        F.count("*").alias("items"),
        F.sum("interactions").alias("rows"),
        F.sum(F.col("interactions") - F.col("earlier")).alias("last"),
        F.sum(F.when(is_cold, F.col("interactions")).otherwise(0)).alias("cold"),
        F.sum(F.when(is_cold, 0).otherwise(F.col("tied"))).alias("tied"),
        F.max("newest").alias("newest"),
        F.sum("repeated").alias("repeated"),
    )


def with_cold(items: DataFrame, known: DataFrame) -> DataFrame:
    """The id map `item_index, item_id` with `is_cold`, of the items that `known` (`per_item`) has."""
    cold = known.select("item_id", (F.col("earlier") == 0).alias("is_cold"))
    return items.select("item_index", "item_id").join(cold, "item_id")


def for_training(indexed: DataFrame) -> DataFrame:
    """`user_index, item_index, timestamp, weight, events, worth, is_bought` of the rows for training. A last row whose
    item is cold is one of them.
    """
    return indexed.where(~F.col("is_last") | F.col("is_cold")).select(*_TEST, *PAIR)


def for_testing(indexed: DataFrame) -> DataFrame:
    """`user_index, item_index, timestamp, weight` of the rows for testing, at most one for each user."""
    return indexed.where(F.col("is_last") & ~F.col("is_cold")).select(*_TEST)


def popularity(items: DataFrame) -> DataFrame:
    """`item_index, interactions` in train: all rows of a cold item, only the earlier rows of any other."""
    in_train = F.when(F.col("earlier") == 0, F.col("interactions")).otherwise(F.col("earlier"))
    return items.select("item_index", in_train.cast("bigint").alias("interactions"))
