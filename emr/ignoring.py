"""Leaves out rows whose event type says nothing about what people like, such as impressions: there may be many times as
many of them as of the others.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F


class Ignored:
    """The rows that were left out. They are counted by the pass that reads the files."""

    def __init__(self) -> None:
        self._counts: list[Observation] = []

    def leave_out(self, rows: DataFrame, types: Sequence[str]) -> DataFrame:
        """The rows whose `event_type`, without regard to case and outer spaces, is none of `types`."""
        if not types:
            return rows
        names = sorted({name.lower() for name in types})
        marked = rows.withColumn("is_ignored", F.coalesce(F.lower(F.trim("event_type")).isin(*names), F.lit(False)))
        counted = Observation()
        self._counts.append(counted)
        marked = marked.observe(counted, F.count_if("is_ignored").alias("rows"))
        return marked.where(~F.col("is_ignored")).drop("is_ignored")

    @property
    def rows(self) -> int:
        """Their number; known when the rows that `leave_out` returned have been read."""
        return sum(int(counted.get["rows"]) for counted in self._counts)
