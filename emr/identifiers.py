"""Ids as columns, by the rules of `contracts/ids.py`. Pure: columns in, columns out."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column
from pyspark.sql import functions as F

from contracts import ids


def of(text: Column) -> Column:
    """The id in a text: `contracts.ids.of`."""
    trimmed = without_blanks(text)
    return F.when(trimmed.startswith('="'), F.regexp_extract(trimmed, ids.FORMULA, 1)).otherwise(trimmed)


def without_blanks(text: Column) -> Column:
    """The text without blanks before and after it, also tabs and those that do not break a line."""
    # Spark's trim of a set of characters is slow: parsing took up to 1.4 us more a row.
    others = (text.contains(blank) for blank in ids.BLANKS if blank != " ")
    return F.when(reduce(Column.__or__, others), F.btrim(text, F.lit(ids.BLANKS))).otherwise(F.trim(text))
