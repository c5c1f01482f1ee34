"""A preparation unites the newest full drop and the appends since, and counts each interaction once."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from contracts import counts, schemas
from contracts.unions import Part, Union
from start_preparation import plan

HEADER = "user_id,item_id,timestamp,weight,event_type\n"
FULL = HEADER + "u1,a,100,1,buy\nu1,b,200,1,buy\nu2,b,100,1,buy\nu2,a,300,1,buy\nu3,a,50,1,buy\nu3,b,60,1,buy\n"
VERSIONS = [f"v2026112{day}t151300z-1a2b3c4d" for day in range(3, 8)]


@pytest.fixture
def unite(prepare: Any, tmp_path: Path) -> Any:
    """Runs the preparation of the last of some drops: `{name: files}`, or `(files, parameters)`; the first is full."""

    def run(
        drops: dict[str, Any], *options: Any, kinds: Any = None, warnings: Any = (), version: Any = VERSIONS[0]
    ) -> Any:
        parts = []
        for place, (name, content) in enumerate(drops.items()):
            files, parameters = content if isinstance(content, tuple) else (content, {})
            kind = (kinds or {}).get(name, "append" if place else "full")
            parts.append(Part(name, kind, parameters))
            for path, text in files.items():
                target = tmp_path / "raw" / name / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(text.encode() if isinstance(text, str) else text)
        document = tmp_path / "union.json"
        document.write_text(json.dumps(Union(tuple(parts), tuple(warnings)).to_document(version)))
        own = tmp_path / "raw" / parts[-1].name
        named = [word for key, value in parts[-1].parameters.items() for word in (plan.PARAMETERS[key], value)]
        union = ("--union", str(document), "--drops", str(tmp_path / "raw"))
        return prepare({}, *union, *named, *options, source=own, version=version)

    return run


def kept(ended: Any) -> list[tuple[str, str, int, float]]:
    """The interactions of a version."""
    assert ended.status == 0, ended.last_line
    schemas.check(ended.manifest, "manifest", "manifest.json")
    assert counts.contradictions(ended.manifest) == []
    users = {row["user_index"]: row["user_id"] for row in ended.rows("users")}
    items = {row["item_index"]: row["item_id"] for row in ended.rows("items")}
    rows = [*ended.rows("train"), *ended.rows("test")]
    return sorted((users[r["user_index"]], items[r["item_index"]], r["timestamp"], r["weight"]) for r in rows)


def test_history_and_what_is_new_are_one_version(unite: Any) -> None:
    ended = unite({"full": {"a.csv": FULL}, "day1": {"b.csv": HEADER + "u2,c,400,1,buy\n"},
                   "day2": {"b.csv": HEADER + "u4,a,10,1,buy\nu4,c,500,1,buy\n"}})  # fmt: skip
    assert kept(ended) == sorted(
        [("u1", "a", 100, 1.0), ("u1", "b", 200, 1.0), ("u2", "b", 100, 1.0), ("u2", "a", 300, 1.0),
         ("u3", "a", 50, 1.0), ("u3", "b", 60, 1.0), ("u2", "c", 400, 1.0), ("u4", "a", 10, 1.0),
         ("u4", "c", 500, 1.0)]
    )  # fmt: skip
    found = [(Path(drop["source"]).name, drop["kind"], drop["files"], drop["rows"]) for drop in ended.manifest["drops"]]
    assert found == [("full", "full", 1, 6), ("day1", "append", 1, 1), ("day2", "append", 1, 2)]
    assert "and 2 appends (3 interactions, 2 of them of " in ended.output


def test_the_same_file_in_another_drop_and_under_another_name_is_once(unite: Any) -> None:
    day = HEADER + "u2,c,400,1,buy\nu2,c,400,1,buy\nu1,c,401,1,buy\n"
    ended = unite({"full": {"a.csv": FULL, "copy.csv": FULL}, "day1": {"b.csv": day}, "day2": {"c.csv": day}})
    found = ended.manifest["counts"]
    assert ended.status == 0
    assert (found["read"], found["superseded"], found["duplicates"]) == (9, 0, 1)
    assert sum("is the same file" in warning for warning in ended.report["warnings"]) == 2


def test_the_same_interaction_of_two_drops_is_once_and_the_newest_one_counts(unite: Any) -> None:
    corrected = HEADER + "u1,a,100,5,buy\nu1,b,200,1,buy\nu1,b,200,1,view\nu1,c,201,1,buy\nu2,c,500,1,buy\n"
    ended = unite({"full": {"a.csv": FULL}, "fix": {"b.csv.gz": gzip.compress(corrected.encode())}})
    assert ("u1", "a", 100, 5.0) in kept(ended)
    found = ended.manifest["counts"]
    # u1-a and u1-b of the full drop; the view is another interaction, and a duplicate of the pair.
    assert (found["read"], found["superseded"], found["duplicates"]) == (11, 2, 1)


def test_two_purchases_in_one_second_of_one_drop_stay_two(unite: Any) -> None:
    twice = HEADER + "u1,c,400,1,buy\nu1,c,400,1,buy\nu2,c,401,1,buy\n"
    ended = unite({"full": {"a.csv": FULL}, "day1": {"b.csv": twice}})
    found = ended.manifest["counts"]
    assert (found["superseded"], found["duplicates"], ended.manifest["drops"][1]["rows"]) == (0, 1, 3)


def test_the_history_tells_whether_the_days_of_an_append_come_first(unite: Any) -> None:
    head = "user_id,item_id,time\n"
    history = head + "".join(f"u{user},{item},{13 + user}/1/2026 8:0{user}\n" for user in (1, 2, 3) for item in "ab")
    new = head + "u1,c,1/2/2026\nu2,c,2/2/2026\n"
    ended = unite({"full": {"a.csv": history}, "day": {"b.csv": new}})
    assert {row[2] for row in kept(ended) if row[1] == "c"} == {1769904000, 1769990400}  # the 1st and 2nd of February
    assert ended.manifest["parameters"]["timestampFormat"] == "d/M/yyyy H:mm"


def test_late_rows_are_taken(unite: Any) -> None:
    ended = unite({"full": {"a.csv": FULL}, "late": {"b.csv": HEADER + "u1,c,1,1,buy\nu2,c,2,1,buy\n"}})
    assert {("u1", "c", 1, 1.0), ("u2", "c", 2, 1.0)} <= set(kept(ended))


def test_drops_have_their_own_columns_formats_and_forms_of_times(unite: Any) -> None:
    days = {"userColumn": "Kunde", "itemColumn": "Artikel", "timestampColumn": "Tag", "timestampFormat": "dd.MM.yyyy"}
    german = "Kunde;Artikel;Tag\nu1;c;02.01.1970\nu2;c;03.01.1970\n"
    lines = "".join(
        json.dumps({"user_id": user, "item_id": item, "timestamp": time}) + "\n"
        for user, item, time in (("u3", "c", 400000), ("u1", "b", 500000))
    )
    ended = unite({"full": {"a.csv": FULL}, "de": ({"b.csv": german}, days), "json": {"c.jsonl": lines}})
    assert {("u1", "c", 86400, 1.0), ("u2", "c", 172800, 1.0), ("u3", "c", 400000, 1.0)} <= set(kept(ended))


def test_a_time_of_another_form_than_its_drop_has_is_a_bad_row(unite: Any) -> None:
    days = {"timestampFormat": "dd.MM.yyyy"}
    text = "user_id,item_id,timestamp\nu1,c,02.01.1970\nu2,c,5\n"
    ended = unite({"full": {"a.csv": FULL}, "de": ({"b.csv": text}, days)}, "--maximum-bad-share", "0.5")
    assert ended.report["rows"] == {"timestamp_unparsable": 1}


def test_the_history_goes_back_from_the_newest_event(unite: Any) -> None:
    day = 86_400
    full = HEADER + "".join(f"u{u},{i},{t * day},1,buy\n" for u in (1, 2, 3) for i, t in (("a", 1), ("b", 8), ("c", 9)))
    ended = unite(
        {"full": {"a.csv": full}, "new": {"b.csv": HEADER + f"u1,a,{10 * day},1,buy\n"}}, "--history-days", "2"
    )
    assert {row[2] // day for row in kept(ended)} == {8, 9, 10}
    assert ended.manifest["counts"]["beforeHistory"] == 3
    assert ended.manifest["parameters"]["historyDays"] == 2


def test_the_history_of_a_full_drop_alone(prepare: Any) -> None:
    day = 86_400
    places = ((1, "abc"), (2, "acb"), (3, "bca"))
    full = HEADER + "".join(
        f"u{u},{i},{t * day},1,buy\n" for u, order in places for i, t in zip(order, (1, 8, 9), strict=True)
    )
    ended = prepare({"a.csv": full}, "--history-days", "3")
    assert (ended.manifest["counts"]["beforeHistory"], ended.manifest["drops"][0]["rows"]) == (3, 6)


def test_an_append_with_bad_rows_is_refused_even_if_its_history_is_long(unite: Any) -> None:
    full = HEADER + "".join(f"u{number % 40},i{number},{number},1,buy\n" for number in range(400))
    bad = HEADER + "u1,i1,900,1,buy\nu1,,901,1,buy\n"
    ended = unite({"full": {"a.csv": full}, "bad": {"b.csv": bad}}, "--maximum-bad-share", "0.01")
    assert ended.status == 2
    assert ended.last_line.endswith(
        "bad: 1 of 2 rows are bad (50.00%, limit 1.00% by maximumBadShare): item_id_missing 1"
    )


def test_an_older_append_that_cannot_be_read_is_left_out_and_named(unite: Any) -> None:
    drops = {"full": {"a.csv": FULL}, "odd": {"b.csv": "x,y\n1,2\n"}, "day2": {"c.csv": HEADER + "u1,c,400,1,buy\n"}}
    ended = unite(drops)
    assert ended.status == 0, ended.last_line
    assert [drop["files"] for drop in ended.manifest["drops"]] == [1, 0, 1]
    assert any(warning.startswith("raw/odd/ is left out: ") for warning in ended.report["warnings"])


def test_the_drop_that_was_announced_is_refused_if_it_cannot_be_read(unite: Any) -> None:
    ended = unite({"full": {"a.csv": FULL}, "odd": {"b.csv": "x,y\n1,2\n"}})
    assert ended.status == 2
    assert "raw/odd/b.csv" in ended.last_line


def test_an_append_that_was_deleted_since_is_named_and_a_full_drop_is_missed(unite: Any) -> None:
    day = {"c.csv": HEADER + "u1,c,400,1,buy\n"}
    ended = unite({"full": {"a.csv": FULL}, "gone": {}, "day2": day})
    assert ended.status == 0, ended.last_line
    assert "raw/gone/ has no interactions any more: it has no file" in ended.report["warnings"]
    ended = unite({"none": {}, "day2": day}, version=VERSIONS[1])
    assert ended.status == 2
    assert "no interactions (rows=0)" in ended.last_line


def test_appends_without_a_full_drop_are_a_beginning_with_a_warning(unite: Any) -> None:
    ended = unite({"day1": {"a.csv": FULL}}, kinds={"day1": "append"}, warnings=("no full drop is closed before it",))
    assert ended.status == 0, ended.last_line
    assert "no full drop is closed before it" in ended.report["warnings"]


def test_the_newest_catalogue_holds_and_one_of_an_append_withdraws_nothing_that_it_lacks(unite: Any) -> None:
    """An append's catalogue may have what is new alone, also where it has most of the items, unless a person says
    that it is the whole one.
    """
    new = {"b.csv": HEADER + "u1,c,400,1,buy\nu2,c,400,1,buy\n", "items.csv": "item_id,title\na,New\nc,Sea\n"}
    drops = {"full": {"a.csv": FULL, "items.csv": "item_id,title\na,Old\nb,Bee\n"}, "day1": new}
    ended = unite(drops)
    assert {row["item_id"]: (row["title"], row["is_withdrawn"]) for row in ended.rows("items")} == {
        "a": ("New", False), "b": (None, False), "c": ("Sea", False),
    }  # fmt: skip
    ended = unite(drops, "--absent-items", "withdrawn", version=VERSIONS[1])
    assert [row["item_id"] for row in ended.rows("items") if row["is_withdrawn"]] == ["b"]


def test_a_rerun_of_the_same_union_has_the_same_bytes(unite: Any) -> None:
    drops = {"full": {"a.csv": FULL}, "day1": {"b.csv": HEADER + "u2,c,400,1,buy\nu1,c,5,1,buy\n"}}
    first = unite(drops)
    second = unite(drops, version=VERSIONS[1])
    assert first.hashes == second.hashes


def test_hundreds_of_appends_are_one_reading(unite: Any) -> None:
    drops: dict[str, Any] = {"full": {"a.csv": FULL}}
    drops |= {f"d{day:03}": {"x.csv": HEADER + f"u1,i{day},{1000 + day},1,buy\n"} for day in range(300)}
    ended = unite(drops)
    assert ended.status == 0, ended.last_line
    assert ended.manifest["counts"]["read"] == 306
    assert len(ended.manifest["drops"]) == 301


def test_drops_with_and_without_times_are_not_united(unite: Any) -> None:
    ended = unite({"full": ({"a.csv": "user_id,item_id\nu1,a\n"}, {"timestampColumn": "none"}), "d": {"b.csv": FULL}})
    assert ended.status == 2
    assert "raw/full/ has no times" in ended.last_line


# Compaction


def test_ids_without_an_interaction_are_dropped_when_they_are_most(prepare: Any) -> None:
    old = HEADER + "".join(f"old{user},{item},{user},1,buy\n" for user in range(5) for item in ("x", "y", "z"))
    prepare({"a.csv": old + "u1,x,1,1,buy\nu1,z,2,1,buy\n", "items.csv": "item_id,title\nx,Ex\n"}, version=VERSIONS[0])
    now = {"a.csv": HEADER + "u1,x,1,1,buy\nu1,w,2,1,buy\nu2,w,1,1,buy\nu2,x,3,1,buy\n", "items.csv": "item_id,title\n"}
    ended = prepare(now, "--parent-version", VERSIONS[0], version=VERSIONS[1])
    assert ended.status == 0, ended.last_line
    assert ended.rows("users") == [{"user_index": 0, "user_id": "u1"}, {"user_index": 1, "user_id": "u2"}]
    assert {row["item_id"]: row["title"] for row in ended.rows("items")} == {"x": "Ex", "y": None, "z": None, "w": None}
    assert ended.manifest["parentVersion"] is None
    assert (ended.manifest["counts"]["compactedUsers"], ended.manifest["counts"]["compactedItems"]) == (5, 0)
    assert any(
        "5 of 7 users have no interaction any more (71%, limit 50%)" in text for text in ended.report["warnings"]
    )
    assert counts.contradictions(ended.manifest) == []


def test_nothing_is_compacted_above_the_limit_that_was_given(prepare: Any) -> None:
    old = HEADER + "".join(f"old{user},{item},{user},1,buy\n" for user in range(5) for item in ("x", "y"))
    prepare({"a.csv": old + "u1,x,1,1,buy\nu1,y,2,1,buy\n"}, version=VERSIONS[0])
    now = {"a.csv": HEADER + "u1,x,1,1,buy\nu1,y,2,1,buy\nu2,y,1,1,buy\nu2,x,3,1,buy\n"}
    ended = prepare(now, "--parent-version", VERSIONS[0], "--compact-above", "1", version=VERSIONS[1])
    assert (ended.manifest["counts"]["users"], ended.manifest["counts"]["compactedUsers"]) == (7, 0)
    assert ended.manifest["parentVersion"] == VERSIONS[0]


def test_a_kept_item_takes_its_title_along(prepare: Any) -> None:
    old = HEADER + "".join(f"u{user},{item},{user},1,buy\n" for user in range(3) for item in "defghxy")
    prepare({"a.csv": old, "items.csv": "item_id,title\nx,Ex\n"}, version=VERSIONS[0])
    now = {"a.csv": HEADER + "".join(f"u{user},{item},{(user + place) % 2},1,buy\n"
                                          for user in range(3) for place, item in enumerate("xy")),
           "items.csv": "item_id,title\nnone,None\n"}  # fmt: skip
    ended = prepare(now, "--parent-version", VERSIONS[0], version=VERSIONS[1])
    assert [(row["item_index"], row["item_id"], row["title"]) for row in ended.rows("items")] == [
        (0, "x", "Ex"),
        (1, "y", None),
    ]
    assert ended.manifest["counts"]["compactedItems"] == 5
