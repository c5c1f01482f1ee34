"""Whole preparations whose test is what comes after one moment."""

from typing import Any

import pytest

import global_time
from contracts import splits
from ncf import dataset_files
from tests.unit.emr.test_preprocess import NOTHING_UNITED, valid

#: Ten interactions before 2020-01-11 (one a day), and after it: ann repeats tea and takes ale, which is cold; bob takes
#: pot, at first on the 11th; zoe, who is new, takes tea and cup; yan, who is new, ale alone.
BY_TIME = """user_id,item_id,timestamp
ann,tea,2020-01-01
ann,tea,2020-01-02
ann,cup,2020-01-03
ann,pot,2020-01-04
bob,tea,2020-01-05
bob,cup,2020-01-06
cid,cup,2020-01-07
cid,pot,2020-01-08
dan,tea,2020-01-09
ann,tea,2020-01-12
ann,ale,2020-01-12
bob,pot,2020-01-14
bob,pot,2020-01-11
dan,tea,2020-01-12
zoe,tea,2020-01-13
zoe,cup,2020-01-13
yan,ale,2020-01-14
"""


@pytest.mark.parametrize("option", [("--test-share", "0.45"), ("--test-days", "3")])
def test_by_global_time_what_is_before_one_moment_trains_and_what_comes_after_tests(prepare: Any, option: Any) -> None:
    ended = prepare({"events.csv": BY_TIME}, "--split", "global-time", *option)
    assert ended.status == 0, ended.last_line
    users = [row["user_id"] for row in ended.rows("users")]
    items = [row["item_id"] for row in ended.rows("items")]
    assert (users, items) == (["ann", "bob", "cid", "dan", "zoe"], ["cup", "pot", "tea"])

    def table(name: Any) -> Any:
        day = 86_400
        return [
            (users[row["user_index"]], items[row["item_index"]], row["timestamp"] // day - 18_261)
            for row in ended.rows(name)
        ]

    # dan's one interaction before the moment is below the support of two, so dan is new, and tea no repeat.
    assert table("train") == [
        ("ann", "tea", 2), ("ann", "cup", 3), ("ann", "pot", 4), ("bob", "tea", 5), ("bob", "cup", 6),
        ("cid", "cup", 7), ("cid", "pot", 8),
    ]  # fmt: skip
    assert table("test") == [("bob", "pot", 11), ("dan", "tea", 12), ("zoe", "cup", 13), ("zoe", "tea", 13)]
    assert table("repeats") == [("ann", "tea", 12)]
    assert [tuple(row.values()) for row in ended.rows("popularity")] == [(0, 3), (1, 2), (2, 2)]
    manifest = valid(ended.manifest, "manifest")
    assert manifest["counts"] == NOTHING_UNITED | {
        "read": 17, "interactions": 12, "train": 7, "test": 4, "repeats": 1, "users": 5, "items": 3, "quarantined": 0,
        "forgotten": 0, "otherEvents": 0, "duplicates": 2, "notLiked": 0, "belowSupport": 1, "coldTestItems": 2,
        "testUsers": 3, "newTestUsers": 2, "tiedTestUsers": 0, "withdrawnItems": 0, "catalogueItems": 0,
    }  # fmt: skip
    assert manifest["split"] == {"protocol": "global-time", "moment": 1578700800, "seed": splits.SEED}
    assert manifest["timeSpan"] == {"first": 1577923200, "last": 1578873600}
    given = manifest["parameters"]["testShare"], manifest["parameters"]["testDays"]
    assert given == ((0.45, None) if option[0] == "--test-share" else (None, 3))
    loaded = dataset_files.load(ended.dataset)
    assert (loaded.split.moment, len(loaded.test), len(loaded.repeats)) == (1578700800, 4, 1)


def shop_of(users: int, times: int, first: int = 1_600_000_000) -> str:
    """Each user has an item of ten at each of the times, a day apart."""
    rows = [f"u{user},i{(user + time) % 10},{first + time * 86_400}" for user in range(users) for time in range(times)]
    return "user_id,item_id,timestamp\n" + "\n".join(rows)


@pytest.fixture
def few_test_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 test users are enough for a test by time, so that small shops can show it."""
    assert global_time.LEAST_TEST_USERS == 2_000
    monkeypatch.setattr(global_time, "LEAST_TEST_USERS", 200)


@pytest.mark.usefixtures("few_test_users")
def test_where_the_data_suit_it_the_test_is_what_comes_after_a_moment(prepare: Any) -> None:
    """Without being asked: this is the default."""
    ended = prepare({"events.csv": shop_of(210, 9)}, "--test-share", "0.1")
    assert ended.status == 0, ended.last_line
    assert "leave-last-out" not in str(ended.report["warnings"])
    manifest = valid(ended.manifest, "manifest")
    assert manifest["split"] == {"protocol": "global-time", "moment": 1_600_000_000 + 8 * 86_400, "seed": splits.SEED}
    assert (manifest["parameters"]["split"], manifest["counts"]["testUsers"]) == ("auto", 210)


# At the moment all 210 users come, and 100 of them for an item that they had.
REGULARS = shop_of(210, 8) + "".join(
    f"\nu{user},i{(user + (0 if user < 100 else 8)) % 10},{1_600_000_000 + 8 * 86_400}" for user in range(210)
)


@pytest.mark.usefixtures("few_test_users")
@pytest.mark.parametrize(
    ("shop", "words"),
    [
        (shop_of(190, 9), "190 users are fewer than the 200 to test"),
        (REGULARS, "110 users could be tested from 2020-09-21T12:26:40Z on, fewer than 200"),
        (
            shop_of(210, 9, first=0),
            "the moment would be 1970-01-09T00:00:00Z, so the times are positions or other numbers",
        ),
        (
            shop_of(210, 4),
            "25% of the interactions are at or after 2020-09-16T12:26:40Z, --test-share is 0.1: many have",
        ),
    ],
)
def test_data_that_do_not_suit_a_moment_are_split_by_last_interactions_with_a_warning(
    shop: str, words: str, prepare: Any
) -> None:
    ended = prepare({"events.csv": shop}, "--test-share", "0.1")
    assert ended.status == 0, ended.last_line
    assert valid(ended.manifest, "manifest")["split"]["protocol"] == "leave-last-out"
    told = [warning for warning in ended.report["warnings"] if "(leave-last-out), not all after a moment" in warning]
    assert len(told) == 1 and words in told[0]


def test_times_too_coarse_for_the_share_are_told_with_both_figures(prepare: Any) -> None:
    ended = prepare({"events.csv": shop_of(20, 4)}, "--split", "global-time", "--test-share", "0.1")
    assert ended.report["warnings"] == [
        "25% of the interactions are at or after 2020-09-16T12:26:40Z, --test-share is 0.1: many have this time; "
        "give finer times, or --test-days"
    ]


def test_rows_after_the_moment_do_not_change_the_training(prepare: Any) -> None:
    """Support of two users an item: before the moment pot has one, and nobody after it may help."""
    rows = ["ann,tea,1", "ann,cup,2", "ann,pot,3", "bob,tea,4", "bob,cup,5"]
    later = ["bob,pot,10", "cid,pot,11", "cid,tea,12", "cid,cup,13"]
    header = "user_id,item_id,timestamp\n"
    options = ("--split", "global-time", "--minimum-item-interactions", "2", "--test-share", "0.4")
    few = prepare({"events.csv": header + "\n".join(rows + later)}, *options)
    assert few.status == 0, few.last_line
    assert [row["item_id"] for row in few.rows("items")] == ["cup", "tea"]
    assert (len(few.rows("train")), few.manifest["counts"]["belowSupport"]) == (4, 1)
    assert (len(few.rows("test")), few.manifest["counts"]["coldTestItems"]) == (2, 2)
    assert [path.name for path in few.dataset.iterdir() if path.name == "repeats"] == []
    assert dataset_files.load(few.dataset).split.moment == 10
