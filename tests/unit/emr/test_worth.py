"""The worth of events: by type, value and age; and of a pair."""

import math
from typing import Any

import pytest

import worth
from ncf import dataset_files
from worth import Worth

EVENTS = "event_type string, weight float, timestamp bigint"
DAY = 86_400
NOW = 1_700_000_000
WEIGHTS = {"purchase": 5.0, "cart": 3.0, "view": 1.0, "refund": -5.0}
DROP = "user_id,item_id,timestamp,event_type,quantity\n"


def of(frame: Any, settings: Worth, *events: Any) -> Any:
    return [row[0] for row in frame(EVENTS, *events).select(worth.of_event(settings, NOW)).collect()]


def test_without_settings_each_event_is_worth_1(frame: Any) -> None:
    assert of(frame, Worth(), ("refund", -3.0, 5), (None, 0.0, NOW)) == [1.0, 1.0]
    assert not Worth().can_be_nothing


def test_an_event_is_worth_the_weight_of_its_type_and_others_1(frame: Any) -> None:
    events = [(kind, 9.0, NOW) for kind in ("purchase", "cart", "view", "refund", "wish", None)]
    assert of(frame, Worth(WEIGHTS), *events) == [5.0, 3.0, 1.0, -5.0, 1.0, 1.0]


def test_a_value_below_the_least_counts_nothing_and_values_may_multiply(frame: Any) -> None:
    ratings = [(None, value, NOW) for value in (5.0, 3.0, 2.5, 0.0)]
    assert of(frame, Worth(least_value=3.0), *ratings) == [1.0, 1.0, 0.0, 0.0]
    quantities = [("purchase", value, NOW) for value in (12.0, 0.0, -2.0)]
    assert of(frame, Worth(WEIGHTS, multiplies=True), *quantities) == [60.0, 0.0, -10.0]


def test_with_each_half_life_an_event_is_worth_half_and_never_nothing(frame: Any) -> None:
    aged = [("purchase", 1.0, NOW - days * DAY) for days in (0, 30, 60, 30_000)] + [("purchase", 1.0, NOW + DAY)]
    found = of(frame, Worth(WEIGHTS, half_life_days=30), *aged)
    assert found[:3] == [5.0, 2.5, 1.25] and found[4] == 5.0
    assert 0 < found[3] < 1e-29


def test_values_beyond_a_float_stay_finite(frame: Any) -> None:
    found = of(frame, Worth(WEIGHTS, multiplies=True), ("purchase", 3e38, NOW), ("purchase", -3e38, NOW))
    assert all(math.isfinite(value) for value in found) and found[0] == -found[1] > 0


def test_three_tenths_less_three_times_a_tenth_is_not_liked(frame: Any) -> None:
    from pyspark.sql import functions as F

    rows = frame("worth float, is_bought boolean", (0.1, True), (0.1, True), (0.1, True), (-0.3, False))
    row = rows.agg(*worth.of_pair()).select("*", worth.is_liked(F.col("worth"), F.col("gained"))).first()
    assert row is not None
    assert (row["events"], row["is_bought"], row[-1]) == (3, True, False)


def shop() -> list[str]:
    """Five people, of whom each views and buys three of four items; u0 sends i0 back, u1 only views i1."""
    rows = []
    for user in range(5):
        for place in range(3):
            item, time = (user + place) % 4, NOW - (30 - 10 * place) * DAY + user
            rows.append(f"u{user},i{item},{time - DAY},view,1")
            if (user, item) != (1, 1):
                rows.append(f"u{user},i{item},{time},purchase,2")
    return [*rows, f"u0,i0,{NOW},refund,2"]


def trained(ended: Any) -> dict[tuple[str, str], tuple[int, float, bool]]:
    users = [row["user_id"] for row in ended.rows("users")]
    items = [row["item_id"] for row in ended.rows("items")]
    return {
        (users[row["user_index"]], items[row["item_index"]]): (row["events"], row["worth"], row["is_bought"])
        for row in ended.rows("train")
    }


def test_a_preparation_counts_weighs_and_leaves_out_what_came_back(prepare: Any) -> None:
    options = ("--event-weights", '{"purchase": 5, "view": 1, "refund": -7}', "--bought-types", "purchase")
    ended = prepare({"e.csv": DROP + "\n".join(shop())}, *options)
    assert ended.status == 0, ended.last_line
    found = trained(ended)
    assert ("u0", "i0") not in found
    assert found["u1", "i1"] == (1, 1.0, False)
    assert {value for pair, value in found.items() if pair != ("u1", "i1")} == {(2, 6.0, True)}
    counts = ended.manifest["counts"]
    assert (counts["notLiked"], counts["interactions"], counts["duplicates"]) == (1, 14, 15)
    assert ended.manifest["parameters"]["eventWeights"] == {"purchase": 5.0, "refund": -7.0, "view": 1.0}
    assert not [warning for warning in ended.report["warnings"] if "opposite" in warning or "worth nothing" in warning]
    loaded = dataset_files.load(ended.dataset)
    assert (int(loaded.events.max()), float(loaded.worth.min()), int((~loaded.is_bought).sum())) == (2, 1.0, 1)


def test_nothing_of_the_test_is_in_the_worth_of_train(prepare: Any) -> None:
    """By leave-last-out too, an event has its full worth at the latest time in train, which is none of the test."""
    options = (
        "--event-weights",
        "purchase=5,view=1,refund=-7",
        "--half-life-days",
        "10",
        "--minimum-user-interactions",
        "1",
    )
    rows = ["a,i,0", "a,j,10", "a,k,500", "b,j,5", "b,k,7", "b,i,600"]
    drop = DROP.replace(",quantity", "") + "".join(
        f"{user},{item},{NOW + int(day) * DAY},purchase\n" for user, item, day in (row.split(",") for row in rows)
    )
    drop += f"c,i,{NOW},view\nc,k,{NOW},purchase\nc,k,{NOW + DAY},refund\n"
    ended = prepare({"e.csv": drop}, *options)
    assert ended.status == 0, ended.last_line
    found = trained(ended)
    assert found["a", "j"] == (1, 5.0, True)
    assert found["a", "i"] == (1, 2.5, True)
    assert found["b", "j"][1] == pytest.approx(5 * 2**-0.5)
    assert ended.manifest["counts"]["notLiked"] == 1


def test_types_that_no_row_has_refuse_the_drop_with_the_remedy(prepare: Any) -> None:
    ended = prepare({"e.csv": DROP + "\n".join(shop())}, "--event-weights", "purchse=5")
    assert ended.status == 2
    assert ended.last_line == (
        "REFUSED: eventWeights has the event type 'purchse', which no row has; there are view 15, purchase 14, "
        "refund 1; correct --event-weights (eventWeights), or leave it out there"
    )
