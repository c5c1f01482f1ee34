"""Gives what a session did before its user logged in to that user. Pure: frames in, frames out.

The rows of a session without a user are those of `session:<id>`; a row of a user with the session's id tells who logged
in: the first in time, because from then on the session's events are stored as theirs (`functions/events`).
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts import ids

COLUMN = "session_id"
"""The column of the rows that tells the session; only there if some files have it."""


def of_users(settled: DataFrame) -> DataFrame:
    """The rows of `cleaning.settle`, with those of a session that has logged in under its user. Without COLUMN."""
    rows, users = settled.drop(COLUMN), _users(settled, "user_id")
    rows, joined = _joined(rows, users)
    return rows.unionByName(joined.withColumn("user_id", F.coalesce("found", "user_id")).drop("found"))


def with_visits(marked: DataFrame) -> DataFrame:
    """The rows of `cleaning.parse` with `is_theirs`, also true of a session whose user's rows have it."""
    rows, joined = _joined(marked, _users(marked, "is_theirs"))
    is_theirs = F.col("is_theirs") | F.coalesce("found", F.lit(False))
    return rows.unionByName(joined.withColumn("is_theirs", is_theirs).drop("found"))


def _users(rows: DataFrame, wanted: str) -> DataFrame:
    """The sessions that have logged in: `visit`, the name, and `found`, the column `wanted` of the user."""
    named = rows.where(F.col("reason").isNull() & F.col(COLUMN).isNotNull() & ~_is_anonymous())
    first = F.min(F.struct("timestamp", "user_id", F.col(wanted).alias("found")))
    found = named.groupBy(F.concat(F.lit(ids.SESSION), COLUMN).alias("visit")).agg(first["found"].alias("found"))
    return found.localCheckpoint()  # a plan that has the rows once more would count ignored ones again


def _joined(rows: DataFrame, users: DataFrame) -> tuple[DataFrame, DataFrame]:
    """The rows of people, which are not joined because a history has many, and those of sessions with `found`."""
    joined = rows.where(_is_anonymous()).join(users, F.col("user_id") == F.col("visit"), "left")
    return rows.where(~_is_anonymous()), joined.drop("visit")


def _is_anonymous() -> Column:
    return F.coalesce(F.col("user_id").startswith(ids.SESSION), F.lit(False))
