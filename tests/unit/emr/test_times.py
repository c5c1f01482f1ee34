"""`emr/times.py` with patterns: Spark reads a text by the pattern that `contracts/time_forms.py` finds for it."""

from __future__ import annotations

from typing import Any

from pyspark.sql import functions as F

import times
from tests.times import BY_PATTERN

MIDNIGHT = 1_699_920_000
"""2023-11-14 in epoch seconds."""


def expected(pattern: str) -> int:
    """2023-11-14, 22:13:20, as exact as a text of this pattern."""
    if "H" not in pattern and "h" not in pattern:
        return MIDNIGHT
    return MIDNIGHT + 22 * 3600 + 13 * 60 + (20 if "ss" in pattern else 0)


def test_spark_reads_each_form_by_its_pattern(spark: Any) -> None:
    nothing = F.lit(None).cast("bigint")
    read = spark.range(1).select(*(times.read(F.lit(text), nothing, pattern).seconds for text, pattern in BY_PATTERN))
    found = dict(zip((text for text, _ in BY_PATTERN), read.head(), strict=True))
    assert found == {text: expected(pattern) for text, pattern in BY_PATTERN}


def test_another_text_is_no_time(spark: Any) -> None:
    nothing, pattern = F.lit(None).cast("bigint"), "EEE, d MMM yyyy"
    texts = ("Tue, 14 Nov 2023", "14 Nov 2023", "soon", "Tue, 32 Nov 2023")
    read = spark.range(1).select(*(times.read(F.lit(text), nothing, pattern).seconds for text in texts))
    assert tuple(read.head()) == (MIDNIGHT, MIDNIGHT, None, None)
