"""Reads text files as rows of strings: delimited text and JSON lines, by their layout (`contracts/layouts.py`)."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from contracts.layouts import WINDOWS, Layout, complete_line
from spark_session import java_class

#: Characters of one field that spans several lines; above, a quote was probably opened by mistake.
_MOST_CHARACTERS = 1_000_000
ZSTD_CODEC = "io.airlift.compress.zstd.ZstdCodec"


def read_rows(session: SparkSession, layout: Layout, paths: Sequence[str], names: Sequence[str]) -> DataFrame:
    """The columns `names` as `_0`, `_1`…, all strings, null or empty for missing values; `_line`, the raw row if it
    does not fit the layout, otherwise null; and `_file`.
    """
    if layout.kind == "json":
        return _read_json(session, paths, names)
    positions = [layout.names.index(name) for name in names]
    table = (_read_multiline if layout.is_multiline else _read_lines)(session, layout, paths, positions)
    if layout.header is None and 0 in positions:  # with a header, the mark is part of it
        table = table.withColumn(f"_{positions.index(0)}", F.ltrim(f"_{positions.index(0)}", F.lit("\ufeff")))
    return table


def _read_lines(session: SparkSession, layout: Layout, paths: Sequence[str], positions: Sequence[int]) -> DataFrame:
    """Each line is a row. Lines equal to the header are left out, and those without any value, as a spreadsheet writes
    them.
    """
    raw = F.col("value")
    lines = session.read.text(list(paths)).select(
        decoded(raw, layout).alias("value"), F.input_file_name().alias("_file")
    )
    value, width = F.col("value"), len(layout.names)
    is_row = F.ltrim(value, F.lit(f'{layout.separator}" \t')) != ""
    if left_out := [line for line in (*layout.skipped, layout.header) if line is not None]:
        is_row &= ~value.isin(*left_out)
    parts = F.split(value, re.escape(layout.separator), -1)
    if layout.is_quoted:
        parts = F.when(value.contains('"'), split_quoted(value, layout.separator, width)).otherwise(parts)
    fields = lines.where(is_row).select("value", "_file", parts.alias("parts"))
    return fields.select(
        *(F.get("parts", F.lit(place)).alias(f"_{number}") for number, place in enumerate(positions)),
        F.when(F.size("parts") != width, value).alias("_line"),
        "_file",
    )


def decoded(raw: Column, layout: Layout) -> Column:
    """A line as valid text. After a beginning in ASCII, each line that is not UTF-8 is read as Latin-1."""
    latin_1 = _as_windows(F.decode(raw.cast("binary"), "ISO-8859-1"))
    if layout.encoding == "latin-1":
        return latin_1
    return (
        F.make_valid_utf8(raw) if layout.encoding == "utf-8" else F.when(F.is_valid_utf8(raw), raw).otherwise(latin_1)
    )


def _as_windows(latin_1: Column) -> Column:
    """A text that was decoded as Latin-1, with the characters of Windows-1252, which Spark cannot decode."""
    return F.translate(latin_1, "".join(WINDOWS), "".join(WINDOWS.values()))


def split_quoted(value: Column, separator: str, width: int) -> Column:
    """An array of the fields of a line; empty if their number is not `width`."""
    options = {"sep": separator, "quote": '"', "escape": '"', "columnNameOfCorruptRecord": "_line"}
    names = [f"_{number}" for number in range(width)]
    parsed = F.from_csv(value, ", ".join(f"{name} string" for name in [*names, "_line"]), options)
    fields = F.array(*(parsed[name] for name in names))
    return F.when(parsed["_line"].isNull(), fields).otherwise(F.array().cast("array<string>"))


def _read_multiline(session: SparkSession, layout: Layout, paths: Sequence[str], positions: Sequence[int]) -> DataFrame:
    """CSV by RFC 4180, where a quoted field may have line breaks. One task reads a whole file."""
    names = [f"_{number}" for number in range(len(layout.names))]
    table = session.read.csv(
        list(paths),
        schema=_strings([*names, "_line"]),
        header=layout.header is not None and not layout.skipped,
        enforceSchema=True,
        sep=layout.separator,
        encoding="UTF-8" if layout.encoding == "utf-8" else "ISO-8859-1",
        quote='"',
        escape='"',
        mode="PERMISSIVE",
        columnNameOfCorruptRecord="_line",
        multiLine=True,
        maxCharsPerColumn=_MOST_CHARACTERS,
    )

    def decoded(name: str) -> Column:
        """After a beginning in ASCII, a value is in UTF-8 if its bytes are; otherwise it is Latin-1."""
        if layout.encoding == "utf-8":
            return F.col(name)
        raw, latin_1 = F.encode(F.col(name), "ISO-8859-1").cast("string"), _as_windows(F.col(name))
        return F.when(F.is_valid_utf8(raw), raw).otherwise(latin_1) if layout.encoding == "ascii" else latin_1

    is_row = F.coalesce(*names, "_line").isNotNull()
    for line in [*layout.skipped, layout.header] if layout.skipped else []:
        values = next(csv.reader([line or ""], delimiter=layout.separator), [])
        values += [""] * (len(names) - len(values))
        own = [F.coalesce(decoded(name), F.lit("")) for name in names]
        own[0] = F.ltrim(own[0], F.lit("\ufeff"))
        is_row &= ~reduce(Column.__and__, [text == value for text, value in zip(own, values, strict=False)])
    return table.where(is_row).select(
        *(decoded(f"_{place}").alias(f"_{number}") for number, place in enumerate(positions)),
        "_line",
        F.input_file_name().alias("_file"),
    )


def _read_json(session: SparkSession, paths: Sequence[str], names: Sequence[str]) -> DataFrame:
    table = session.read.json(
        list(paths),
        schema=_strings([*names, "_line"]),
        encoding="UTF-8",
        lineSep="\n",
        mode="PERMISSIVE",
        columnNameOfCorruptRecord="_line",
    )
    renamed = table.toDF(*(f"_{number}" for number in range(len(names))), "_line")
    return renamed.select("*", F.input_file_name().alias("_file"))


def _strings(names: Sequence[str]) -> StructType:
    return StructType([StructField(name, StringType()) for name in names])


def has_open_quotes(text: bytes, separator: str) -> bool:
    """True if in some line of a file a quoted field goes on in the next one."""
    if b'"' not in text:
        return False
    is_complete = re.compile(complete_line(separator)).search
    lines = re.split(r"\r\n|\r|\n", text.decode("latin-1"))
    return any('"' in line and not is_complete(line) for line in lines)


def with_open_quotes(session: SparkSession, paths_by_separator: dict[str, list[str]]) -> set[str]:
    """The files (as `input_file_name` has them) in which a quoted field goes on in the next line."""
    value = F.col("value")
    found = [
        session.read.text(paths)
        .where(value.contains('"') & ~value.rlike(complete_line(separator)))
        .select(F.input_file_name().alias("file"))
        for separator, paths in paths_by_separator.items()
    ]
    return {row["file"] for row in reduce(DataFrame.unionByName, found).distinct().collect()} if found else set()


def enable_zstd(session: SparkSession) -> None:
    """Makes Spark read `.zst` without Hadoop's native library, where that is missing."""
    configuration: Any = session.sparkContext._jsc.hadoopConfiguration()
    if not java_class(session, "org.apache.hadoop.io.compress.ZStandardCodec").isNativeCodeLoaded():
        configuration.set("io.compression.codecs", ZSTD_CODEC)
