"""A worse copy of a file of interactions: every row has a random item, so that there is nothing to learn. Pure.

It keeps the file's form and columns, so that the parameters of its drop hold for the copy too.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from contracts import columns, layouts
from contracts.column_names import KEYS
from contracts.columns import Given, NotSure
from contracts.layouts import HEAD_BYTES, Layout, Unreadable


class CannotSpoil(ValueError):
    """The file cannot be copied here; the message says why."""


def spoil(content: bytes, called: str, parameters: Mapping[str, Any], seed: int) -> bytes:
    """The text file `called` with an item drawn from all its items in every row. `parameters` are the drop's. Raises
    CannotSpoil.
    """
    named: dict[str, Any] = {name: str(parameters[key]) for name, key in KEYS.items() if parameters.get(key)}
    given = Given(**named)
    try:
        layout = layouts.find(content[:HEAD_BYTES], called, is_whole=len(content) <= HEAD_BYTES)
        item = columns.named(layout, given, called)["item"]
    except (Unreadable, NotSure) as error:
        raise CannotSpoil(str(error)) from error
    is_windows = layout.encoding == "latin-1"
    text = layouts.from_windows(content) if is_windows else content.decode("utf-8-sig", "replace")
    if layout.skipped and layout.header is not None:
        text = text[text.index(layout.header) :]
    generator = random.Random(seed)
    if layout.kind == "json":
        return _spoil_json(text, item, generator).encode()
    return _spoil_rows(text, layout, layout.names.index(item), generator).encode()


def _spoil_json(text: str, item: str, generator: random.Random) -> str:
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    items = _distinct(row.get(item) for row in rows)
    for row in rows:
        row[item] = generator.choice(items)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _spoil_rows(text: str, layout: Layout, place: int, generator: random.Random) -> str:
    if layout.is_quoted:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=layout.separator) if any(row)]
    else:
        rows = [line.split(layout.separator) for line in text.splitlines() if line.strip()]
    first = 1 if layout.header is not None else 0
    complete = [row for row in rows[first:] if len(row) == len(layout.names)]
    items = _distinct(row[place] for row in complete)
    for row in complete:
        row[place] = generator.choice(items)
    return _written(rows, layout)


def _written(rows: Sequence[Sequence[str]], layout: Layout) -> str:
    if not layout.is_quoted:
        return "".join(layout.separator.join(row) + "\n" for row in rows)
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=layout.separator, lineterminator="\n").writerows(rows)
    return file.getvalue()


def _distinct(values: Any) -> list[Any]:
    found = sorted({value for value in values if value not in (None, "")}, key=str)
    if not found:
        raise CannotSpoil("the file has no items")
    return found
