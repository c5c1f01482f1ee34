"""The step `clean`: sets bad rows aside, and keeps the interactions that are for training or testing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import cleaning
import findings
import forgetting
import global_time
import splitting
import uniting
import writing
from contracts.splits import AUTO, GLOBAL_TIME, LEAVE_LAST_OUT
from findings import Outcomes
from reading import Source
from refusal import Refused
from stages import Clean, Preparation, print_step
from writing import Table

#: Bad rows of one reason that the quarantine keeps at most. The counts are always exact.
_SAMPLE = 10_000


def clean(preparation: Preparation, source: Source) -> Clean:
    """Quarantines bad rows, and keeps one row of each (user, item) with enough support; by global time one before and
    one after the moment.

    Raises Refused if too many rows are bad, or if too few remain.
    """
    arguments, started = preparation.arguments, time.monotonic()
    settled, found = _judge(preparation, source)
    preparation.found = found
    if found.read == 0:
        reason = f"all {preparation.forgotten:,} rows are of people who are forgotten"
        if preparation.ignored:
            reason = (
                f"{preparation.ignored:,} rows are of ignored event types, {preparation.forgotten:,} of forgotten "
                "people"
            )
        empty = "the files have a header, but no row"
        raise Refused(f"no interactions (rows=0): {reason if preparation.read else empty}")
    if found.bad:
        _write_quarantine(preparation, settled, found.bad)
    problem = findings.refusal(found, arguments.maximum_bad_share, lambda reason: cleaning.examples(settled, reason))
    problem = problem or findings.unknown_types(found, arguments.worth)
    if problem:
        raise Refused(problem)
    uniting.refuse_own(preparation, settled, found)
    preparation.warn_of(findings.of_rows(found, arguments.event_types, arguments.has_times, arguments.worth))

    other_events = found.other_events + preparation.ignored
    counted = Clean(source.interactions, found.good, other_events, 0, 0, (0, 0))
    settled, counted = uniting.once(preparation, settled, counted)
    cleaned = _keep(preparation, settled, counted)
    print_step(
        "clean",
        started,
        rows=cleaned.rows,
        read=preparation.read,
        quarantined=sum(found.bad.values()),
        forgotten=preparation.forgotten,
        other_events=other_events,
        duplicates=cleaned.duplicates,
        below_support=cleaned.below_support,
    )
    return cleaned


def _judge(preparation: Preparation, source: Source) -> tuple[DataFrame, Outcomes]:
    """The rows of `cleaning.settle`, and their counts, in one pass over the files."""
    arguments = preparation.arguments
    rules = cleaning.Rules(
        event_types=arguments.event_types,
        timestamp_format=source.timestamp_format,
        has_times=arguments.has_times,
        last_second=arguments.last_second,
    )
    parsed = cleaning.parse(source.interactions, rules)
    parsed, preparation.forgotten = forgetting.drop_rows(parsed, preparation.people)
    parsed.persist()
    rows = cleaning.tally(parsed)
    by_event_type = len(rows) <= cleaning.MAXIMUM_OUTCOMES
    preparation.ignored = source.ignored.rows
    found = findings.outcomes(rows if by_event_type else cleaning.tally(parsed, by_event_type=False), by_event_type)
    return cleaning.settle(parsed, found.meaning), found


def _keep(preparation: Preparation, settled: DataFrame, good: Clean) -> Clean:
    """The rows of the requested protocol; of AUTO those of global time or, with a warning, if the data do not suit it,
    those of leave-last-out.
    """
    arguments = preparation.arguments
    if arguments.split == GLOBAL_TIME:
        return _keep_by_time(preparation, settled, good)
    # Each test user has a row, so a trial of a few rows needs no look at their times.
    if arguments.split == AUTO and arguments.has_times and good.rows >= global_time.LEAST_TEST_USERS:
        try:
            return _keep_by_time(preparation, settled, good)
        except Refused as reason:
            preparation.warn(
                f"each user's last interaction is for testing ({LEAVE_LAST_OUT}), not all after a moment: {reason}"
            )
    return _keep_latest(preparation, settled, good)


def _keep_latest(preparation: Preparation, settled: DataFrame, good: Clean) -> Clean:
    """The latest row of each (user, item) that is liked and has enough support, with the last of each user marked."""
    values = preparation.arguments.worth
    rows = cleaning.good_rows(_by_person(preparation, settled), values, preparation.found.last)
    pairs = cleaning.latest_per_pair(rows)
    not_liked = 0
    if values.can_be_nothing:
        pairs = pairs.persist()
        likes = pairs.agg(F.count_if("is_liked").alias("liked"), F.count_if(~F.col("is_liked")).alias("others")).head()
        assert likes is not None
        not_liked = likes["others"]
        _warn_of_not_liked(preparation, not_liked, likes["liked"])
    unique = cleaning.with_support(pairs.where("is_liked").drop("is_liked"))
    is_core = preparation.arguments.minimum_item_interactions > 1
    interactions, facts = _supported(preparation, (unique if is_core else splitting.mark_last(unique)).persist())
    if is_core:
        interactions = splitting.mark_last(interactions).persist()
    duplicates = good.rows - facts["distinct"] - not_liked
    return replace(
        good,
        interactions=interactions,
        items=splitting.per_item(interactions).persist(),
        rows=facts["rows"],
        duplicates=duplicates,
        not_liked=not_liked,
        below_support=facts["distinct"] - facts["rows"],
        time_span=(facts["first"], facts["last"]),
        figures=_figures(preparation, facts, duplicates, not_liked),
    )


def _by_person(preparation: Preparation, settled: DataFrame) -> DataFrame:
    """The rows with those of a person together; where several drops were united, they are."""
    return settled if len(preparation.lineage) > 1 else cleaning.by_person(settled)


def _keep_by_time(preparation: Preparation, settled: DataFrame, good: Clean) -> Clean:
    """The latest row of each (user, item) that is liked and has enough support before the moment of the split, and the
    first row of each at or after it. Raises Refused if none of the second kind is for testing.
    """
    arguments = preparation.arguments
    rows = cleaning.good_rows(settled)
    if arguments.split == AUTO:
        _refuse(global_time.why_too_few(rows, good.rows))
    moment, share = global_time.moment(rows, arguments.test_share, arguments.test_days)
    if share is not None and share >= global_time.COARSE * (arguments.test_share or 1):
        coarse = (
            f"{share:.0%} of the interactions are at or after {global_time.utc(moment)}, --test-share is "
            f"{arguments.test_share:g}: many have this time; give finer times, or --test-days"
        )
        if arguments.split == AUTO:
            raise Refused(coarse)
        preparation.warn(coarse)
    if arguments.split == AUTO:
        _refuse(global_time.why_unsuited(moment, global_time.users_from(rows, moment)))
    good_rows = cleaning.good_rows(_by_person(preparation, settled), arguments.worth, moment)
    pairs = global_time.per_pair(good_rows, moment)
    pairs = cleaning.with_support(pairs).persist()
    numbers = (
        F.count("timestamp").alias("earlier"),
        F.count("later").alias("later"),
        F.sum("not_liked").alias("not_liked"),
    )
    sizes = pairs.agg(*numbers).head()
    assert sizes is not None
    _warn_of_not_liked(preparation, sizes["not_liked"], sizes["earlier"] + sizes["later"])
    earlier = pairs.where("timestamp is not null")
    train, facts = _supported(preparation, earlier, f" before {global_time.utc(moment)}")
    later = global_time.later(pairs, train).persist()
    numbers = (F.count("*").alias("rows"), F.max("timestamp").alias("last"), F.countDistinct("user_id").alias("users"))
    found = later.groupBy("part").agg(*numbers).collect()
    parts = {global_time.TRAIN: facts["rows"]} | {row["part"]: row["rows"] for row in found}
    repeats, cold = parts.get(global_time.REPEATS, 0), parts.get(global_time.COLD, 0)
    if global_time.TEST not in parts:
        raise Refused(
            f"nothing to test with: of {sizes['later']:,} interactions at or after {global_time.utc(moment)}, "
            f"{repeats:,} repeat one before it, and {cold:,} have an item without an interaction before it; give a "
            f"larger --test-share or --test-days, or --split {LEAVE_LAST_OUT}"
        )
    test_users = sum(row["users"] for row in found if row["part"] == global_time.TEST)
    if arguments.split == AUTO:
        _refuse(global_time.why_unsuited(moment, test_users))
    latest = [row["last"] for row in found if row["part"] != global_time.COLD]
    duplicates = good.rows - sizes["earlier"] - sizes["later"] - sizes["not_liked"]
    return replace(
        good,
        interactions=global_time.united(train, later),
        rows=sum(parts.values()) - cold,
        duplicates=duplicates,
        not_liked=sizes["not_liked"],
        below_support=sizes["earlier"] - facts["rows"],
        time_span=(facts["first"], max(latest)),
        moment=moment,
        parts=parts,
        figures=_figures(preparation, facts, duplicates, sizes["not_liked"]),
    )


def _warn_of_not_liked(preparation: Preparation, pairs: int, liked: int) -> None:
    before = preparation.parent_manifest().get("figures") or {}
    preparation.warn_of(findings.of_not_liked(pairs, liked, before))


def _figures(preparation: Preparation, summary: Any, duplicates: int, not_liked: int) -> dict[str, Any]:
    """`figures` of the manifest. Warns of what looks wrong in them."""
    numbers = findings.figures(preparation.found, summary, duplicates, not_liked)
    before = preparation.parent_manifest().get("figures") or {}
    preparation.warn_of(findings.of_people(summary, numbers, before, preparation.arguments.has_times))
    return numbers


def _refuse(reason: str | None) -> None:
    if reason:
        raise Refused(reason)


def _supported(preparation: Preparation, counted: DataFrame, when: str = "") -> tuple[DataFrame, Mapping[str, Any]]:
    """The rows of `cleaning.with_support` that have enough support, and the figures of `cleaning.summary`.

    `when`: limits the rows in sentences. Raises Refused if no row, only one user, or only one item remains.
    """
    minimum_user = preparation.arguments.minimum_user_interactions
    minimum_item = preparation.arguments.minimum_item_interactions
    interactions = cleaning.supported(counted, minimum_user, minimum_item)
    found = cleaning.summary(*((counted, minimum_user) if minimum_item <= 1 else (interactions,))).head()
    assert found is not None
    facts = found.asDict() | ({} if minimum_item <= 1 else {"distinct": counted.count()})
    rows = facts["rows"]
    if rows == 0:
        raise Refused(
            f"below minimum support: 0 of {facts['distinct']:,} interactions{when} remain when a user needs at least "
            f"{minimum_user} items and an item at least {minimum_item} users"
        )
    if facts["one_user"] or facts["one_item"]:
        whose = "of one user" if facts["one_user"] else "with one item"
        raise Refused(
            f"below minimum support: all {rows:,} interactions{when} are {whose}; two users and two items are needed"
        )
    return interactions, facts


def _write_quarantine(preparation: Preparation, settled: DataFrame, bad: Mapping[str, int]) -> None:
    """Writes the bad rows; of a reason with more than `_SAMPLE`, about as many, drawn by a seed."""
    large = {reason: rows for reason, rows in bad.items() if rows > _SAMPLE}
    # A little less, so that the draws do not exceed the limit.
    shares = {reason: 0.95 * _SAMPLE / rows for reason, rows in large.items()}
    if large:
        counts = ", ".join(f"{reason} {rows:,}" for reason, rows in large.items())
        size = f"{0.95 * _SAMPLE:,.0f}"
        preparation.warn(f"of the rows that are left out the quarantine has a sample of about {size} each: {counts}")
    folder = preparation.arguments.quarantine_folder
    order = ("reason", "file", "line", "user_id", "item_id", "timestamp", "event_type", "weight")
    staging = f"{folder}/_staging"
    writing.write_table(
        preparation.storage,
        Table("rows", cleaning.bad_rows(settled, shares), order, sum(bad.values())),
        folder,
        staging,
        "json",
    )
    preparation.storage.delete(staging)
