"""Reads the catalogue: id, title and category of each item, and its further columns, all as text.

`item_columns` finds the types of the further columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    FloatType,
    MapType,
    NumericType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

import parquet_files
import text_files
from contracts.column_names import catalogue_id, normal
from contracts.item_fields import BOOLEAN, NAME_CHARACTERS, NUMBER, TEXT, TIME
from contracts.layouts import Layout
from refusal import Refused, printable
from storage import StoredFile, literal_path

_TITLES = ("title", "name", "itemname", "productname", "prodname", "movietitle", "booktitle", "description")
_CATEGORIES = (
    "category", "genres", "genre", "categories", "categorycode", "categoryl1", "categoryname", "department",
    "departmentname", "producttype", "producttypename", "class",
)  # fmt: skip
ITEMS = ("item_index", "item_id", "title", "category", "is_withdrawn")
"""The columns of `items/` beside the further ones."""


@dataclass(frozen=True)
class Further:
    """A column beside id, title and category. name: in the dataset; source: in the file; kind: None if only the values
    tell it.
    """

    name: str
    source: str
    kind: str | None = None


@dataclass(frozen=True)
class Catalogue:
    """The catalogue as text: `item_id, title, category`, the columns `further`, and `is_whole`, false for a row whose
    values are not those of the columns.
    """

    rows: DataFrame
    further: tuple[Further, ...] = field(default=())


def read(session: SparkSession, files: Sequence[tuple[StoredFile, Layout]], items: set[str]) -> Catalogue | None:
    """The catalogue, unchecked; None without files. `items`: the names of the column of items in the interactions.
    Raises Refused without ids.
    """
    if not files:
        return None
    names = safe_names(name for _, layout in files for name in _further(layout, items))
    tables = [_read_file(session, file, layout, items, names) for file, layout in files]
    found: dict[str, Further] = {}
    for column in (column for _, further in tables for column in further):
        known = found.setdefault(column.name, column)
        if known.kind != column.kind:
            found[column.name] = Further(column.name, column.source)
    rows = reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), (frame for frame, _ in tables))
    return Catalogue(rows, tuple(found.values()))


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """Names for the dataset: letters, digits and `_`, at most `NAME_CHARACTERS`, each once without regard to case."""
    taken, safe = {*ITEMS}, dict[str, str]()
    for name in dict.fromkeys(names):
        stem = re.sub(r"\W+", "_", name).strip("_")[:NAME_CHARACTERS] or "column"
        choice, number = stem, 1
        while choice.casefold() in taken:
            number += 1
            choice = f"{stem[: NAME_CHARACTERS - len(str(number)) - 1]}_{number}"
        taken.add(choice.casefold())
        safe[name] = choice
    return safe


def _read_file(
    session: SparkSession, file: StoredFile, layout: Layout, items: set[str], names: Mapping[str, str]
) -> tuple[DataFrame, list[Further]]:
    known = _columns(layout, items)
    if known[0] is None:
        has = ", ".join(printable(name, 60) for name in layout.names[:30]) or "no column"
        raise Refused(
            f"the catalogue {printable(file.path)} has no id: it has {has}; call the column item_id, or give the file "
            "another name"
        )
    path, further = literal_path(file.uri), _further(layout, items)
    if layout.kind == "parquet":
        return _read_parquet(session, file.uri, path, known, [Further(names[name], name) for name in further])
    used = [name for name in known if name]
    table = text_files.read_rows(session, layout, [path], [*used, *further])
    kinds = _json_kinds(session, path) if layout.kind == "json" else {}
    columns = [Further(names[name], name, kinds.get(name)) for name in further]
    is_whole = F.col("_line").isNull()
    described = [F.col(f"_{used.index(name)}") if name else None for name in known]
    values = [F.when(is_whole, F.col(f"_{place}")) for place in range(len(used), len(used) + len(further))]
    return table.select(*_aliased(described, columns, values), is_whole.alias("is_whole")), columns


def _read_parquet(
    session: SparkSession, uri: str, path: str, known: Sequence[str | None], further: Sequence[Further]
) -> tuple[DataFrame, list[Further]]:
    table, nanoseconds = session.read.parquet(path), parquet_files.read_schema(session, uri).nanoseconds
    fields = [F.col(parquet_files.quoted(name)) if name else None for name in known]
    if known[0] and isinstance(table.schema[known[0]].dataType, FloatType | DoubleType):
        fields[0] = parquet_files.whole_numbers(F.col(parquet_files.quoted(known[0])))
    columns, values = [], []
    for one in further:
        column, kind = F.col(parquet_files.quoted(one.source)), kind_of(table.schema[one.source].dataType)
        if one.source in nanoseconds:
            kind, column = TIME, F.expr(f"{parquet_files.quoted(one.source)} div 1000000000")
        elif kind == TIME:
            column = F.unix_seconds(column.cast("timestamp"))
        elif isinstance(table.schema[one.source].dataType, ArrayType | MapType | StructType):
            column = F.to_json(column)
        if kind is not None:
            columns.append(Further(one.name, one.source, kind))
            values.append(column)
    return table.select(*_aliased(fields, columns, values), F.lit(True).alias("is_whole")), columns


def _aliased(known: Sequence[Column | None], further: Sequence[Further], values: Sequence[Column]) -> Iterable[Column]:
    for column, alias in zip(known, ("item_id", "title", "category"), strict=True):
        yield (F.lit(None) if column is None else column).cast("string").alias(alias)
    for column, one in zip(values, further, strict=True):
        yield column.cast("string").alias(one.name)


def kind_of(type_: DataType) -> str | None:
    """The kind of the values of a typed column; None for bytes, which no answer can have."""
    if isinstance(type_, BooleanType):
        return BOOLEAN
    if isinstance(type_, NumericType):
        return NUMBER
    if isinstance(type_, TimestampType | TimestampNTZType | DateType):
        return TIME
    return TEXT if isinstance(type_, StringType | ArrayType | MapType | StructType) else None


def _json_kinds(session: SparkSession, path: str) -> dict[str, str | None]:
    """The kinds of the columns of JSON lines whose values all have one type."""
    try:
        schema = session.read.json(path, encoding="UTF-8", lineSep="\n").schema
    except AnalysisException:  # names that differ by case alone
        return {}
    return {column.name: kind_of(column.dataType) for column in schema}


def _further(layout: Layout, items: set[str]) -> list[str]:
    """The names of the columns beside id, title and category; a name that is there twice is its first column."""
    known = _columns(layout, items)
    return [name for name in dict.fromkeys(layout.names) if name not in known] if layout.has_header else []


def _columns(layout: Layout, items: set[str]) -> tuple[str | None, str | None, str | None]:
    """The columns of ids, titles and categories. Without a header they are the first three, as in MovieLens' movies.dat
    (https://files.grouplens.org/datasets/movielens/ml-1m-README.txt); of more than three, only the first two.
    """
    names = layout.names
    if not layout.has_header:
        first = (*names[:2], *(names[2:] if len(names) == 3 else ()), None, None, None)
        return first[0], first[1], first[2]
    known = {normal(name): name for name in reversed(names)}
    identifier = catalogue_id(names, items)

    def first_of(choices: Sequence[str]) -> str | None:
        return next((known[name] for name in choices if name in known), None)

    others = [None if name == identifier else name for name in (first_of(_TITLES), first_of(_CATEGORIES))]
    return identifier, others[0], others[1]
