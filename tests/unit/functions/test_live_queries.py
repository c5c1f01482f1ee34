"""The statements of docs/reference/athena.sql, on files as POST /events writes them: they count what the ledger counts.

The table is read by the embedded AWS's parser of Athena's DDL, and the queries are run by DuckDB. Partition projection
is looked at as text alone, and so is the SerDe: no Athena has run them.
"""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.event_types import CLICK, DEFAULT, IMPRESSION, PURCHASE
from contracts.outcomes import Counts, total
from contracts.recommendation_ids import Answered
from count_outcomes.counting import Count
from events import records
from events.request import Event, EventsRequest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "reference" / "athena.sql").read_text("utf-8")
CODE = re.sub(r"^--.*\n", "", TEXT, flags=re.M)
DATABASE, TABLE, *QUERIES = [one.strip() for one in CODE.split(";\n") if one.strip()]
KEY = "stack"
RUNS = ("v20261121t000000z-00000001-r1", "v20261122t000000z-00000002-r1")
DAYS = ("2026-11-28", "2026-11-29")
TYPES = {"string": "VARCHAR", "bigint": "BIGINT", "int": "INTEGER", "double": "DOUBLE"}


def table() -> Any:
    from ministack.services import athena  # after conftest.py's gc.freeze, with which DuckDB complains at the end

    return athena._parse_ddl(TABLE)


def test_the_table_is_understood_and_names_the_folders_of_live_files() -> None:
    found = table()
    assert type(found).__name__ == "_CreateTable" and found.external
    assert (found.database, found.table) == ("shop", "events")
    assert found.serde == "org.openx.data.jsonserde.JsonSerDe"
    assert [key["Name"] for key in found.partition_keys] == ["day"]
    assert {name: value for name, value in found.table_properties.items() if "day" in name} == {
        "projection.day.type": "date",
        "projection.day.format": "yyyy-MM-dd",
        "projection.day.range": "NOW-2YEARS,NOW",
        "projection.day.interval": "1",
        "projection.day.interval.unit": "DAYS",
    }
    template = found.table_properties["storage.location.template"]
    assert template.startswith(found.location) and template.endswith("raw/live-${day}/")
    prefix = re.search(r"Prefix: (raw/.*)", (ROOT / "template" / "events.yaml").read_text("utf-8"))
    assert prefix and template.endswith(prefix[1].replace("!{timestamp:yyyy-MM-dd}", "${day}"))


def test_the_columns_are_the_keys_of_a_line() -> None:
    code = (ROOT / "functions" / "events" / "records.py").read_text("utf-8")
    keys = set(re.findall(r'^ +"([A-Z_]+)":', code, flags=re.M)) | {"RECEIVED_AT"}
    assert {column["Name"] for column in table().columns} == {key.lower() for key in keys}
    assert {column["Type"] for column in table().columns} <= set(TYPES)


def test_the_lists_of_types_are_those_that_count_by_default() -> None:
    of = {
        outcome: {name for name, one in DEFAULT.by_name.items() if one.outcome == outcome}
        for outcome in (IMPRESSION, CLICK, PURCHASE)
    }
    lists = [set(re.findall(r"'(\w+)'", found)) for found in re.findall(r"IN \(([^)]*)\)", CODE)]
    everything = of[IMPRESSION] | of[CLICK] | of[PURCHASE]
    assert lists == [of[CLICK], everything, of[CLICK], everything, of[PURCHASE]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Callable[[str], list[Any]], Count]]:
    """The queries over files of 2,000 events, some of them twice, and the count of the same events."""
    import duckdb

    folder, draws = tmp_path_factory.mktemp("raw"), random.Random(7)
    count = Count("2026-11-29T10:15Z", KEY, DEFAULT, 10_000)
    for day in DAYS:
        lines = b""
        for number in range(1000):
            lines += _event(f"{day} {number % 900}", draws, count)
        (folder / f"live-{day}").mkdir()
        for name in ("a.jsonl.gz", "b.jsonl.gz"):  # delivered twice
            (folder / f"live-{day}" / name).write_bytes(gzip.compress(lines))
        (folder / f"live-{day}" / "_drop.json").write_text('{"kind": "append"}')
    database = duckdb.connect()
    columns = {column["Name"].upper(): TYPES[column["Type"]] for column in table().columns}
    database.execute("CREATE SCHEMA shop")
    database.execute(
        f"CREATE VIEW shop.events AS SELECT *, regexp_extract(filename, 'live-([0-9-]+)', 1) AS day FROM "
        f"read_json('{folder}/live-*/*.jsonl.gz', format='newline_delimited', columns={columns}, filename=true)"
    )
    yield lambda query: database.execute(query).fetchall(), count
    database.close()


def _event(request: str, draws: random.Random, count: Count) -> bytes:
    person, kind = f"u{draws.randrange(50)}", draws.choice([*DEFAULT.by_name, "Click", "search"])
    answered = Answered(
        run_id=draws.choice(RUNS), source="personalized", request=request, placement=draws.choice(["", "home", "cart"])
    )
    named = answered.to_text(KEY) if draws.random() < 0.9 else None
    event = Event(
        index=0,
        event_id=f"{request} {kind}",
        event_type=kind,
        item_id=f"i{draws.randrange(20)}",
        at=1_796_000_000_000,
        value=round(draws.uniform(0, 100), 2) if draws.random() < 0.5 else None,
        recommendation_id=named,
        shown=draws.choice([0, 0, 10]),
    )
    item = records.to_item(event, f"U#{person}", answered if named else None, DEFAULT, 14)
    if named and "window" in item:
        count.add(f"U#{person}", event.item_id, kind, named, event.value)
    whole = EventsRequest(user_id=person, session_id=None, events=(event,), refused=())
    return records.to_lines(whole, [answered if named else None], 1_796_000_001_000)


def test_clicks_by_model_and_day_are_those_of_the_ledger(shop: Any) -> None:
    query, count = shop
    rows = query(QUERIES[0])
    assert [row[0] for row in rows] == sorted(row[0] for row in rows) and {row[0] for row in rows} == set(DAYS)
    found: dict[str, Counts] = {}
    for _, run_id, impressions, clicks in rows:
        found[run_id] = found.get(run_id, Counts()) + Counts(impressions, clicks)
    assert found == {
        name: Counts(counts.impressions, counts.clicks)
        for name, counts in total([count.window()], lambda answers: answers.run_id).items()
    }


def test_clicks_by_placement_are_those_of_the_ledger(shop: Any) -> None:
    query, count = shop
    assert {name: Counts(impressions, clicks) for name, impressions, clicks in query(QUERIES[1])} == {
        name: Counts(counts.impressions, counts.clicks)
        for name, counts in total([count.window()], lambda answers: answers.placement or "none").items()
    }


def test_value_by_model_is_that_of_the_ledger(shop: Any) -> None:
    query, count = shop
    assert {name: Counts(0, 0, number, round(value, 6)) for name, number, value in query(QUERIES[2])} == {
        name: Counts(0, 0, counts.purchases, counts.value)
        for name, counts in total([count.window()], lambda answers: answers.run_id).items()
    }
