"""Reads the catalogue: id, title and category of each item, as text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, FloatType

import parquet_files
import text_files
from contracts.columns import ITEM_NAMES, normal
from contracts.layouts import Layout
from refusal import Refused, printable
from storage import StoredFile, literal_path

_TITLES = ("title", "name", "itemname", "productname", "prodname", "movietitle", "booktitle", "description")
_CATEGORIES = (
    "category", "genres", "genre", "categories", "categorycode", "categoryl1", "categoryname", "department",
    "departmentname", "producttype", "producttypename", "class",
)  # fmt: skip


def read(session: SparkSession, files: Sequence[tuple[StoredFile, Layout]], items: set[str]) -> DataFrame | None:
    """The catalogue as `item_id, title, category`, unchecked; None without files. `items`: the names of the column of
    items in the interactions. Raises Refused without ids.
    """
    frames = [_read_file(session, file, layout, items) for file, layout in files]
    return reduce(DataFrame.unionByName, frames) if frames else None


def _read_file(session: SparkSession, file: StoredFile, layout: Layout, items: set[str]) -> DataFrame:
    names = _columns(layout, items)
    if names[0] is None:
        has = ", ".join(printable(name, 60) for name in layout.names[:30]) or "no column"
        raise Refused(f"the catalogue {printable(file.path)} has no id: expected item_id or id, found {has}")
    path = literal_path(file.uri)
    if layout.kind == "parquet":
        table = session.read.parquet(path)
        fields = [F.col(parquet_files.quoted(name)) if name else None for name in names]
        if isinstance(table.schema[names[0]].dataType, FloatType | DoubleType):
            fields[0] = parquet_files.whole_numbers(F.col(parquet_files.quoted(names[0])))
    else:
        table = text_files.read_rows(session, layout, [path], [name for name in names if name])
        places = iter(range(3))
        fields = [F.col(f"_{next(places)}") if name else None for name in names]
    return table.select(
        *(
            (F.lit(None) if field is None else field).cast("string").alias(alias)
            for field, alias in zip(fields, ("item_id", "title", "category"), strict=True)
        )
    )


def _columns(layout: Layout, items: set[str]) -> tuple[str | None, str | None, str | None]:
    """The columns of ids, titles and categories. Without a header they are the first three, as in MovieLens' movies.dat
    (https://files.grouplens.org/datasets/movielens/ml-1m-README.txt); of more than three, only the first two.
    """
    names = layout.names
    if not layout.has_header:
        first = (*names[:2], *(names[2:] if len(names) == 3 else ()), None, None, None)
        return first[0], first[1], first[2]
    known = {normal(name): name for name in reversed(names)}
    own = next((name for name in names if name in items), None)

    def first_of(choices: Sequence[str]) -> str | None:
        return next((known[name] for name in choices if name in known), None)

    identifier = own or first_of(("itemid", "id", *ITEM_NAMES))
    others = [None if name == identifier else name for name in (first_of(_TITLES), first_of(_CATEGORIES))]
    return identifier, others[0], others[1]
