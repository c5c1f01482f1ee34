from typing import Any

import pytest

import splitting
from contracts import splits

INDEXED = (
    "user_index int, item_index int, user_id string, item_id string, timestamp bigint, weight float, events int, "
    "worth float, is_bought boolean"
)
SPLIT = (
    "user_index int, item_index int, timestamp bigint, weight float, events int, worth float, is_bought boolean, "
    "is_test boolean"
)


@pytest.fixture
def indexed(frame: Any) -> Any:
    """ann takes tea, cup, then both pot and jar at time 3; bob tea, then cup; cid only tea."""
    return frame(
        INDEXED,
        (0, 0, "ann", "tea", 1, 1.0, 1, 1.0, True),
        (0, 1, "ann", "cup", 2, 1.0, 1, 1.0, True),
        (0, 2, "ann", "pot", 3, 1.0, 1, 1.0, True),
        (0, 3, "ann", "jar", 3, 1.0, 1, 1.0, True),
        (1, 0, "bob", "tea", 5, 1.0, 1, 1.0, True),
        (1, 1, "bob", "cup", 6, 1.0, 1, 1.0, True),
        (2, 0, "cid", "tea", 7, 1.0, 1, 1.0, True),
    )


def pairs(rows: Any) -> Any:
    return sorted((row["user_index"], row["item_index"]) for row in rows.collect())


def drawn(user: str, *items: str) -> str:
    return max(items, key=lambda item: splits.draw(splits.SEED, user, item))


def test_the_last_of_a_user_is_by_time_then_by_the_draw(indexed: Any) -> None:
    marked = splitting.mark_last(indexed)
    assert pairs(marked.where("is_last")) == [(0, {"pot": 2, "jar": 3}[drawn("ann", "pot", "jar")]), (1, 1)]
    assert [row["user_index"] for row in marked.where("is_tied").collect()] == [0]


def test_at_equal_time_each_item_is_the_last_of_some_users_whatever_its_id_or_place(frame: Any) -> None:
    people = [(user, item, f"u{user}", "abz"[item], 1, 1.0, 1, 1.0, True) for user in range(300) for item in range(3)]
    last = pairs(splitting.mark_last(frame(INDEXED, *people)).where("is_last"))
    assert last == pairs(splitting.mark_last(frame(INDEXED, *reversed(people))).where("is_last"))
    assert last == [(user, "abz".index(drawn(f"u{user}", *"abz"))) for user in range(300)]
    chosen = [item for _, item in last]
    assert all(70 < chosen.count(item) < 130 for item in range(3))


def test_spark_draws_as_the_reader_of_the_dataset_does(frame: Any) -> None:
    rows = [("ann", "tea"), ("日本", "é"), ("", ""), ("a b", "c"), ("a", "b c"), ("x" * 256, "0")]
    drawn = frame("user_id string, item_id string", *rows).select("user_id", "item_id", splitting.draw(7).alias("draw"))
    assert all(row["draw"] == splits.draw(7, row["user_id"], row["item_id"]) for row in drawn.collect())


@pytest.mark.fault("D17")
def test_a_user_with_one_interaction_has_no_last(indexed: Any) -> None:
    assert pairs(splitting.mark_last(indexed).where("user_index = 2 and is_last")) == []


@pytest.mark.fault("D19")
def test_a_cold_item_is_removed_from_test_and_stays_in_train(indexed: Any) -> None:
    marked = splitting.mark_last(indexed)
    split = splitting.decide(marked, splitting.per_item(marked))
    assert pairs(splitting.for_testing(split)) == [(1, 1)]
    assert pairs(splitting.for_training(split)) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (2, 0)]


def test_popularity_counts_the_rows_in_train(indexed: Any) -> None:
    marked = splitting.mark_last(indexed)
    split = splitting.decide(marked, splitting.per_item(marked))
    counted = {
        row["item_index"]: row["count"] for row in splitting.for_training(split).groupBy("item_index").count().collect()
    }
    popular = {
        row["item_index"]: row["interactions"] for row in splitting.popularity(splitting.per_item(marked)).collect()
    }
    assert popular == counted == {0: 3, 1: 1, 2: 1, 3: 1}


@pytest.mark.fault("D21")
def test_finds_a_pair_that_is_in_both_train_and_test(frame: Any) -> None:
    clean = [
        (0, 0, 1, 1.0, 1, 1.0, True, False),
        (0, 1, 2, 1.0, 1, 1.0, True, True),
        (1, 1, 1, 1.0, 1, 1.0, True, False),
    ]
    assert splitting.leaked_pairs(frame(SPLIT, *clean)).count() == 0
    assert pairs(splitting.leaked_pairs(frame(SPLIT, *clean, (0, 1, 1, 1.0, 1, 1.0, True, False)))) == [(0, 1)]
