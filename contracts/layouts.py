"""The layout of a text file with rows, found from its first bytes: separator, quotes, header, names of the columns.

layout = find(b"USER_ID;ITEM_ID;TIMESTAMP\\n7;a;1700000000\\n", "clicks.csv")
layout.separator, layout.names    # ";", ("USER_ID", "ITEM_ID", "TIMESTAMP")
"""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from contracts import time_forms

HEAD_BYTES = 64 * 1024
"""How much of a file is looked at, after decompression."""
ROWS = 2000
"""How many rows are looked at."""

SEPARATORS = ("::", "\t", ";", "|", ",")
Encoding = Literal["ascii", "utf-8", "latin-1"]
WINDOWS = {
    chr(byte): character for byte in range(0x80, 0xA0) if (character := bytes([byte]).decode("cp1252", "ignore"))
}
"""What Windows-1252 has in place of control characters of Latin-1, such as the euro sign."""
_AS_WINDOWS = str.maketrans(WINDOWS)
_ALWAYS_QUOTED = (",", ";")

_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?")
_JSON_ENDINGS = ("json", "jsonl", "ndjson")
#: {"data": [{
_LIST_IN_OBJECT = re.compile(r'\s*\{\s*"([^"\\]+)"\s*:\s*\[\s*\{')
_MOST_SKIPPED, _LEAST_COLUMNS = 10, 3
#: What tells a spreadsheet the separator.
_SEP = re.compile(r'"?sep=.\W?"?')
_LINE_BREAK = re.compile(r"\r\n|\n|\r")
_TYPED = re.compile(r"(.+):(token|token_seq|float|float_seq)")
_COMMANDS = {
    b"PAR1": "is Parquet: give it the ending .parquet",
    b"\x1f\x8b": "is compressed with gzip: give it the ending .gz after the other one",
    b"BZh": "is compressed with bzip2: give it the ending .bz2 after the other one",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd: give it the ending .zst after the other one",
    b"PK\x03\x04": "is a zip archive or a spreadsheet: unpack it, or save it as CSV",
    b"\xff\xfe": "is UTF-16: convert it with iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "is UTF-16: convert it with iconv -f UTF-16 -t UTF-8",
}


class Unreadable(ValueError):
    """The bytes are no text with rows. The message names the file, and says what to do. `is_prose`: it may be a note
    beside the data.
    """

    def __init__(self, problem: str, is_prose: bool = False) -> None:
        super().__init__(problem)
        self.is_prose = is_prose


@dataclass(frozen=True)
class Layout:
    """How to read a text file.

    kind: `delimited`, or `json` for one JSON object a line; `parquet`, of which only the names are known.
    names: of the columns; `1`, `2`… in a file without a header.
    header: the header's line, without byte-order mark and line break; None without a header.
    separator, is_quoted: of a delimited file; a quote is `"`, and `""` inside quotes.
    encoding: `latin-1` (as Windows has it: see `WINDOWS`) if the bytes are not UTF-8; `ascii` if they are both.
    is_multiline: a quoted field has a line break.
    skipped: lines before the header that are no rows: a title, a comment, or `sep=;` for a spreadsheet.
    rows: the first rows, without the header; missing values are empty.
    nested: of JSON, the columns with objects or lists, and the first one of each.
    """

    kind: Literal["delimited", "json", "parquet"]
    names: tuple[str, ...]
    header: str | None = None
    separator: str = ","
    is_quoted: bool = False
    encoding: Encoding = "ascii"
    is_multiline: bool = False
    skipped: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = field(default=(), compare=False)
    nested: Mapping[str, dict[str, Any] | list[Any]] = field(default_factory=dict, compare=False)

    @property
    def has_header(self) -> bool:
        """True if the columns have names."""
        return self.kind != "delimited" or self.header is not None

    @property
    def description(self) -> str:
        """The layout as text, for messages."""
        if self.kind != "delimited":
            return {"json": "JSON lines", "parquet": "Parquet"}[self.kind]
        separator = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}.get(self.separator, self.separator)
        return f"separator {separator}, {'with' if self.header is not None else 'without'} a header"


def with_columns(layout: Layout, values: Mapping[str, str]) -> Layout:
    """The layout with further columns, each with one value for the whole file; without those that the file has."""
    known = {name.lower() for name in layout.names}
    more = {name: value for name, value in values.items() if name.lower() not in known}
    if not more or not layout.has_header:
        return layout
    rows = tuple((*row, *more.values()) for row in layout.rows)
    return replace(layout, names=(*layout.names, *more), rows=rows)


def find(head: bytes, called: str, is_whole: bool = True) -> Layout:
    """The layout of a file that begins with `head`, at most `HEAD_BYTES` and not compressed; without rows for a file
    of blanks. `is_whole`: it has no more bytes. Raises Unreadable.
    """
    for magic, words in _COMMANDS.items():
        if head.startswith(magic):
            raise Unreadable(f"{called} {words}")
    text, encoding = _decoded(head, called, is_whole)
    start = text.lstrip()[:1]
    if start == "{":
        return _json_lines(text, called, encoding)
    if start == "[" and any(part in _JSON_ENDINGS for part in called.lower().split(".")[1:]):
        raise Unreadable(f"{called} is one JSON list, not one object a line: convert it with {_jq('.[]', called)}")
    return _delimited(text, called, is_whole, encoding)


def from_windows(raw: bytes) -> str:
    """The text of bytes that are not UTF-8."""
    return raw.decode("latin-1").translate(_AS_WINDOWS)


def _decoded(head: bytes, called: str, is_whole: bool) -> tuple[str, Encoding]:
    if b"\x00" in head:
        raise Unreadable(f"{called} is not text: it has a NUL byte")
    whole_lines = head
    if not is_whole:
        end = max(head.rfind(b"\n"), head.rfind(b"\r"))
        if end < 0:
            raise Unreadable(f"{called} has no line break in its first {len(head)} bytes")
        whole_lines = head[: end + 1]
    try:
        text = whole_lines.decode("utf-8-sig")
    except UnicodeDecodeError:
        return from_windows(whole_lines), "latin-1"
    return text, "ascii" if text.isascii() else "utf-8"


# JSON lines


def _json_lines(text: str, called: str, encoding: Encoding) -> Layout:
    if encoding == "latin-1":
        raise Unreadable(f"{called} is JSON, but not UTF-8: convert it with iconv -f LATIN1 -t UTF-8")
    objects = []
    for line in _lines(text)[:ROWS]:
        try:
            found = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            objects.append(found)
    if len(objects) <= 1 and (whole := _LIST_IN_OBJECT.match(text)):
        raise Unreadable(
            f"{called} is one JSON object with a list, not one object a line: convert it with "
            f"{_jq(f'.[{json.dumps(whole[1])}][]', called)}"
        )
    if not objects and re.match(r"\s*\{u?'", text):
        code = "import ast, json, sys; [print(json.dumps(ast.literal_eval(line))) for line in sys.stdin]"
        raise Unreadable(
            f'{called} is written as Python, not as JSON: convert it with python3 -c "{code}" < {shlex.quote(called)} '
            "> flat.jsonl, and use that file instead"
        )
    if not objects:
        raise Unreadable(
            f"{called} has no JSON object on a line of its own: convert it with {_jq('.', called)}", is_prose=True
        )
    names = tuple(dict.fromkeys(name for found in objects for name in found))
    rows = tuple(tuple(_text(found.get(name)) for name in names) for found in objects)
    nested = {name: value for found in reversed(objects) for name, value in found.items()
              if isinstance(value, dict | list) and value}  # fmt: skip
    return Layout("json", names, rows=rows, nested=nested)


def _text(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _jq(program: str, called: str) -> str:
    """The command that writes the file anew by a program of jq, under another name."""
    folder, _, name = called.rpartition("/")
    stem = re.sub(r"\.(jsonl|ndjson|json)$", "", name, flags=re.IGNORECASE)
    new = f"{stem}.jsonl" if f"{stem}.jsonl" != name else f"flat-{stem}.jsonl"
    target = f"{folder}/{new}" if folder else new
    return f"jq -c {shlex.quote(program)} {shlex.quote(called)} > {shlex.quote(target)}, and use that file instead"


def flattened(layout: Layout, names: Iterable[str], called: str) -> str:
    """The command that brings one value of each object or list in the columns `names` to the top of its row."""
    steps = []
    for name in dict.fromkeys(names):
        value, path = layout.nested[name], f".[{json.dumps(name)}]"
        if isinstance(value, list):
            is_of_objects = isinstance(value[0], dict)
            steps.append(f". + {path}[] | del({path})" if is_of_objects else f"{path} = {path}[]")
            continue
        scalars = [key for key, own in value.items() if not isinstance(own, dict | list)]
        key = next((key for key in scalars if key in ("id", "_id", "$oid", "$date")), (scalars or list(value))[0])
        steps.append(f"{path} = {path}[{json.dumps(key)}]")
    return _jq(" | ".join(steps), called)


# Delimited text


def _delimited(text: str, called: str, is_whole: bool, encoding: Encoding) -> Layout:
    text, skipped = _without_title(text)
    candidates = []
    for separator in SEPARATORS:
        is_quoted = separator in _ALWAYS_QUOTED or (separator != "::" and _has_quotes(text, separator))
        rows = _rows(text, separator, is_quoted, called, is_whole)
        if rows and len(rows[0]) > 1:
            share = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
            candidates.append((share, len(rows[0]), separator, is_quoted, rows))
    if not candidates:
        rows = _rows(text, ",", True, called, is_whole)
        if not rows:
            return Layout("delimited", ())
        candidates = [(1.0, 1, ",", True, rows)]
    _, _, separator, is_quoted, rows = max(candidates, key=lambda candidate: candidate[:2])
    has_header = _is_header(rows)
    names = tuple(name.strip() for name in rows[0]) if has_header else tuple(str(n + 1) for n in range(len(rows[0])))
    typed = [_TYPED.fullmatch(name) for name in names]
    if all(typed):
        names = tuple(name[1] for name in typed if name)
    body = rows[1:] if has_header else rows
    return Layout(
        kind="delimited",
        names=names,
        header=next(line for line in _lines(text) if line.strip()) if has_header else None,
        separator=separator,
        is_quoted=is_quoted,
        encoding=encoding,
        skipped=skipped,
        is_multiline=is_quoted and not all(map(re.compile(complete_line(separator)).match, _lines(text))),
        rows=tuple(tuple(value.strip() for value in row) for row in body if len(row) == len(names)),
    )


def _without_title(text: str) -> tuple[str, tuple[str, ...]]:
    """The text from its header on, and the lines before it: `sep=;`, or lines with one value or none, where the header
    has three or more, and comments. Without a header there is no title: the line may be a row.
    """
    lines = _lines(text)
    filled = [place for place, line in enumerate(lines) if line.strip()][: _MOST_SKIPPED + 1]
    skipped = 1 if filled and _SEP.fullmatch(lines[filled[0]].strip()) else 0

    def values(place: int) -> list[str]:
        return max(([part.strip(' "') for part in lines[place].split(mark)] for mark in SEPARATORS), key=len)

    def is_none(place: int, header: list[str]) -> bool:
        own = values(place)
        return sum(map(bool, own)) <= 1 or (lines[place].startswith("#") and len(own) != len(header))

    for first in range(skipped + 1, len(filled)):
        header = values(filled[first])
        if not all(is_none(place, header) for place in filled[skipped:first]):
            break
        if len(header) >= _LEAST_COLUMNS and all(header) and not any(map(looks_like_value, header)):
            skipped = first
            break
    if not skipped:
        return text, ()
    return "\n".join(lines[filled[skipped] :]) if skipped < len(filled) else "", tuple(
        lines[place] for place in filled[:skipped]
    )


def complete_line(separator: str) -> str:
    """A regular expression, for Python and Java, of a line whose quoted fields all end in it. A line with an open quote
    is the beginning of a row that goes on in the next line.
    """
    other = rf"[^{re.escape(separator)}]*+"
    value = rf'(?:"[^"]*+(?:""[^"]*+)*+"{other}|(?!"){other})'
    return f"^(?:{value}{re.escape(separator)})*+{value}$"


def _has_quotes(text: str, separator: str) -> bool:
    """True if some field of a line is quoted from its first to its last character."""
    mark = re.escape(separator)
    return re.search(rf'(?m)(?:^|{mark})"(?:[^"\r\n]|"")*"(?:{mark}|\r?$)', text) is not None


def _rows(text: str, separator: str, is_quoted: bool, called: str, is_whole: bool) -> list[list[str]]:
    if separator == "::" or not is_quoted:
        rows = [line.split(separator) for line in _lines(text)[: ROWS + 1] if line.strip()]
        return rows
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows = []
    try:
        for row in reader:
            if any(map(str.strip, row)):
                rows.append(row)
            if len(rows) > ROWS:
                return rows
    except csv.Error as error:
        raise Unreadable(f"{called} is not CSV: {error}", is_prose=True) from error
    # The last row may be cut inside quotes.
    return rows if is_whole or len(rows) < 2 else rows[:-1]


def _is_header(rows: list[list[str]]) -> bool:
    """True if the first row names columns: it has no number and no date; or it is what pandas writes for columns
    without names, `0,1,2`.
    """
    first = [value.strip() for value in rows[0]]
    numbered = first[1:] if not first[0] else first
    if len(numbered) > 1 and numbered == [str(position) for position in range(len(numbered))]:
        return True
    return any(first) and not any(looks_like_value(value) for value in first)


def looks_like_value(text: str) -> bool:
    """True for a number and for a text that begins with a date: a header has neither."""
    return bool(_NUMBER.fullmatch(text) or _DATE.fullmatch(text) or time_forms.patterns_of([text]))


def _lines(text: str) -> list[str]:
    return _LINE_BREAK.split(text)
