"""Names tell the parts of a drop."""

import pytest

from contracts import sources
from contracts.sources import Part


@pytest.mark.parametrize(
    ("name", "ending", "stem", "compression"),
    [
        ("a.csv", ".csv", "a", None),
        ("Week.1.CSV.GZ", ".csv.gz", "week.1", "gzip"),
        ("u.data", ".data", "u", None),
        ("x.jsonl.zst", ".jsonl.zst", "x", "zstd"),
        ("x.snappy.parquet", ".parquet", "x.snappy", None),
        ("x.parquet.gz", "", "x.parquet.gz", "gzip"),
        ("x.xlsx", "", "x.xlsx", None),
    ],
)
def test_the_ending_tells_the_format_and_the_compression(
    name: str, ending: str, stem: str, compression: str | None
) -> None:
    assert (sources.ending_of(name), sources.stem_of(name), sources.compression_of(name)) == (ending, stem, compression)


def test_catalogues_people_and_readmes_beside_the_interactions_are_not_interactions() -> None:
    paths = ["clicks/1.csv", "Products.csv", "users.csv", "README.txt", "_tmp/x.csv", "x.pdf", "ml.item", "tags.csv"]
    assert list(sources.parts(paths).values()) == [
        Part.INTERACTIONS, Part.CATALOGUE, Part.LEFT_OUT, Part.LEFT_OUT, Part.HIDDEN, Part.UNSUPPORTED, Part.CATALOGUE,
        Part.LEFT_OUT,
    ]  # fmt: skip


def test_a_lone_file_may_be_called_users() -> None:
    assert sources.parts(["users.csv", "README.txt", "items.csv"]) == {
        "users.csv": Part.INTERACTIONS,
        "README.txt": Part.LEFT_OUT,
        "items.csv": Part.CATALOGUE,
    }


def test_names_of_folders_have_columns() -> None:
    found = sources.folder_columns("year=2024/event-type=add%20to%20cart/user=__HIVE_DEFAULT_PARTITION__/a=b.csv")
    assert found == {"year": "2024", "event-type": "add to cart"}
    assert sources.folder_columns("a.csv") == sources.folder_columns("=x/y=/1=2/a.csv") == {}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.ZIP", "unpack it with unzip a.ZIP"),
        ("a.csv.tar.gz", "unpack it with tar -xf a.csv.tar.gz"),
        ("a.xlsx", "save it as CSV (UTF-8) there"),
        ("a.gzip", "give it the ending .gz"),
        ("orders", "convert it to one of: .csv, .tsv"),
    ],
)
def test_what_helps_with_another_ending_is_said(name: str, words: str) -> None:
    assert sources.remedy(name).startswith(words)
