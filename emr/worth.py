"""The worth of events, and what a person's events with one item are worth together: count, sum, last time.

An event's worth is the weight of its type, times its value where values multiply, halved with each half-life of its
age; 0 if its value is below the least one. The worth of a pair is the sum over its events. A pair with a worth above 0
is liked. Pure: frames in, frames out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

DAY = 86_400
#: With more half-lives an event loses nothing further, because a float could not tell its worth from 0.
MOST_HALF_LIVES = 100
#: A float holds more, but a sum of such numbers must stay finite.
MOST = 1e30
#: Share of what a pair gained that its sum must exceed: sums of fractions are not exact, three times 0.1 is not 0.3.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Worth:
    """Settings of what events are worth; by default each is worth 1.

    weights: by event type; a type without one has 1. least_value: events with a lower value (the column of weights)
    count nothing. multiplies: the value multiplies the weight of the type. half_life_days: above 0; None: age does not
    matter. bought_types: event types that are purchases; empty means all.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    least_value: float | None = None
    multiplies: bool = False
    half_life_days: float | None = None
    bought_types: tuple[str, ...] = ()

    @property
    def types(self) -> set[str]:
        """The event types that are named."""
        return {*self.weights, *self.bought_types}

    @property
    def reads_values(self) -> bool:
        """True if an event's value decides what the event is worth."""
        return self.multiplies or self.least_value is not None

    @property
    def can_be_nothing(self) -> bool:
        """True if an event can be worth 0 or less."""
        return self.reads_values or any(weight <= 0 for weight in self.weights.values())


def of_event(worth: Worth, now: int) -> Column:
    """The worth of each row (`event_type, weight, timestamp`), as a float. `now`: when an event has its full worth,
    epoch seconds; later ones have it too.
    """
    found = _by_type(worth.weights)
    if worth.multiplies:
        found = found * F.col("weight").cast("double")
    if worth.half_life_days is not None:
        lives = (F.col("timestamp") - F.lit(now)) / F.lit(worth.half_life_days * DAY)
        found = found * F.pow(F.lit(2.0), F.least(F.lit(0.0), F.greatest(lives, F.lit(-float(MOST_HALF_LIVES)))))
    if worth.least_value is not None:
        found = F.when(F.col("weight") >= worth.least_value, found).otherwise(0.0)
    if worth.multiplies:
        found = F.least(F.lit(MOST), F.greatest(F.lit(-MOST), found))
    return found.cast("float")


def with_purchases(rows: DataFrame, types: Sequence[str]) -> DataFrame:
    """The rows with `is_purchase`: whether their event type, without regard to case and outer spaces, is one of
    `types`; null without types.
    """
    names = sorted({name.lower() for name in types})
    found = F.coalesce(F.lower(F.trim("event_type")).isin(*names), F.lit(False)) if names else F.lit(None)
    return rows.withColumn("is_purchase", found.cast("boolean"))


def is_bought(worth: Worth, says_purchase: bool = False) -> Column:
    """True where the event's type is a purchase. `says_purchase`: rows have `is_purchase`, which decides where no
    types are named; where it is null, as in a history without types, all are.
    """
    if not worth.bought_types:
        return F.coalesce(F.col("is_purchase"), F.lit(True)) if says_purchase else F.lit(True)
    return F.coalesce(F.col("event_type").isin(*worth.bought_types), F.lit(False))


def of_pair(when: Column | None = None) -> tuple[Column, ...]:
    """Aggregates `events, worth, gained, is_bought` of the events (`worth, is_bought`) of a pair, of those `when`.

    `events` are those worth more than 0; `gained` is the sum of their worth. A float has 24 bits, so a double holds
    the exact sum of floats of about one size in any order: the same rows give the same worth.
    """
    worth = F.col("worth").cast("double")
    is_gain = worth > 0 if when is None else when & (worth > 0)
    return (
        F.count_if(is_gain).cast("int").alias("events"),
        F.sum(worth if when is None else F.when(when, worth).otherwise(0.0)).alias("worth"),
        F.sum(F.when(is_gain, worth).otherwise(0.0)).alias("gained"),
        F.coalesce(F.max(is_gain & F.col("is_bought")), F.lit(False)).alias("is_bought"),
    )


def is_liked(worth: Column, gained: Column) -> Column:
    """True if the sum of a pair's events is above 0, by more than rounding."""
    return worth > gained * _ROUNDING


def at(worth: Worth, column: Column, then: int, now: int) -> Column:
    """The worth (float) at `now` of what had it at `then`, which is not earlier; both in epoch seconds."""
    if worth.half_life_days is None:
        return column
    factor = 2.0 ** min((then - now) / (worth.half_life_days * DAY), float(MOST_HALF_LIVES))
    return F.least(F.lit(MOST), column.cast("double") * F.lit(factor)).cast("float")


def _by_type(weights: Mapping[str, float]) -> Column:
    if not weights:
        return F.lit(1.0)
    found = F.lit(1.0)
    for name, weight in sorted(weights.items()):
        found = F.when(F.col("event_type") == name, F.lit(float(weight))).otherwise(found)
    return found
