"""Whole preparations: how rows are read, set aside, and told about."""

import json
from typing import Any

import pytest

from contracts import splits
from ncf import dataset_files
from tests.unit.emr.test_preprocess import LATER, valid

HEADER = "user_id,item_id,timestamp,event_type\n"


def shop(time: Any = 1_700_000_000, unit: int = 1) -> list[str]:
    """Six people buy five things each, one a minute."""
    return [
        f"u{user},i{(user + place) % 7},{(time + 60 * (5 * user + place)) * unit},buy"
        for user in range(6)
        for place in range(5)
    ]


def test_rows_of_other_event_types_are_not_judged_and_are_counted_by_type(prepare: Any) -> None:
    logins = [f"u{n % 6},,{1_700_000_000_000 + n},login" for n in range(27)]
    ended = prepare({"e.csv": HEADER + "\n".join([*shop(unit=1000), *logins, "u1,i1,,"])}, "--event-types", "buy,rent")
    assert ended.status == 0
    manifest = valid(ended.manifest, "manifest")
    assert manifest["counts"]["otherEvents"] == 28 and manifest["counts"]["quarantined"] == 0
    assert manifest["eventTypes"] == {"buy": 30, "login": 27, "(none)": 1}
    assert manifest["timeSpan"] == {"first": 1_700_000_000, "last": 1_700_001_740}
    assert ended.report["warnings"] == [
        "no row has the event type 'rent'; there are buy 30, login 27, (none) 1",
        "28 of 58 rows are left out: login 27, (none) 1",
        "the times are milliseconds since 1970",
    ]
    assert manifest["figures"] == {
        "largestUserShare": pytest.approx(1 / 6, 1e-4),
        "largestUserItemsPerHour": pytest.approx(5 / (1 + 4 / 60), 1e-4),
        "testAccountShare": 0.0,
        "distinctTimes": pytest.approx(30, abs=3),
        "duplicateShare": 0.0,
        "earlyShare": 0.0,
        "notPositiveWeightShare": 0.0,
        "notLikedShare": 0.0,
    }


def test_missing_ids_and_late_times_are_set_aside_and_fractions_are_whole_numbers(prepare: Any) -> None:
    rows = [row.replace("u", "1738", 1).replace(",i", ".0,i", 1) for row in shop()]
    bad = ["NA,i1,1700000000,buy", "nan,i2,1700000000,buy", "17380.0,i3,2096-01-01,buy", "1,NULL,1700000000,buy"]
    ended = prepare({"e.csv": HEADER + "\n".join(rows + bad)}, "--maximum-bad-share", "0.2")
    assert ended.status == 0
    assert [row["user_id"] for row in ended.rows("users")] == [f"1738{user}" for user in range(6)]
    assert ended.report["rows"] == {"item_id_missing": 1, "timestamp_after_the_drop": 1, "user_id_missing": 2}
    assert ended.report["warnings"] == [
        "2 of 34 rows have no user, as of guests, and are left out",
        "the ids of users are numbers with a fraction of 0; 17385.0 is read as 17385",
    ]


def test_interactions_without_times_are_drawn(prepare: Any) -> None:
    rows = [",".join(row.split(",")[:2]) for row in shop()]
    ended = prepare({"e.csv": "user_id,item_id\n" + "\n".join(rows)}, "--timestamp-column", "none")
    assert ended.status == 0
    manifest = valid(ended.manifest, "manifest")
    assert (manifest["parameters"]["timestampColumn"], manifest["timeSpan"]) == (None, {"first": 0, "last": 0})
    names = [row["item_id"] for row in ended.rows("items")]
    chosen = {row["user_index"]: names[row["item_index"]] for row in ended.rows("test")}
    for user in range(6):
        items = [f"i{(user + place) % 7}" for place in range(5)]
        assert chosen[user] == max(items, key=lambda item: splits.draw(splits.SEED, f"u{user}", item))
    assert [warning.partition(":")[0] for warning in ended.report["warnings"]] == ["the interactions have no times"]
    assert dataset_files.load(ended.dataset).users == 6


def test_a_warning_may_refuse_the_data(prepare: Any) -> None:
    rows = [row.replace("buy", "refund") for row in shop()]
    ended = prepare({"e.csv": HEADER + "\n".join(rows)}, "--refuse-warnings", "opposite-event-types")
    assert ended.status == 2
    assert ended.last_line == (
        "REFUSED: 30 of 30 interactions seem to mean the opposite of liking (refund 30), and count as liked: leave "
        "them out with --event-types (eventTypes), or give them a weight below 0 with --event-weights (eventWeights) "
        "(opposite-event-types is in --refuse-warnings)"
    )
    assert valid(ended.report, "quarantine")["warnings"] and not ended.dataset.exists()


def test_figures_are_compared_with_those_of_the_parent(prepare: Any) -> None:
    before = prepare({"e.csv": HEADER + "\n".join(shop())})
    again = prepare({"e.csv": HEADER + "\n".join(shop() * 2)}, "--parent-version", before.dataset.name, version=LATER)
    assert again.report["warnings"] == ["50% of the interactions repeat a user and an item; 0% in the parent version"]


def test_a_refused_drop_has_a_sample_of_its_bad_rows_and_exact_counts(prepare: Any) -> None:
    rows = [f"u{n},i{n},soon {n}" for n in range(12_000)]
    ended = prepare({"e.csv": "user_id,item_id,timestamp\n" + "\n".join([*rows, ",i1,1700000000"])})
    assert ended.status == 2
    assert "times such as 'soon " in ended.last_line
    assert ended.report["rows"] == {"timestamp_unparsable": 12_000, "user_id_missing": 1}
    (file,) = (ended.quarantine / "rows").iterdir()
    kept = [json.loads(line)["reason"] for line in file.read_text().splitlines()]
    assert kept.count("user_id_missing") == 1
    assert 9_000 < kept.count("timestamp_unparsable") <= 10_000
    assert ended.report["warnings"] == [
        "of the rows that are left out the quarantine has a sample of about 9,500 each: timestamp_unparsable 12,000"
    ]
