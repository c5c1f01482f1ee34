"""A forgotten person's rows are dropped and counted, and no version has the id's text again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from contracts import counts
from contracts.forgotten import PLACEHOLDER, Forgotten, digest

KEY = "3c" * 32
FIRST, SECOND = "v20261123t151300z-1a2b3c4d", "v20261124t151300z-1a2b3c4d"
HEADER = "user_id,item_id,timestamp\n"
GONE = "jané doe"


def rows(*users: str) -> str:
    """Three rows each; the last item of one user is an earlier one of the next."""
    orders = ("abc", "cab", "bca")
    lines = [(user, orders[number % 3]) for number, user in enumerate(users)]
    return "".join(f"{user},{item},{100 + place}\n" for user, order in lines for place, item in enumerate(order))


def document(folder: Path, *users: str) -> str:
    path = folder / "forgotten.json"
    people = Forgotten(KEY, frozenset(digest(KEY, user) for user in users))
    path.write_text(json.dumps(people.to_document()))
    return str(path)


def test_rows_are_dropped_counted_and_nowhere_kept(prepare: Any, tmp_path: Path) -> None:
    bad = f'"{GONE}",,5\n"{GONE}",a,5,6,7\n'
    text = HEADER + rows("u1", "u2", GONE, f" {GONE} ") + bad
    ended = prepare({"a.csv": text}, "--forgotten", document(tmp_path, GONE), "--maximum-bad-share", "0.5")
    assert ended.status == 0, ended.last_line
    found = ended.manifest["counts"]
    assert (found["read"], found["forgotten"], found["interactions"], found["quarantined"]) == (14, 8, 6, 0)
    assert counts.contradictions(ended.manifest) == []
    assert [row["user_id"] for row in ended.rows("users")] == ["u1", "u2"]
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "drop" not in path.parts]
    assert not [content for content in kept if GONE.encode() in content]


def test_a_number_is_forgotten_as_a_fraction_too(prepare: Any, tmp_path: Path) -> None:
    ended = prepare({"a.csv": HEADER + rows("7.0", "8.0", "9.0")}, "--forgotten", document(tmp_path, "7"))
    assert ended.status == 0, ended.last_line
    assert [row["user_id"] for row in ended.rows("users")] == ["8", "9"]


def test_the_index_of_a_forgotten_person_stays_without_the_ids_text(prepare: Any, tmp_path: Path) -> None:
    text = HEADER + rows("u1", GONE, "z9")
    before = prepare({"a.csv": text}, version=FIRST)
    assert [row["user_id"] for row in before.rows("users")] == [GONE, "u1", "z9"]
    options = ("--forgotten", document(tmp_path, GONE), "--parent-version", FIRST)
    after = prepare({"a.csv": text + rows("u4")}, *options, version=SECOND)
    assert after.rows("users") == [
        {"user_index": 0, "user_id": f"{PLACEHOLDER}0"},
        {"user_index": 1, "user_id": "u1"},
        {"user_index": 2, "user_id": "z9"},
        {"user_index": 3, "user_id": "u4"},
    ]
    assert {row["user_index"] for row in (*after.rows("train"), *after.rows("test"))} == {1, 2, 3}
    third = "v20261125t151300z-1a2b3c4d"
    again = prepare({"a.csv": text}, options[0], options[1], "--parent-version", SECOND, version=third)
    assert again.rows("users") == after.rows("users")


def test_without_tombstones_nothing_changes(prepare: Any, tmp_path: Path) -> None:
    text = HEADER + rows("u1", "u2")
    plain = prepare({"a.csv": text}, version=FIRST)
    absent = prepare({"a.csv": text}, "--forgotten", str(tmp_path / "none.json"), version=SECOND)
    nobody = prepare({"a.csv": text}, "--forgotten", document(tmp_path), version="v20261125t151300z-1a2b3c4d")
    assert plain.hashes == absent.hashes == nobody.hashes
    assert absent.manifest["counts"]["forgotten"] == 0


def test_tombstones_that_cannot_be_read_stop_the_preparation(prepare: Any, tmp_path: Path) -> None:
    path = tmp_path / "forgotten.json"
    path.write_text('{"schemaVersion": "1.0", "key": "5", "people": []}')
    ended = prepare({"a.csv": HEADER + rows("u1", "u2")}, "--forgotten", str(path))
    assert ended.status == 1
    assert ended.last_line.endswith("forgotten.json: key must be 64 lower-case hex digits, not '5'")
