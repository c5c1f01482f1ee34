"""Checks each row, and keeps one interaction for each (user, item) with enough support.

All transforms are pure: frames in, frames out.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

import identifiers
import times
import worth
from contracts import ids
from spark_session import MAXIMUM_PARTITIONS
from worth import Worth

MAXIMUM_ID_LENGTH = 256
#: 1971-01-01 in epoch seconds. Times before it are mostly no epoch seconds: years, counters, dates like 20240131.
FIRST_PLAUSIBLE_SECOND = 31_536_000
#: Ids of users, in lower case, that are no person.
TEST_ACCOUNTS = (
    "0", "-1", "test", "tester", "testuser", "test_user", "demo", "admin", "administrator", "root", "system", "bot",
    "guest", "anonymous", "anon", "unknown", "undefined", "default", "user", "customer",
    "00000000-0000-0000-0000-000000000000",
)  # fmt: skip
#: Rows of `tally` that are read: more event types than that are none.
MAXIMUM_OUTCOMES = 10_000
#: What is known of a pair in train beside its last time and weight.
PAIR = ("events", "worth", "is_bought")

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
#: Three digits after a comma are thousands.
_DECIMAL_COMMA = r"^[+-]?\d+,\d{1,2}$"
_NOT_FINITE = r"(?i)^[+-]?(nan|inf(inity)?)$"
_WHOLE = r"^-?\d{1,19}\.0$"


@dataclass(frozen=True)
class Rules:
    """How rows are read and judged.

    event_types: only rows of these event types are used; empty means all of them.
    timestamp_format: a datetime pattern of Spark; None takes `times.ACCEPTED`.
    has_times: False gives every row the time 0.
    last_second: later times are bad, in epoch seconds.
    """

    event_types: tuple[str, ...] = ()
    timestamp_format: str | None = None
    has_times: bool = True
    last_second: int = times.FIRST_IMPLAUSIBLE_SECOND - 1


@dataclass(frozen=True)
class Meaning:
    """Facts that only all rows together tell.

    has_dates: digits alone that can be dates are dates. whole_users, whole_items: ids are numbers that a column of
    fractions holds, so 17385.0 is 17385.
    """

    has_dates: bool = False
    whole_users: bool = False
    whole_items: bool = False


def parse(raw: DataFrame, rules: Rules) -> DataFrame:
    """Converts and checks text rows (see `reading`).

    Returns `user_id string, item_id string, timestamp bigint (epoch seconds), weight float`, `reason` (null for a good
    row), `unit` (see `times`), `event_type` (null where missing), `is_wanted` (its event type is requested; rows of
    others are not judged) and, for bad rows, `raw` with the original texts, and `file`. A row with several problems has
    the first reason. `date` and `date_reason` hold instead of `timestamp` and `reason` if the times are dates
    (`Meaning`); null where they cannot be.
    """
    texts = [F.col(name) for name in ("user_id", "item_id", "timestamp", "event_type", "weight", "line")]
    kind = F.trim("event_type")
    kind = F.when(~_is_missing(kind), kind)
    # A row without an event type is not wanted; isin would return null.
    is_wanted = F.coalesce(kind.isin(*rules.event_types), F.lit(False)) if rules.event_types else F.lit(True)
    trimmed = raw.select(
        identifiers.of(F.col("user_id")).alias("user"),
        identifiers.of(F.col("item_id")).alias("item"),
        identifiers.without_blanks(F.col("timestamp")).alias("stamp"),
        identifiers.without_blanks(F.col("weight")).alias("heft"),
        kind.alias("event_type"),
        is_wanted.alias("is_wanted"),
        F.struct(*texts).alias("texts"),
        "file",
        *_further(raw),
    )
    heft = F.col("heft")
    is_comma = heft.rlike(_DECIMAL_COMMA)
    number = F.when(heft.rlike(_NUMBER), heft).when(is_comma, F.replace(heft, F.lit(","), F.lit(".")))
    number = number.try_cast("double").cast("float")
    numbers = trimmed.withColumns({"number": times.number(F.col("stamp")), "weight": number})
    time = times.read(F.col("stamp"), F.col("number"), rules.timestamp_format)
    if not rules.has_times:
        time = times.Time(F.lit(0).cast("bigint"), F.lit(times.SECONDS), F.lit(None).cast("bigint"))
    timed = numbers.withColumns({"timestamp": time.seconds, "unit": time.unit, "date": time.date})
    before = [
        F.when(F.col("texts.line").isNotNull(), F.lit("malformed_row")),
        _id_problem(F.col("user"), "user_id"),
        _id_problem(F.col("item"), "item_id"),
    ]
    weight = F.col("weight")
    after = [
        F.when(F.coalesce(heft, F.lit("")) == "", F.lit("weight_missing")),
        F.when(weight.isNull() & heft.rlike(_NOT_FINITE), F.lit("weight_not_finite")),
        F.when(weight.isNull(), F.lit("weight_unparsable")),
        F.when(F.abs(weight) == float("inf"), F.lit("weight_not_finite")),
    ]
    if rules.has_times:
        before.append(F.when(_is_missing(F.col("stamp")), F.lit("timestamp_missing")))
    is_judged = F.col("is_wanted") | F.col("texts.line").isNotNull()
    problem = F.coalesce(*before, _time_problem(F.col("timestamp"), rules.last_second), *after)
    judged = timed.withColumn("reason", F.when(is_judged, problem))
    date_problem = F.when(F.col("is_wanted"), _time_problem(F.col("date"), rules.last_second))
    judged = judged.withColumns(
        {
            "date_reason": F.when(F.col("date").isNotNull(), F.coalesce("reason", date_problem)),
            "unit": times.unit_of(F.col("timestamp"), F.col("unit"), F.col("date")),
        }
    )
    is_bad = F.col("reason").isNotNull() | F.col("date_reason").isNotNull()
    return judged.select(
        F.col("user").alias("user_id"),
        F.col("item").alias("item_id"),
        "timestamp",
        # -0.0 and 0.0 are equal but differ in bytes.
        (weight + F.lit(0.0).cast("float")).alias("weight"),
        "reason",
        "date",
        "date_reason",
        "unit",
        "event_type",
        "is_wanted",
        F.when(is_bad, F.col("texts")).alias("raw"),
        F.when(is_bad, F.col("file")).alias("file"),
        *_further(raw),
    )


def _is_missing(text: Column) -> Column:
    return text.isNull() | F.lower(text).isin(*ids.MISSING)


def _id_problem(identifier: Column, name: str) -> Column:
    return (
        F.when(_is_missing(identifier), F.lit(f"{name}_missing"))
        .when(F.length(identifier) > MAXIMUM_ID_LENGTH, F.lit(f"{name}_too_long"))
        .when(identifier.rlike(ids.CONTROL_CHARACTER), F.lit(f"{name}_control_character"))
        .when(identifier.contains(ids.UNDECODABLE), F.lit(f"{name}_not_utf8"))
        .when(identifier.contains("E+") & identifier.rlike(ids.ROUNDED), F.lit(f"{name}_rounded"))
    )


def _time_problem(seconds: Column, last_second: int) -> Column:
    is_out_of_range = (seconds < 0) | (seconds >= times.FIRST_IMPLAUSIBLE_SECOND)
    return (
        F.when(seconds.isNull(), F.lit("timestamp_unparsable"))
        .when(is_out_of_range, F.lit("timestamp_out_of_range"))
        .when(seconds > last_second, F.lit("timestamp_after_the_drop"))
    )


def tally(parsed: DataFrame, by_event_type: bool = True) -> list[Row]:
    """Counts of the rows of `parse` by outcome: `reason, date_reason, is_wanted, unit, event_type` (null, unless
    `by_event_type`), and of these `rows`, `early` (before 1971), `not_positive` (weights), the times `last` and
    `last_date` (of `date`), and the numbers of ids that are, and are not, a whole number: `user_fractions` and
    `item_fractions` (17385.0), `user_texts` and `item_texts`; the id of a session is neither.

    At most `MAXIMUM_OUTCOMES` + 1 rows.
    """
    event_type = F.col("event_type") if by_event_type else F.lit(None).cast("string")
    facts = [
        F.count("*").alias("rows"),
        F.count_if(F.col("timestamp") < FIRST_PLAUSIBLE_SECOND).alias("early"),
        F.count_if(F.col("weight") <= 0).alias("not_positive"),
        F.max("timestamp").alias("last"),
        F.max("date").alias("last_date"),
    ]
    for name in ("user", "item"):
        identifier = F.col(f"{name}_id")
        is_fraction = identifier.endswith(".0") & identifier.rlike(_WHOLE)
        facts.append(F.count_if(is_fraction).alias(f"{name}_fractions"))
        is_text = ~is_fraction & times.whole(identifier).isNull() & ~identifier.startswith(ids.SESSION)
        facts.append(F.count_if(is_text).alias(f"{name}_texts"))
    keys = ("reason", "date_reason", "is_wanted", "unit", event_type.alias("event_type"))
    rows: list[Row] = parsed.groupBy(*keys).agg(*facts).limit(MAXIMUM_OUTCOMES + 1).collect()
    return rows


def settle(parsed: DataFrame, meaning: Meaning) -> DataFrame:
    """The rows of `parse` with what only all rows tell: `user_id, item_id, timestamp, weight, event_type, reason,
    is_wanted, raw, file`.
    """
    timestamp, reason = F.col("timestamp"), F.col("reason")
    if meaning.has_dates:
        is_date = F.col("date").isNotNull()
        timestamp = F.coalesce("date", timestamp)
        reason = F.when(is_date, F.col("date_reason")).otherwise(reason)
    return parsed.select(
        _without_fraction("user_id", meaning.whole_users),
        _without_fraction("item_id", meaning.whole_items),
        timestamp.alias("timestamp"),
        "weight",
        "event_type",
        reason.alias("reason"),
        "is_wanted",
        "raw",
        "file",
        *_further(parsed),
    )


def _further(rows: DataFrame) -> list[str]:
    """The columns with the number of the drop, which several drops have, the ids of event and session, and whether it
    is a purchase, where there are.
    """
    return [name for name in ("drop", "event_id", "session_id", "is_purchase") if name in rows.columns]


def _without_fraction(name: str, is_whole: bool) -> Column:
    return F.regexp_replace(name, r"\.0$", "").alias(name) if is_whole else F.col(name)


def by_person(settled: DataFrame) -> DataFrame:
    """The rows with those of a person together: what follows by pair or by person needs no exchange of its own."""
    return settled.repartition("user_id")


def good_rows(settled: DataFrame, values: Worth | None = None, now: int = 0) -> DataFrame:
    """`user_id, item_id, timestamp, weight, worth float, is_bought boolean` of the good rows with a wanted event type.

    `values`: what events are worth at `now` (epoch seconds).
    """
    values = values or Worth()
    return settled.where(F.col("reason").isNull() & F.col("is_wanted")).select(
        "user_id",
        "item_id",
        "timestamp",
        "weight",
        worth.of_event(values, now).alias("worth"),
        worth.is_bought(values, "is_purchase" in settled.columns).alias("is_bought"),
    )


def bad_rows(settled: DataFrame, shares: dict[str, float] | None = None) -> DataFrame:
    """`reason, file` and the texts of the bad rows; of a reason in `shares`, about that share of them."""
    bad = settled.where(F.col("reason").isNotNull())
    if shares:
        pairs = [F.lit(part) for reason, share in sorted(shares.items()) for part in (reason, share)]
        kept = F.coalesce(F.element_at(F.create_map(*pairs), F.col("reason")), F.lit(1.0))
        bad = bad.where(F.rand(seed=0) < kept)
    return bad.select("reason", "file", "raw.*")


def examples(settled: DataFrame, reason: str, most: int = 3) -> list[str]:
    """Some texts of bad rows with this reason: of what it is about, or whole rows that fit no layout."""
    name = next((name for name in ("user_id", "item_id", "timestamp", "weight") if reason.startswith(name)), "line")
    rows = settled.where(F.col("reason") == reason).select(f"raw.{name}").limit(most).collect()
    return [row[name] for row in rows if row[name]]


def latest_per_pair(rows: DataFrame) -> DataFrame:
    """One row for each (user_id, item_id): time and weight of the latest event that is worth more than 0, at equal time
    of the one with the greatest weight; and `events, worth, is_bought` (`worth.of_pair`), `is_liked`.

    A pair with one row cannot be in both train and test. Time and weight can be null where the pair is not liked.
    """
    latest = F.max(F.when(F.col("worth") > 0, F.struct("timestamp", "weight"))).alias("latest")
    is_liked = worth.is_liked(F.col("worth"), F.col("gained")).alias("is_liked")
    found = rows.groupBy("user_id", "item_id").agg(latest, *worth.of_pair())
    worth_then = F.col("worth").cast("float").alias("worth")
    return found.select(
        "user_id", "item_id", "latest.timestamp", "latest.weight", "events", worth_then, "is_bought", is_liked
    )


def with_support(rows: DataFrame) -> DataFrame:
    """Adds, of the row's user, `user_interactions bigint`, the number of rows that have a time, `user_events`, the sum
    of their events, and `user_first` and `user_last`, the times of the first and the last.
    """
    user = Window.partitionBy("user_id")
    return rows.withColumns(
        {
            "user_interactions": F.count("timestamp").over(user),
            "user_events": F.sum("events").over(user),
            "user_first": F.min("timestamp").over(user),
            "user_last": F.max("timestamp").over(user),
        }
    )


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
    remaining = _begun_anew(remaining)
    count = remaining.count()
    while True:
        eligible = remaining.groupBy("item_id").agg(F.count("*").alias("n")).where(F.col("n") >= minimum_item)
        rows = remaining.select("user_id", "item_id", "timestamp", "weight", *PAIR)
        narrowed = rows.join(eligible.select("item_id"), "item_id", "left_semi")
        narrowed = with_support(narrowed).where(F.col("user_interactions") >= minimum_user)
        narrowed = _begun_anew(narrowed)
        narrowed_count = narrowed.count()
        if narrowed_count == count:
            return narrowed
        remaining, count = narrowed, narrowed_count


def _begun_anew(rows: DataFrame) -> DataFrame:
    """The rows as a frame whose plan begins here, and that has no known partitioning.

    Spark compares the partitioning of such a frame by the ids of its columns, which are others where the frame is
    joined with what was made of it. So it would not find the latter in its cache: indices would be drawn anew, and be
    others. `coalesce` to more partitions than there are moves nothing.
    """
    return rows.coalesce(MAXIMUM_PARTITIONS).localCheckpoint()


def summary(rows: DataFrame, minimum_user: int = 1) -> DataFrame:
    """One row, of the rows of `with_support` whose user has at least `minimum_user` items: `rows`, `first` and `last`
    timestamp, `one_user` and `one_item`: true if all rows have the same user, or the same item. Without rows, all of
    them except `rows` are null. And `distinct`, the number of all rows.

    What may look wrong: `events`; `users` as a double; `most`, the events of one user; `fastest`, the greatest number
    of a user's items an hour, over the time from the first to the last and an hour; `account`, the events and the name
    of the most active of `TEST_ACCOUNTS`; `times`, about how many different ones.
    """
    is_kept = F.col("user_interactions") >= minimum_user
    names = ("user_id", "item_id", "timestamp", "events", "user_interactions", "user_events", "user_first", "user_last")
    kept = rows.select(*(F.when(is_kept, F.col(name)).alias(name) for name in names))
    hours = (F.col("user_last") - F.col("user_first")) / 3600 + 1
    is_account = F.lower("user_id").isin(*TEST_ACCOUNTS)
    return kept.agg(
        F.count("*").alias("distinct"),
        F.count("user_id").alias("rows"),
        (F.min("user_id") == F.max("user_id")).alias("one_user"),
        (F.min("item_id") == F.max("item_id")).alias("one_item"),
        F.min("timestamp").alias("first"),
        F.max("timestamp").alias("last"),
        F.sum("events").alias("events"),
        F.sum(1 / F.col("user_interactions")).alias("users"),
        F.max("user_events").alias("most"),
        F.max(F.col("user_interactions") / hours).alias("fastest"),
        F.max(F.when(is_account, F.struct("user_events", "user_id"))).alias("account"),
        F.approx_count_distinct("timestamp").alias("times"),
    )
