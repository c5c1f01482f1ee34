"""Whole preparations: the output for good data."""

import gzip
import json
from pathlib import Path
from random import Random
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from jsonschema import Draft202012Validator

from contracts import schemas, splits
from ncf import dataset_files

NOTHING_UNITED = {"superseded": 0, "beforeHistory": 0, "compactedUsers": 0, "compactedItems": 0}
LATER = "v20261124t000000z-00000000"

#: ann: tea cup pot, bob: tea cup, cid: cup tea; only ann has pot, so her last row stays in train.
SHOP = """user_id,item_id,timestamp
ann,tea,100
bob,tea,200
ann,cup,2020-01-01T00:00:00Z
bob,cup,300
cid,cup,400
cid,tea,500
ann,pot,2021-01-01
"""
ITEMS = 'id,title,category\ntea,"Tea, green",drinks\ncup,"A ""cup""",\nspoon,Nobody wants it,cutlery\n'


def valid(document: Any, schema: Any) -> Any:
    Draft202012Validator(schemas.load(schema)).validate(document)
    return document


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder that several tests share, and the result of the preparation in it."""
    return {"root": tmp_path_factory.mktemp("shop")}


@pytest.fixture
def shop(prepare: Any, once: Any) -> Any:
    if "ended" not in once:
        once["ended"] = prepare({"events.csv": SHOP, "items.csv": ITEMS}, root=once["root"])
    return once["ended"]


def test_writes_every_table_in_its_order(shop: Any) -> None:
    assert shop.status == 0
    assert shop.rows("users") == [{"user_index": i, "user_id": user} for i, user in enumerate(("ann", "bob", "cid"))]
    assert shop.rows("items") == [
        {"item_index": 0, "item_id": "cup", "title": 'A "cup"', "category": None, "is_withdrawn": False},
        {"item_index": 1, "item_id": "pot", "title": None, "category": None, "is_withdrawn": True},
        {"item_index": 2, "item_id": "tea", "title": "Tea, green", "category": "drinks", "is_withdrawn": False},
        {
            "item_index": 3,
            "item_id": "spoon",
            "title": "Nobody wants it",
            "category": "cutlery",
            "is_withdrawn": False,
        },
    ]
    assert [tuple(row.values()) for row in shop.rows("train")] == [
        (0, 2, 100, 1.0, 1, 1.0, True),
        (0, 0, 1577836800, 1.0, 1, 1.0, True),
        (0, 1, 1609459200, 1.0, 1, 1.0, True),
        (1, 2, 200, 1.0, 1, 1.0, True),
        (2, 0, 400, 1.0, 1, 1.0, True),
    ]
    assert [tuple(row.values()) for row in shop.rows("test")] == [(1, 0, 300, 1.0), (2, 2, 500, 1.0)]
    assert [tuple(row.values()) for row in shop.rows("popularity")] == [(0, 2), (2, 2), (1, 1)]


def test_columns_have_the_types_of_the_contract(shop: Any) -> None:
    def types(table: Any) -> Any:
        schema = pyarrow.parquet.read_schema(shop.dataset / table / "part-00000.parquet")
        return dict(zip(schema.names, map(str, schema.types), strict=True))

    interactions = {"user_index": "int32", "item_index": "int32", "timestamp": "int64", "weight": "float"}
    assert types("test") == interactions
    assert types("train") == interactions | {"events": "int32", "worth": "float", "is_bought": "bool"}
    assert types("users") == {"user_index": "int32", "user_id": "string"}
    texts = dict.fromkeys(("item_id", "title", "category"), "string")
    assert types("items") == {"item_index": "int32", **texts, "is_withdrawn": "bool"}
    assert types("popularity") == {"item_index": "int32", "interactions": "int64"}


def test_the_manifest_names_every_file_and_count(shop: Any) -> None:
    manifest = valid(shop.manifest, "manifest")
    assert manifest["counts"] == NOTHING_UNITED | {
        "read": 7,
        "interactions": 7,
        "train": 5,
        "test": 2,
        "users": 3,
        "items": 4,
        "quarantined": 0,
        "forgotten": 0,
        "otherEvents": 0,
        "duplicates": 0,
        "notLiked": 0,
        "belowSupport": 0,
        "coldTestItems": 1,
        "testUsers": 2,
        "newTestUsers": 0,
        "tiedTestUsers": 0,
        "repeats": 0,
        "withdrawnItems": 1,
        "catalogueItems": 1,
    }
    assert manifest["split"] == {"protocol": "leave-last-out", "moment": None, "seed": splits.SEED}
    assert manifest["timeSpan"] == {"first": 100, "last": 1609459200}
    described = {file["path"]: (file["size"], file["rows"]) for file in manifest["files"]}
    tables = ("items", "popularity", "test", "train", "users")
    assert described == {
        f"{table}/part-00000.parquet": (
            (shop.dataset / table / "part-00000.parquet").stat().st_size,
            len(shop.rows(table)),
        )
        for table in tables
    }


def test_writes_only_the_files_of_the_contract(shop: Any) -> None:
    written = {str(path.relative_to(shop.dataset)) for path in shop.dataset.rglob("*") if path.is_file()}
    assert written == {file["path"] for file in shop.manifest["files"]} | {"manifest.json", "withdrawn.json"}
    assert [path.name for path in shop.quarantine.iterdir()] == ["report.json"]
    assert valid(shop.report, "quarantine")["status"] == "accepted"


def test_prints_a_line_at_the_end_of_each_step(shop: Any) -> None:
    steps = [line.split()[0] for line in shop.output.splitlines() if line.startswith("step=")]
    assert steps == ["step=read", "step=clean", "step=index", "step=split", "step=write"]


def test_a_row_that_comes_twice_is_one_pair_with_two_events(shop: Any, prepare: Any) -> None:
    rows = SHOP.splitlines()
    ended = prepare({"events.csv": "\n".join([*rows, rows[1]]), "items.csv": ITEMS})
    assert (ended.manifest["counts"]["duplicates"], ended.manifest["counts"]["train"]) == (1, 5)
    twice = [row["events"] for row in ended.rows("train")]
    assert sorted(twice) == [1, 1, 1, 1, 2]
    assert [row["worth"] for row in ended.rows("train")] == twice
    assert {path for path in ended.hashes if ended.hashes[path] != shop.hashes[path]} == {"train/part-00000.parquet"}


def test_the_same_rows_give_the_same_bytes(shop: Any, prepare: Any, tmp_path: Path) -> None:
    """In two files, in another order, with a byte-order mark, CRLF, blank lines and one more column."""
    header, *rows = SHOP.splitlines()
    one = "\ufeff" + "\r\n".join([header, *reversed(rows[4:]), ""])
    other = "\n\n".join(
        [
            "note,timestamp,item_id,user_id",
            *[f'"a, ""b""",{t},{i},{u}' for u, i, t in (row.split(",") for row in rows[:4])],
        ]
    )
    again = prepare({"one.csv": one, "deep/other.csv": other, "items.csv": ITEMS, "_SUCCESS": "", "notes.txt": "x"})
    assert again.status == 0
    assert again.hashes == shop.hashes
    assert again.report["warnings"] == [
        "notes.txt is not used: no column is known to hold the users, the items, the times; it has one column, x: "
        "no comma, semicolon, tab, pipe or :: separates others",
        "deep/other.csv: columns not used: note",
        "5 of 7 interactions are of 1970, as numbers are that are no epoch seconds; if they have another form, name it "
        "with --timestamp-format (timestampFormat)",
        "1 of 3 items (33%, limit 20%) are withdrawn at once: they are not in the catalogue, or not for sale, and are "
        "recommended no more",
    ]


def test_an_existing_version_is_not_changed(shop: Any, prepare: Any, once: Any) -> None:
    before = (shop.dataset / "manifest.json").stat().st_mtime_ns
    again = prepare({"events.csv": "broken"}, root=once["root"])
    (once["root"] / "drop" / "events.csv").write_text(SHOP)
    assert (again.status, again.last_line) == (0, "")
    assert "already written" in again.output
    assert (again.dataset / "manifest.json").stat().st_mtime_ns == before


def test_indices_of_the_parent_stay_and_new_ids_follow(shop: Any, prepare: Any, once: Any) -> None:
    events = "user_id,item_id,timestamp\nabe,tea,1\nabe,ale,2\nann,ale,3\nann,tea,4\nzoe,tea,1\nzoe,ale,9\n"
    (once["root"] / "next").mkdir()
    child = prepare(
        {"e.csv": events}, "--parent-version", shop.dataset.name, "--compact-above", "0.7",
        root=once["root"], source=once["root"] / "next", version=LATER,
    )  # fmt: skip
    assert child.status == 0
    assert [row["user_id"] for row in child.rows("users")] == ["ann", "bob", "cid", "abe", "zoe"]
    assert [row["item_id"] for row in child.rows("items")] == ["cup", "pot", "tea", "spoon", "ale"]
    assert child.rows("items")[2] == shop.rows("items")[2]
    assert {row["user_index"] for row in child.rows("train")} == {0, 3, 4}
    manifest = valid(child.manifest, "manifest")
    assert (manifest["parentVersion"], manifest["counts"]["users"]) == (shop.dataset.name, 5)


def test_a_half_written_version_is_written_again(prepare: Any, tmp_path: Path, shop: Any) -> None:
    left = tmp_path / "datasets" / shop.dataset.name / "train" / "part-00099.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    ended = prepare({"events.csv.gz": gzip.compress(SHOP.encode()), "items.csv": ITEMS})
    assert ended.status == 0
    assert not left.exists()
    assert ended.hashes == shop.hashes
    assert ended.manifest["parameters"]["format"] == "csv"


def test_reads_movielens_dat_with_a_latin_1_catalogue(prepare: Any) -> None:
    ratings = "1::10::5::978300760\n1::20::3::978302109\n2::10::1::978301968\n2::20::4::978300275\n"
    movies = "10::Café (1995)::Comedy|Drama\n20::Ünder (1996)::(no genres listed)\n".encode("latin-1")
    ended = prepare({"ratings.dat": ratings, "movies.dat": movies, "users.dat": "1::F::1::10::48067\n"})
    assert ended.status == 0
    assert [tuple(row.values())[1:] for row in ended.rows("items")] == [
        ("10", "Café (1995)", "Comedy|Drama", False),
        ("20", "Ünder (1996)", None, False),
    ]
    assert [row["weight"] for row in ended.rows("train")] == [5.0, 4.0]
    assert [row["weight"] for row in ended.rows("test")] == [3.0, 1.0]
    assert ended.manifest["parameters"]["format"] == "movielens-dat"


def test_a_catalogue_that_has_few_of_the_items_is_told_with_an_id_of_each_side(prepare: Any) -> None:
    events = "USER_ID,ITEM_ID,TIMESTAMP\n" + "".join(f"u{n % 7},{n % 30:04d},{n}\n" for n in range(90))
    catalogue = "ITEM_ID,TITLE,GENRES\n" + "".join(f"{n},Item {n},x\n" for n in range(30))
    ended = prepare({"events.csv": events, "items.csv": catalogue})
    assert ended.status == 0, ended.last_line
    assert (
        "0 of 30 items are in the catalogue, which has ids like '0'; the interactions have ids like '0000'; "
        "items that it lacks are not withdrawn (absentItems)" in ended.report["warnings"]
    )


def test_reads_parquet_with_its_own_names_types_and_event_types(prepare: Any, tmp_path: Path) -> None:
    source = tmp_path / "drop"
    source.mkdir()
    when = pyarrow.array([1, 2, 3, 4, 5, 6], pyarrow.int64()).cast(pyarrow.timestamp("s", tz="UTC"))
    table = pyarrow.table(
        {
            "who": pyarrow.array([1, 1, 2, 2, 2, 1], pyarrow.int64()),
            "what.id": ["a", "b", "b", "a", "a", "a"],
            "when": when,
            "kind": ["buy", "buy", "buy", "view", "buy", "view"],
            "stars": pyarrow.array([1.5, 2, 3, 4, 5, 6], pyarrow.float64()),
        }
    )
    pyarrow.parquet.write_table(table, source / "events.parquet")
    names = (
        "--user-column",
        "who",
        "--item-column",
        "what.id",
        "--timestamp-column",
        "when",
        "--weight-column",
        "stars",
    )
    ended = prepare({}, *names, "--event-type-column", "kind", "--event-types", "buy")
    assert ended.status == 0
    assert ended.manifest["counts"]["otherEvents"] == 2
    assert [tuple(row.values()) for row in ended.rows("train")] == [
        (0, 0, 1, 1.5, 1, 1.0, True),
        (1, 1, 3, 3.0, 1, 1.0, True),
    ]
    assert [tuple(row.values()) for row in ended.rows("test")] == [(0, 1, 2, 2.0), (1, 0, 5, 5.0)]


@pytest.mark.fault("D14")
def test_bad_rows_are_quarantined_and_the_others_are_written(prepare: Any, shop: Any) -> None:
    bad = "ann,,5\nbob,tea,soon\nbob,cup\nbob,cup,2096-01-01\n"
    ended = prepare({"events.csv": SHOP + bad, "items.csv": ITEMS}, "--maximum-bad-share", "0.5")
    assert ended.status == 0
    assert ended.hashes == shop.hashes
    report = valid(ended.report, "quarantine")
    assert report["counts"] == {"read": 11, "quarantined": 4}
    assert report["rows"] == {
        "item_id_missing": 1,
        "malformed_row": 1,
        "timestamp_after_the_drop": 1,
        "timestamp_unparsable": 1,
    }
    quarantined = [
        json.loads(line) for line in (ended.quarantine / "rows" / "part-00000.json").read_text().splitlines()
    ]
    assert [(row["reason"], row["line"], row["timestamp"]) for row in quarantined] == [
        ("item_id_missing", None, "5"),
        ("malformed_row", "bob,cup", None),
        ("timestamp_after_the_drop", None, "2096-01-01"),
        ("timestamp_unparsable", None, "soon"),
    ]
    assert all(row["file"].endswith("/drop/events.csv") for row in quarantined)


@pytest.mark.fault("D27")
def test_a_tie_is_drawn_counted_and_told_and_neither_ids_nor_the_order_of_the_file_decide(
    prepare: Any, tmp_path: Path
) -> None:
    """Everybody has a, b and z on one day: by the greatest id, z would be the test of all."""
    people = [f"u{number:02d}" for number in range(40)]
    rows = [f"{user},{item},2026-01-01" for user in people for item in "abz"]
    header = "user_id,item_id,timestamp\n"
    ended = prepare({"events.csv": header + "\n".join(rows)})
    assert ended.status == 0
    names = [row["item_id"] for row in ended.rows("items")]
    chosen = [names[row["item_index"]] for row in ended.rows("test")]
    assert chosen == [max("abz", key=lambda item: splits.draw(splits.SEED, user, item)) for user in people]
    assert set(chosen) == set("abz")
    assert valid(ended.manifest, "manifest")["counts"]["tiedTestUsers"] == 40
    one_time, warning = ended.report["warnings"]
    assert one_time == "all 120 interactions have the time 2026-01-01T00:00:00Z"
    assert warning.startswith("ties decide the test item of 40 of 40 users (100%, limit 10%)")
    assert f"warning: {warning}" in ended.output and "tied_test_users=40" in ended.output

    again = prepare({"events.csv": header + "\n".join(reversed(rows))}, version=LATER)
    assert again.hashes == ended.hashes


@pytest.mark.fault("D22")
def test_a_test_is_never_older_than_its_training(prepare: Any) -> None:
    """Random rows with few different times; the reader refuses what breaks the rule."""
    random = Random(3)
    rows = [f"u{random.randrange(40)},i{random.randrange(30)},{random.randrange(9)}" for _ in range(900)]
    ended = prepare({"events.csv": "user_id,item_id,timestamp\n" + "\n".join(rows)})
    loaded = dataset_files.load(ended.dataset)
    assert len(loaded.test) == ended.manifest["counts"]["test"] > 30
