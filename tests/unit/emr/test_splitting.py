from typing import Any

import pytest

import splitting

INDEXED = "user_index int, item_index int, item_id string, timestamp bigint, weight float"
SPLIT = "user_index int, item_index int, timestamp bigint, weight float, is_test boolean"


@pytest.fixture
def indexed(frame: Any) -> Any:
    """User 0 takes tea, cup, then both pot and jar at time 3; user 1 tea, then cup; user 2 only tea."""
    return frame(
        INDEXED,
        (0, 0, "tea", 1, 1.0),
        (0, 1, "cup", 2, 1.0),
        (0, 2, "pot", 3, 1.0),
        (0, 3, "jar", 3, 1.0),
        (1, 0, "tea", 5, 1.0),
        (1, 1, "cup", 6, 1.0),
        (2, 0, "tea", 7, 1.0),
    )


def pairs(rows: Any) -> Any:
    return sorted((row["user_index"], row["item_index"]) for row in rows.collect())


def test_the_last_of_a_user_is_by_time_then_by_the_greatest_item_id(indexed: Any) -> None:
    marked = splitting.mark_last(indexed)
    assert pairs(marked.where("is_last")) == [(0, 2), (1, 1)]


def test_a_user_with_one_interaction_has_no_last(indexed: Any) -> None:
    assert pairs(splitting.mark_last(indexed).where("user_index = 2 and is_last")) == []


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


def test_finds_a_pair_that_is_in_both_train_and_test(frame: Any) -> None:
    clean = [(0, 0, 1, 1.0, False), (0, 1, 2, 1.0, True), (1, 1, 1, 1.0, False)]
    assert splitting.leaked_pairs(frame(SPLIT, *clean)).count() == 0
    assert pairs(splitting.leaked_pairs(frame(SPLIT, *clean, (0, 1, 1, 1.0, False)))) == [(0, 1)]
