"""Lists in place of a ranking: popular items of now before the model's, if they are fresh and enough."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommend.garbled import GarbledAnswer
from recommend.list_filter import ListFilter
from recommend.popular_now import NOTHING, PopularNow, StandIn, joined
from recommend.ranking import Ranking
from recommend.stored_lists import Popularity
from shared.rules import Rules

NOW = 1_795_694_400
MODEL = Popularity(
    (("9", 3000.0), ("7", 2000.0), ("8", 1000.0)), "run-1", {"9": ("Drama",)}, fields={"9": {"title": "Nine"}}
)


def document(**changed: Any) -> dict[str, Any]:
    day = {
        "events": 1000,
        "itemList": [["7", 60], ["6", 20]],
        "byCategory": {"Drama": [["6", 20]], "Comedy": [["7", 60]]},
    }
    return {
        "schemaVersion": "1.0",
        "until": NOW,
        "popular": {"24h": day, "7d": {**day, "events": 5000, "itemList": [["6", 300]]}, "30d": {"events": 0}},
        "trending": {"events": 1000, "itemList": [["5", 4.0]], "byCategory": {"Drama": []}},
        "items": {
            "5": {},
            "6": {"categories": ["Drama"], "fields": {"title": "Six"}},
            "7": {"categories": ["Comedy"]},
        },
    } | changed


def read(**changed: Any) -> PopularNow:
    return PopularNow.from_json(json.dumps(document(**changed)).encode())


def top(
    kind: str = "popular", at: float = NOW, shortest: str = "24h", number: int = 10,
    now: PopularNow | None = None, **filters: Any,
) -> Ranking:  # fmt: skip
    return StandIn.at(at, MODEL, now or read(), kind, shortest).top(number, ListFilter(**filters))


def test_popular_items_of_now_come_first_and_the_models_follow() -> None:
    found = top()
    assert [item for item, _ in found.items] == ["7", "6", "9", "8"]
    assert [score for _, score in found.items] == pytest.approx([60, 20, 20, 20 / 3])
    assert (found.source, found.window, found.model_version) == ("popular", "24h", "run-1")
    assert found.fields["6"] == {"title": "Six"} and found.fields["9"] == {"title": "Nine"}


@pytest.mark.parametrize(
    ("at", "shortest", "window"),
    [
        (NOW, "24h", "24h"), (NOW, "7d", "7d"), (NOW, "30d", ""), (NOW + 6 * 3600, "24h", "24h"),
        (NOW + 6 * 3600 + 1, "24h", ""), (NOW - 60, "24h", "24h"), (NOW - 7 * 3600, "24h", ""),
    ],
)  # fmt: skip
def test_the_shortest_window_with_enough_events_is_used_while_it_is_fresh(
    at: float, shortest: str, window: str
) -> None:
    found = top(at=at, shortest=shortest)
    assert found.window == (window or None)
    if not window:
        assert found == MODEL.top(10, ListFilter())


def test_a_window_with_too_few_events_gives_way_to_a_longer_one() -> None:
    few = document()["popular"]
    few["24h"]["events"] = 999
    assert top(now=read(popular=few)).window == "7d"
    few["7d"]["events"] = 999
    assert top(now=read(popular=few)).window is None
    assert top(now=NOTHING).window is None


def test_trending_items_come_first_and_popular_ones_fill_the_list() -> None:
    found = top("trending")
    assert [item for item, _ in found.items] == ["5", "7", "6", "9", "8"]
    assert (found.source, found.window) == ("trending", "24h")
    nothing = top("trending", without=frozenset({"5"}))
    assert (nothing.source, [item for item, _ in nothing.items]) == ("popular", ["7", "6", "9", "8"])


@pytest.mark.parametrize(
    ("filters", "items"),
    [
        ({"categories": ("Drama",)}, ["6", "9"]),
        ({"categories": ("Comedy", "Drama")}, ["7", "6", "9"]),
        ({"categories": ("unknown",)}, []),
        ({"rules": Rules(deny=("7",))}, ["6", "9", "8"]),
        ({"rules": Rules(boosts={"6": 9.0})}, ["6", "7", "9", "8"]),
        ({"rules": Rules(category_caps={"Drama": 1})}, ["7", "6", "8"]),
        ({"withdrawn": frozenset({"7", "9"})}, ["6", "8"]),
    ],
)
def test_every_filter_holds(filters: dict[str, Any], items: list[str]) -> None:
    assert [item for item, _ in top(**filters).items] == items


def test_candidates_are_ranked_by_what_is_popular_now() -> None:
    stand_in = StandIn.at(NOW, MODEL, read(), "trending", "24h")
    assert [item for item, _ in stand_in.rank(["8", "x", "6"]).items] == ["6", "8", "x"]
    assert StandIn.at(NOW, MODEL, NOTHING, "popular", "24h").rank(["8", "7"]) == MODEL.rank(["8", "7"])


CHANGED: list[dict[str, Any]] = [{"until": "now"}, {"until": None}, {"popular": []}, {"trending": 7}, {"items": None}]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"schemaVersion": "2.0"}', *(json.dumps(document(**one)).encode() for one in CHANGED)],
)
def test_a_document_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(GarbledAnswer):
        PopularNow.from_json(content)


@pytest.mark.parametrize(
    "day",
    [
        {}, {"itemList": 7}, {"itemList": [["7", "60"]]}, {"itemList": [["7", 1], ["7", 1]]},
        {"itemList": [["7", 1], ["6", 2]]}, {"itemList": [[7, 1]]}, {"itemList": [["7", float("nan")]]},
        {"itemList": [[str(item), 1] for item in range(101)]},
    ],
)  # fmt: skip
def test_a_list_that_is_none_is_refused_when_it_is_used(day: dict[str, Any]) -> None:
    with pytest.raises(GarbledAnswer):
        top(now=read(popular={"24h": {"events": 1000, **day}}))
    with pytest.raises(GarbledAnswer):
        top(now=read(popular={"24h": {"events": 1000, **day}}), categories=("Drama",))


@pytest.mark.parametrize("entry", [None, 7, {"categories": 7}, {"categories": [7]}, {"fields": 7}])
def test_an_item_that_cannot_be_read_stays_in_the_list(entry: Any) -> None:
    found = top(now=read(items={"7": entry}))
    assert found.items[0] == ("7", 60.0) and "7" not in found.fields


@given(st.lists(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 1e6))), max_size=4))
def test_joined_lists_hold_each_item_once_in_order(parts: list[list[tuple[str, float]]]) -> None:
    sorted_parts = [sorted(dict(part).items(), key=lambda pair: -pair[1]) for part in parts]
    found = joined(sorted_parts)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert {item for item, _ in found} == {item for part in parts for item, _ in part}
