"""Which files of a source are read, and rows that do not fit the others of their file."""

from pathlib import Path
from typing import Any

import reading
from contracts.columns import Given
from drops import Drop
from refusal import printable
from storage import Storage, StoredFile


def chosen(file_format: Any, *paths: Any) -> Any:
    listed = [StoredFile(path, f"s3://bucket/raw/{path}", 1) for path in paths]
    interactions, catalogue, warnings = reading.choose_files(listed, file_format)
    return [file.path for file in interactions], [file.path for file in catalogue], len(warnings)


def test_reads_known_endings_without_hidden_files_and_the_catalogue() -> None:
    found = chosen(
        "auto", "a.csv", "b/c.CSV.GZ", "d.parquet", "e.dat", "_SUCCESS", "_tmp/x.csv", ".y.csv", "items.csv", "z.pdf"
    )
    assert found == (["a.csv", "b/c.CSV.GZ", "d.parquet", "e.dat"], ["items.csv"], 1)


def test_reads_only_the_ratings_of_a_movielens_folder() -> None:
    paths = ("README.txt", "links.csv", "movies.csv", "ratings.csv", "tags.csv")
    assert chosen("auto", *paths) == (["ratings.csv"], ["movies.csv"], 3)
    assert chosen("auto", "users.csv", "links.csv") == (["users.csv", "links.csv"], [], 0)


def test_an_explicit_format_includes_files_without_an_ending_and_excludes_other_formats() -> None:
    assert chosen("csv", "part-00000", "b.csv", "c.parquet", "notes.pdf") == (["part-00000", "b.csv"], [], 2)
    assert chosen("parquet", "a.csv", "b.snappy.parquet") == (["b.snappy.parquet"], [], 1)


def test_a_name_in_the_data_cannot_forge_a_line_of_the_log() -> None:
    assert printable("time\nREFUSED: no") == "time\ufffdREFUSED: no"
    assert len(printable("x" * 999, 60)) == 60


def test_an_object_or_a_list_as_an_id_far_into_a_file_is_a_bad_row(spark: Any, tmp_path: Path) -> None:
    row = '{"user_id": "ann", "item_id": %s, "timestamp": 1700000000}\n'
    bad, good = ['{"id": "tea"}', '["tea", "cup"]'], ['"tea"', '"{0A1B-2C}"', '"[S] 7"', '"[sale]"']
    (tmp_path / "a.jsonl").write_text("".join(row % item for item in good * 600 + bad))
    source = reading.read_source(spark, Storage(spark), [Drop(str(tmp_path), Given())], None)
    lines = [found["line"] for found in source.interactions.collect() if found["line"] is not None]
    assert sorted(lines) == ['["tea","cup"]', '{"id":"tea"}']
