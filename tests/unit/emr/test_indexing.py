from typing import Any

import indexing


def test_numbers_ids_in_sorted_order_from_the_given_start(frame: Any) -> None:
    numbered, count = indexing.number(frame("id string", ("b",), ("ä",), ("10",), ("2",), ("B",)), "id", "at", 7)
    assert [tuple(row) for row in numbered.orderBy("at").collect()] == [
        (7, "10"),
        (8, "2"),
        (9, "B"),
        (10, "b"),
        (11, "ä"),
    ]
    assert count == 5


def test_numbers_without_a_gap_across_partitions(spark: Any, frame: Any) -> None:
    spark.conf.set("spark.sql.adaptive.coalescePartitions.enabled", "false")
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "7")
    try:
        ids = frame("id string", *[(f"{number:03d}",) for number in range(100)])
        numbered, count = indexing.number(ids, "id", "at")
        rows = [tuple(row) for row in numbered.orderBy("at").collect()]
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
        spark.conf.set("spark.sql.adaptive.coalescePartitions.enabled", "true")
    assert (count, rows) == (100, [(number, f"{number:03d}") for number in range(100)])


def test_numbers_an_empty_frame(frame: Any) -> None:
    numbered, count = indexing.number(frame("id string"), "id", "at", 3)
    assert (numbered.collect(), count) == ([], 0)


def test_an_id_of_the_parent_is_not_new(frame: Any) -> None:
    interactions = frame("user_id string", ("ann",), ("bob",), ("ann",), ("cid",))
    parent = frame("user_index int, user_id string", (0, "bob"), (1, "zoe"))
    unknown = indexing.unknown_ids(interactions, "user_id", parent).collect()
    assert sorted(row["user_id"] for row in unknown) == ["ann", "cid"]
    assert indexing.unknown_ids(interactions, "user_id", None).count() == 3


def test_catalogue_has_one_row_for_each_item_in_any_order(frame: Any) -> None:
    schema = "item_id string, title string, category string"
    rows = [
        ("1", "Zebra", "x"),
        (" 1 ", " Ant ", ""),
        ("2", None, "(no genres listed)"),
        ("", "Nobody", "x"),
        (None, "No", "x"),
    ]
    expected = [("1", "Ant", None), ("2", None, None)]
    for catalogue in (frame(schema, *rows), frame(schema, *reversed(rows))):
        assert sorted(tuple(row) for row in indexing.clean_catalogue(catalogue).collect()) == expected


def test_a_title_comes_from_the_catalogue_otherwise_from_the_parent(frame: Any) -> None:
    items = frame(
        "item_index int, item_id string, title string, category string",
        (0, "a", "Old A", "old"),
        (1, "b", "Old B", None),
        (2, "c", None, None),
    )
    catalogue = frame("item_id string, title string, category string", ("a", "New A", None), ("d", "Unused", "x"))
    described = [tuple(row) for row in indexing.describe(items, catalogue).orderBy("item_index").collect()]
    assert described == [
        (0, "a", "New A", "old", True), (1, "b", "Old B", None, False), (2, "c", None, None, False),
    ]  # fmt: skip


def test_without_a_catalogue_there_is_no_title(frame: Any) -> None:
    assert indexing.describe(frame("item_index int, item_id string", (0, "a")), None).collect()[0].asDict() == {
        "item_index": 0,
        "item_id": "a",
        "title": None,
        "category": None,
    }
