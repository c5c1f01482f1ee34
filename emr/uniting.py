"""Counts interactions that several drops have once, and leaves out what is older than the history asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

import cleaning
import findings
import sessions
from contracts import unions
from contracts.lines import UNITED
from findings import Outcomes
from refusal import Refused
from stages import Clean, Preparation

_DAY = 86_400


def once(preparation: Preparation, settled: DataFrame, good: Clean) -> tuple[DataFrame, Clean]:
    """The rows of `cleaning.settle` that count, and their number: of the good ones those within `--history-days`, and
    of an interaction (user, item, time, event type) that several drops have, the rows of the newest of them. Rows that
    one drop has twice stay, but of a person's rows with one event id one counts. The others stay as they are, and are
    counted.
    """
    if sessions.COLUMN in settled.columns:
        settled = sessions.of_users(settled)
    days, many = preparation.arguments.history_days, len(preparation.lineage) > 1
    has_ids = "event_id" in settled.columns
    if days is None and not many and not has_ids:
        preparation.lineage = [{**entry, "rows": good.rows} for entry in preparation.lineage]
        return settled, good
    rows = settled.where(F.col("reason").isNull() & F.col("is_wanted"))
    older = 0
    if days is not None:
        newest = rows.agg(F.max("timestamp")).head()
        first = (newest[0] if newest is not None and newest[0] is not None else 0) - days * _DAY
        older = rows.where(F.col("timestamp") < first).count()
        rows = rows.where(F.col("timestamp") >= first)
    if many or has_ids:
        rows = cleaning.by_person(rows)
    if has_ids:
        rows = _one_of_each_event(rows, many)
    if many:
        rows = _of_newest_drop(rows, has_ids)
    rows = rows.persist()
    counts = {0: rows.count()}
    if many:
        counts = {row["drop"]: row["count"] for row in rows.groupBy("drop").count().collect()}
    preparation.lineage = [{**entry, "rows": counts.get(number, 0)} for number, entry in enumerate(preparation.lineage)]
    kept = sum(counts.values())
    if kept == 0:
        raise Refused(f"no interactions (rows=0): all {good.rows:,} are older than the history of {days} days")
    if many:
        print(f"{UNITED}{summary(preparation.lineage, good.rows - older - kept, older)}", flush=True)
    return rows, replace(good, rows=kept, before_history=older, superseded=good.rows - older - kept)


def _one_of_each_event(rows: DataFrame, many: bool) -> DataFrame:
    """The rows without those that have the person and the event id of another one: an event that was sent again. The
    row of the oldest drop is kept, of these the first in time.
    """
    order = [F.col(name) for name in ("timestamp", "item_id", "event_type")]
    if many:
        order.insert(0, F.col("drop"))
    place = F.row_number().over(Window.partitionBy("user_id", "event_id").orderBy(*order))
    rows = rows.withColumn("place", place).where(F.col("event_id").isNull() | (F.col("place") == 1))
    return rows.drop("place", "event_id")


def _of_newest_drop(rows: DataFrame, has_events: bool) -> DataFrame:
    """The rows of an interaction that the newest drop has. Where events are among them, case does not matter in event
    types, and a row without a type is any: a history may have none.
    """
    if not has_events:
        newest = F.max("drop").over(Window.partitionBy("user_id", "item_id", "timestamp", "event_type"))
    else:
        alike = Window.partitionBy("user_id", "item_id", "timestamp")
        same = Window.partitionBy("user_id", "item_id", "timestamp", F.lower("event_type"))
        untyped = F.max(F.when(F.col("event_type").isNull(), F.col("drop"))).over(alike)
        of_type = F.greatest(F.max("drop").over(same), F.coalesce(untyped, F.lit(-1)))
        newest = F.when(F.col("event_type").isNull(), F.max("drop").over(alike)).otherwise(of_type)
    return rows.withColumn("newest", newest).where(F.col("drop") == F.col("newest")).drop("newest")


def refuse_own(preparation: Preparation, settled: DataFrame, found: Outcomes) -> None:
    """Judge the bad rows of the drop that was announced by itself: in the union a long history would hide them. Raises
    Refused.
    """
    source, lineage = preparation.arguments.source, preparation.lineage
    if len(lineage) < 2 or not found.bad:
        return
    number = next(number for number, entry in enumerate(lineage) if entry["source"] == source)
    counts = settled.where(F.col("drop") == number).groupBy("reason").count().collect()
    bad = {row["reason"]: row["count"] for row in counts if row["reason"] is not None}
    rows = sum(row["count"] for row in counts)
    if rows:
        own = replace(found, read=rows, bad=bad, good=max(rows - sum(bad.values()), 1))
        problem = findings.refusal(own, preparation.arguments.maximum_bad_share)
        if problem:
            raise Refused(f"{source}: {problem}")


def summary(lineage: Sequence[Mapping[str, Any]], superseded: int, older: int) -> str:
    """A sentence about what was united."""
    full = [entry for entry in lineage if entry["kind"] == unions.FULL]
    appends = [entry for entry in lineage if entry["kind"] == unions.APPEND]
    rows = sum(entry["rows"] for entry in appends)
    base = f"{full[0]['source']} ({full[0]['rows']} interactions) and " if full else ""
    return (
        f"{base}{len(appends)} {'append' if len(appends) == 1 else 'appends'} ({rows:,} interactions, "
        f"{appends[-1]['rows']} of them of {appends[-1]['source']}) are united; {superseded} interactions that a newer "
        f"drop has too count once, {older} are older than the history asked for"
    )
