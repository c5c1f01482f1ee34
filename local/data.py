"""A user's data: finds interactions and a catalogue, and uploads them as one closed drop."""

from __future__ import annotations

import bz2
import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import pyarrow
import pyarrow.parquet

from contracts import column_names, columns, ids, layouts, sources, suggestions, time_forms
from contracts.columns import Columns, Given, NotSure
from contracts.layouts import HEAD_BYTES, ROWS, Layout, Unreadable
from contracts.names import DROP_FILE
from contracts.sources import Part
from local.project import Problem

MARKER = "_SUCCESS"
FILES_NAMED = 3


@dataclass(frozen=True)
class Drop:
    """Files to put under `raw/<name>/`: `interactions` and perhaps a `catalogue`, by their paths inside the drop.

    parameters: what the drop says of itself, by the keys of `contracts/drop.schema.json`.
    opened: layout and columns of the interactions. notes: sentences for the user.
    """

    interactions: dict[str, Path]
    catalogue: dict[str, Path]
    parameters: dict[str, Any] = field(default_factory=dict)
    opened: dict[str, tuple[Layout, Columns]] = field(default_factory=dict, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in (self.interactions | self.catalogue).values())

    @property
    def summary(self) -> str:
        """The first file names and the size, as text."""
        names = [*self.interactions, *self.catalogue]
        more = f" and {len(names) - FILES_NAMED} more files" if len(names) > FILES_NAMED else ""
        return f"{', '.join(names[:FILES_NAMED])}{more}, {size_text(self.size)}"


def size_text(size: int) -> str:
    """A size in bytes as text."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def read_drop(data: Path, items: Path | None = None, parameters: Mapping[str, Any] | None = None) -> Drop:
    """The drop made of `data` (a file or a folder), with `items` or the catalogue found next to it.

    `parameters`: what the user says of the columns, by the keys of `_drop.json`. Raises Problem, naming the path, if
    there are no interactions, or if it cannot be told which columns they are in.
    """
    if not data.exists():
        raise Problem(f"no such file or folder: {data}")
    interactions, catalogue, notes = _folder(data) if data.is_dir() else _file(data)
    if items is not None:
        catalogue = {f"items{_checked_items(items)}": items}
    for path in (interactions | catalogue).values():
        _check_readable(path)
    filled = {key: path for key, path in interactions.items() if path.stat().st_size > 0}
    if not filled:
        raise Problem(f"{data} is empty: there are no interactions to learn from")
    said = dict(parameters or {})
    opened, left = _opened(data, filled, said)
    notes += [f"{key} is left out: {why.removeprefix(f'{key}: ')}" for key, why in left.items()]
    patterns = {own.time_format for _, own in opened.values()}
    if "timestampFormat" not in said and any(one.kind == "parquet" and own.time_format for one, own in opened.values()):
        if len(patterns) > 1:
            raise Problem(
                f"{data} has texts as times in Parquet beside times of another form: write them as timestamps, or drop "
                "the files apart"
            )
        said["timestampFormat"] = patterns.pop()  # the preparation sees no values of Parquet before it reads them
    named = {own.item for _, own in opened.values()}
    faults = {key: fault for key, path in catalogue.items() if (fault := _catalogue_fault(key, path, named))}
    for key, fault in faults.items():
        if items is not None or data.is_dir():
            raise Problem(f"the catalogue {fault}")
        notes.append(f"{key}, which is beside the data, is no catalogue: {fault.removeprefix(f'{key} ')}")
        del catalogue[key]
    return Drop({key: filled[key] for key in opened}, catalogue, said, opened, (*_summaries(opened), *notes))


def _folder(data: Path) -> tuple[dict[str, Path], dict[str, Path], list[str]]:
    files = {str(path.relative_to(data)): path for path in sorted(data.rglob("*")) if path.is_file()}
    parts = sources.parts(files)
    interactions, notes = _without_colons({key: files[key] for key in files if parts[key] is Part.INTERACTIONS})
    catalogue, more = _without_colons({key: files[key] for key in files if parts[key] is Part.CATALOGUE})
    if not interactions:
        what = "only a catalogue" if catalogue else f"no file {sources.SUPPORTED}"
        others = [key for key in files if parts[key] is Part.UNSUPPORTED][:FILES_NAMED]
        advice = "".join(f"\n  {key}: {sources.remedy(key)}" for key in others)
        raise Problem(f"the folder {data} has {what}: there are no interactions to learn from{advice}")
    left = [
        f"{key} is left out: a file of this name has no interactions" for key in files if parts[key] is Part.LEFT_OUT
    ]
    return interactions, catalogue, notes + more + left


def _file(data: Path) -> tuple[dict[str, Path], dict[str, Path], list[str]]:
    ending = sources.ending_of(data.name)
    if not ending:
        raise Problem(f"{data} has a type that is not read: {sources.remedy(data.name)}")
    # Under its own name, preparation would read it as the catalogue.
    name = f"interactions{ending}" if sources.is_catalogue(data.name) else data.name
    interactions, notes = _without_colons({name: data})
    return interactions, {path.name: path for path in _beside(data)}, notes


def _without_colons(files: Mapping[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """The files under keys that Hadoop can read: it takes what is before a colon for the scheme of a URI."""
    notes = [f"{key} becomes {key.replace(':', '_')}: Hadoop reads no name with a colon" for key in files if ":" in key]
    return {key.replace(":", "_"): path for key, path in files.items()}, notes


def _beside(data: Path) -> list[Path]:
    """The catalogue next to a single interactions file: the first by name, `items` before the others."""
    found = [
        path for path in sorted(data.parent.iterdir())
        if path.is_file() and path != data and sources.is_catalogue(path.name) and ":" not in path.name
    ]  # fmt: skip
    return sorted(found, key=lambda path: sources.stem_of(path.name) != "items")[:1]


def _checked_items(items: Path) -> str:
    if not items.is_file():
        raise Problem(f"no such catalogue file: {items}")
    ending = sources.ending_of(items.name)
    if not ending:
        raise Problem(f"the catalogue {items} has a type that is not read: {sources.remedy(items.name)}")
    return ending


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}") from error


def _opened(
    data: Path, files: Mapping[str, Path], parameters: Mapping[str, Any]
) -> tuple[dict[str, tuple[Layout, Columns]], dict[str, str]]:
    """Layout and columns of the interactions, as preparation will find them, and why the other files are left out."""
    found = {key: _layout(key, path) for key, path in files.items()}
    named: dict[str, Any] = {
        meaning: parameters[key] for meaning, key in column_names.KEYS.items() if key in parameters
    }
    given = Given(
        **named,
        needs_event_type=not columns.OF_TYPES.isdisjoint(parameters),
        needs_weight="leastValue" in parameters or parameters.get("values") == "multiply",
        time_format=_checked_pattern(parameters.get("timestampFormat")),
    )
    try:
        chosen, left = columns.choose_each(found, given)
    except NotSure as error:
        raise Problem(f"{error}\n  {suggestions.remedy(error.suggestion, str(data), parameters)}") from error
    except Unreadable as error:
        raise Problem(str(error)) from error
    whole = {key: layout for key, layout in found.items() if isinstance(layout, Layout)}
    for key, own in chosen.items():
        _check_times(key, layouts.with_columns(whole[key], sources.folder_columns(key)), own, str(data), parameters)
    return {key: (whole[key], own) for key, own in chosen.items()}, left


def _catalogue_fault(key: str, path: Path, items: set[str]) -> str | None:
    """Why the preparation would not take this catalogue; None if it would."""
    layout = _layout(key, path)
    if path.stat().st_size == 0:
        return None
    if isinstance(layout, Unreadable):
        return str(layout)
    if layout.has_header and column_names.catalogue_id(layout.names, items) is None:
        return f"{key} has no id: it has the columns {', '.join(layout.names[:30])}; call the column item_id"
    return None


def _checked_pattern(pattern: str | None) -> str | None:
    if pattern and (problem := time_forms.fault(pattern)):
        raise Problem(f"TIME_FORMAT {problem}")
    return pattern


def _check_times(key: str, layout: Layout, own: Columns, data: str, said: Mapping[str, Any]) -> None:
    """Raises Problem if no time in the beginning of a text file has a form that is known or given."""
    if own.timestamp is None or own.time_format or layout.kind == "parquet":
        return
    place = layout.names.index(own.timestamp)
    texts = [row[place] for row in layout.rows if row[place].lower() not in ids.MISSING]
    if texts and not any(map(time_forms.is_read, texts)):
        named = {meaning: name for meaning in column_names.OPTIONS if (name := getattr(own, meaning))}
        call = suggestions.command(data, named | {"time_format": "dd.MM.yyyy HH:mm"}, said)
        raise Problem(
            f"{key}: times such as {', '.join(map(repr, texts[:3]))} are not understood; read are {time_forms.ACCEPTED}"
            f"\n  another form needs its pattern: {call}"
        )


def _layout(key: str, path: Path) -> Layout | Unreadable:
    """The layout that preparation will find. Raises Problem if the file is damaged."""
    try:
        if sources.ending_of(path.name) == sources.PARQUET_ENDING:
            return _parquet_layout(path)
        with open_plain(path) as file:
            head = file.read(HEAD_BYTES)
        return layouts.find(head, key, is_whole=len(head) < HEAD_BYTES)
    except Unreadable as error:
        return error
    except (OSError, EOFError, pyarrow.ArrowException) as error:
        raise Problem(f"{path} cannot be read: {error}") from error


def _parquet_layout(path: Path) -> Layout:
    with pyarrow.parquet.ParquetFile(path) as file:
        names = tuple(file.schema_arrow.names)
        first = next(file.iter_batches(ROWS, use_threads=False), None)
    values = zip(*(column.to_pylist() for column in first.columns), strict=True) if first else ()
    return Layout("parquet", names, rows=tuple(tuple("" if v is None else str(v) for v in row) for row in values))


def open_plain(path: Path) -> IO[bytes]:
    """The file's bytes, decompressed by its ending."""
    compression = sources.compression_of(path.name)
    if compression == "gzip":
        return cast(IO[bytes], gzip.open(path, "rb"))
    if compression == "bzip2":
        return bz2.open(path, "rb")
    if compression == "zstd":
        return cast(IO[bytes], pyarrow.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def _summaries(opened: Mapping[str, tuple[Layout, Columns]]) -> list[str]:
    """Where the columns are, once for files that are alike."""
    told: dict[str, str] = {}
    for key, (layout, own) in opened.items():
        named = [
            f"{meaning.replace('_', ' ')} {name}" for meaning in column_names.OPTIONS if (name := getattr(own, meaning))
        ]
        named += [f"times as {own.time_format}"] if own.time_format else []
        told.setdefault(f"{layout.description}; {', '.join(named)}", key)
    return [f"{key}: {text}" for text, key in told.items()]


def drop_name(text: str) -> str:
    """Return `text` if it is a valid folder name under `raw/`. Raises Problem."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", text):
        raise Problem(f"a drop's name must be 1 to 63 letters, digits, '.', '_' or '-', not {text!r}")
    return text


def upload(s3: Any, bucket: str, name: str, drop: Drop) -> None:
    """Put the files under `raw/<name>/`, what the drop says of itself, and last the empty marker that closes it."""
    for key, path in (drop.catalogue | drop.interactions).items():
        s3.upload_file(str(path), bucket, f"raw/{name}/{key}")
    if drop.parameters:
        document = {"schemaVersion": "1.0", **drop.parameters}
        s3.put_object(Bucket=bucket, Key=f"raw/{name}/{DROP_FILE}", Body=json.dumps(document).encode())
    s3.put_object(Bucket=bucket, Key=f"raw/{name}/{MARKER}", Body=b"")
