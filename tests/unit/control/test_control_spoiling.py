"""A worse copy has the same people, times and form, and other items."""

from __future__ import annotations

import json

import pytest

from control.spoiling import CannotSpoil, spoil

ROWS = [(f"u{row % 7}", f"i{row}", str(1_700_000_000 + row)) for row in range(50)]


def test_only_the_items_of_a_table_change() -> None:
    content = "userId,movieId,timestamp\n" + "".join(",".join(row) + "\n" for row in ROWS)
    made = spoil(content.encode(), "ratings.csv", {}, seed=1).decode().splitlines()
    assert made[0] == "userId,movieId,timestamp"
    fields = [line.split(",") for line in made[1:]]
    assert [(row[0], row[2]) for row in fields] == [(row[0], row[2]) for row in ROWS]
    assert {row[1] for row in fields} <= {row[1] for row in ROWS}
    assert sum(new[1] != old[1] for new, old in zip(fields, ROWS, strict=True)) > 40


def test_quotes_and_named_columns_are_kept() -> None:
    content = 'who,what,when\n"a, b",x,1700000000\nc,y,1700000001\nd,z,1700000002\n'
    named = {"userColumn": "who", "itemColumn": "what", "timestampColumn": "when"}
    made = spoil(content.encode(), "events.csv", named, seed=3).decode().splitlines()
    assert made[1].startswith('"a, b",')
    assert {line.split(",")[-2] for line in made[1:]} <= {"x", "y", "z"}


def test_json_lines_stay_json_lines() -> None:
    content = "".join(json.dumps({"user_id": u, "item_id": i, "timestamp": int(t)}) + "\n" for u, i, t in ROWS)
    made = [json.loads(line) for line in spoil(content.encode(), "clicks.jsonl", {}, seed=1).splitlines()]
    assert [(row["user_id"], row["timestamp"]) for row in made] == [(u, int(t)) for u, _, t in ROWS]
    assert [row["item_id"] for row in made] != [i for _, i, _ in ROWS]


def test_a_file_whose_columns_are_not_known_is_refused() -> None:
    with pytest.raises(CannotSpoil, match="no column is known"):
        spoil(b"alpha,beta,gamma\n1,2,3\n4,5,6\n", "odd.csv", {}, seed=1)


def test_a_title_is_left_out_and_the_header_kept() -> None:
    content = "Orders;;\nuser;item;time\n1;Tea “a”;3/4/2024\n2;Cup;5/6/2024\n".encode("cp1252")
    lines = spoil(content, "a.csv", {}, 1).decode().splitlines()
    assert lines[0] == "user;item;time"
    assert [line.split(";")[0] for line in lines[1:]] == ["1", "2"]
    assert {line.split(";")[1] for line in lines[1:]} <= {"Tea “a”", "Cup"}
