"""Global time: the rows before one moment are for training, the others for testing.

All transforms are pure: frames in, frames out. Nothing at or after the moment decides what is in train, because at that
moment nobody could have known it. Rows have `user_id, item_id, timestamp, weight, worth, is_bought`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

import worth
from cleaning import PAIR
from contracts.splits import LEAVE_LAST_OUT
from refusal import Refused

DAY = 86_400
#: 1971-01-01: earlier times are positions in a sequence, or other numbers than epoch seconds.
FIRST_REAL_TIME = 31_536_000
#: With so many, the gate sees every second real gain of 5 %: docs/decisions/0026-the-test-is-what-comes-next.md.
LEAST_TEST_USERS = 2_000
#: Up to so many rows, all users are counted first: where they are too few, no moment has to be found.
_FEW_ROWS = 1_000_000
#: Times are coarse where the test would have at least so many times the share that was asked for.
COARSE = 2
#: Values of the column `part`. Cold rows are not written: their item is not in train.
TRAIN, TEST, REPEATS, COLD = "train", "test", "repeats", "cold"


def moment(rows: DataFrame, share: float | None, days: int | None) -> tuple[int, float | None]:
    """The moment of the split in epoch seconds and the share of the rows from it on: those of `moment_of_share`, or
    `days` before the latest row, and None.

    Raises Refused if no row is before it.
    """
    days_found = by_day(rows)
    first, last = min(day["first"] for day in days_found), max(day["last"] for day in days_found)
    if first == last:
        raise Refused(
            f"nothing to learn from: all interactions have the time {utc(first)}, so no moment separates them; "
            f"give times that differ, or --split {LEAVE_LAST_OUT}"
        )
    if days is not None:
        found, later, option, given = last - days * DAY, None, "--test-days", str(days)
    else:
        assert share is not None
        (found, later), option, given = moment_of_share(rows, days_found, share), "--test-share", str(share)
    if found <= first:
        raise Refused(
            f"nothing to learn from: with {option} {given} all interactions, from {utc(first)} to {utc(last)}, are "
            f"for testing; give a smaller {option}, or --split {LEAVE_LAST_OUT}"
        )
    return int(found), later


def why_unsuited(moment: int, test_users: int) -> str | None:
    """Why a split at `moment` says little, and leave-last-out more; None if it does not."""
    if moment < FIRST_REAL_TIME:
        return f"the moment would be {utc(moment)}, so the times are positions or other numbers"
    if test_users < LEAST_TEST_USERS:
        return f"{test_users:,} users could be tested from {utc(moment)} on, fewer than {LEAST_TEST_USERS:,}"
    return None


def why_too_few(rows: DataFrame, count: int) -> str | None:
    """Why `rows` (`count` of them) cannot have enough test users; None if they can, or if it is not known."""
    users = users_from(rows, 0) if count <= _FEW_ROWS else LEAST_TEST_USERS
    return f"{users:,} users are fewer than the {LEAST_TEST_USERS:,} to test" if users < LEAST_TEST_USERS else None


def users_from(rows: DataFrame, moment: int) -> int:
    """The number of users with a row at or after `moment`: no more can be tested."""
    return int(rows.where(F.col("timestamp") >= moment).select("user_id").distinct().count())


def utc(seconds: int) -> str:
    """Epoch seconds as ISO 8601, for sentences."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def by_day(rows: DataFrame) -> list[Row]:
    """`day` (its first second), `rows, first, last` (times) of each day that has rows."""
    sums = (F.count("*").alias("rows"), F.min("timestamp").alias("first"), F.max("timestamp").alias("last"))
    found: list[Row] = rows.groupBy(_day().alias("day")).agg(*sums).collect()
    return found


def moment_of_share(rows: DataFrame, days: Sequence[Row], share: float) -> tuple[int, float]:
    """The latest time (epoch seconds) such that at least `share` of the rows have it or a later one, and their share.
    `days`: `by_day`.

    Exact, in two passes of little memory: the rows are counted by day, then those of one day by second.
    """
    counts = {day["day"]: day["rows"] for day in days}
    total = sum(counts.values())
    wanted = math.ceil(Fraction(str(share)) * total)
    found, later = _reached(counts, wanted)
    by_second = rows.where(_day() == found).groupBy("timestamp").agg(F.count("*").alias("rows")).collect()
    times = {row["timestamp"]: row["rows"] for row in by_second}
    time, of_day = _reached(times, wanted - later)
    return time, (later + of_day + times[time]) / total


def _day() -> Column:
    return F.col("timestamp") - F.col("timestamp") % DAY


def _reached(counts: dict[int, int], wanted: int) -> tuple[int, int]:
    """The greatest time that has, with all later ones, at least `wanted` rows; and the rows of the later ones."""
    later = 0
    for time in sorted(counts, reverse=True):
        if later + counts[time] >= wanted:
            break
        later += counts[time]
    return time, later


def per_pair(rows: DataFrame, moment: int) -> DataFrame:
    """`user_id, item_id, timestamp, weight`, the `PAIR` columns, `later struct, not_liked int`: one row for each (user,
    item).

    The row is the latest before the moment that is worth more than 0, as a state to learn from, with the `PAIR` columns
    of the rows before the moment; `later` the first at or after it, because that is the event to predict: when
    it happens, the person has not chosen the item again yet, and rows that arrive afterwards do not change it. At equal
    time the greatest weight counts. Each of the two is null where there is no such row, or where the sum of the rows is
    not liked (`worth.is_liked`); `not_liked` is how many of the two are null by that.
    """
    is_earlier = F.col("timestamp") < moment
    is_gain = F.col("worth") > 0
    last = F.max(F.when(is_earlier & is_gain, F.struct("timestamp", "weight"))).alias("last")
    first = F.min(F.when(~is_earlier & is_gain, F.struct("timestamp", (-F.col("weight")).alias("negative"))))
    sums = (
        F.struct(*worth.of_pair(when)).alias(name) for name, when in (("before", is_earlier), ("after", ~is_earlier))
    )
    counts = (F.count_if(is_earlier).alias("rows_before"), F.count_if(~is_earlier).alias("rows_after"))
    found = rows.groupBy("user_id", "item_id").agg(last, first.alias("first"), *sums, *counts)
    likes = {name: worth.is_liked(F.col(f"{name}.worth"), F.col(f"{name}.gained")) for name in ("before", "after")}
    refused = {name: ((F.col(f"rows_{name}") > 0) & ~like).cast("int") for name, like in likes.items()}
    state = {
        "timestamp": F.col("last.timestamp"),
        "weight": F.col("last.weight"),
        "events": F.col("before.events"),
        "worth": F.col("before.worth").cast("float"),
        "is_bought": F.col("before.is_bought"),
    }
    next_one = F.struct(F.col("first.timestamp"), (-F.col("first.negative")).alias("weight"))
    return found.select(
        "user_id",
        "item_id",
        *(F.when(likes["before"], value).alias(name) for name, value in state.items()),
        F.when(likes["after"], next_one).alias("later"),
        (refused["before"] + refused["after"]).alias("not_liked"),
    )


def later(pairs: DataFrame, train: DataFrame) -> DataFrame:
    """`user_id, item_id, timestamp, weight, part`: the rows of `per_pair` from the moment on. `train`: those before it
    that are for training.

    A row is in REPEATS if its pair is in train, and COLD if its item is not.
    """
    rows = pairs.where("later is not null").select("user_id", "item_id", "later.timestamp", "later.weight")
    learned = train.select("user_id", "item_id", F.lit(True).alias("is_learned"))
    known = train.select("item_id").distinct().withColumn("is_known", F.lit(True))
    part = F.when(F.col("is_learned"), REPEATS).when(F.col("is_known"), TEST).otherwise(COLD)
    found = rows.join(learned, ["user_id", "item_id"], "left").join(known, "item_id", "left")
    return found.select("user_id", "item_id", "timestamp", "weight", part.alias("part"))


def united(train: DataFrame, later: DataFrame) -> DataFrame:
    """`user_id, item_id, timestamp, weight, events, worth, is_bought, part`: the rows of `train` and those of `later`
    whose item is in train; `PAIR` of these is null.
    """
    columns = ("user_id", "item_id", "timestamp", "weight")
    learned = train.select(*columns, *PAIR, F.lit(TRAIN).alias("part"))
    others = later.where(F.col("part") != COLD).select(*columns, "part")
    return learned.unionByName(others, allowMissingColumns=True)


def part(divided: DataFrame, name: str) -> DataFrame:
    """`user_index, item_index, timestamp, weight` of the rows of one part, after indexing; of train also `PAIR`."""
    columns = ("user_index", "item_index", "timestamp", "weight", *(PAIR if name == TRAIN else ()))
    return divided.where(F.col("part") == name).select(*columns)


def popularity(train: DataFrame) -> DataFrame:
    """`item_index, interactions` in train."""
    return train.groupBy("item_index").agg(F.count("*").alias("interactions"))


def facts(divided: DataFrame) -> DataFrame:
    """One row: `items` in train, `test_users`, and `new_test_users`, the test users without a row in train."""
    is_train, is_test = F.col("part") == TRAIN, F.col("part") == TEST
    users = divided.groupBy("user_index").agg(F.max(is_train).alias("has_train"), F.max(is_test).alias("has_test"))
    items = divided.where(is_train).agg(F.countDistinct("item_index").alias("items"))
    return users.agg(
        F.count_if("has_test").alias("test_users"),
        F.count_if(F.col("has_test") & ~F.col("has_train")).alias("new_test_users"),
    ).crossJoin(items)
