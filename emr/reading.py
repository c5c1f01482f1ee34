"""Finds the interactions and the catalogue in a source, and reads them as text; `cleaning` checks the values.

Interactions have the same columns from every format, all strings, null or empty if the file has no such value:
`user_id, item_id, timestamp, event_type, weight, line` and `file`. `line` is the raw row if it does not fit the file's
layout, otherwise null; `weight` is "1" if the file has no such column and no events. If a file has ids of events, all
rows have `event_id`, and likewise `session_id`. If a drop says which event types are purchases, all rows have
`is_purchase`, null in other drops. Rows of ignored event types are not among them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, reduce
from multiprocessing.pool import ThreadPool
from typing import Any
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

import catalogue
import parquet_files
import text_files
import worth
from contracts import sources
from contracts.columns import Columns, Given, NotSure, Settled, choose_each, settled_by
from contracts.layouts import HEAD_BYTES, Layout, Unreadable, find, with_columns
from contracts.sources import Part
from contracts.suggestions import remedy
from contracts.unions import APPEND, FULL
from drops import Drop, in_seconds, same_times, with_drop, without_copies
from ignoring import Ignored
from refusal import Refused, printable
from storage import Storage, StoredFile, attempt, literal_path

#: https://files.grouplens.org/datasets/movielens/ml-latest-small-README.html
_MOVIELENS = frozenset({"userId", "movieId", "rating", "timestamp"})
#: An object or a list, as JSON has them: no id such as {0a1b} or [S] 7.
_NESTED = r'(?s)^(\{\s*".*\}|\{\s*\}|\[\s*(["{\[\d-].*)?\])$'
_READERS = 16
_SMALL_FILE = 4 * 1024 * 1024


@dataclass(frozen=True)
class Opened:
    """A file that was looked into. schema: of a Parquet file. is_whole: all of it was seen."""

    file: StoredFile
    layout: Layout
    schema: parquet_files.Schema | None = None
    is_whole: bool = False


@dataclass(frozen=True)
class Group:
    """Files that are read together, because they have the same layout and columns. ignored_types, bought_types: those
    of the drop.
    """

    layout: Layout
    columns: Columns
    schema: parquet_files.Schema | None
    ignored_types: tuple[str, ...] = ()
    bought_types: tuple[str, ...] = ()
    files: list[StoredFile] = field(default_factory=list)

    @property
    def format(self) -> str:
        """The name of the format in the manifest."""
        if self.layout.kind != "delimited":
            return self.layout.kind
        if self.layout.separator == "::":
            return "movielens-dat"
        return "movielens-csv" if set(self.layout.names) >= _MOVIELENS else "csv"

    @property
    def first(self) -> str:
        """The path of the first file, for messages."""
        return printable(self.files[0].path)


@dataclass(frozen=True)
class Source:
    """Contents of a source: interactions as text, the catalogue or None, the format, the columns of the first files,
    and what the manifest says of each drop. The interactions of several drops have `drop int` too, the drop's number.
    timestamp_format: of all times; None if files have several, which are ISO 8601 then. ignored: rows that are not
    among the interactions.
    """

    interactions: DataFrame
    catalogue: catalogue.Catalogue | None
    format: str
    columns: Columns
    files: int
    size: int
    warnings: tuple[str, ...]
    drops: list[dict[str, Any]]
    timestamp_format: str | None = None
    is_catalogue_of_append: bool = False
    ignored: Ignored = field(default_factory=Ignored)


def read_source(
    session: SparkSession, storage: Storage, drops: Sequence[Drop], items: str | None, event_weight: float = 1
) -> Source:
    """Reads drops, the oldest first, or one folder or file. `event_weight`: of live events, which have none.

    Raises Refused if there is nothing to read or the columns cannot be told, PreparationFailed if a file is unreadable.
    """
    catalogue_files = None
    if items is not None:
        catalogue_files = [file for file in storage.list_files(items) if not sources.is_hidden(file.path)]
        if not catalogue_files:
            raise Refused(f"the catalogue {items} does not exist or has no file")
    filled, own_catalogue, kind, warnings = _listed(storage, drops, catalogue_files or [])
    filled, copies = without_copies(storage, filled)
    described = [file for file in (own_catalogue if catalogue_files is None else catalogue_files) if file.size > 0]
    if any(sources.compression_of(file.name) == "zstd" for file in (*(file for _, file in filled), *described)):
        text_files.enable_zstd(session)
    groups, left = group_by_layout(session, storage, filled, drops)
    frames = []
    ignored, says_bought = Ignored(), any(group.bought_types for group in groups)
    ids = [name for name in ("event_id", "session_id") if any(getattr(group.columns, name) for group in groups)]
    has_several = len({group.columns.time_format for group in groups}) > 1
    for group in groups:
        frame, more = _read_group(session, group, ids, event_weight)
        if has_several and group.columns.time_format:
            frame = same_times(frame, group.columns.time_format)
        if group.columns.event_id is not None and len(drops) > 1:
            frame = in_seconds(frame)
        frame = ignored.leave_out(frame, group.ignored_types)
        frames.append(worth.with_purchases(frame, group.bought_types) if says_bought else frame)
        left += more
    opened = [_opened(session, storage, file, drops[-1].format) for file in described]
    for problem in opened:
        if isinstance(problem, Unreadable):
            raise Refused(f"the catalogue {problem}") from problem
    # Titles may have line breaks anywhere, and a catalogue is small enough for one task.
    layouts = [
        (one.file, replace(one.layout, is_multiline=one.layout.is_quoted)) for one in opened if isinstance(one, Opened)
    ]
    used = {file.uri for group in groups for file in group.files}
    numbered = [(number, file) for number, file in filled if file.uri in used]
    interactions = reduce(DataFrame.unionByName, frames)
    if len(drops) > 1:
        interactions = with_drop(session, interactions, [(number, file.uri) for number, file in numbered])
    return Source(
        interactions=interactions,
        catalogue=catalogue.read(session, layouts, {group.columns.item for group in groups}),
        format="+".join(sorted({group.format for group in groups})),
        columns=groups[-1].columns if len(drops) > 1 else groups[0].columns,
        files=len(numbered),
        size=sum(file.size for _, file in numbered),
        warnings=(*warnings, *copies, *left),
        drops=_lineage(drops, numbered),
        timestamp_format=None if has_several else groups[0].columns.time_format,
        is_catalogue_of_append=catalogue_files is None and kind == APPEND,
        ignored=ignored,
    )


def _lineage(drops: Sequence[Drop], files: Iterable[tuple[int, StoredFile]]) -> list[dict[str, Any]]:
    """Return `drops` of the manifest."""
    found: list[dict[str, Any]] = [{"source": drop.source, "kind": drop.kind, "files": 0, "bytes": 0} for drop in drops]
    for number, file in files:
        found[number]["files"] += 1
        found[number]["bytes"] += file.size
    return found


def _listed(
    storage: Storage, drops: Sequence[Drop], described: Sequence[StoredFile]
) -> tuple[list[tuple[int, StoredFile]], list[StoredFile], str, list[str]]:
    """The interaction files of all drops with the numbers of the drops, the catalogue of the newest one that has any
    with the kind of that drop, and warnings. Raises Refused if there are no interactions, or if a drop that is needed
    cannot be read.
    """
    with ThreadPool(min(_READERS, len(drops))) as pool:
        listings = pool.map(lambda drop: storage.list_files(drop.source), drops)
    found: list[tuple[int, StoredFile]] = []
    own_catalogue: list[StoredFile] = []
    kind = drops[0].kind
    warnings: list[str] = []
    excluded = {file.uri for file in described}
    for number, (drop, listing) in enumerate(zip(drops, listings, strict=True)):
        try:
            files, catalogues, more = _of_drop(drop, listing, excluded)
        except Refused as problem:
            if drop.is_needed:
                raise
            warnings.append(f"raw/{drop.name}/ is left out: {problem}")
            continue
        warnings += more
        found += [(number, file) for file in files]
        if catalogues:
            own_catalogue, kind = catalogues, drop.kind
    if not found:
        raise Refused(f"no interactions (rows=0): {drops[-1].source} and the drops before it have none")
    return found, own_catalogue, kind, warnings


def _of_drop(
    drop: Drop, listing: Sequence[StoredFile], excluded: set[str]
) -> tuple[list[StoredFile], list[StoredFile], list[str]]:
    """The filled interaction files of a drop, its catalogue files, and warnings. Raises Refused."""
    for file in listing:
        if ":" in file.path and not sources.is_hidden(file.path):
            raise Refused(f"Hadoop cannot read a name with a colon: rename {printable(file.path)}")
    interactions, catalogues, warnings = choose_files(listing, drop.format)
    interactions = [file for file in interactions if file.uri not in excluded]
    filled = [file for file in interactions if file.size > 0]
    if not filled and drop.kind == FULL:
        names = ", ".join(printable(file.path) for file in listing[:10]) or "no file at all"
        empty = f"{', '.join(printable(f.path) for f in interactions[:10])} empty"
        raise Refused(f"no interactions (rows=0): {empty if interactions else f'{drop.source} has {names}'}")
    if not filled:
        warnings.append(f"raw/{drop.name}/ has no interactions" + ("" if listing else " any more: it has no file"))
    warnings += [f"{printable(file.path)} is empty" for file in interactions if file.size == 0]
    if not drop.name:
        return filled, catalogues, warnings
    own = f"raw/{drop.name}/"
    return (
        [replace(file, path=f"{own}{file.path}") for file in filled],
        catalogues,
        [warning if warning.startswith(own) else f"{own}{warning}" for warning in warnings],
    )


def choose_files(files: Iterable[StoredFile], file_format: str) -> tuple[list[StoredFile], list[StoredFile], list[str]]:
    """Splits a listing into interaction files, catalogue files and warnings about other files.

    With an explicit format, files without an ending are read too: Hadoop writes such names.
    """
    listed = list(files)
    parts = sources.parts(file.path for file in listed)
    interactions, described, warnings = [], [], []
    for file in listed:
        part, name = parts[file.path], printable(file.path)
        is_parquet = sources.ending_of(file.name) == sources.PARQUET_ENDING
        if part is Part.HIDDEN:
            continue
        if part is Part.CATALOGUE:
            described.append(file)
        elif part is Part.LEFT_OUT:
            warnings.append(f"{name} is not used: a file of this name has no interactions")
        elif part is Part.UNSUPPORTED and (file_format == "auto" or "." in file.name):
            warnings.append(f"{name} is not used: not {sources.SUPPORTED}")
        elif file_format != "auto" and part is Part.INTERACTIONS and is_parquet != (file_format == "parquet"):
            warnings.append(f"{name} is not used: the requested format is {file_format}")
        else:
            interactions.append(file)
    return interactions, described, warnings


def group_by_layout(
    session: SparkSession, storage: Storage, files: Sequence[tuple[int, StoredFile]], drops: Sequence[Drop]
) -> tuple[list[Group], list[str]]:
    """Groups files, each with the number of its drop, that can be read together; warnings name the files that are left
    alone. Raises Refused if the columns of a drop that is needed cannot be told, or if it has a file that is no table.
    """
    with ThreadPool(min(_READERS, len(files))) as pool:
        looked = pool.map(lambda pair: _opened(session, storage, pair[1], drops[pair[0]].format), files)
    by_drop: dict[int, dict[str, Opened | Unreadable]] = {}
    for (number, file), one in zip(files, looked, strict=True):
        by_drop.setdefault(number, {})[file.path] = one
    chosen: dict[str, tuple[Columns, tuple[str, ...], tuple[str, ...]]] = {}
    opened: list[Opened] = []
    warnings: list[str] = []
    settled = cache(
        lambda: {
            pattern for number, named in by_drop.items() for pattern in settled_by(_layouts(named), drops[number].given)
        }
    )
    for number, named in by_drop.items():
        drop = drops[number]
        try:
            own, left = _choose(named, drop.given, settled)
        except Refused as problem:
            if drop.is_needed:
                raise
            warnings.append(f"raw/{drop.name}/ is left out: {problem}")
            continue
        chosen |= {path: (columns, drop.ignored_types, drop.bought_types) for path, columns in own.items()}
        opened += [one for one in named.values() if isinstance(one, Opened) and one.file.path in own]
        warnings += [
            f"{printable(path)} is not used: {printable(problem.removeprefix(f'{path}: '), 500)}"
            for path, problem in left.items()
        ]
        patterns = {columns.time_format: path for path, columns in reversed(own.items()) if columns.time_format}
        if not drop.given.time_format:
            warnings += [f"{printable(path)}: times are read as {pattern}" for pattern, path in patterns.items()]
    if not opened:
        raise Refused(f"no interactions (rows=0): {'; '.join(warnings[:3])}")
    groups: dict[tuple[object, ...], Group] = {}
    for one in _with_multiline(session, storage, opened):
        columns, *how = chosen[one.file.path]
        # Lines of JSON are read by the names of the columns, so files whose first lines have other keys are alike.
        layout = replace(one.layout, names=()) if one.layout.kind == "json" else one.layout
        of_folders = _of_folders(one.file, one.layout)
        key = (layout, columns, one.schema.text if one.schema else None, of_folders, *how)
        group = groups.setdefault(key, Group(one.layout, columns, one.schema, *chosen[one.file.path][1:]))
        group.files.append(one.file)
    return sorted(groups.values(), key=lambda group: group.files[0]), warnings


def _layouts(named: Mapping[str, Opened | Unreadable]) -> dict[str, Layout | Unreadable]:
    return {path: one.layout if isinstance(one, Opened) else one for path, one in named.items()}


def _choose(
    named: Mapping[str, Opened | Unreadable], given: Given, settled: Settled
) -> tuple[dict[str, Columns], dict[str, str]]:
    """The columns of the files of a drop, and why others are left alone. Raises Refused."""
    try:
        return choose_each(_layouts(named), given, settled)
    except NotSure as error:
        raise Refused(f"{printable(str(error), 1000)} ({remedy(error.suggestion)})") from error
    except Unreadable as error:
        raise Refused(printable(str(error))) from error


def _opened(session: SparkSession, storage: Storage, file: StoredFile, file_format: str) -> Opened | Unreadable:
    """The file's layout. Raises PreparationFailed if it cannot be read."""
    if sources.ending_of(file.name) == sources.PARQUET_ENDING or file_format == "parquet":
        schema = attempt("read", file.uri, lambda: parquet_files.read_schema(session, file.uri))
        return Opened(file, Layout("parquet", schema.names), schema)
    head = storage.read_start(file.uri, HEAD_BYTES)
    is_whole = len(head) < HEAD_BYTES
    try:
        return Opened(file, find(head, file.path, is_whole), is_whole=is_whole)
    except Unreadable as error:
        return error


def _with_multiline(session: SparkSession, storage: Storage, opened: Sequence[Opened]) -> list[Opened]:
    """The files, marked where a quoted field has a line break beyond the part that was looked at."""
    unseen: dict[str, list[str]] = {}
    found = set[str]()
    for one in opened:
        if not one.layout.is_quoted or one.layout.is_multiline or one.is_whole:
            continue
        # A small file is read here: a Spark job costs more.
        text = storage.read_start(one.file.uri, _SMALL_FILE) if one.file.size < _SMALL_FILE else b""
        if not 0 < len(text) < _SMALL_FILE:
            unseen.setdefault(one.layout.separator, []).append(literal_path(one.file.uri))
        elif text_files.has_open_quotes(text, one.layout.separator):
            found.add(_same_form(one.file.uri))
    found |= {_same_form(uri) for uri in text_files.with_open_quotes(session, unseen)}
    return [
        replace(one, layout=replace(one.layout, is_multiline=True)) if _same_form(one.file.uri) in found else one
        for one in opened
    ]


def _same_form(uri: str) -> str:
    """`uri` in one form: Spark names a file as a URL, Hadoop as a path."""
    scheme, _, path = uri.partition(":/")
    return f"{scheme}:/{unquote(path).lstrip('/')}"


def _read_group(
    session: SparkSession, group: Group, ids: Sequence[str], event_weight: float
) -> tuple[DataFrame, list[str]]:
    """The rows of the files, with the further columns `ids`, and warnings."""
    columns, layout, warnings = group.columns, group.layout, []
    by_alias = {**_by_alias(columns), **{name: getattr(columns, name) for name in ids}}
    of_folders = _of_folders(group.files[0], layout)
    used = [name for name in by_alias.values() if name is not None and name not in of_folders]
    paths = [literal_path(file.uri) for file in group.files]
    if group.schema is not None:
        table, floats = parquet_files.read_rows(session, group.schema, paths, columns, used, group.files[0].path)
        warnings += [
            f"{group.first}: column {printable(name)} has fractional numbers as ids; whole ones are read as integers"
            for name in floats
        ]
    else:
        table = text_files.read_rows(session, layout, paths, used)
    extra = [printable(name) for name in layout.names if name not in used]
    if extra and columns.event_id is None:  # what else events have is for other readers
        warnings.append(f"{group.first}: columns not used: {', '.join(extra)}")
    if layout.encoding == "latin-1":
        warnings.append(f"{group.first} is not UTF-8; it is read as Latin-1")
    if layout.skipped:
        lines = ", ".join(repr(printable(line, 40)) for line in layout.skipped)
        warnings.append(f"{group.first}: lines before the rows are left out: {lines}")
    if layout.is_multiline:
        warnings.append(f"{group.first} has quoted line breaks: one task reads the whole file")
    print(f"columns of {group.first} ({layout.description}): {_summary(columns)}", flush=True)
    absent = {"weight": F.lit("1" if columns.event_id is None else f"{event_weight:g}")}
    fields = {
        alias: _value(name, used) if name is not None else absent.get(alias, F.lit(None).cast("string"))
        for alias, name in by_alias.items()
    }
    aliases = [column.alias(alias) for alias, column in fields.items()]
    line = F.col("_line")
    if layout.kind == "json":  # an object or a list among texts
        both = [_value(name, used) for name in (columns.user, columns.item)]
        line = F.coalesce(line, *(F.when(text.rlike(_NESTED), text) for text in both))
    rows = table.select(*aliases, line.alias("line"), F.col("_file").alias("file"))
    return rows, warnings


def _of_folders(file: StoredFile, layout: Layout) -> frozenset[str]:
    """The columns that the names of the file's folders have, and the file has not."""
    return frozenset(with_columns(layout, sources.folder_columns(file.path)).names) - {*layout.names}


def _value(name: str, used: Sequence[str]) -> Column:
    """The column of this name: of the file or, if it has none, of the name of a folder."""
    if name in used:
        return F.col(f"_{used.index(name)}")
    value = F.regexp_extract("_file", f"/{re.escape(name)}=([^/]+)/", 1)
    return F.url_decode(F.url_decode(value))  # the name has it encoded, and the path is a URL


def _by_alias(columns: Columns) -> Mapping[str, str | None]:
    return {
        "user_id": columns.user,
        "item_id": columns.item,
        "timestamp": columns.timestamp,
        "event_type": columns.event_type,
        "weight": columns.weight,
    }


def _summary(columns: Columns) -> str:
    return ", ".join(f"{alias} is {printable(name, 60)}" for alias, name in _by_alias(columns).items() if name)
