"""Preparations that are refused or fail: the outcome for each kind of bad data."""

import gzip
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

import times
from tests.unit.emr.test_preprocess import LATER, SHOP, valid

REFUSALS = {
    "no file": ({}, (), "no interactions (rows=0): .* has no file at all"),
    "only a marker": ({"_SUCCESS": ""}, (), "no interactions (rows=0): .* has _SUCCESS"),
    "an empty file": ({"events.csv": ""}, (), "no interactions (rows=0): events.csv empty"),
    "only a header": (
        {"events.csv": "user_id,item_id,timestamp\n"},
        (),
        "no interactions (rows=0): the files have a header, but no row",
    ),
    "a missing column": (
        {"events.csv": "user_id,item_id,due\nann,tea,1700000000\n"},
        (),
        "events.csv: no column is known to hold the times; it has the columns user_id, item_id, due "
        "(if these are right: make demo DATA=PATH USER=user_id ITEM=item_id TIME=due; in a drop on AWS, the same in "
        'its _drop.json: {"schemaVersion": "1.0", "userColumn": "user_id", "itemColumn": "item_id", '
        '"timestampColumn": "due"})',
    ),
    "a missing column in one of several files": (
        {"a.csv": SHOP, "b.csv": "user,item_id\nann,tea\n"},
        (),
        "b.csv: no column is known to hold the times; it has the columns user, item_id (if there are no times, and .*",
    ),
    "a named column that is missing": (
        {"events.csv": SHOP},
        ("--user-column", "who"),
        "events.csv: the column 'who' (user) is missing; it has user_id, item_id, timestamp (name a column that the "
        "file has, or its position from 1)",
    ),
    "an optional column that is requested": (
        {"events.csv": SHOP},
        ("--event-types", "buy"),
        "events.csv: no column is known to hold the event types; it has the columns .*",
    ),
    "text for a time": (
        {"events.csv": SHOP + "ann,tea,yesterday\n"},
        (),
        "1 of 8 rows are bad (12.50%, limit 0.10% by maximumBadShare): timestamp_unparsable 1; times such as "
        f"'yesterday' are not understood; accepted are {times.ACCEPTED}",
    ),
    "one user only": (
        {"events.csv": "user_id,item_id,timestamp\nann,tea,1\nann,cup,2\n"},
        (),
        "below minimum support: all 2 interactions are of one user; two users and two items are needed",
    ),
    "one item only": (
        {"events.csv": "user_id,item_id,timestamp\nann,tea,1\nbob,tea,2\n"},
        ("--minimum-user-interactions", "1"),
        "below minimum support: all 2 interactions are with one item; two users and two items are needed",
    ),
    "nothing after support": (
        {"events.csv": SHOP},
        ("--minimum-user-interactions", "9"),
        "below minimum support: 0 of 7 interactions remain when a user needs at least 9 items .*",
    ),
    "nothing to test with": (
        {"events.csv": "user_id,item_id,timestamp\nann,tea,1\nbob,cup,2\n"},
        ("--minimum-user-interactions", "1"),
        "nothing to test with: 0 users have at least two interactions, .*",
    ),
    "one time for all, by global time": (
        {"events.csv": "user_id,item_id,timestamp\nann,tea,7\nann,cup,7\nbob,tea,7\nbob,cup,7\n"},
        ("--split", "global-time"),
        "nothing to learn from: all interactions have the time 1970-01-01T00:00:07Z, so no moment separates them; "
        "give times that differ, or --split leave-last-out",
    ),
    "nothing before the moment": (
        {"events.csv": SHOP},
        ("--split", "global-time", "--test-days", "30000"),
        "nothing to learn from: with --test-days 30000 all interactions, from 1970-01-01T00:01:40Z to "
        "2021-01-01T00:00:00Z, are for testing; give a smaller --test-days, or --split leave-last-out",
    ),
    "too large a share": (
        {"events.csv": SHOP},
        ("--split", "global-time", "--test-share", "0.99"),
        "nothing to learn from: with --test-share 0.99 all interactions.*",
    ),
    "nothing to test after the moment": (
        {"events.csv": SHOP + "bob,tea,2021-01-02\n"},
        ("--split", "global-time", "--test-share", "0.25"),
        "nothing to test with: of 2 interactions at or after 2021-01-01T00:00:00Z, 1 repeat one before it, and 1 "
        "have an item without an interaction before it; give a larger --test-share or --test-days, or --split "
        "leave-last-out",
    ),
    "too little before the moment": (
        {"events.csv": SHOP},
        ("--split", "global-time", "--test-share", "0.8"),
        "below minimum support: 0 of 1 interactions before 1970-01-01T00:03:20Z remain when .*",
    ),
    "no wanted event": (
        {"events.csv": "user_id,item_id,timestamp,event_type\nann,tea,1,view\n"},
        ("--event-types", "buy"),
        "no interactions (rows=0): none of 1 rows has a requested event type; there are view 1",
    ),
    "a catalogue without ids": (
        {"events.csv": SHOP, "items.csv": "title\nTea\n"},
        (),
        "the catalogue items.csv has no id: it has title; call the column item_id, or give the file another name",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
@pytest.mark.fault("D01")
def test_refuses_with_the_reason_in_the_report_and_on_the_last_line(prepare: Any, case: Any) -> None:
    files, options, reason = REFUSALS[case]
    ended = prepare(files, *options)
    assert ended.status == 2
    report = valid(ended.report, "quarantine")
    assert report["status"] == "refused"
    assert ended.last_line == f"REFUSED: {report['reasons'][0]}"
    head, *rest = reason.split(".*")
    reported = report["reasons"][0]
    assert reported == reason or (rest and reported.startswith(head) and reported.endswith(rest[-1]))
    assert not ended.dataset.exists()


def test_refuses_an_id_column_without_a_text(prepare: Any, tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    table = pyarrow.table({"user_id": [[1], [2]], "item_id": ["a", "b"], "timestamp": [1, 2]})
    pyarrow.parquet.write_table(table, tmp_path / "drop" / "e.parquet")
    ended = prepare({})
    assert (ended.status, ended.last_line) == (
        2,
        "REFUSED: column 'user_id' has type array<bigint>, not text or numbers (e.parquet)",
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("events.csv.gz", gzip.compress(SHOP.encode())[:-12]),
        # Long enough that the header can be read before the missing end.
        (
            "long.csv.gz",
            gzip.compress((SHOP + "".join(f"u{n},i{n * 7 % 999},{n}\n" for n in range(30_000))).encode())[:-90],
        ),
        ("plain.csv.gz", SHOP.encode()),
        ("events.parquet", b"PAR1 this is no parquet PAR1"),
    ],
    ids=["cut short", "cut short later", "not compressed", "no parquet"],
)
@pytest.mark.fault("D24")
def test_an_unreadable_file_is_a_fault_that_names_it(prepare: Any, name: str, content: Any) -> None:
    ended = prepare({name: content})
    assert ended.status == 1
    assert ended.last_line.startswith("FAILED: cannot read ") and name in ended.last_line
    assert not (ended.dataset / "manifest.json").exists()
    assert not ended.quarantine.exists()


def test_a_missing_parent_is_a_fault(prepare: Any) -> None:
    ended = prepare({"events.csv": SHOP}, "--parent-version", LATER)
    assert ended.status == 1
    assert ended.last_line.startswith("FAILED: the parent version has no manifest: ")
    assert not (ended.dataset / "manifest.json").exists()
