from typing import Any

import pytest
from pyspark.sql import functions as F

import cleaning
import splitting
from contracts import splits

PAIRS = "user_id string, item_id string, timestamp bigint, weight float, events int, worth float, is_bought boolean"


@pytest.fixture
def people(frame: Any) -> Any:
    """ann takes tea, cup, then both pot and jar at time 3; bob tea, then cup; cid only tea."""
    chosen = [("ann", "tea", 1), ("ann", "cup", 2), ("ann", "pot", 3), ("ann", "jar", 3)]
    chosen += [("bob", "tea", 5), ("bob", "cup", 6), ("cid", "tea", 7)]
    return with_support(frame, *chosen)


def with_support(frame: Any, *rows: Any) -> Any:
    return cleaning.with_support(frame(PAIRS, *((*row, 1.0, 1, 1.0, True) for row in rows)))


def pairs(rows: Any, user: str = "user_id", item: str = "item_id") -> Any:
    return sorted((row[user], row[item]) for row in rows.collect())


def drawn(user: str, *items: str) -> str:
    return max(items, key=lambda item: splits.draw(splits.SEED, user, item))


def test_the_last_of_a_user_is_by_time_then_by_the_draw(people: Any) -> None:
    marked = splitting.mark_last(people)
    assert pairs(marked.where("is_last")) == [("ann", drawn("ann", "pot", "jar")), ("bob", "cup")]
    assert [row["user_id"] for row in marked.where("is_tied").collect()] == ["ann"]


def test_at_equal_time_each_item_is_the_last_of_some_users_whatever_its_id_or_place(frame: Any) -> None:
    rows = [(f"u{user:03d}", item, 1) for user in range(300) for item in "abz"]
    last = pairs(splitting.mark_last(with_support(frame, *rows)).where("is_last"))
    assert last == pairs(splitting.mark_last(with_support(frame, *reversed(rows))).where("is_last"))
    assert last == [(f"u{user:03d}", drawn(f"u{user:03d}", *"abz")) for user in range(300)]
    chosen = [item for _, item in last]
    assert all(70 < chosen.count(item) < 130 for item in "abz")


def test_spark_draws_as_the_reader_of_the_dataset_does(frame: Any) -> None:
    rows = [("ann", "tea"), ("日本", "é"), ("", ""), ("a b", "c"), ("a", "b c"), ("x" * 256, "0")]
    drawn = frame("user_id string, item_id string", *rows).select("user_id", "item_id", splitting.draw(7).alias("draw"))
    assert all(row["draw"] == splits.draw(7, row["user_id"], row["item_id"]) for row in drawn.collect())


@pytest.mark.fault("D17")
def test_a_user_with_one_interaction_has_no_last(people: Any) -> None:
    assert pairs(splitting.mark_last(people).where("user_id = 'cid' and is_last")) == []


@pytest.fixture
def indexed(people: Any, frame: Any) -> Any:
    """With the items of tea 0, cup 1, pot 2, jar 3; of the last ones only cup has an earlier interaction."""
    marked = splitting.mark_last(people)
    items = frame("item_index int, item_id string", (0, "tea"), (1, "cup"), (2, "pot"), (3, "jar"))
    known = splitting.with_cold(items, splitting.per_item(marked))
    return marked.join(known, "item_id").withColumn("user_index", F.ascii("user_id") - F.ascii(F.lit("a")))


@pytest.mark.fault("D19")
def test_a_cold_item_is_removed_from_test_and_stays_in_train(indexed: Any) -> None:
    by_index = ("user_index", "item_index")
    assert pairs(splitting.for_testing(indexed), *by_index) == [(1, 1)]
    train = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (2, 0)]
    assert pairs(splitting.for_training(indexed), *by_index) == train


def test_popularity_counts_the_rows_in_train(people: Any, indexed: Any) -> None:
    train = splitting.for_training(indexed)
    counted = {row["item_index"]: row["count"] for row in train.groupBy("item_index").count().collect()}
    known = splitting.per_item(splitting.mark_last(people))
    numbers = indexed.select("item_id", "item_index").distinct()
    popular = splitting.popularity(known.join(numbers, "item_id")).collect()
    assert {row["item_index"]: row["interactions"] for row in popular} == counted == {0: 3, 1: 1, 2: 1, 3: 1}
    facts = splitting.facts(known).first()
    assert facts is not None
    assert facts.asDict() == {
        "items": 4, "rows": 7, "last": 2, "cold": 1, "tied": 0, "newest": 7, "repeated": 0,
    }  # fmt: skip


@pytest.mark.fault("D21")
def test_finds_a_pair_that_is_in_both_train_and_test(frame: Any) -> None:
    rows = [("ann", "tea", 1), ("ann", "cup", 2), ("bob", "tea", 1), ("bob", "cup", 3), ("bob", "tea", 4)]
    marked = splitting.mark_last(with_support(frame, *rows))
    assert [(row["user_id"], row["timestamp"]) for row in marked.where("is_repeated").collect()] == [("bob", 1)]
    facts = splitting.facts(splitting.per_item(marked)).first()
    assert facts is not None
    assert facts["repeated"] == 1
