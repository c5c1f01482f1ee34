from typing import Any

import pytest

import cleaning
import global_time

ROWS = "user_id string, item_id string, timestamp bigint, weight float, worth float, is_bought boolean"
DAY = 86_400


@pytest.fixture
def shop(frame: Any) -> Any:
    """Before time 10 ann takes tea twice, cup and pot; bob tea; cid cup. From then on: see `test_a_later_row…`."""
    return frame(
        ROWS,
        ("ann", "tea", 1, 1.0, 1.0, True),
        ("ann", "tea", 2, 2.0, 1.0, True),
        ("ann", "cup", 3, 1.0, 1.0, True),
        ("ann", "pot", 9, 1.0, 1.0, True),
        ("bob", "tea", 4, 1.0, 1.0, True),
        ("cid", "cup", 5, 1.0, 1.0, True),
        ("ann", "tea", 11, 1.0, 1.0, True),
        ("ann", "tea", 12, 1.0, 1.0, True),
        ("bob", "cup", 10, 1.0, 1.0, True),
        ("bob", "cup", 10, 5.0, 1.0, True),
        ("bob", "cup", 99, 9.0, 1.0, True),
        ("bob", "jar", 11, 1.0, 1.0, True),
        ("dan", "tea", 10, 1.0, 1.0, True),
    )


def earlier(pairs: Any) -> Any:
    return pairs.where("timestamp is not null").select("user_id", "item_id", "timestamp", "weight", *cleaning.PAIR)


def parts(train: Any, later: Any) -> Any:
    """The rows of each part: of the later ones with the cold, of the united ones without."""
    found: Any = {}
    for row in (*global_time.united(train, later).collect(), *later.where("part = 'cold'").collect()):
        found.setdefault(row["part"], set()).add((row["user_id"], row["item_id"], row["timestamp"], row["weight"]))
    return found


def test_a_later_row_is_a_test_a_repeat_or_cold(shop: Any) -> None:
    pairs = global_time.per_pair(shop, 10)
    divided = parts(earlier(pairs), global_time.later(pairs, earlier(pairs)))
    assert divided["train"] == {
        ("ann", "tea", 2, 2.0),
        ("ann", "cup", 3, 1.0),
        ("ann", "pot", 9, 1.0),
        ("bob", "tea", 4, 1.0),
        ("cid", "cup", 5, 1.0),
    }
    assert divided["repeats"] == {("ann", "tea", 11, 1.0)}
    assert divided["test"] == {("bob", "cup", 10, 5.0), ("dan", "tea", 10, 1.0)}
    assert divided["cold"] == {("bob", "jar", 11, 1.0)}


def test_a_later_row_of_a_pair_below_support_is_a_test(shop: Any) -> None:
    """The model has not learned the pair (ann, tea), so it is nothing that it could repeat."""
    pairs = global_time.per_pair(shop, 10)
    train = earlier(pairs).where("user_id <> 'ann'")
    divided = parts(train, global_time.later(pairs, train))
    assert "repeats" not in divided
    assert ("ann", "tea", 11, 1.0) in divided["test"]


def test_of_a_pair_in_train_nothing_from_the_moment_on_counts(frame: Any) -> None:
    rows = frame(
        ROWS,
        ("ann", "tea", 1, 1.0, 5.0, True),
        ("ann", "tea", 2, 1.0, 1.0, False),
        ("ann", "tea", 3, 1.0, -2.0, False),
        ("ann", "tea", 11, 1.0, 100.0, True),
        ("ann", "cup", 4, 1.0, 1.0, False),
        ("ann", "cup", 10, 1.0, 5.0, True),
        ("bob", "tea", 5, 1.0, 5.0, True),
        ("bob", "tea", 6, 1.0, -5.0, False),
        ("bob", "cup", 7, 1.0, 5.0, True),
        ("bob", "cup", 12, 1.0, -5.0, False),
        ("dan", "tea", 13, 1.0, 0.0, False),
        ("dan", "tea", 14, 3.0, 1.0, False),
    )
    pairs = global_time.per_pair(rows, 10)
    train = {tuple(row) for row in earlier(pairs).collect()}
    assert train == {
        ("ann", "tea", 2, 1.0, 2, 4.0, True),
        ("ann", "cup", 4, 1.0, 1, 1.0, False),
        ("bob", "cup", 7, 1.0, 1, 5.0, True),
    }
    found = {(row["user_id"], row["item_id"]): (row["later"], row["not_liked"]) for row in pairs.collect()}
    assert found == {
        ("ann", "tea"): ((11, 1.0), 0),
        ("ann", "cup"): ((10, 1.0), 0),
        ("bob", "tea"): (None, 1),
        ("bob", "cup"): (None, 1),
        ("dan", "tea"): ((14, 3.0), 0),
    }


@pytest.mark.parametrize(
    ("times", "share", "moment", "found"),
    [
        (range(10), 0.1, 9, 0.1),
        (range(10), 0.3, 7, 0.3),
        (range(10), 0.99, 0, 1.0),
        (range(0, 10 * DAY, DAY), 0.3, 7 * DAY, 0.3),
        ([*range(95), 100, 100, 100, 100, 200], 0.05, 100, 0.05),
        ([*range(95), 100, 100, 100, 100, 200], 0.02, 100, 0.05),
        ([*range(95), 100, 100, 100, 100, 200], 0.01, 200, 0.01),
        ([5, 5, 5, 5], 0.1, 5, 1.0),
        ([DAY + 7, 3, 4, 5], 0.5, 5, 0.5),
    ],
)
def test_the_moment_is_the_latest_with_the_share_at_or_after_it(
    frame: Any, times: Any, share: Any, moment: Any, found: Any
) -> None:
    rows = frame(ROWS, *[("u", "i", time, 1.0, 1.0, True) for time in times])
    assert global_time.moment_of_share(rows, global_time.by_day(rows), share) == (moment, found)


@pytest.mark.parametrize(
    ("moment", "users", "words"),
    [
        (1_577_836_800, 2_000, None),
        (1_577_836_800, 1_999, "1,999 users could be tested from 2020-01-01T00:00:00Z on, fewer than 2,000"),
        (40, 5_000, "the moment would be 1970-01-01T00:00:40Z, so the times are positions or other numbers"),
    ],
)
def test_few_users_and_numbers_that_are_no_times_do_not_suit_global_time(moment: Any, users: Any, words: Any) -> None:
    assert global_time.why_unsuited(moment, users) == words


def test_a_test_user_without_a_row_in_train_is_new(frame: Any) -> None:
    rows = [(0, 0, "train"), (0, 3, "train"), (5, 0, "train"), (0, 1, "test"), (0, 2, "test"), (7, 1, "test")]
    facts = global_time.facts(frame("user_index int, item_index int, part string", *rows, (5, 0, "repeats"))).first()
    assert facts is not None
    assert facts.asDict() == {"items": 2, "test_users": 2, "new_test_users": 1}
