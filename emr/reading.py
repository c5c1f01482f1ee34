"""Reads interactions and the catalogue as text from every supported format; `cleaning` checks the values.

Every reader returns the same columns, all strings, null if the file has no such value:
`user_id, item_id, timestamp, event_type, weight, line` and `file`. `line` is the raw row if it has too few or too many
fields, otherwise null; `weight` is "1" if the file has no such column.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from multiprocessing.pool import ThreadPool

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegralType,
    NumericType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from arguments import Columns
from refusal import Refused, printable
from storage import Storage, StoredFile, literal_path

#: https://files.grouplens.org/datasets/movielens/ml-latest-small-README.html and ml-1m-README.txt
MOVIELENS = Columns(user="userId", item="movieId", timestamp="timestamp", weight="rating", is_weight_required=True)
_MOVIELENS_COMPANIONS = frozenset({"tags", "links", "users", "genome-scores", "genome-tags", "readme"})

_FAMILIES = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".parquet": "parquet",
    ".dat": "movielens-dat",
    ".dat.gz": "movielens-dat",
}
_CATALOGUE_STEMS = frozenset({"items", "movies"})
_TITLE_COLUMNS = ("title", "name")
_CATEGORY_COLUMNS = ("category", "genres")

_HEADER_BYTES = 64 * 1024
_HEADER_READERS = 16


@dataclass(frozen=True)
class InteractionFiles:
    """Files with the same layout, which are read together: `format`, and `header`, the column names (may be empty)."""

    format: str
    header: tuple[str, ...]
    files: tuple[StoredFile, ...]


@dataclass(frozen=True)
class Source:
    """Contents of a source: interactions as text, the catalogue (`item_id, title, category`) or None, and format."""

    interactions: DataFrame
    catalogue: DataFrame | None
    format: str
    files: int
    size: int
    warnings: tuple[str, ...]


def read_source(
    session: SparkSession, storage: Storage, source: str, items: str | None, file_format: str, columns: Columns
) -> Source:
    """Reads a source folder or file.

    Raises Refused if there is nothing to read or a column is missing, PreparationFailed if a file is unreadable.
    """
    found = storage.list_files(source)
    catalogue_files = None
    if items is not None:
        catalogue_files = [file for file in storage.list_files(items) if not is_hidden(file.path)]
        if not catalogue_files:
            raise Refused(f"the catalogue {items} does not exist or has no file")
    interaction_files, own_catalogue, warnings = choose_files(found, file_format)
    if catalogue_files is not None:
        catalogue_uris = {file.uri for file in catalogue_files}
        interaction_files = [file for file in interaction_files if file.uri not in catalogue_uris]
    if not interaction_files:
        names = ", ".join(printable(file.path) for file in found[:10]) or "no file at all"
        raise Refused(f"no interactions (rows=0): {source} has {names}")
    filled = [file for file in interaction_files if file.size > 0]
    warnings += [f"{printable(file.path)} is empty" for file in interaction_files if file.size == 0]
    if not filled:
        raise Refused(f"no interactions (rows=0): {', '.join(printable(f.path) for f in interaction_files[:10])} empty")

    groups = group_by_layout(storage, filled, file_format)
    frames = []
    for group in groups:
        frame, extra = _read_group(session, group, columns)
        frames.append(frame)
        if extra:
            warnings.append(f"{printable(group.files[0].path)}: columns not used: {', '.join(map(printable, extra))}")
    catalogue_files = own_catalogue if catalogue_files is None else catalogue_files
    catalogue = read_catalogue(session, storage, [f for f in catalogue_files if f.size > 0], columns)
    return Source(
        interactions=reduce(DataFrame.unionByName, frames),
        catalogue=catalogue,
        format="+".join(sorted({group.format for group in groups})),
        files=len(filled),
        size=sum(file.size for file in filled),
        warnings=tuple(warnings),
    )


def is_hidden(path: str) -> bool:
    """True if a file in the source is not data: a part of its path starts with `_` or `.`."""
    return any(part.startswith(("_", ".")) for part in path.split("/"))


def family_of(name: str) -> str | None:
    """`csv`, `parquet` or `movielens-dat` by the file's ending; None for other endings."""
    lowered = name.lower()
    return next((family for ending, family in _FAMILIES.items() if lowered.endswith(ending)), None)


def _stem(file: StoredFile) -> str:
    return file.name.lower().split(".")[0]


def choose_files(files: Iterable[StoredFile], file_format: str) -> tuple[list[StoredFile], list[StoredFile], list[str]]:
    """Splits a listing into interaction files, catalogue files and warnings about other files.

    With an explicit format, files without an ending are read too: Hadoop writes such names.
    """
    visible = [file for file in files if not is_hidden(file.path)]
    wanted = {"movielens-csv": "csv"}.get(file_format, file_format)
    is_movielens = file_format != "csv" and any(_stem(f) == "ratings" and family_of(f.name) for f in visible)
    interactions, catalogue, warnings = [], [], []
    for file in visible:
        family = family_of(file.name)
        if family is not None and _stem(file) in _CATALOGUE_STEMS:
            catalogue.append(file)
        elif is_movielens and _stem(file) in _MOVIELENS_COMPANIONS:
            warnings.append(f"{printable(file.path)} is not used: it belongs to MovieLens, but has no ratings")
        elif file_format == "auto" and family is None:
            warnings.append(f"{printable(file.path)} is not used: not .csv, .csv.gz, .parquet or .dat")
        elif file_format != "auto" and family != wanted and "." in file.name:
            warnings.append(f"{printable(file.path)} is not used: the requested format is {file_format}")
        else:
            interactions.append(file)
    return interactions, catalogue, warnings


def group_by_layout(storage: Storage, files: Sequence[StoredFile], file_format: str) -> list[InteractionFiles]:
    """Groups files that can be read together: CSV files by header, because Spark matches their columns by position."""
    families = [file_format if file_format != "auto" else family_of(file.name) or "csv" for file in files]
    with_header = [file for file, family in zip(files, families, strict=True) if family in ("csv", "movielens-csv")]
    headers = dict(zip(with_header, read_headers(storage, with_header), strict=True))
    groups: dict[tuple[str, tuple[str, ...]], list[StoredFile]] = {}
    for file, family in zip(files, families, strict=True):
        header = headers.get(file, ())
        if file_format == "auto" and family == "csv" and set(MOVIELENS.required()) <= set(header):
            family = "movielens-csv"
        groups.setdefault((family, header), []).append(file)
    return [InteractionFiles(family, header, tuple(members)) for (family, header), members in sorted(groups.items())]


def read_headers(storage: Storage, files: Sequence[StoredFile]) -> list[tuple[str, ...]]:
    """The header of each CSV file, in order. Raises Refused if it is not UTF-8, PreparationFailed if unreadable."""
    if not files:
        return []

    def head(file: StoredFile) -> tuple[str, ...]:
        return parse_header(storage.read_start(file.uri, _HEADER_BYTES), file.path)

    with ThreadPool(min(_HEADER_READERS, len(files))) as pool:
        return pool.map(head, files)


def parse_header(start: bytes, path: str) -> tuple[str, ...]:
    """Column names in the first line that is not blank, without byte-order mark and outer spaces; () without one."""
    text = start.decode("utf-8-sig", errors="replace")
    try:
        rows = csv.reader(io.StringIO(text, newline=""))
        names = next((tuple(name.strip() for name in row) for row in rows if any(map(str.strip, row))), ())
    except csv.Error as error:
        raise Refused(f"the header of {printable(path)} is not CSV: {error}") from error
    if any("\N{REPLACEMENT CHARACTER}" in name or "\x00" in name for name in names):
        raise Refused(f"the header of {printable(path)} is not UTF-8 text")
    return names


def column_difference(required: Sequence[str], found: Sequence[str], path: str) -> str | None:
    """A sentence with the missing or repeated columns, the found and the expected ones; None if each is there once."""
    missing = [name for name in required if name not in found]
    twice = [name for name in required if list(found).count(name) > 1]
    if not missing and not twice:
        return None
    named = ", ".join(repr(name) for name in missing or twice)
    columns = "columns" if len(missing or twice) > 1 else "column"
    problem = f"{'are' if columns == 'columns' else 'is'} {'missing' if missing else 'there more than once'}"
    has = ", ".join(printable(name, 60) for name in found[:30]) or "no column"
    return f"{columns} {named} {problem}; the file has {has} ({printable(path)}; expected {', '.join(required)})"


def _read_group(session: SparkSession, group: InteractionFiles, columns: Columns) -> tuple[DataFrame, list[str]]:
    if group.format == "movielens-dat":
        return _read_ratings_dat(session, group.files), []
    paths = [literal_path(file.uri) for file in group.files]
    if group.format == "movielens-csv":
        columns = replace(
            MOVIELENS, is_event_type_required=columns.is_event_type_required, event_type=columns.event_type
        )
    if group.format == "parquet":
        table = session.read.option("mergeSchema", True).parquet(*paths)
        names = tuple(table.columns)
        _require(columns, names, group)
        fields = {
            name: _parquet_text(table.schema[name], name, columns, group) for name in names if name in columns.used()
        }
        line: Column = F.lit(None).cast("string")
    else:
        names = group.header
        _require(columns, names, group)
        table = _read_csv(session, paths, len(names))
        fields = {name: F.col(f"_{position}") for position, name in enumerate(names) if name in columns.used()}
        line = F.col("_line")
    nothing = F.lit(None).cast("string")
    frame = table.select(
        fields[columns.user].alias("user_id"),
        fields[columns.item].alias("item_id"),
        fields.get(columns.timestamp, nothing).alias("timestamp"),
        fields.get(columns.event_type, nothing).alias("event_type"),
        fields.get(columns.weight, F.lit("1")).alias("weight"),
        line.alias("line"),
        F.input_file_name().alias("file"),
    )
    return frame, [name for name in names if name not in columns.used()]


def _require(columns: Columns, names: tuple[str, ...], group: InteractionFiles) -> None:
    optional = [name for name in (columns.event_type, columns.weight) if name in names]
    difference = column_difference([*dict.fromkeys((*columns.required(), *optional))], names, group.files[0].path)
    if difference:
        raise Refused(difference)


def _read_csv(session: SparkSession, paths: Sequence[str], width: int, is_multiline: bool = False) -> DataFrame:
    """CSV by RFC 4180: columns `_0.._n` by position; `_line` is the raw row if its number of fields differs."""
    schema = StructType([StructField(f"_{position}", StringType()) for position in range(width)]).add("_line", "string")
    return session.read.csv(
        list(paths),
        schema=schema,
        header=True,
        enforceSchema=True,
        encoding="UTF-8",
        quote='"',
        escape='"',
        mode="PERMISSIVE",
        columnNameOfCorruptRecord="_line",
        multiLine=is_multiline,
    )


def _read_ratings_dat(session: SparkSession, files: Sequence[StoredFile]) -> DataFrame:
    """`UserID::MovieID::Rating::Timestamp`, without a header."""
    value = F.col("value")
    parts = F.split(value, "::", -1)
    return (
        session.read.text([literal_path(file.uri) for file in files])
        .where(F.trim(value) != "")
        .select(
            F.get(parts, F.lit(0)).alias("user_id"),
            F.get(parts, F.lit(1)).alias("item_id"),
            F.get(parts, F.lit(3)).alias("timestamp"),
            F.lit(None).cast("string").alias("event_type"),
            F.get(parts, F.lit(2)).alias("weight"),
            F.when(F.size(parts) != 4, value).alias("line"),
            F.input_file_name().alias("file"),
        )
    )


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _parquet_text(field: StructField, name: str, columns: Columns, group: InteractionFiles) -> Column:
    """A Parquet column as the text that a CSV file would have. Raises Refused for a type that does not fit."""
    column, kind = F.col(_quoted(name)), field.dataType
    is_id = name in (columns.user, columns.item)
    whole = isinstance(kind, IntegralType) or (isinstance(kind, DecimalType) and kind.scale == 0)
    if isinstance(kind, StringType) or whole:
        return column.cast("string")
    if name == columns.timestamp and isinstance(kind, TimestampType | TimestampNTZType | DateType):
        return F.unix_seconds(column.cast("timestamp")).cast("string")
    if name == columns.timestamp and isinstance(kind, FloatType | DoubleType):
        number = column.cast("double")
        return F.coalesce(
            F.when(F.floor(number) == number, number.try_cast("bigint").cast("string")), number.cast("string")
        )
    if name == columns.weight and isinstance(kind, NumericType):
        return column.cast("string")
    expected = "text or whole numbers" if is_id or name != columns.weight else "a number"
    raise Refused(_wrong_type(name, kind, expected, group))


def _wrong_type(name: str, kind: DataType, expected: str, group: InteractionFiles) -> str:
    return f"column {name!r} has type {kind.simpleString()}, not {expected} ({printable(group.files[0].path)})"


def read_catalogue(
    session: SparkSession, storage: Storage, files: Sequence[StoredFile], columns: Columns
) -> DataFrame | None:
    """The catalogue as `item_id, title, category`, unchecked; None without files. Raises Refused without ids."""
    frames = []
    for file in files:
        family = family_of(file.name) or "csv"
        path = literal_path(file.uri)
        if family == "movielens-dat":
            frames.append(_read_movies_dat(session, path))
            continue
        if family == "parquet":
            table = session.read.parquet(path)
            names = tuple(table.columns)
            fields = {name: F.col(_quoted(name)) for name in names}
        else:
            names = parse_header(storage.read_start(file.uri, _HEADER_BYTES), file.path)
            table = _read_csv(session, [path], len(names), is_multiline=True)
            fields = {name: F.col(f"_{position}") for position, name in enumerate(names)}
        identifiers = dict.fromkeys((columns.item, "item_id", "id", "itemId", "movieId"))
        identifier = next((name for name in identifiers if name in fields), None)
        if identifier is None:
            has = ", ".join(printable(name, 60) for name in names[:30]) or "no column"
            raise Refused(f"the catalogue {printable(file.path)} has no id: expected {columns.item} or id, found {has}")
        title = next((fields[name] for name in _TITLE_COLUMNS if name in fields), F.lit(None))
        category = next((fields[name] for name in _CATEGORY_COLUMNS if name in fields), F.lit(None))
        frames.append(
            table.select(
                fields[identifier].cast("string").alias("item_id"),
                title.cast("string").alias("title"),
                category.cast("string").alias("category"),
            )
        )
    return reduce(DataFrame.unionByName, frames) if frames else None


def _read_movies_dat(session: SparkSession, path: str) -> DataFrame:
    """`MovieID::Title::Genres`; MovieLens 1M is in Latin-1, later versions are in UTF-8."""
    value = F.col("value")
    text = F.when(F.is_valid_utf8(value), value).otherwise(F.decode(value.cast("binary"), "ISO-8859-1"))
    parts = F.split(text, "::", -1)
    return session.read.text(path).select(
        F.get(parts, F.lit(0)).alias("item_id"),
        F.get(parts, F.lit(1)).alias("title"),
        F.get(parts, F.lit(2)).alias("category"),
    )
