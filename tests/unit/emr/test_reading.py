from typing import Any

import pytest

import reading
from arguments import Columns
from refusal import Refused, printable
from storage import StoredFile


def files(*paths: Any) -> Any:
    return [StoredFile(path, f"s3://bucket/raw/{path}", 1) for path in paths]


def chosen(file_format: Any, *paths: Any) -> Any:
    interactions, catalogue, warnings = reading.choose_files(files(*paths), file_format)
    return [file.path for file in interactions], [file.path for file in catalogue], len(warnings)


def test_reads_known_endings_without_hidden_files_and_the_catalogue() -> None:
    found = chosen(
        "auto", "a.csv", "b/c.CSV.GZ", "d.parquet", "e.dat", "_SUCCESS", "_tmp/x.csv", ".y.csv", "items.csv", "z.txt"
    )
    assert found == (["a.csv", "b/c.CSV.GZ", "d.parquet", "e.dat"], ["items.csv"], 1)


def test_reads_only_the_ratings_of_a_movielens_folder() -> None:
    paths = ("README.txt", "links.csv", "movies.csv", "ratings.csv", "tags.csv")
    assert chosen("auto", *paths) == (["ratings.csv"], ["movies.csv"], 3)
    assert chosen("auto", "users.csv", "links.csv") == (["users.csv", "links.csv"], [], 0)


def test_an_explicit_format_includes_files_without_an_ending_and_excludes_other_formats() -> None:
    assert chosen("csv", "part-00000", "b.csv", "c.parquet", "notes.txt") == (["part-00000", "b.csv"], [], 2)
    assert chosen("parquet", "a.csv", "b.snappy.parquet") == (["b.snappy.parquet"], [], 1)


@pytest.mark.parametrize(
    ("start", "header"),
    [
        (b"user_id,item_id,timestamp\r\n1,2,3\r\n", ("user_id", "item_id", "timestamp")),
        ("\ufeffuser_id, item_id\n".encode(), ("user_id", "item_id")),
        (b'\n\n"user, id","say ""hi"""\n', ("user, id", 'say "hi"')),
        (b"", ()),
        (b"\n \n", ()),
    ],
)
def test_reads_the_header_of_a_csv_file(start: Any, header: Any) -> None:
    assert reading.parse_header(start, "a.csv") == header


@pytest.mark.parametrize("start", [b"\xff\xfeu\x00s\x00", b"caf\xe9,b\n", b"PAR1\x00\x00"])
def test_refuses_a_header_that_is_not_text(start: Any) -> None:
    with pytest.raises(Refused, match=r"the header of drop/a\.csv is not UTF-8 text"):
        reading.parse_header(start, "drop/a.csv")


@pytest.mark.fault("D12")
def test_names_the_missing_the_expected_and_the_found_columns() -> None:
    assert reading.column_difference(("user_id", "item_id", "timestamp"), ("user_id", "item_id", "time"), "a.csv") == (
        "column 'timestamp' is missing; the file has user_id, item_id, time "
        "(a.csv; expected user_id, item_id, timestamp)"
    )
    assert reading.column_difference(("a", "b"), (), "x.csv") == (
        "columns 'a', 'b' are missing; the file has no column (x.csv; expected a, b)"
    )
    assert reading.column_difference(("a",), ("a", "a"), "x.csv") == (
        "column 'a' is there more than once; the file has a, a (x.csv; expected a)"
    )
    assert reading.column_difference(("a",), ("b", "a"), "x.csv") is None


def test_a_name_in_the_data_cannot_forge_a_line_of_the_log() -> None:
    assert printable("time\nREFUSED: no") == "time\ufffdREFUSED: no"
    assert len(printable("x" * 999, 60)) == 60


@pytest.mark.parametrize(
    ("columns", "required"),
    [
        (Columns(), ("user_id", "item_id", "timestamp")),
        (Columns(weight="stars", is_weight_required=True), ("user_id", "item_id", "timestamp", "stars")),
        (Columns(is_event_type_required=True), ("user_id", "item_id", "timestamp", "event_type")),
    ],
)
def test_an_optional_column_is_required_if_it_is_requested(columns: Any, required: Any) -> None:
    assert columns.required() == required
