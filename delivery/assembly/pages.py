"""Pages whose sentences are by hand and whose tables are written: a table stands between two comments,

<!-- table: outputs -->
…
<!-- end -->
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from delivery.assembly.files import SourceError

REFERENCE = "docs/reference"
MARK = re.compile(r"<!-- table: (\S+) -->\n.*?<!-- end -->", re.DOTALL)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown. A cell is one line; a bar in it is escaped."""
    first, *others = (f"| {' | '.join(cell(text) for text in line)} |\n" for line in (head, *rows))
    return "".join([first, f"|{'---|' * len(head)}\n", *others])


def cell(text: str) -> str:
    """Return `text` as it may stand in a cell: outside code, a `<` is no tag."""
    spans = " ".join(text.split()).replace("|", "\\|").split("`")
    return "`".join(span if place % 2 else span.replace("<", "&lt;") for place, span in enumerate(spans))


def wrapped(text: str) -> str:
    """Return a paragraph in lines of at most 100 characters."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def code(text: object) -> str:
    """Return `text` as code, and nothing for nothing."""
    return f"`{text}`" if str(text) else ""


def filled(root: Path, page: str, tables: Mapping[str, str]) -> dict[str, str]:
    """Return `page`, a name in docs/reference, → its text with `tables` in their places.

    Raises SourceError if the page has a place without a table, or no place for a table.
    """
    path = f"{REFERENCE}/{page}"
    text = (root / path).read_text("utf-8")
    places = MARK.findall(text)
    if sorted(places) != sorted(tables):
        raise SourceError(f"{path} has places for {', '.join(places)}; the tables are {', '.join(tables)}")
    return {
        path: MARK.sub(lambda found: f"<!-- table: {found[1]} -->\n\n{tables[found[1]].strip()}\n\n<!-- end -->", text)
    }
