"""Live events are read with the shop's history: what is in both counts once, and so does what was sent twice."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import arguments
import drops
from contracts.forgotten import Forgotten, digest
from contracts.unions import Part, Union
from tests.unit.emr.test_appends import HEADER, VERSIONS, kept, unite

__all__ = ["unite"]

DAY = 1_795_392_000  # 2026-11-23, epoch seconds
LIVE = {
    "userColumn": "USER_ID",
    "itemColumn": "ITEM_ID",
    "timestampColumn": "TIMESTAMP",
    "eventTypeColumn": "EVENT_TYPE",
    "eventIdColumn": "EVENT_ID",
    "sessionIdColumn": "SESSION_ID",
    "ignoreTypes": "impression,refund",
}


def event(user: str, item: str, at: int, event_id: str, kind: str = "view", **more: Any) -> dict[str, Any]:
    """A line of the stream: `at` in seconds after DAY, and 789 milliseconds."""
    named = {"USER_ID": user, "ITEM_ID": item, "EVENT_TYPE": kind, "TIMESTAMP": (DAY + at) * 1000 + 789}
    return {**named, "EVENT_ID": event_id, "RECEIVED_AT": (DAY + at) * 1000 + 900, **more}


def packed(*events: dict[str, Any]) -> bytes:
    """A file as Firehose writes it."""
    return gzip.compress("".join(json.dumps(one) + "\n" for one in events).encode())


def test_history_and_live_events_are_one_version_in_which_each_thing_counts_once(unite: Any, tmp_path: Path) -> None:
    key = "ab" * 32
    forgotten = tmp_path / "forgotten.json"
    forgotten.write_text(json.dumps(Forgotten(key, frozenset({digest(key, "gone")})).to_document()))
    rows = [("u1", "a", 100), ("u1", "b", 200), ("u2", "b", 100), ("u2", "a", 300), ("u3", "a", 50), ("u3", "b", 60)]
    history = HEADER + "".join(f"{user},{item},{DAY + at},1,Buy\n" for user, item, at in rows)
    shown = [event("u1", f"i{place}", 500, f"s{place}", "Impression") for place in range(40)]
    first = packed(
        *shown,
        event("", "a", 500, "s40", "impression"),  # bad, and not judged
        event("u1", "a", 100, "1", "buy"),  # in the history, in seconds
        event("u1", "a", 100, "2"),  # a view in that second
        event("u1", "c", 400, "3", EVENT_VALUE=9.5, RECOMMENDATION_ID="r", SESSION_ID="s"),
        event("u1", "c", 400, "4"),  # two clicks in a second are two
        event("gone", "a", 400, "5"),
        event("session:s1", "a", 410, "6"),
        event("session:s9", "a", 390, "10", SESSION_ID="s9"),  # of a forgotten person before the login
        event("gone", "a", 400, "11", SESSION_ID="s9"),
        event("u3", "a", 401, "12", SESSION_ID="s9", EVENT_TYPE="impression"),
    )
    again = packed(event("u1", "c", 400, "3"), event("session:s1", "c", 420, "7"), event("u2", "c", 430, "8"))
    late = packed(event("session:s1", "c", 420, "7"), event("u3", "c", 10, "9"), event("u2", "c", 431, "3"))
    ended = unite(
        {
            "full": {"a.csv": history},
            "live-2026-11-23": ({"a.jsonl.gz": first, "late.jsonl.gz": late}, LIVE),
            "live-2026-11-24": ({"b.jsonl.gz": again}, LIVE),
        },
        "--split", "leave-last-out", "--forgotten", str(forgotten),
    )  # fmt: skip
    assert kept(ended) == sorted(
        [(user, item, DAY + at, 1.0) for user, item, at in rows]
        + [("u1", "c", DAY + 400, 1.0), ("session:s1", "a", DAY + 410, 1.0), ("session:s1", "c", DAY + 420, 1.0)]
        + [("u2", "c", DAY + 431, 1.0), ("u3", "c", DAY + 10, 1.0)]
    )
    found = ended.manifest["counts"]
    assert (found["quarantined"], found["forgotten"], found["otherEvents"]) == (0, 3, 42)
    # The purchase of the history, and the events 3 and 7 that came twice. An id belongs to its person: u2 has a 3 too.
    assert found["superseded"] == 3
    # u1: a view of a, a second click on c; u2: c, twice.
    assert found["duplicates"] == 3
    assert [drop["rows"] for drop in ended.manifest["drops"]] == [5, 8, 1]
    # Impressions change nothing in what the gate compares.
    assert ended.manifest["eventTypes"] == {"Buy": 6, "view": 10, "buy": 1}
    assert not any("several units" in one or "not used" in one for one in ended.report["warnings"])
    assert ended.output.count("columns of ") == 2, "files of events are read together, whatever else their lines have"


def test_a_history_of_dates_without_types_and_with_fractions_as_ids_is_read_as_before(unite: Any) -> None:
    history = "user,item,date\n17.0,a,20261122\n17.0,b,20261123\n18.0,a,20261121\n18.0,b,20261120\n"
    live = packed(
        event("17", "b", 0, "1", "purchase"),  # midnight: the history's interaction of that day
        event("17", "c", 5, "2"),
        event("session:9", "c", 6, "3"),
        event("session:9", "a", 7, "4"),
        event("18", "c", 8, "5"),
    )
    days = {day: DAY + (day - 23) * 86_400 for day in range(20, 24)}
    ended = unite({"full": {"a.csv": history}, "live-2026-11-23": ({"a.jsonl.gz": live}, LIVE)})
    assert kept(ended) == sorted(
        (user, item, time, 1.0)
        for user, item, time in (
            ("17", "a", days[22]), ("17", "b", days[23]), ("18", "a", days[21]), ("18", "b", days[20]),
            ("17", "c", DAY + 5), ("18", "c", DAY + 8), ("session:9", "c", DAY + 6), ("session:9", "a", DAY + 7),
        )
    )  # fmt: skip
    assert ended.manifest["counts"]["superseded"] == 1

    # A new history that is closed after the day counts in place of the day's event.
    ended = unite(
        {"live-2026-11-23": ({"a.jsonl.gz": live}, LIVE), "full": {"a.csv": history}},
        kinds={"live-2026-11-23": "append", "full": "full"},
        version=VERSIONS[1],
    )
    assert [drop["rows"] for drop in ended.manifest["drops"]] == [4, 4]


def test_a_history_outside_the_folder_of_the_drops_is_read_from_where_it_is() -> None:
    class Stored:
        def read_start(self, uri: str, size: int) -> bytes:
            parts = (
                Part("", "full", {"itemColumn": "SKU"}, "s3://lake/shop/"),
                Part("live-2026-11-23", "append", LIVE),
            )
            return json.dumps(Union(parts).to_document(VERSIONS[0])).encode()

    words = ["--source", "s3://data/raw/live-2026-11-23/", "--output", "o", "--quarantine", "q", "--code-version", "c"]
    words += ["--dataset-version", VERSIONS[0], "--union", "s3://data/unions/v.json", "--drops", "s3://data/raw"]
    stored: Any = Stored()
    history, live = drops.read_drops(stored, arguments.parse(words))[0]
    assert (history.source, history.name, history.is_needed) == ("s3://lake/shop", "", True)
    assert (live.source, live.is_needed) == ("s3://data/raw/live-2026-11-23", True)
    assert (history.given.item, history.ignored_types) == ("SKU", ())
    assert (live.given.event_id, live.ignored_types) == ("EVENT_ID", ("impression", "refund"))


@pytest.mark.parametrize("kind", ["impression", "view"])
def test_files_of_events_alone(unite: Any, kind: str) -> None:
    order = [("u1", "a"), ("u1", "b"), ("u2", "b"), ("u2", "a")]
    events = [event(user, item, place, f"{place}", kind) for place, (user, item) in enumerate(order)]
    files = {"a.jsonl.gz": packed(*events), "b.jsonl.gz": packed(*events[:3])}
    ended = unite({"live-2026-11-23": (files, LIVE)}, "--least-value", "4", kinds={"live-2026-11-23": "append"})
    if kind == "impression":
        assert ended.status == 2
        assert "no interactions (rows=0): 7 rows are of ignored event types, 0 of forgotten people" in ended.last_line
    else:
        assert ended.manifest["counts"]["superseded"] == 3
        # An event is no rating: the least value of ratings does not make it nothing.
        assert [(user, item, weight) for user, item, _, weight in kept(ended)] == [
            (user, item, 4.0) for user in ("u1", "u2") for item in "ab"
        ]


def test_what_a_session_did_before_its_user_logged_in_is_the_users(unite: Any) -> None:
    rows = [("u1", "a", 1), ("u1", "b", 2), ("u2", "b", 1), ("u2", "a", 3), ("u3", "a", 1), ("u3", "b", 6)]
    history = HEADER + "".join(f"{user},{item},{DAY + at},1,Buy\n" for user, item, at in rows)
    first = packed(
        event("u3", "c", 5, "0"),  # a file whose first events are of nobody's session
        event("session:s1", "c", 10, "1", SESSION_ID="s1"),
        event("session:s1", "b", 20, "2", SESSION_ID="s1"),
        event("session:s2", "c", 30, "3", SESSION_ID="s2"),
        event("session:s2", "d", 31, "4", SESSION_ID="s2"),
        event("session:s3", "d", 40, "5", SESSION_ID="s3"),
    )
    second = packed(
        event("u1", "b", 20, "2", SESSION_ID="s1"),  # sent again, by its user
        event("u2", "e", 90, "6", SESSION_ID="s1"),  # another user of the same browser, later
        event("u1", "d", 50, "7", SESSION_ID="s1"),
        event("u2", "d", 40, "5", SESSION_ID="s3"),
        event("u9", "e", -1, "8", SESSION_ID="s2", TIMESTAMP="soon"),  # a bad row is no login
    )
    ended = unite(
        {
            "full": {"a.csv": history},
            "live-2026-11-23": ({"a.jsonl.gz": first}, LIVE),
            "live-2026-11-24": ({"b.jsonl.gz": second}, LIVE),
        },
        "--split", "leave-last-out", "--maximum-bad-share", "0.2",
    )  # fmt: skip
    expected = [
        ("u1", "a", 1), ("u1", "b", 20), ("u1", "c", 10), ("u1", "d", 50),
        ("u2", "b", 1), ("u2", "a", 3), ("u2", "e", 90), ("u2", "d", 40),
        ("u3", "a", 1), ("u3", "b", 6), ("u3", "c", 5), ("session:s2", "c", 30), ("session:s2", "d", 31),
    ]  # fmt: skip
    assert kept(ended) == sorted((user, item, DAY + at, 1.0) for user, item, at in expected)
    found = ended.manifest["counts"]
    assert (found["quarantined"], found["superseded"]) == (1, 2)  # the events 2 and 5 came twice


@pytest.mark.parametrize(
    ("own", "options", "bought"),
    [
        ("Purchase,order", (), {("u1", "a"), ("u1", "b"), ("u2", "a"), ("u2", "b"), ("u3", "c"), ("u1", "c")}),
        ("(none)", (), {("u1", "a"), ("u1", "b"), ("u2", "a"), ("u2", "b")}),
        ("purchase", ("--bought-types", "order"), {("u1", "c")}),
    ],
)
def test_a_view_is_no_purchase_and_a_history_without_types_is_bought(
    unite: Any, own: str, options: tuple[str, ...], bought: set[tuple[str, str]]
) -> None:
    rows = [("u1", "a", 1), ("u1", "b", 2), ("u2", "b", 1), ("u2", "a", 3)]
    history = "user,item,time\n" + "".join(f"{user},{item},{DAY + at}\n" for user, item, at in rows)
    live = packed(
        event("u3", "c", 10, "1", "purchase"),
        event("u3", "c", 11, "2"),
        event("u3", "a", 12, "3"),
        event("u3", "b", 13, "4", "wish"),
        event("u1", "c", 14, "5", "order"),
        event("u1", "d", 15, "6"),
        event("u2", "d", 15, "7"),
        event("u2", "c", 20, "8"),
    )
    said = LIVE | {"ownBoughtTypes": own}
    ended = unite(
        {"full": {"a.csv": history}, "live-2026-11-23": ({"a.jsonl.gz": live}, said)},
        "--split", "leave-last-out", *options,
    )  # fmt: skip
    assert ended.status == 0, ended.last_line
    users = {row["user_index"]: row["user_id"] for row in ended.rows("users")}
    items = {row["item_index"]: row["item_id"] for row in ended.rows("items")}
    train = {(users[row["user_index"]], items[row["item_index"]]): row["is_bought"] for row in ended.rows("train")}
    assert {pair for pair, is_bought in train.items() if is_bought} == bought
    assert ("u3", "a") in train
