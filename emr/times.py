"""Reads texts as times.

All transforms are pure: columns in, columns out.
"""

from __future__ import annotations

from typing import NamedTuple

from pyspark.sql import Column
from pyspark.sql import functions as F

from contracts import time_forms

#: 2100-01-01 in epoch seconds. A number below it is in seconds; a thousand times greater, in milliseconds, and so on:
#: each unit can express all times from February 1970 on, and no number fits two of them.
FIRST_IMPLAUSIBLE_SECOND = 4_102_444_800

ACCEPTED = (
    f"{time_forms.ACCEPTED}; other forms need a pattern such as 'dd.MM.yyyy HH:mm', by TIME_FORMAT of make demo or "
    "timestampFormat in _drop.json"
)
"""The accepted forms, for messages."""

SECONDS, MILLISECONDS, MICROSECONDS, NANOSECONDS, COMPACT, TEXT = range(6)
"""Values of `Time.unit`. COMPACT: digits alone that can be a date, such as 20240131, or a number of `NUMBERED`."""
NUMBERED = {
    SECONDS: "seconds",
    MILLISECONDS: "milliseconds",
    MICROSECONDS: "microseconds",
    NANOSECONDS: "nanoseconds",
}

_WHOLE = r"^[+-]?\d{1,19}$"
_COMPACT = r"^(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(([01]\d|2[0-3])([0-5]\d){1,2})?$"


class Time(NamedTuple):
    """A text as a time.

    seconds: epoch seconds, fractions dropped, UTC where the text names no zone; null for other texts.
    unit: of a number, its unit; null for other texts (`unit_of` completes it).
    date: of COMPACT texts, epoch seconds if they are dates, while `seconds` takes them as numbers; null for others.
    """

    seconds: Column
    unit: Column
    date: Column


def number(text: Column) -> Column:
    """The number in a trimmed text, without its fraction and the zone of `1646128800 +0000`; null for other texts."""
    digits = F.regexp_extract(text, time_forms.EPOCH, 1)
    return F.coalesce(whole(text), F.when(text.rlike(time_forms.EPOCH), digits.try_cast("bigint")))


def whole(text: Column) -> Column:
    """The whole number in a trimmed text; null for other texts. Spark's cast raises an exception in Java, and catches
    it, for each text that is no number: that takes longer than all else that is done with a row.
    """
    return F.when(text.rlike(_WHOLE), text.try_cast("bigint"))


def read(text: Column, number: Column, pattern: str | None = None) -> Time:
    """Reads a trimmed text, with its `number`; with `pattern`, a datetime pattern of Spark that may begin with the name
    of the day (E), no other form.
    """
    nothing = F.lit(None).cast("bigint")
    if pattern is not None:
        without_weekday = time_forms.WEEKDAY_PATTERN.sub("", pattern)
        if without_weekday != pattern:
            text, pattern = F.regexp_replace(text, time_forms.WEEKDAY, ""), without_weekday
        seconds = F.unix_seconds(F.try_to_timestamp(text, F.lit(pattern)))
        return Time(seconds, F.lit(None).cast("int"), nothing)
    # The pattern comes before the cast, because the cast also accepts a time of day alone and adds today's date.
    instant = F.when(
        text.rlike(time_forms.ISO_8601), F.unix_seconds(F.replace(text, F.lit("/"), F.lit("-")).try_cast("timestamp"))
    )
    date = _date(number)
    bounds = [FIRST_IMPLAUSIBLE_SECOND * 1000**unit for unit in NUMBERED]
    in_unit = F.when(number < bounds[0], number)
    unit = F.when(number < bounds[0], F.lit(SECONDS))
    for place in (MILLISECONDS, MICROSECONDS, NANOSECONDS):
        in_unit = in_unit.when(number < bounds[place], F.call_function("div", number, F.lit(1000**place)))
        unit = unit.when(number < bounds[place], F.lit(place))
    return Time(F.coalesce(in_unit.otherwise(number), instant), unit, date)


def unit_of(seconds: Column, unit: Column, date: Column) -> Column:
    """`Time.unit`, of columns with the parts of a `Time`: a projection of its own keeps the generated code small."""
    is_date = F.when(date.isNotNull(), F.lit(COMPACT))
    return F.coalesce(is_date, unit, F.when(seconds.isNotNull(), F.lit(TEXT)))


def _date(number: Column) -> Column:
    """Epoch seconds of `yyyymmdd`, `yyyymmddhhmm` or `yyyymmddhhmmss`; null for other numbers."""
    can_be = (
        number.between(19_000_101, 20_991_231)
        | number.between(190_001_010_000, 209_912_312_359)
        | number.between(19_000_101_000_000, 20_991_231_235_959)
    )
    digits = number.cast("string")
    instant = F.try_to_timestamp(F.rpad(digits, 14, "0"), F.lit("yyyyMMddHHmmss"))
    return F.when(can_be, F.when(digits.rlike(_COMPACT), F.unix_seconds(instant)))
