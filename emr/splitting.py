"""Leave-last-out: the last interaction of each user is for testing, the earlier ones are for training.

All transforms are pure: frames in, frames out.
"""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F


def mark_last(indexed: DataFrame) -> DataFrame:
    """`user_index, item_index, timestamp, weight, is_last`; `is_last`: the last row of a user with at least two.

    At equal time the greatest item id (UTF-8 bytes) is the last; the index has no effect.
    """
    user = Window.partitionBy("user_index")
    newest_first = user.orderBy(F.col("timestamp").desc(), F.col("item_id").desc())
    is_last = (F.row_number().over(newest_first) == 1) & (F.count("*").over(user) > 1)
    return indexed.select("user_index", "item_index", "timestamp", "weight", is_last.alias("is_last"))


def per_item(marked: DataFrame) -> DataFrame:
    """`item_index, interactions bigint (all), earlier bigint (not the last of a user)`.

    An item whose `earlier` is 0 is cold: without its last rows, training would have no interaction with it.
    """
    return marked.groupBy("item_index").agg(
        F.count("*").alias("interactions"), F.sum(F.when(F.col("is_last"), 0).otherwise(1)).alias("earlier")
    )


def decide(marked: DataFrame, items: DataFrame) -> DataFrame:
    """`user_index, item_index, timestamp, weight, is_test`. A last row whose item is cold stays in train."""
    cold = items.where(F.col("earlier") == 0).select("item_index", F.lit(True).alias("is_cold"))
    is_test = F.col("is_last") & F.col("is_cold").isNull()
    return marked.join(cold, "item_index", "left").select(
        "user_index", "item_index", "timestamp", "weight", is_test.alias("is_test")
    )


def for_training(split: DataFrame) -> DataFrame:
    """`user_index, item_index, timestamp, weight` of the rows for training."""
    return split.where(~F.col("is_test")).drop("is_test")


def for_testing(split: DataFrame) -> DataFrame:
    """`user_index, item_index, timestamp, weight` of the rows for testing, at most one for each user."""
    return split.where("is_test").drop("is_test")


def popularity(items: DataFrame) -> DataFrame:
    """`item_index, interactions` in train: all rows of a cold item, only the earlier rows of any other."""
    in_train = F.when(F.col("earlier") == 0, F.col("interactions")).otherwise(F.col("earlier"))
    return items.select("item_index", in_train.cast("bigint").alias("interactions"))


def leaked_pairs(split: DataFrame) -> DataFrame:
    """(user, item) pairs that are in both train and test; must be empty."""
    pair = ["user_index", "item_index"]
    return for_testing(split).select(*pair).join(for_training(split).select(*pair), pair, "left_semi")
