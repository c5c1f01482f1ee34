"""Reads Parquet files as rows of strings, as a CSV file of the same table would have them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegralType,
    NumericType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from contracts.columns import Columns
from refusal import Refused, printable
from spark_session import java_class

T = TypeVar("T")


@dataclass(frozen=True)
class Schema:
    """A file's columns: `names`, those of them that are times in nanoseconds, and `text`, the schema itself. message:
    Java's object of it.
    """

    names: tuple[str, ...]
    nanoseconds: frozenset[str]
    text: str
    message: Any = field(compare=False, repr=False)


def read_schema(session: SparkSession, uri: str) -> Schema:
    """The schema in a file's footer. Raises Py4JJavaError if it is unreadable."""
    schema = _footer(session, uri, lambda reader: reader.getFooter().getFileMetaData().getSchema())
    fields = [schema.getType(position) for position in range(schema.getFieldCount())]
    nanoseconds = {one.getName() for one in fields if "TIMESTAMP(NANOS" in str(one.getLogicalTypeAnnotation())}
    return Schema(tuple(one.getName() for one in fields), frozenset(nanoseconds), str(schema.toString()), schema)


def read_extent(session: SparkSession, uri: str, columns: Collection[str]) -> tuple[int, dict[str, int]]:
    """The number of rows by a file's footer, and the greatest value of those of `columns`, of whole numbers, that it
    has. Raises Py4JJavaError if it is unreadable.
    """

    def read(reader: Any) -> tuple[int, dict[str, int]]:
        greatest: dict[str, int] = {}
        for block in reader.getFooter().getBlocks():
            for chunk in block.getColumns():
                name, found = chunk.getPath().toDotString(), chunk.getStatistics()
                if name in columns and found.hasNonNullValue():
                    greatest[name] = max(found.genericGetMax(), greatest.get(name, 0))
        return int(reader.getRecordCount()), greatest

    return _footer(session, uri, read)


def _footer(session: SparkSession, uri: str, read: Callable[[Any], T]) -> T:
    path = java_class(session, "org.apache.hadoop.fs.Path")(uri)
    configuration = session.sparkContext._jsc.hadoopConfiguration()
    source = java_class(session, "org.apache.parquet.hadoop.util.HadoopInputFile").fromPath(path, configuration)
    reader = java_class(session, "org.apache.parquet.hadoop.ParquetFileReader").open(source)
    try:
        return read(reader)
    finally:
        reader.close()


def read_rows(
    session: SparkSession, schema: Schema, paths: Sequence[str], columns: Columns, names: Sequence[str], called: str
) -> tuple[DataFrame, list[str]]:
    """The columns `names` of files with this schema, as `text_files.read_rows` returns them, and the columns of whole
    numbers that have a floating-point type. Raises Refused for a type that has no text.
    """
    lowered = {own.lower(): own for own in names}
    if alike := [name for name in schema.names if lowered.get(name.lower(), name) != name]:
        raise Refused(
            f"{printable(called)} has two columns whose names differ in case alone, as {printable(alike[0])}: give one "
            "of them another name"
        )
    try:
        table = session.read.schema(_types(session, schema, names)).parquet(*paths)
    except AnalysisException as error:
        raise Refused(
            f"{printable(called)} has a column of a type that cannot be read, write it as text: {_first_line(error)}"
        ) from error
    texts = [_text(table, schema, name, columns, called).alias(f"_{place}") for place, name in enumerate(names)]
    floats = [name for name in names if isinstance(table.schema[name].dataType, FloatType | DoubleType)]
    frame = table.select(*texts, F.lit(None).cast("string").alias("_line"), F.input_file_name().alias("_file"))
    return frame, [name for name in floats if name in (columns.user, columns.item)]


def _types(session: SparkSession, schema: Schema, names: Sequence[str]) -> StructType:
    """The types of the columns `names`. Those that are not used may have types that Spark cannot read. Raises
    AnalysisException.
    """
    fields = java_class(session, "java.util.ArrayList")()
    for name in dict.fromkeys(names):
        fields.add(schema.message.getType(schema.message.getFieldIndex(name)))
    own = java_class(session, "org.apache.parquet.schema.MessageType")("rows", fields)
    package = "org.apache.spark.sql.execution.datasources.parquet"
    converter = java_class(session, f"{package}.ParquetToSparkSchemaConverter")
    conf = session._jsparkSession.sessionState().conf()
    return StructType.fromJson(json.loads(converter(conf).convert(own).json()))


def _first_line(error: AnalysisException) -> str:
    return str(error).splitlines()[0]


def quoted(name: str) -> str:
    """`name` for F.col, which reads dots as the path into a structure."""
    return "`" + name.replace("`", "``") + "`"


def _text(table: DataFrame, schema: Schema, name: str, columns: Columns, called: str) -> Column:
    column, kind = F.col(quoted(name)), table.schema[name].dataType
    if name in schema.nanoseconds:
        return F.expr(f"{quoted(name)} div 1000000000").cast("string")
    if name == columns.timestamp and isinstance(kind, TimestampType | TimestampNTZType | DateType):
        return F.unix_seconds(column.cast("timestamp")).cast("string")
    if isinstance(kind, StringType | IntegralType | DecimalType):
        return column.cast("string")
    if name == columns.weight and isinstance(kind, NumericType):
        return column.cast("string")
    if isinstance(kind, FloatType | DoubleType) and name == columns.timestamp:
        # Fractions do not count in any unit, and as text they would be 1.7000000005E9.
        return F.when(~F.isnan(column), F.floor(column.cast("double")).cast("string"))
    if isinstance(kind, FloatType | DoubleType):
        return whole_numbers(column)
    expected = "a number" if name == columns.weight else "text or numbers"
    raise Refused(f"column {name!r} has type {kind.simpleString()}, not {expected} ({printable(called)})")


def whole_numbers(column: Column) -> Column:
    """A floating-point column as text: whole numbers as integers, NaN as null."""
    number = column.cast("double")
    whole = F.when(F.floor(number) == number, number.try_cast("bigint").cast("string"))
    return F.when(~F.isnan(number), F.coalesce(whole, column.cast("string")))
