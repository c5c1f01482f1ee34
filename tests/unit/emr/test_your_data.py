"""Each line of the table in docs/how-to/file-shapes.md, with a file of that shape."""

from functools import reduce
from typing import Any

import pytest
from pyspark.sql import functions as F

import arguments
from drops import Drop
from reading import Source, read_source
from refusal import Refused
from storage import Storage
from tests.shapes import SHAPES
from tests.unit.emr.test_preparation_arguments import argv

COLUMNS = ("user_id", "item_id", "timestamp", "event_type", "weight", "line")


@pytest.fixture(scope="module")
def read(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The source or the refusal, the rows and the catalogue of each shape; one Spark job reads them all."""
    opened: dict[str, Any] = {}
    for shape in SHAPES:
        folder = tmp_path_factory.mktemp("drop")
        SHAPES[shape].write(folder)
        given = arguments.parse([*argv(), *SHAPES[shape].options()]).columns
        try:
            opened[shape] = read_source(spark, Storage(spark), [Drop(str(folder), given)], None)
        except Refused as refusal:
            opened[shape] = str(refusal)
    texts = {name: F.col(name) for name in COLUMNS}
    described = {"user_id": F.col("item_id"), "item_id": F.col("title"), "timestamp": F.col("category")}
    frames = []
    for shape, source in opened.items():
        if isinstance(source, Source):
            frames.append(source.interactions.select(F.lit(shape), F.lit("rows"), *texts.values()))
            if source.catalogue is not None:
                nothing = F.lit(None).cast("string")
                columns = (described.get(name, nothing) for name in COLUMNS)
                frames.append(source.catalogue.rows.select(F.lit(shape), F.lit("catalogue"), *columns))
    found: dict[str, Any] = {shape: {"source": opened[shape], "rows": [], "catalogue": []} for shape in opened}
    for shape, part, *row in reduce(lambda one, other: one.union(other), frames).collect():
        found[shape][part].append(tuple(row[:3] if part == "catalogue" else row))
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_of_each_shape_is_read_as_the_table_says(read: dict[str, Any], shape: str) -> None:
    expected, found = SHAPES[shape], read[shape]
    if expected.is_refused:
        assert expected.words in str(found["source"])
        return
    assert not isinstance(found["source"], str), found["source"]
    good = sorted((row[:5] for row in found["rows"]), key=repr)
    assert [tuple(value or None for value in row) for row in good] == sorted(expected.rows, key=repr)
    assert {row[5] for row in found["rows"]} == {None}
    assert found["catalogue"] == list(expected.catalogue)


def test_what_is_not_obvious_is_told(read: dict[str, Any]) -> None:
    def warnings(shape: str) -> str:
        return "\n".join(read[shape]["source"].warnings)

    assert "a.csv is not UTF-8; it is read as Latin-1" in warnings("Latin-1")
    assert "a.csv has quoted line breaks: one task reads the whole file" in warnings("a quoted field with line breaks")
    assert "users.csv is not used: a file of this name has no interactions" in warnings("Amazon Personalize")
    assert "stores.csv is not used: no column is known to hold the users" in warnings(
        "another table or a note beside the interactions"
    )
    assert "whole ones are read as integers" in warnings(
        "Parquet, ids of any integer type or whole floating-point numbers"
    )
    assert "a.xlsx is not used: not .csv, .tsv" in warnings("`.zip`, `.xlsx` and others")
