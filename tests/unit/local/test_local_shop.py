"""The generated shop: the same for the same seed, one week longer each time, and with patterns to learn."""

import csv
import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from local import shop

WEEKS = 12
USERS = 300


@pytest.fixture(scope="module")
def history() -> list[shop.Interaction]:
    return shop.interactions(seed=7, weeks=WEEKS, users=USERS)


def test_the_same_seed_gives_the_same_shop(history: list[shop.Interaction]) -> None:
    assert shop.interactions(seed=7, weeks=WEEKS, users=USERS) == history
    assert shop.catalogue(7) == shop.catalogue(7)


def test_another_seed_gives_another_shop(history: list[shop.Interaction]) -> None:
    assert shop.interactions(seed=8, weeks=WEEKS, users=USERS) != history


def test_a_week_more_keeps_the_whole_earlier_history(history: list[shop.Interaction]) -> None:
    longer = shop.interactions(seed=7, weeks=WEEKS + 1, users=USERS)
    added = Counter(longer) - Counter(history)
    assert Counter(history) - Counter(longer) == Counter()
    assert sum(added.values()) > USERS
    assert min(row.timestamp for row in added) >= shop.FIRST_MONDAY + WEEKS * shop.WEEK_SECONDS


def test_new_customers_and_products_come_with_the_weeks() -> None:
    early = shop.interactions(seed=7, weeks=4, users=USERS)
    late = shop.interactions(seed=7, weeks=20, users=USERS)
    assert {row.user_id for row in late} - {row.user_id for row in early}
    assert {row.item_id for row in late} - {row.item_id for row in early}


def test_interactions_are_ordered_views_and_buys_of_products_that_are_out(history: list[shop.Interaction]) -> None:
    since = {product.item_id: product.since for product in shop.catalogue(7)}
    assert [row.timestamp for row in history] == sorted(row.timestamp for row in history)
    assert {row.event_type for row in history} == {"view", "buy"}
    for row in history:
        assert (row.timestamp - shop.FIRST_MONDAY) // shop.WEEK_SECONDS >= since[row.item_id]


def test_titles_are_unique_and_have_a_category() -> None:
    products = shop.catalogue(7)
    assert len({product.title for product in products}) == len(products) == 612
    assert {product.category for product in products} == set(shop.DEPARTMENTS)


def test_neighbours_in_other_baskets_beat_popularity_on_the_last_interaction(history: list[shop.Interaction]) -> None:
    """Leave-last-out, 99 negatives: cosine of co-occurrence must beat popularity."""
    baskets: dict[str, list[str]] = defaultdict(list)
    for row in history:
        if row.item_id not in baskets[row.user_id]:
            baskets[row.user_id].append(row.item_id)
    train = {user: items[:-1] for user, items in baskets.items() if len(items) > 2}
    popularity = Counter(item for items in train.values() for item in items)
    together: dict[str, Counter[str]] = defaultdict(Counter)
    for items in train.values():
        for item in items:
            together[item].update(other for other in items if other != item)
    generator = random.Random(1)
    catalogue = sorted(popularity)
    hits = {"neighbours": 0, "popularity": 0}
    for user, items in train.items():
        wanted, seen = baskets[user][-1], set(items)
        negatives = generator.sample([item for item in catalogue if item not in seen and item != wanted], 99)

        def neighbours(item: str, seen: set[str] = seen) -> float:
            if not popularity[item]:
                return 0.0
            return float(sum(together[other][item] / (popularity[other] * popularity[item]) ** 0.5 for other in seen))

        hits["neighbours"] += sum(neighbours(item) >= neighbours(wanted) for item in negatives) < 10
        hits["popularity"] += sum(popularity[item] >= popularity[wanted] for item in negatives) < 10
    shares = {name: count / len(train) for name, count in hits.items()}
    assert shares["neighbours"] > shares["popularity"] + 0.2, shares
    assert 0.1 < shares["popularity"] < 0.4, shares


def test_writes_the_columns_that_preparation_reads(tmp_path: Path) -> None:
    count = shop.write_shop(tmp_path / "week", seed=7, weeks=2, users=40)
    with (tmp_path / "week" / "interactions.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (tmp_path / "week" / "items.csv").open() as file:
        items = {row["id"]: row for row in csv.DictReader(file)}
    assert len(rows) == count > 40
    assert list(rows[0]) == ["user_id", "item_id", "timestamp", "event_type"]
    assert {row["item_id"] for row in rows} <= set(items)
    assert items["p0001"]["title"] == "Barista Pour-Over Kettle"
    assert items["p0001"]["category"] == "Coffee"


@pytest.mark.parametrize(("weeks", "users"), [(0, 10), (3, 0)])
def test_refuses_a_shop_of_nothing(weeks: int, users: int) -> None:
    with pytest.raises(ValueError, match=f"not {weeks} weeks and {users} users"):
        shop.interactions(seed=7, weeks=weeks, users=users)
