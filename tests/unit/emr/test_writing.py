from typing import Any

import pyarrow.parquet
import pytest

import writing
from refusal import PreparationFailed
from spark_session import size_shuffles
from storage import Storage, literal_path
from writing import Table


@pytest.fixture
def storage(spark: Any) -> Any:
    return Storage(spark)


def parts(folder: Any) -> Any:
    return {
        path.name: pyarrow.parquet.read_table(path, partitioning=None).column("at").to_pylist()
        for path in sorted(folder.rglob("*.parquet"))
    }


def test_many_rows_become_several_files_without_a_gap_in_names_or_order(
    spark: Any, storage: Any, frame: Any, tmp_path: Any
) -> None:
    """Values 4 to 7 are missing, like users that only the parent has: their file would be empty."""
    folder = tmp_path / "a [b]{c} é"
    storage.drop_checksum_files(str(folder))
    rows = [(at,) for at in (11, 3, 2, 9, 8, 0, 1, 10)]
    table = Table("train", frame("at int", *rows).repartition(3), ("at",), 8, {"at": 12}, "at")
    writing.write_table(storage, table, str(folder), str(folder / "_staging"), rows_per_file=3)
    assert parts(folder) == {"part-00000.parquet": [0, 1, 2, 3], "part-00001.parquet": [8, 9, 10, 11]}
    described = writing.describe_files(spark, storage, str(folder), [table])
    assert [(file["path"], file["rows"]) for file in described] == [
        ("train/part-00000.parquet", 4),
        ("train/part-00001.parquet", 4),
    ]


def test_a_table_with_an_unexpected_number_of_rows_is_a_fault(
    spark: Any, storage: Any, frame: Any, tmp_path: Any
) -> None:
    table = Table("users", frame("at int", (1,), (2,)), ("at",), 3)
    writing.write_table(storage, table, str(tmp_path), str(tmp_path / "_staging"))
    with pytest.raises(PreparationFailed, match="users has 2 rows, not the expected 3"):
        writing.describe_files(spark, storage, str(tmp_path), [table])


def test_an_index_beyond_the_count_is_a_fault(spark: Any, storage: Any, frame: Any, tmp_path: Any) -> None:
    rows = frame("item_index int, at int", (0, 9), (2, 9))
    for items, beyond in ((3, False), (2, True)):
        table = Table("train", rows, ("item_index",), 2, {"item_index": items, "user_index": 1})
        writing.write_table(storage, table, str(tmp_path), str(tmp_path / "_staging"))
        if not beyond:
            assert len(writing.describe_files(spark, storage, str(tmp_path), [table])) == 1
            continue
        with pytest.raises(PreparationFailed, match=r"part-00000.parquet has item_index 2, but the indices end at 1$"):
            writing.describe_files(spark, storage, str(tmp_path), [table])


def test_a_whole_file_replaces_the_one_before_and_leaves_no_draft(storage: Any, tmp_path: Any) -> None:
    for text in ("first", "zweite ü"):
        storage.write_whole(str(tmp_path / "to" / "report.json"), text, str(tmp_path / "_draft"))
    assert (tmp_path / "to" / "report.json").read_text("utf-8") == "zweite ü"
    assert [path.name for path in tmp_path.iterdir()] == ["to"]


def test_lists_files_below_a_folder_by_path(storage: Any, tmp_path: Any) -> None:
    for name in ("b.csv", "a/ü [1].csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("123")
    listed = storage.list_files(str(tmp_path))
    assert [(file.path, file.size) for file in listed] == [("a/ü [1].csv", 3), ("b.csv", 3)]
    assert storage.read_start(listed[0].uri, 2) == b"12"
    assert [file.path for file in storage.list_files(str(tmp_path / "b.csv"))] == ["b.csv"]
    assert storage.list_files(str(tmp_path / "nowhere")) == []


def test_a_name_is_never_a_pattern(spark: Any, tmp_path: Any) -> None:
    path = tmp_path / "a*[1]{x}?.txt"
    path.write_text("this\n")
    (tmp_path / "aa1x?.txt").write_text("not this\n")
    assert [row[0] for row in spark.read.text(literal_path(str(path))).collect()] == ["this"]


@pytest.mark.parametrize(("size", "is_adaptive"), [(1 << 20, "false"), (16 << 20, "false"), (17 << 20, "true")])
def test_a_small_input_is_not_planned_once_more_at_each_stage(spark: Any, size: int, is_adaptive: str) -> None:
    size_shuffles(spark, size)
    assert spark.conf.get("spark.sql.adaptive.enabled") == is_adaptive
