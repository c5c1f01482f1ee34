"""Finds the types of the catalogue's further columns, and turns their texts into values.

A column is boolean, number or time if all its values are, otherwise text. A typed file (Parquet, JSON lines) tells it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

import parquet_files
import times
from catalogue import ITEMS, Catalogue, Further
from contracts import item_fields
from contracts.column_names import normal
from contracts.item_fields import BOOLEAN, NUMBER, TEXT, TIME
from findings import Finding
from refusal import Refused, printable

#: Share of the values of a text column that have one type: above it, the others are probably mistakes.
_NEARLY_ALL = 0.95
_MISSING = ("", "na", "n/a", "nan", "null", "none")
_TRUE, _FALSE = ("true", "yes"), ("false", "no")
#: 007 is a code, and a whole number of more than 15 digits is not exact in a double. Programs write up to 17 digits of
#: a fraction: 0.8200000000000001.
_NUMBER = r"^[+-]?((0|[1-9][0-9]{0,14})(\.[0-9]{1,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?$"
_NONE_OF = {BOOLEAN: "true, false, yes or no", NUMBER: "number", TIME: "time"}


@dataclass(frozen=True)
class Described:
    """The catalogue with typed columns, `item_id, title, category` and those of `columns`; what looks wrong; and the
    column of the dataset that tells which items are not for sale.
    """

    rows: DataFrame
    columns: tuple[Further, ...] = field(default=())
    found: tuple[Finding, ...] = field(default=())
    sold_by: Further | None = None


def describe(catalogue: Catalogue, availability: str | None = None) -> Described:
    """Types the columns. `availability`: the column that tells which items are for sale, as a person named it. Raises
    Refused if there is no such column, or if it is a text.
    """
    named = [one for one in catalogue.further if availability and normal(one.source) == normal(availability)]
    if availability and not named:
        has = ", ".join(printable(one.source, 60) for one in catalogue.further[:30]) or "no further column"
        raise Refused(f"the catalogue has no column {printable(availability, 60)!r}: it has {has}")
    further = [*named, *(one for one in catalogue.further if one not in named)]
    kept = sorted(further[: item_fields.COLUMNS], key=catalogue.further.index)
    facts = _facts(catalogue.rows, kept)
    columns = [typed for one in kept if (typed := _typed(one, facts.get(one.name, []))) is not None]
    columns, too_large = _within_limit(columns, facts)
    sold_by = next((one for one in columns if named and one.name == named[0].name), None)
    if sold_by is not None and sold_by.kind not in (BOOLEAN, NUMBER):
        example = printable(str(facts[sold_by.name][0]["example"]), 60)
        raise Refused(
            f"the column {printable(sold_by.source, 60)!r} of the catalogue tells which items are for sale, but is "
            f"{sold_by.kind}, with values such as {example!r}; expected true, false, yes, no, or a number in stock"
        )
    title = _cut(F.trim("title"))
    rows = catalogue.rows.select(
        "item_id",
        title.alias("title"),
        "category",
        *(_value(_present(_column(one)), one.kind).alias(one.name) for one in columns),
    )
    found = [*_of_columns(further[item_fields.COLUMNS :], too_large, facts), *_of_values(columns, facts)]
    return Described(rows, tuple(columns), tuple(found), sold_by)


def kinds_of(items: DataFrame) -> dict[str, str]:
    """The kinds of the further columns of `items/`."""
    kinds = {"boolean": BOOLEAN, "double": NUMBER, "string": TEXT, "bigint": TIME}
    return {column.name: kinds[column.dataType.simpleString()] for column in items.schema if column.name not in ITEMS}


def _facts(rows: DataFrame, further: Sequence[Further]) -> dict[str, list[Any]]:
    """By column, and `title`: `kind, rows, example, bytes, long` of the values of each kind. The number of expressions
    does not grow with that of the columns.
    """
    names = ["title", *(one.name for one in further)]
    values = F.array(*(_present(F.col(parquet_files.quoted(name))) for name in names))
    found = rows.select("is_whole", F.posexplode(values).alias("place", "value"))
    kinds = found.where(F.col("value").isNotNull()).withColumn("kind", _kind(F.col("value")))
    is_long = F.length("value") > item_fields.TEXT_CHARACTERS
    sums = kinds.groupBy("place", "kind").agg(
        F.count("*").alias("rows"),
        F.min("value").alias("example"),
        F.sum(F.octet_length("value")).alias("bytes"),
        F.count_if(is_long).alias("long"),
        F.count_if(is_long & _is_address(F.col("value"))).alias("addresses"),
    )
    by_column: dict[str, list[Any]] = {}
    for row in sorted(sums.collect(), key=lambda row: -row["rows"]):
        by_column.setdefault(names[row["place"]], []).append(row)
    return by_column


def _kind(value: Column) -> Column:
    lower = F.lower(value)
    return (
        F.when(lower.isin(*_TRUE, *_FALSE), F.lit(BOOLEAN))
        .when(value.rlike(_NUMBER), F.lit(NUMBER))
        .when(times.read(value, F.lit(None).cast("bigint")).seconds.isNotNull(), F.lit(TIME))
        .otherwise(F.lit(TEXT))
    )


def _typed(one: Further, facts: Sequence[Any]) -> Further | None:
    """The column with its kind; None without a value."""
    if not facts:
        return None
    return replace(one, kind=one.kind or (facts[0]["kind"] if len(facts) == 1 else TEXT))


def _within_limit(
    columns: Sequence[Further], facts: Mapping[str, Sequence[Any]]
) -> tuple[list[Further], list[Further]]:
    """The columns that fit into the limit of bytes, in their order, and the others."""
    kept, left, room = list[Further](), list[Further](), item_fields.TOTAL_BYTES
    for one in columns:
        # In an answer, a value stands after its quoted name.
        size = sum(row["bytes"] + row["rows"] * (len(one.name.encode()) + 6) for row in facts[one.name])
        (kept if size <= room else left).append(one)
        room -= size if size <= room else 0
    return kept, left


def _value(text: Column, kind: str | None) -> Column:
    if kind == BOOLEAN:
        return F.when(F.lower(text).isin(*_TRUE), F.lit(True)).when(F.lower(text).isin(*_FALSE), F.lit(False))
    if kind == NUMBER:
        number = text.try_cast("double")
        return F.when(F.abs(number) < float("inf"), number)
    if kind == TIME:  # of a typed file, in epoch seconds
        return F.coalesce(times.whole(text), times.read(text, F.lit(None).cast("bigint")).seconds)
    return _cut(text)


def _cut(text: Column) -> Column:
    """A text of the greatest length; none for a longer address of the web, which a cut would break."""
    is_long = F.length(text) > item_fields.TEXT_CHARACTERS
    return F.when(~is_long, text).when(~_is_address(text), F.substring(text, 1, item_fields.TEXT_CHARACTERS))


def _is_address(text: Column) -> Column:
    return text.rlike("^[A-Za-z]{2,10}:[^ ]+$")


def _present(text: Column) -> Column:
    trimmed = F.trim(text)
    return F.when(~F.lower(trimmed).isin(*_MISSING), trimmed)


def _column(one: Further) -> Column:
    return F.col(parquet_files.quoted(one.name))


def _of_columns(
    beyond: Sequence[Further], too_large: Sequence[Further], facts: Mapping[str, Sequence[Any]]
) -> Iterator[Finding]:
    if beyond:
        yield (
            "catalogue-columns",
            f"the catalogue has {len(beyond)} further columns beyond the limit of {item_fields.COLUMNS}, which are "
            f"left out: {_listed(beyond)}",
        )
    if too_large:
        size = sum(row["bytes"] for one in too_large for row in facts[one.name])
        yield (
            "catalogue-columns",
            f"the further columns of the catalogue have more than {item_fields.TOTAL_BYTES >> 20} MiB; left out are "
            f"{_listed(too_large)} with {size >> 20} MiB",
        )


def _of_values(columns: Sequence[Further], facts: Mapping[str, Sequence[Any]]) -> Iterator[Finding]:
    for one in columns:
        most, others = facts[one.name][0], facts[one.name][1:]
        total = sum(row["rows"] for row in facts[one.name])
        if one.kind == TEXT and others and most["kind"] != TEXT and most["rows"] / total >= _NEARLY_ALL:
            yield (
                "catalogue-types",
                f"the column {printable(one.source, 60)} of the catalogue is text: {total - most['rows']} of {total} "
                f"values are no {_NONE_OF[most['kind']]}, such as {printable(str(others[0]['example']), 40)!r}",
            )
    for name in ("title", *(one.name for one in columns if one.kind == TEXT)):
        long, addresses = (sum(row[part] for row in facts.get(name, ())) for part in ("long", "addresses"))
        if long:
            left = f" ({addresses} are addresses, and left out)" if addresses else ""
            yield (
                "catalogue-texts",
                f"{long} values of {printable(name, 60)} in the catalogue have more than {item_fields.TEXT_CHARACTERS} "
                f"characters and are cut{left}",
            )


def _listed(columns: Sequence[Further]) -> str:
    names = ", ".join(printable(one.source, 60) for one in columns[:20])
    return names if len(columns) <= 20 else f"{names} and {len(columns) - 20} more"
