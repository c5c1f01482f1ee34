"""Writes files of drops again without the rows of forgotten people, where a function cannot: Parquet, zstd, large.

    preprocess.py --erase URI --receipt URI --drops URI(folder of the drops) --forgotten URI

`--erase` is `{"schemaVersion": "1.0", "files": [{"path", "userColumn"}]}`, paths below `--drops`, `userColumn` a name
or null. The receipt has `rows` and `removed` of each file, or the `problem` that left it as it was. Exit 0: the
receipt is written; any other: a fault.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, FloatType

import forgetting
import parquet_files
import text_files
from contracts import columns, sources
from contracts.columns import Given, NotSure
from contracts.forgotten import Forgotten
from contracts.layouts import HEAD_BYTES, Layout, Unreadable, find
from refusal import PreparationFailed, Refused
from spark_session import java_class, open_session
from storage import Storage, attempt, literal_path

_LARGEST = 2**31 - 1
_NATIVE_ZSTD = "org.apache.hadoop.io.compress.ZStandardCodec"


class CannotTell(ValueError):
    """Raised for a file whose rows cannot be told. The message has nothing of its content."""


def main(argv: Sequence[str]) -> int:
    """Writes the files again, one after the other, and then the receipt."""
    parser = argparse.ArgumentParser(prog="preprocess.py", allow_abbrev=False)
    for option in ("--erase", "--receipt", "--drops", "--forgotten"):
        parser.add_argument(option, required=True)
    options = parser.parse_args(argv)
    running = SparkSession.getActiveSession()
    session = open_session("erasing")
    try:
        storage = Storage(session)
        people = forgetting.read(storage, options.forgotten)
        storage.drop_checksum_files(options.drops)
        wanted = json.loads(storage.read_start(options.erase, _LARGEST))["files"]
        done = [_treat(session, storage, options.drops.rstrip("/"), file, people) for file in wanted]
        text = json.dumps({"schemaVersion": "1.0", "files": done}) + "\n"
        storage.write_whole(options.receipt, text, f"{options.receipt}.draft")
    finally:
        if running is None:
            session.stop()
    return 0


def _treat(
    session: SparkSession, storage: Storage, drops: str, file: dict[str, Any], people: Forgotten
) -> dict[str, Any]:
    """One file's entry of the receipt."""
    path = file["path"]
    try:
        rows, removed = write_again(session, storage, f"{drops}/{path}", file.get("userColumn"), people)
    except CannotTell as problem:
        return {"path": path, "problem": str(problem)}
    except (Unreadable, Refused, PreparationFailed, ValueError):
        return {"path": path, "problem": "cannot be read as rows"}  # other words could have the file's content
    return {"path": path, "rows": rows, "removed": removed}


def write_again(
    session: SparkSession, storage: Storage, uri: str, named: str | None, people: Forgotten
) -> tuple[int, int]:
    """Writes the file at `uri` again without the rows of forgotten people, if it has any; returns its rows, and those
    removed. Raises CannotTell, Unreadable, Refused or PreparationFailed, and leaves the file as it is.
    """
    is_parquet = sources.ending_of(uri) == sources.PARQUET_ENDING
    frame, is_theirs = (_parquet if is_parquet else _text)(session, storage, uri, named, people)
    marked = frame.withColumn("is_theirs", F.coalesce(is_theirs, F.lit(False)))
    facts = attempt(
        "read", uri, lambda: marked.agg(F.count("*").alias("rows"), F.count_if("is_theirs").alias("theirs")).head()
    )
    assert facts is not None
    if facts["theirs"]:
        folder, _, name = uri.rpartition("/")
        staging = f"{folder}/_erasing/{name}"
        writer = marked.where("not is_theirs").drop("is_theirs").coalesce(1).write.mode("overwrite")
        if is_parquet:
            attempt("write", staging, lambda: writer.parquet(staging))
        else:
            attempt("write", staging, lambda: writer.text(staging, compression=_codec(session, uri), lineSep="\n"))
        part = next(found for found in storage.list_files(staging) if found.name.startswith("part-"))
        storage.replace(part.uri, uri)
        storage.delete(f"{folder}/_erasing")
    return facts["rows"], facts["theirs"]


def _parquet(
    session: SparkSession, storage: Storage, uri: str, named: str | None, people: Forgotten
) -> tuple[DataFrame, Column]:
    schema = attempt("read", uri, lambda: parquet_files.read_schema(session, uri))
    user = _user_column(Layout("parquet", schema.names), named)
    try:
        frame = session.read.parquet(literal_path(uri))
    except AnalysisException as error:
        raise CannotTell("has a column of a type that Spark cannot write again") from error
    column = F.col(parquet_files.quoted(user))
    is_fraction = isinstance(frame.schema[user].dataType, FloatType | DoubleType)
    text = parquet_files.whole_numbers(column) if is_fraction else column.cast("string")
    return frame, forgetting.is_of(text, people)


def _text(
    session: SparkSession, storage: Storage, uri: str, named: str | None, people: Forgotten
) -> tuple[DataFrame, Column]:
    text_files.enable_zstd(session)
    head = storage.read_start(uri, HEAD_BYTES)
    if b"\r" in head and b"\n" not in head:
        raise CannotTell("has lines that end with a carriage return alone")
    layout = find(head, uri, len(head) < HEAD_BYTES)
    if layout.is_quoted and (
        layout.is_multiline or text_files.with_open_quotes(session, {layout.separator: [literal_path(uri)]})
    ):
        raise CannotTell("has quoted line breaks, and is of a kind that functions cannot write again")
    user = _user_column(layout, named)
    frame = session.read.text(literal_path(uri), lineSep="\n")
    value = F.regexp_replace(text_files.decoded(F.col("value"), layout), "\r$", "")
    anywhere = forgetting.is_among(F.split(value, forgetting.BETWEEN_FIELDS), people)
    if layout.kind == "json":
        found = F.get_json_object(value, f"$['{user}']")
        return frame, F.when(found.isNull(), anywhere).otherwise(forgetting.is_of(found, people))
    parts = F.split(value, re.escape(layout.separator), -1)
    if layout.is_quoted:
        split = text_files.split_quoted(value, layout.separator, len(layout.names))
        parts = F.when(value.contains('"'), split).otherwise(parts)
    theirs = forgetting.is_of(F.get(parts, F.lit(layout.names.index(user))), people)
    return frame, F.when(F.size(parts) == len(layout.names), theirs).otherwise(anywhere)


def _user_column(layout: Layout, named: str | None) -> str:
    for given in (Given(user=named), Given()) if named else (Given(),):
        try:
            return columns.named(layout, given, "the file")["user"]
        except NotSure as error:
            if layout.has_header and (user := error.suggestion.get("user")) in layout.names:
                return str(user)
    raise CannotTell("is not sure to have a column of users")


def _codec(session: SparkSession, uri: str) -> str:
    kind = sources.compression_of(uri)
    if kind != "zstd":
        return kind or "none"
    native = java_class(session, "org.apache.hadoop.io.compress.ZStandardCodec").isNativeCodeLoaded()
    return _NATIVE_ZSTD if native else text_files.ZSTD_CODEC
