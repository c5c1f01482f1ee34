"""The rows of forgotten people in files of text, found without changing a byte of the others. Pure."""

from __future__ import annotations

import bz2
import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

from contracts import columns, documents, ids, layouts
from contracts.columns import Given, NotSure
from contracts.documents import Unfit
from contracts.forgotten import Forgotten
from contracts.layouts import Layout

_BETWEEN_FIELDS = re.compile(r'[,;|:\t"]')
_WHOLE_NUMBER = re.compile(r"([0-9]+)\.0+")
_PIECE = 1 << 16
MAXIMUM_ROW_BYTES = 16 << 20
"""Longest row that is read into memory: of a file that unpacks to gigabytes without a line break, no more."""


class CannotTell(ValueError):
    """Raised for a file whose rows cannot be told. The message has nothing of its content."""


class ForSpark(CannotTell):
    """Raised for a file whose rows a function cannot take out, and a Spark job can."""


Keeps = Callable[[str], bool]
"""True for a row, as text, that is of nobody who was forgotten."""


@dataclass(frozen=True)
class Counted:
    """The rows of a file, and how many of them are of forgotten people."""

    rows: int
    theirs: int


def unpacked(file: IO[bytes], packing: str | None) -> IO[bytes]:
    """Return the file without its compression: `gzip`, `bzip2` or none. Raises CannotTell for another one."""
    if packing == "gzip":
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if packing == "bzip2":
        return bz2.BZ2File(file)
    if packing is not None:
        raise ForSpark(f"is compressed with {packing}, which functions cannot read")
    return file


def packed(pieces: Iterable[bytes], packing: str | None) -> Iterator[bytes]:
    """Return the bytes with that compression, in larger pieces."""
    squeeze: Any = {"gzip": lambda: zlib.compressobj(6, wbits=31), "bzip2": bz2.BZ2Compressor}.get(str(packing))
    compressor = squeeze() if squeeze else None
    gathered = bytearray()
    for piece in pieces:
        gathered += compressor.compress(piece) if compressor else piece
        if len(gathered) >= _PIECE:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered) + (compressor.flush() if compressor else b"")


def records(file: IO[bytes], is_quoted: bool) -> Iterator[bytes]:
    """Yield the rows of a file with their line breaks; a quoted field may have line breaks of its own. Raises
    `ForSpark` for a row that is too long.
    """
    record = bytearray()
    quotes = 0
    while line := file.readline(_PIECE):
        record += line
        quotes += line.count(b'"')
        if line.endswith(b"\n") and (not is_quoted or quotes % 2 == 0):
            yield bytes(record)
            record.clear()
            quotes = 0
        elif len(record) > MAXIMUM_ROW_BYTES:
            raise ForSpark(f"has a row of more than {MAXIMUM_ROW_BYTES} bytes")
    if record:
        yield bytes(record)


def count(file: IO[bytes], layout: Layout, keeps: Keeps) -> Counted:
    """Read all rows and count those that are not kept."""
    rows = theirs = 0
    for record in records(file, layout.is_quoted):
        rows += 1
        theirs += not keeps(_text(record, layout))
    return Counted(rows, theirs)


def kept(file: IO[bytes], layout: Layout, keeps: Keeps) -> Iterator[bytes]:
    """Yield the rows that are kept, byte by byte as they are."""
    return (record for record in records(file, layout.is_quoted) if keeps(_text(record, layout)))


def interactions(layout: Layout, column: str, people: Forgotten) -> Keeps:
    """Return the rule for files of a drop whose `column` holds the user. In a row that cannot be read any field counts,
    as in the preparation.
    """
    place = layout.names.index(column)
    if layout.kind == "json":
        return lambda text: not _json_is_theirs(text, column, people)

    def keeps(text: str) -> bool:
        fields = _fields(text, layout)
        if len(fields) == len(layout.names):
            return not _is_theirs(fields[place], people)
        return not any(_is_theirs(field, people) for field in _BETWEEN_FIELDS.split(text))

    return keeps


def quarantined(people: Forgotten) -> Keeps:
    """Return the rule for the rows that a preparation set aside."""
    return lambda text: not _json_is_theirs(text, "user_id", people)


def anywhere(people: Forgotten) -> Keeps:
    """Return the rule for a file of which no column is known to hold users: any field counts."""
    return lambda text: not any(_is_theirs(field, people) for field in _BETWEEN_FIELDS.split(text))


def layout_of(head: bytes, is_whole: bool, called: str) -> Layout:
    """Return the layout of a text file that begins with `head`. Raises ValueError if its rows cannot be told."""
    if b"\r" in head and b"\n" not in head:
        raise CannotTell("has lines that end with a carriage return alone")
    return layouts.find(head, called, is_whole)


def user_column(layout: Layout, named: object, called: str) -> str | None:
    """Return the column that holds the users: the named one (`userColumn`) if the file has it, otherwise the one that
    the preparation would take; None if it is not sure.
    """
    for given in (Given(user=str(named)), Given()) if named else (Given(),):
        try:
            return columns.named(layout, given, called)["user"]
        except NotSure as error:
            if layout.has_header and error.suggestion.get("user") in layout.names:
                return error.suggestion["user"]
    return None


def _json_is_theirs(text: str, column: str, people: Forgotten) -> bool:
    try:
        row = documents.read_object(text, "the row", has_schema=True)
    except Unfit:
        return any(_is_theirs(field, people) for field in _BETWEEN_FIELDS.split(text))
    line = row.get("line")
    fields = _BETWEEN_FIELDS.split(line) if isinstance(line, str) else []
    return any(_is_theirs(str(field), people) for field in (row.get(column), *fields) if field is not None)


def _fields(text: str, layout: Layout) -> list[str]:
    if layout.is_quoted and len(layout.separator) == 1:
        return next(csv.reader([text], delimiter=layout.separator), [])
    return text.split(layout.separator)


def _text(record: bytes, layout: Layout) -> str:
    """A line as the preparation reads it: after a beginning in ASCII, one that is not UTF-8 is Latin-1."""
    try:
        text = layouts.from_windows(record) if layout.encoding == "latin-1" else record.decode()
    except UnicodeDecodeError:
        text = layouts.from_windows(record) if layout.encoding == "ascii" else record.decode("utf-8", "replace")
    return text.rstrip("\r\n").removeprefix("\ufeff")


def _is_theirs(field: str, people: Forgotten) -> bool:
    name = ids.of(field)
    number = _WHOLE_NUMBER.fullmatch(name)
    return people.digest_of(name) is not None or (number is not None and people.digest_of(number[1]) is not None)
