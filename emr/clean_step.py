"""The step `clean`: sets bad rows aside, and keeps the interactions that are for training or testing."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import cleaning
import forgetting
import global_time
import writing
from contracts.splits import GLOBAL_TIME, LEAVE_LAST_OUT
from reading import Source
from refusal import Refused
from stages import Clean, Preparation, print_step
from writing import Table

#: Share of the interactions above which a single user causes a warning: a robot, or a shop's own account.
_LARGE_USER_SHARE = 0.1


def clean(preparation: Preparation, source: Source) -> Clean:
    """Quarantines bad rows, and keeps one row of each (user, item) with enough support; by global time one before and
    one after the moment.

    Raises Refused if too many rows are bad, or if too few remain.
    """
    arguments, started = preparation.arguments, time.monotonic()
    parsed = cleaning.parse(source.interactions, arguments.event_types)
    parsed, preparation.forgotten = forgetting.drop_rows(parsed, preparation.people)
    parsed.persist()
    outcomes = cleaning.tally(parsed).collect()
    preparation.read = sum(row["rows"] for row in outcomes) + preparation.forgotten
    for row in outcomes:
        if row["reason"] is not None:
            preparation.bad[row["reason"]] = preparation.bad.get(row["reason"], 0) + row["rows"]
    other_events = sum(row["rows"] for row in outcomes if row["reason"] is None and not row["is_wanted"])
    bad = sum(preparation.bad.values())
    if bad:
        _write_quarantine(preparation, parsed, bad)
    _refuse_bad_rows(preparation.read, preparation.bad, arguments.maximum_bad_share)
    good = preparation.read - preparation.forgotten - bad - other_events
    if good == 0:
        raise Refused(f"no interactions (rows=0): none of {preparation.read} rows has a requested event type")

    counted = Clean(source.interactions, good, other_events, 0, 0, (0, 0))
    keep = _keep_by_time if arguments.split == GLOBAL_TIME else _keep_latest
    cleaned = keep(preparation, cleaning.good_rows(parsed), counted)
    print_step(
        "clean",
        started,
        rows=cleaned.rows,
        read=preparation.read,
        quarantined=bad,
        forgotten=preparation.forgotten,
        other_events=other_events,
        duplicates=cleaned.duplicates,
        below_support=cleaned.below_support,
    )
    return cleaned


def _keep_latest(preparation: Preparation, rows: DataFrame, good: Clean) -> Clean:
    """The latest row of each (user, item) with enough support."""
    unique = cleaning.with_support(cleaning.latest_per_pair(rows)).persist()
    distinct = unique.count()
    interactions, facts = _supported(preparation, unique, distinct)
    return replace(
        good,
        interactions=interactions,
        rows=facts["rows"],
        duplicates=good.rows - distinct,
        below_support=distinct - facts["rows"],
        time_span=(facts["first"], facts["last"]),
    )


def _keep_by_time(preparation: Preparation, rows: DataFrame, good: Clean) -> Clean:
    """The latest row of each (user, item) with enough support before the moment of the split, and the first row of each
    at or after it. Raises Refused if none of the second kind is for testing.
    """
    moment = global_time.moment(rows, preparation.arguments.test_share, preparation.arguments.test_days)
    pairs = global_time.per_pair(rows, moment).persist()
    sizes = pairs.agg(F.count("earlier").alias("earlier"), F.count("later").alias("later")).head()
    assert sizes is not None
    earlier = cleaning.with_support(global_time.earlier(pairs))
    train, facts = _supported(preparation, earlier, sizes["earlier"], f" before {global_time.utc(moment)}")
    divided = global_time.divide(pairs, train).persist()
    found = divided.groupBy("part").agg(F.count("*").alias("rows"), F.max("timestamp").alias("last")).collect()
    parts = {row["part"]: row["rows"] for row in found}
    repeats, cold = parts.get(global_time.REPEATS, 0), parts.get(global_time.COLD, 0)
    if global_time.TEST not in parts:
        raise Refused(
            f"nothing to test with: of {sizes['later']} interactions at or after {global_time.utc(moment)}, {repeats} "
            f"repeat one before it, and {cold} have an item without an interaction before it; give a larger "
            f"--test-share or --test-days, or --split {LEAVE_LAST_OUT}"
        )
    kept = divided.where(F.col("part") != global_time.COLD)
    return replace(
        good,
        interactions=kept,
        rows=sum(parts.values()) - cold,
        duplicates=good.rows - sizes["earlier"] - sizes["later"],
        below_support=sizes["earlier"] - facts["rows"],
        time_span=(facts["first"], max(row["last"] for row in found if row["part"] != global_time.COLD)),
        moment=moment,
        parts=parts,
    )


def _supported(preparation: Preparation, counted: DataFrame, distinct: int, when: str = "") -> tuple[DataFrame, Any]:
    """The rows of `cleaning.with_support` that have enough support, and their `cleaning.summary`.

    `distinct`: number of rows; `when`: limits them in sentences. Raises Refused if no row, only one user, or only one
    item remains. Warns of a user with a large share.
    """
    minimum_user = preparation.arguments.minimum_user_interactions
    minimum_item = preparation.arguments.minimum_item_interactions
    interactions = cleaning.supported(counted, minimum_user, minimum_item)
    facts = cleaning.summary(interactions).head()
    assert facts is not None
    rows = facts["rows"]
    if rows == 0:
        raise Refused(
            f"below minimum support: 0 of {distinct} interactions{when} remain when a user needs at least "
            f"{minimum_user} items and an item at least {minimum_item} users"
        )
    if facts["one_user"] or facts["one_item"]:
        whose = "of one user" if facts["one_user"] else "with one item"
        raise Refused(
            f"below minimum support: all {rows} interactions{when} are {whose}; two users and two items are needed"
        )
    share = facts["most"] / rows
    if share > _LARGE_USER_SHARE and rows >= 1000:
        preparation.warn(f"one user has {share:.0%} of the interactions ({facts['most']} of {rows})")
    return interactions, facts


def _refuse_bad_rows(read: int, bad: dict[str, int], maximum_share: float) -> None:
    if read == 0:
        raise Refused("no interactions (rows=0): the files have a header, but no row")
    total = sum(bad.values())
    if total / read > maximum_share:
        detail = ", ".join(f"{reason} {rows}" for reason, rows in sorted(bad.items(), key=lambda count: -count[1]))
        raise Refused(f"{total} of {read} rows are bad ({total / read:.2%}, limit {maximum_share:.2%}): {detail}")


def _write_quarantine(preparation: Preparation, parsed: DataFrame, rows: int) -> None:
    folder = preparation.arguments.quarantine_folder
    order = ("reason", "file", "line", "user_id", "item_id", "timestamp", "event_type", "weight")
    staging = f"{folder}/_staging"
    writing.write_table(
        preparation.storage, Table("rows", cleaning.bad_rows(parsed), order, rows), folder, staging, "json"
    )
    preparation.storage.delete(staging)
