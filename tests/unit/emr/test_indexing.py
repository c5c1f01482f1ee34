from typing import Any

from pyspark.sql import functions as F

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
    expected = [("1", "Ant", None, True), ("2", None, None, False)]
    for catalogue in (frame(schema, *rows), frame(schema, *reversed(rows))):
        assert sorted(tuple(row) for row in indexing.clean_catalogue(catalogue).collect()) == expected


def test_categories_may_be_a_list_or_a_path(frame: Any) -> None:
    texts = {
        "Drama|War": "Drama|War",
        '["Drama", "War"]': "Drama|War",
        "['Drama', 'War']": "Drama|War",
        "Home > Kitchen > Cups": "Home|Kitchen|Cups",
        "A > B|C": "A > B|C",
        "Home, Garden": "Home, Garden",
        "[sale]": "[sale]",
        "[]": "[]",
        "": None,
    }
    rows = [(f"i{place}", None, text) for place, text in enumerate(texts)]
    found = indexing.clean_catalogue(frame("item_id string, title string, category string", *rows)).collect()
    assert [row["category"] for row in sorted(found, key=lambda row: row["item_id"])] == list(texts.values())


def test_a_row_of_the_catalogue_replaces_what_was_known_of_its_item(frame: Any) -> None:
    items = frame(
        "item_index int, item_id string, title string, category string, price double, size string, "
        "is_withdrawn boolean",
        (0, "a", "Old A", "old", 1.0, "L", True),
        (1, "b", "Old B", None, 2.0, "M", False),
        (2, "c", None, None, None, None, None),
    )
    catalogue = frame(
        "item_id string, title string, category string, Price double, size double, is_repeated boolean",
        ("a", "New A", None, None, 40.0, True),
        ("d", "Unused", "x", 4.0, 41.0, False),
    )
    described = indexing.describe(items, catalogue, F.col("size") > 0).orderBy("item_index")
    assert described.columns == [
        "item_index", "item_id", "title", "category", "Price", "size", "is_described", "is_sold", "was_withdrawn",
        "is_repeated",
    ]  # fmt: skip
    assert [tuple(row) for row in described.collect()] == [
        (0, "a", "New A", None, None, 40.0, True, True, True, True),
        (1, "b", "Old B", None, 2.0, None, False, None, False, False),
        (2, "c", None, None, None, None, False, None, False, False),
    ]


def test_without_a_catalogue_the_items_are_what_they_were(frame: Any) -> None:
    parent = frame("item_index int, item_id string, price double, is_withdrawn boolean", (0, "a", 1.5, True))
    assert indexing.describe(parent, None).collect()[0].asDict() == {
        "item_index": 0, "item_id": "a", "title": None, "category": None, "price": 1.5,
        "is_described": False, "is_sold": None, "was_withdrawn": True, "is_repeated": False,
    }  # fmt: skip
