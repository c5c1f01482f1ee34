"""Leave-last-out: the last interaction of each user is for testing, the earlier ones are for training.

All transforms are pure: frames in, frames out.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from cleaning import PAIR
from contracts import splits


def draw(seed: int) -> Column:
    """`contracts.splits.draw` of the columns `user_id` and `item_id`, as a bigint."""
    digest = F.sha2(F.concat_ws("\n", F.lit(str(seed)), "user_id", "item_id"), 256)
    return F.conv(F.substring(digest, 1, splits.DRAW_DIGITS), 16, 10).cast("bigint")


def mark_last(indexed: DataFrame) -> DataFrame:
    """`user_index, item_index, timestamp, weight, events, worth, is_bought, is_last, is_tied`.

    `is_last`: the last row of a user with at least two; at equal time the one with the greatest draw, so that neither
    ids nor the order of the rows decide. `is_tied`: the last row, if another row of this user has the same time.
    """
    user = Window.partitionBy("user_index")
    newest_first = user.orderBy(F.col("timestamp").desc(), F.col("draw").desc())
    is_last = (F.row_number().over(newest_first) == 1) & (F.count("*").over(user) > 1)
    next_has_its_time = F.coalesce(F.lead("timestamp").over(newest_first) == F.col("timestamp"), F.lit(False))
    columns = ("user_index", "item_index", "timestamp", "weight", *PAIR)
    drawn = indexed.select(*columns, draw(splits.SEED).alias("draw"))
    marked = drawn.withColumn("is_last", is_last).withColumn("next_has_its_time", next_has_its_time)
    is_tied = (F.col("is_last") & F.col("next_has_its_time")).alias("is_tied")
    return marked.select(*columns, "is_last", is_tied)


def per_item(marked: DataFrame) -> DataFrame:
    """`item_index, interactions bigint (all), earlier bigint (not the last of a user), tied bigint (last by a draw),
    newest bigint (the latest time in train)`.

    An item whose `earlier` is 0 is cold: without its last rows, training would have no interaction with it.
    """
    return marked.groupBy("item_index").agg(
        F.count("*").alias("interactions"),
        F.count_if(~F.col("is_last")).alias("earlier"),
        F.count_if("is_tied").alias("tied"),
        F.coalesce(F.max(F.when(~F.col("is_last"), F.col("timestamp"))), F.max("timestamp")).alias("newest"),
    )


def decide(marked: DataFrame, items: DataFrame) -> DataFrame:
    """`user_index, item_index, timestamp, weight, events, worth, is_bought, is_test`. A last row whose item is cold
    stays in train.
    """
    cold = items.where(F.col("earlier") == 0).select("item_index", F.lit(True).alias("is_cold"))
    is_test = F.col("is_last") & F.col("is_cold").isNull()
    return marked.join(cold, "item_index", "left").select(
        "user_index", "item_index", "timestamp", "weight", *PAIR, is_test.alias("is_test")
    )


def for_training(split: DataFrame) -> DataFrame:
    """`user_index, item_index, timestamp, weight, events, worth, is_bought` of the rows for training."""
    return split.where(~F.col("is_test")).drop("is_test")


def for_testing(split: DataFrame) -> DataFrame:
    """`user_index, item_index, timestamp, weight` of the rows for testing, at most one for each user."""
    return split.where("is_test").drop("is_test", *PAIR)


def popularity(items: DataFrame) -> DataFrame:
    """`item_index, interactions` in train: all rows of a cold item, only the earlier rows of any other."""
    in_train = F.when(F.col("earlier") == 0, F.col("interactions")).otherwise(F.col("earlier"))
    return items.select("item_index", in_train.cast("bigint").alias("interactions"))


def leaked_pairs(split: DataFrame) -> DataFrame:
    """(user, item) pairs that are in both train and test; must be empty."""
    pair = ["user_index", "item_index"]
    return for_testing(split).select(*pair).join(for_training(split).select(*pair), pair, "left_semi")
