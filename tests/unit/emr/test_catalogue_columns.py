"""The further columns of a catalogue, and the items that it withdraws."""

import io
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ncf import dataset_files

EVENTS = "user_id,item_id,timestamp\n" + "".join(
    f"u{user},i{item},{1700000000 + 100 * user + (item + user) % 10}\n" for user in range(6) for item in range(10)
)
HEAD = "item_id,title,category,Price (EUR),in stock,code,url,created,mixed,empty\n"
ROWS = "".join(
    f"i{n},Item {n},x,{n}.50,{'yes' if n % 2 else 'no'},00{n},https://shop.test/{n},2024-01-0{n + 1} 10:00:00,{n},\n"
    for n in range(9)
)
NEXT, THIRD = "v20261124t151300z-1a2b3c4d", "v20261125t151300z-1a2b3c4d"


def items(ended: Any) -> dict[str, Any]:
    assert ended.status == 0, ended.last_line
    return {row["item_id"]: row for row in ended.rows("items")}


def test_numbers_that_a_program_wrote_with_all_their_digits_are_numbers(prepare: Any) -> None:
    rows = "".join(f"i{n},{n},{n / 50 + 0.1!r},1.2345678901234567e-05\n" for n in range(10))
    assert "0.12000000000000001" in rows
    ended = prepare({"events.csv": EVENTS, "items.csv": f"item_id,title,weight,small\n{rows}"})
    assert ended.manifest["itemColumns"] == {"weight": "number", "small": "number"}
    assert items(ended)["i1"]["weight"] == 1 / 50 + 0.1


def withdrawn(ended: Any) -> set[str]:
    found = {name for name, row in items(ended).items() if row["is_withdrawn"]}
    assert ended.manifest["counts"]["withdrawnItems"] == len(found)
    told = json.loads((ended.dataset / "withdrawn.json").read_text())
    assert set(told["items"]) == found and told["datasetVersion"] == ended.dataset.name
    return found


def warned(ended: Any, words: str) -> bool:
    return any(words in warning for warning in ended.report["warnings"])


def catalogue(numbers: Any, head: str = "item_id,title", more: str = "") -> str:
    return head + "\n" + "".join(f"i{number},Item {number}{more}\n" for number in numbers)


def test_further_columns_are_kept_with_the_type_of_their_values(prepare: Any) -> None:
    long = "a" * 1200
    last = f'i9,"{long}",x,12.00,no,007,https://shop.test/{long},2024-01-10,ask,\n'
    ended = prepare({"events.csv": EVENTS, "items.csv": HEAD + ROWS + last}, "--available-column", "IN_STOCK")
    row = items(ended)["i1"]
    assert ended.manifest["itemColumns"] == {
        "Price_EUR": "number", "in_stock": "boolean", "code": "text", "url": "text", "created": "time", "mixed": "text",
    }  # fmt: skip
    assert (row["Price_EUR"], row["in_stock"], row["code"], row["mixed"]) == (1.5, True, "001", "1")
    assert (row["url"], row["created"]) == ("https://shop.test/1", 1704189600)
    assert items(ended)["i9"]["url"] is None and items(ended)["i9"]["title"] == "a" * 1000
    assert warned(ended, "1 values of url in the catalogue have more than 1000 characters and are cut (1 are addresses")
    assert warned(ended, "1 values of title in the catalogue have more than 1000 characters and are cut")
    assert withdrawn(ended) == {"i0", "i2", "i4", "i6", "i8", "i9"}
    read = dataset_files.load(ended.dataset)
    assert [read.item_ids[item] for item in read.withdrawn] == ["i0", "i2", "i4", "i6", "i8", "i9"]
    assert read.fields.of(read.item_ids.index("i1")) == {
        "title": "Item 1", "category": "x", "Price_EUR": 1.5, "in_stock": True, "code": "001",
        "url": "https://shop.test/1", "created": "2024-01-02T10:00:00Z", "mixed": "1",
    }  # fmt: skip


def test_typed_files_tell_the_types_and_not_their_values(prepare: Any, tmp_path: Any) -> None:
    numbers = range(10)
    table = pa.table(
        {
            "item_id": [f"i{n}" for n in numbers],
            "ean": [f"{n}1" for n in numbers],
            "price": pa.array([Decimal(n) / 4 for n in numbers], pa.decimal128(10, 2)),
            "sold": [n > 3 for n in numbers],
            "made": pa.array([n * 86400 * 10**9 for n in numbers], pa.timestamp("ns")),
            "seen": pa.array([n * 86400 * 10**6 for n in numbers], pa.timestamp("us")),
            "sizes": [[n, n] for n in numbers],
        }
    )
    written = io.BytesIO()
    pq.write_table(table, written)
    parquet = prepare({"events.csv": EVENTS, "items.parquet": written.getvalue()}, root=tmp_path / "parquet")
    kinds = {"ean": "text", "price": "number", "sold": "boolean", "made": "time", "seen": "time", "sizes": "text"}
    assert parquet.manifest["itemColumns"] == kinds
    row = items(parquet)["i3"]
    assert [row[name] for name in kinds] == ["31", 0.75, False, 259200, 259200, "[3,3]"]
    lines = "".join(
        f'{{"item_id": "i{n}", "ean": "{n}1", "price": {n / 4}, "sold": {str(n > 3).lower()}, "sizes": [{n}, {n}]}}\n'
        for n in numbers
    )
    typed = prepare({"events.csv": EVENTS, "items.jsonl": lines}, root=tmp_path / "json")
    assert typed.manifest["itemColumns"] == {name: kinds[name] for name in ("ean", "price", "sold", "sizes")}
    assert [items(typed)["i3"][name] for name in ("ean", "price", "sold", "sizes")] == ["31", 0.75, False, "[3,3]"]


def test_a_column_with_nearly_one_type_and_too_many_columns_are_told(prepare: Any) -> None:
    names = ",".join(f"c{n}" for n in range(34))
    rows = "".join(f"i{n},T,{'ask' if n == 9 else n}{',1' * 33}\n" for n in range(10))
    events = EVENTS + "".join(f"u{u},k{n},1700001000\n" for u in range(6) for n in range(20))
    rows += "".join(f"k{n},T,{n}{',1' * 33}\n" for n in range(20))
    rows += 'i1,T,1,"short row"\n'
    ended = prepare({"events.csv": events, "items.csv": f"item_id,title,{names}\n{rows}"})
    assert warned(ended, "the column c0 of the catalogue is text: 1 of 30 values are no number, such as 'ask'")
    assert warned(ended, "has 2 further columns beyond the limit of 32, which are left out: c32, c33")
    assert warned(ended, "1 items are in the catalogue more than once with different values")
    assert len(ended.manifest["itemColumns"]) == 32
    assert items(ended)["i1"]["c1"] in (1.0, None)


@pytest.mark.parametrize("names", [("--refuse-warnings", "many-withdrawn"), ()])
def test_items_that_leave_the_catalogue_are_withdrawn_and_come_back(prepare: Any, names: Any) -> None:
    first = prepare({"events.csv": EVENTS, "items.csv": catalogue(range(10), "item_id,title,price", ",1")})
    assert withdrawn(first) == set()
    parent = ("--parent-version", first.dataset.name, *names)
    second = prepare({"items.csv": catalogue(range(6))}, *parent, version=NEXT)
    words = "4 of 10 items (40%, limit 20%) are withdrawn at once since the parent version"
    if names:
        assert second.status == 2 and words in second.last_line
        return
    assert withdrawn(second) == {"i6", "i7", "i8", "i9"} and warned(second, words)
    assert (items(second)["i9"]["title"], items(second)["i9"]["price"], items(second)["i1"]["price"]) == (
        "Item 9", 1.0, None,
    )  # fmt: skip
    # Half of what is still sold is enough: a catalogue of five has half of six, not of ten.
    third = prepare(
        {"items.csv": catalogue([5, 6, 7, 8, 9])},
        "--parent-version",
        NEXT,
        "--absent-items",
        "withdrawn",
        version=THIRD,
    )
    assert withdrawn(third) == {"i0", "i1", "i2", "i3", "i4"}
    assert json.loads((third.dataset / "withdrawn.json").read_text())["items"] == ["i0", "i1", "i2", "i3", "i4"]


def test_a_part_of_a_catalogue_does_not_empty_the_shop(prepare: Any) -> None:
    first = prepare({"events.csv": EVENTS, "items.csv": catalogue(range(9))})
    assert withdrawn(first) == {"i9"}
    part = prepare({"items.csv": catalogue([0, 9])}, "--parent-version", first.dataset.name, version=NEXT)
    assert withdrawn(part) == set()
    assert warned(part, "1 of 9 items are in the catalogue")
    (part.dataset.parents[1] / "drop" / "items.csv").unlink()
    none = prepare({}, "--parent-version", first.dataset.name, version=THIRD)
    assert withdrawn(none) == {"i9"}


def test_a_catalogue_by_which_nothing_is_for_sale_is_refused(prepare: Any) -> None:
    files = {"events.csv": EVENTS, "items.csv": catalogue(range(10), "item_id,title,stock", ",0")}
    ended = prepare(files, "--available-column", "stock")
    assert (ended.status, "all 10 items are withdrawn" in ended.last_line) == (2, True)
    ended = prepare(files, "--withdrawn-column", "gone", version=NEXT)
    assert (ended.status, "the catalogue has no column 'gone': it has stock" in ended.last_line) == (2, True)
    files["items.csv"] = catalogue(range(10), "item_id,title,stock", ",sold out")
    ended = prepare(files, "--available-column", "stock", version=THIRD)
    assert "'stock' of the catalogue tells which items are for sale, but is text, with values such as 'sold out'" in (
        ended.last_line
    )


def test_items_of_the_catalogue_without_interactions_get_an_index_if_they_are_for_sale(prepare: Any) -> None:
    more = catalogue(range(13), "item_id,title,in_stock", ",yes") + "i13,Item 13,no\ni14,Item 14,\n"
    first = prepare({"events.csv": EVENTS, "items.csv": more}, "--available-column", "in_stock")
    found = items(first)
    assert [found[f"i{number}"]["item_index"] for number in (10, 11, 12, 14)] == [10, 11, 12, 13]
    assert "i13" not in found and len(found) == 14
    assert (found["i14"]["title"], found["i14"]["is_withdrawn"]) == ("Item 14", False)
    counts = first.manifest["counts"]
    assert (counts["catalogueItems"], counts["items"]) == (4, 14)
    read = dataset_files.load(first.dataset)
    assert read.popularity.tolist()[10:] == [0, 0, 0, 0] and read.fields.of(13)["title"] == "Item 14"
    parent = ("--parent-version", first.dataset.name)
    second = prepare({"items.csv": catalogue(range(12))}, *parent, version=NEXT)
    assert [items(second)[f"i{number}"]["item_index"] for number in (10, 11, 12, 14)] == [10, 11, 12, 13]
    assert withdrawn(second) == {"i12", "i14"} and second.manifest["counts"]["catalogueItems"] == 0


def test_new_items_are_at_most_half_of_the_others(prepare: Any) -> None:
    ended = prepare({"events.csv": EVENTS, "items.csv": catalogue(range(40)) + "x" * 300 + ",Long\n"})
    assert len(items(ended)) == 15 and ended.manifest["counts"]["catalogueItems"] == 5
    assert warned(ended, "the catalogue adds 30 items for sale without an interaction; with 0 others of earlier")
    parent = ("--parent-version", ended.dataset.name)
    again = prepare({"items.csv": catalogue(range(50))}, *parent, version=NEXT)
    assert len(items(again)) == 15 and again.manifest["counts"]["catalogueItems"] == 0
    assert warned(again, "with 5 others of earlier versions they would be more than half of the 10 with one, so the")


def test_another_catalogue_brings_no_items(prepare: Any) -> None:
    ended = prepare({"events.csv": EVENTS, "items.csv": catalogue(["a", "b", "c", 1])})
    assert warned(ended, "1 of 10 items are in the catalogue") and len(items(ended)) == 10
