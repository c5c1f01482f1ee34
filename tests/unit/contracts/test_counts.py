"""Counts of a manifest that cannot all be true are refused, each by its name."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from contracts.counts import LARGEST, contradictions

ROWS = {"train": 8, "test": 3, "users": 4, "items": 5, "popularity": 5}
BY_TIME = {"protocol": "global-time", "moment": 5, "seed": 42}

JUDGED = "quarantined + forgotten + otherEvents + superseded + beforeHistory + duplicates + notLiked"


def manifest(**changes: Any) -> dict[str, Any]:
    """A manifest in which all agrees; `changes` are values by dotted path, with `__` for the dot."""
    document: dict[str, Any] = {
        "datasetVersion": "v20260102t030405z-0a1b2c3d",
        "parentVersion": None,
        "files": [{"path": f"{folder}/part-00000.parquet", "size": 9, "rows": rows} for folder, rows in ROWS.items()],
        "counts": {
            "read": 21, "interactions": 11, "train": 8, "test": 3, "users": 4, "items": 5, "quarantined": 1,
            "otherEvents": 2, "duplicates": 3, "belowSupport": 4, "coldTestItems": 1,
        },
        "timeSpan": {"first": 1, "last": 2},
    }  # fmt: skip
    document = copy.deepcopy(document)
    for path, value in changes.items():
        *steps, last = path.split("__")
        place = document
        for step in steps:
            place = place[int(step)] if isinstance(place, list) else place[step]
        place[last] = value
    return document


def by_time(**changes: Any) -> dict[str, Any]:
    """A manifest by global time: 3 test rows of 2 users, 2 repeats, and a cold test row that is left out."""
    more = {"counts__repeats": 2, "counts__interactions": 13, "counts__read": 24, "counts__testUsers": 2}
    document = manifest(**more, split=BY_TIME)
    document["files"].append({"path": "repeats/part-00000.parquet", "size": 9, "rows": 2})
    document["counts"] |= changes
    return document


@pytest.mark.parametrize(
    "document",
    [
        manifest(),
        manifest(timeSpan={"first": 0, "last": 0}),
        manifest(timeSpan={}),
        manifest(timeSpan={"first": 1}),
        manifest(timeSpan=None, parentVersion=1),
        manifest(parentVersion="v20260101t030405z-0a1b2c3d"),
        manifest(split={"protocol": "leave-last-out"}, counts__testUsers=3, counts__tiedTestUsers=3),
        manifest(counts__later=2.5),
        by_time(),
        by_time(newTestUsers=2, tiedTestUsers=2),
    ],
)
def test_counts_that_agree_are_taken(document: dict[str, Any]) -> None:
    assert contradictions(document) == []


def test_more_test_rows_than_users_are_taken_by_global_time_alone() -> None:
    document = by_time()
    document["files"][1]["rows"] = document["counts"]["test"] = 9
    document["counts"] |= {"interactions": 19, "read": 30}
    assert contradictions(document) == []
    del document["split"]
    assert "counts.test is 9, more than counts.users, 4" in contradictions(document)


@pytest.mark.parametrize("name", ["quarantined", "otherEvents", "duplicates", "belowSupport"])
def test_every_row_that_was_read_is_counted_once(name: str) -> None:
    total = manifest()["counts"][name] + 21 + 1 - manifest()["counts"][name]
    document = manifest(**{f"counts__{name}": manifest()["counts"][name] + 1})
    parts = f"{JUDGED} + belowSupport + interactions"
    assert contradictions(document) == [f"counts.read is 21, but {parts} is {total}"]


def test_a_count_that_is_absent_is_zero() -> None:
    document = manifest()
    del document["counts"]["otherEvents"]
    assert "interactions is 19" in contradictions(document)[0]


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (
            manifest(counts__interactions=12, counts__read=22),
            "counts.interactions is 12, but train + test + repeats is 11",
        ),
        (by_time(interactions=12, read=23), "counts.interactions is 12, but train + test + repeats is 13"),
        (
            by_time(read=23),
            f"counts.read is 23, but {JUDGED} + belowSupport + interactions + coldTestItems is 24",
        ),
        (manifest(files__0__rows=9), "the files of train/ have 9 rows, counts.train says 8"),
        (manifest(files__2__rows=9), "the files of users/ have 9 rows, counts.users says 4"),
        (manifest(files__3__rows=9), "the files of items/ have 9 rows, counts.items says 5"),
        (manifest(files__4__rows=6), "the files of popularity/ have 6 rows, more than counts.items, 5"),
        (
            manifest(files__4__rows=9, files__3__rows=9, counts__items=9),
            "the files of popularity/ have 9 rows, more than counts.train, 8",
        ),
        (manifest(files__2__rows=2, counts__users=2), "counts.test is 3, more than counts.users, 2"),
        (manifest(counts__coldTestItems=9), "counts.coldTestItems is 9, more than counts.train, 8"),
        (by_time(testUsers=5), "counts.testUsers is 5, more than counts.users, 4"),
        (by_time(testUsers=4), "counts.testUsers is 4, more than counts.test, 3"),
        (by_time(newTestUsers=3), "counts.newTestUsers is 3, more than counts.testUsers, 2"),
        (by_time(tiedTestUsers=3), "counts.tiedTestUsers is 3, more than counts.testUsers, 2"),
        (manifest(counts__tiedTestUsers=4), "counts.tiedTestUsers is 4, more than counts.test, 3"),
        (manifest(timeSpan__first=3), "timeSpan.first is 3, later than timeSpan.last, 2"),
        (
            manifest(parentVersion="v20260102t030405z-0a1b2c3d"),
            "parentVersion is v20260102t030405z-0a1b2c3d, not older than datasetVersion, v20260102t030405z-0a1b2c3d",
        ),
        (manifest(files__1__path="train/part-00000.parquet"), "files lists train/part-00000.parquet 2 times"),
    ],
)
def test_a_contradiction_is_named(document: dict[str, Any], fault: str) -> None:
    assert fault in contradictions(document)


@pytest.mark.parametrize("value", [3.0, 3.5, -1, True, "3", None, LARGEST + 1, 1e300, 10**400, float("nan")])
@pytest.mark.parametrize("path", ["counts__test", "files__0__rows", "files__0__size", "timeSpan__last"])
def test_what_is_no_exact_integer_is_refused(path: str, value: Any) -> None:
    name = path.replace("__0__", "[0].").replace("__", ".")
    faults = contradictions(manifest(**{path: value}))
    assert [fault.partition(" must be an integer from 0 to 9007199254740991")[0] for fault in faults] == [name]


def test_the_largest_exact_integer_is_taken() -> None:
    assert contradictions(manifest(timeSpan={"first": 0, "last": LARGEST})) == []
