"""Events are stored twice, each event once, and a session that logs in becomes part of its user."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from contracts import recent_events
from contracts.recommendation_ids import Answered
from tests.unit.functions.cloud import ARTIFACTS, STACK, Cloud
from tests.unit.functions.eventing import ANSWERED, NOW_MS, OURS, events, lines, one, post, request, stored

__all__ = ["events"]  # a fixture


def of(pk: str) -> list[dict[str, Any]]:
    """The stored events of a person or session."""
    return sorted((item for item in stored() if item["pk"] == pk and "item" in item), key=lambda item: item["at"])


def test_what_says_nothing_of_a_person_takes_no_place_among_their_newest_events(events: ModuleType) -> None:
    post(events, request(one(), one(eventId="e2", eventType="impression", recommendationId=OURS), session="s1"))
    kept = {item["sk"]: "at" in item for item in stored() if "item" in item}
    assert kept == {recent_events.event_key("e1"): True, recent_events.event_key("e2"): False}
    (counted,) = (item for item in stored() if "window" in item)
    assert counted["sk"] == recent_events.event_key("e2")


def test_an_event_is_an_item_for_the_next_answer_and_a_line_for_the_next_training(
    events: ModuleType, cloud: Cloud
) -> None:
    placed = Answered(run_id="r9", source="session", request="q", placement="home", trial="t1", variant="Other")
    rid, at = placed.to_text(STACK), NOW_MS - 60_000
    event = one(eventType="click", eventValue=12.5, recommendationId=rid, impression=["7", "8"])
    assert post(events, request(event, session="s1")) == (
        200,
        {"accepted": [{"index": 0, "eventId": "e1"}], "refused": []},
    )
    (item,) = of("U#42")
    assert item == {
        "pk": "U#42",
        "sk": recent_events.event_key("e1"),
        "at": at,
        "item": "7",
        "type": "click",
        "value": 12.5,
        "rid": rid,
        "shown": 2,
        "window": recent_events.window_of(at, "U#42"),
        "expiresAt": at // 1000 + 14 * 86400,
    }
    assert lines(cloud) == [
        {
            "USER_ID": "42",
            "ITEM_ID": "7",
            "EVENT_TYPE": "click",
            "TIMESTAMP": at,
            "EVENT_VALUE": 12.5,
            "EVENT_ID": "e1",
            "SESSION_ID": "s1",
            "SHOWN": 2,
            "RECOMMENDATION_ID": rid,
            "RUN_ID": "r9",
            "PLACEMENT": "home",
            "TRIAL": "t1",
            "VARIANT": "Other",
            "RECEIVED_AT": NOW_MS,
        }
    ]


def test_a_session_without_a_user_is_a_person_of_its_own(events: ModuleType, cloud: Cloud) -> None:
    assert post(events, request(one(), user=None, session="s1"))[0] == 200
    assert [item["pk"] for item in stored()] == ["S#s1"]
    assert [(line["USER_ID"], line["SESSION_ID"]) for line in lines(cloud)] == [("session:s1", "s1")]


def test_the_same_event_again_is_the_same_item(events: ModuleType, cloud: Cloud) -> None:
    event = request(one(eventId=None), one(eventId="e2"))
    first, second = post(events, event), post(events, event)
    assert first == second
    assert len({entry["eventId"] for entry in first[1]["accepted"]}) == 2
    assert len(stored()) == 2
    assert len(lines(cloud)) == 4  # the preparation takes an event once


def test_an_id_without_eventid_tells_people_types_items_and_times_apart(events: ModuleType, cloud: Cloud) -> None:
    listed = [one(eventId=None), one(eventId=None, itemId="8"), one(eventId=None, eventType="cart")]
    listed += [one(eventId=None, sentAt=NOW_MS / 1000 - 59.999)]
    for user in ("42", "43"):
        post(events, request(*listed, user=user))
    assert len({line["EVENT_ID"] for line in lines(cloud)}) == 8


def test_of_two_events_with_one_id_in_a_list_the_last_counts(events: ModuleType, cloud: Cloud) -> None:
    status, body = post(events, request(one(itemId="7"), one(itemId="8")))
    assert (status, [entry["index"] for entry in body["accepted"]]) == (200, [0, 1])
    assert [item["item"] for item in stored()] == ["8"]
    assert [line["ITEM_ID"] for line in lines(cloud)] == ["8"]


@pytest.mark.parametrize(
    ("event", "has_window"),
    [
        (one(eventType="Click", recommendationId=OURS), True),
        (one(eventType="purchase", recommendationId=OURS), True),
        (one(eventType="browse", recommendationId=OURS), False),
        (one(eventType="browse", recommendationId=OURS, impression=["1"]), True),
        (one(eventType="click"), False),
    ],
)
def test_what_a_recommendation_earned_is_found_by_its_window(
    events: ModuleType, event: dict[str, Any], has_window: bool
) -> None:
    post(events, request(event))
    (item,) = stored()
    assert ("window" in item) is has_window


def test_the_shop_says_which_types_are_outcomes(events: ModuleType, cloud: Cloud) -> None:
    types = {"schemaVersion": "1.0", "types": {"wish": {"outcome": "click"}}}
    cloud.write(ARTIFACTS, "serving/event_types.json", types)
    listed = [one(eventType=name, eventId=name, recommendationId=OURS) for name in ("wish", "click")]
    post(events, request(*listed))
    assert {item["type"]: "window" in item for item in stored()} == {"wish": True, "click": False}


def test_a_list_that_was_shown_needs_no_item(events: ModuleType) -> None:
    shown = one(eventType="impression", itemId=None, impression=["9", "8"], recommendationId=OURS)
    chosen = one(eventId="e2", itemId=None, impression=["9"])
    status, body = post(events, request(shown, chosen))
    assert status == 200
    assert [item["item"] for item in stored()] == ["9"]
    assert [entry["message"] for entry in body["refused"]] == ["itemId is missing"]


@pytest.mark.parametrize("other", ["x", "é", ANSWERED.to_text("another stack"), OURS[:-1], OURS + "A"])
def test_the_recommendation_of_another_shop_earns_nothing_here(events: ModuleType, cloud: Cloud, other: str) -> None:
    status, body = post(events, request(one(eventType="click", recommendationId=other)))
    assert status == 200
    assert body["accepted"] == [{"index": 0, "eventId": "e1", "note": events.NOT_OURS}]
    assert not {"rid", "window"} & stored()[0].keys()
    assert not {"RECOMMENDATION_ID", "RUN_ID"} & lines(cloud)[0].keys()


def test_a_session_that_logs_in_becomes_part_of_its_user(events: ModuleType) -> None:
    click = one(eventId="a", eventType="click", itemId="1", recommendationId=OURS, sentAt=NOW_MS / 1000 - 300)
    post(events, request(click, one(eventId="b", itemId="2"), user=None, session="s1"))
    post(events, request(one(eventId="c", itemId="3", sentAt=NOW_MS / 1000), session="s1"))
    assert [item["item"] for item in of("U#42")] == ["1", "2", "3"]
    assert of("S#s1") == []
    assert of("U#42")[0]["window"] == recent_events.window_of(NOW_MS - 300_000, "U#42")
    links = {item["pk"]: item for item in stored() if "item" not in item}
    assert (links["S#s1"]["sk"], links["S#s1"]["user"]) == (recent_events.USER, "42")
    assert (links["U#42"]["sk"], links["U#42"]["session"]) == ("session#s1", "s1")


def test_the_newest_of_a_session_names_its_user_to_whom_later_events_belong(events: ModuleType, cloud: Cloud) -> None:
    post(events, request(one(), session="s1"))
    post(events, request(one(eventId="late", itemId="8"), user=None, session="s1"))
    assert [item["user"] for item in events.TABLE.newest("S#s1", 9)] == [{"S": "42"}]
    assert {item["item"] for item in of("U#42")} == {"7", "8"}
    assert {(line["USER_ID"], line["SESSION_ID"]) for line in lines(cloud)} == {("42", "s1")}


def test_what_a_session_did_before_another_user_came_stays_the_first_ones(events: ModuleType) -> None:
    for number, user in enumerate([None, "first", None, "second", None], start=1):
        event = one(eventId=f"{number}", itemId=f"{number}", sentAt=NOW_MS / 1000 - 100 + number)
        post(events, request(event, user=user, session="s1"))
    assert [item["item"] for item in of("U#first")] == ["1", "2", "3"]
    assert [item["item"] for item in of("U#second")] == ["4", "5"]
    assert [item["user"] for item in events.TABLE.newest("S#s1", 9)] == [{"S": "second"}]


def test_of_a_long_session_the_newest_hundred_are_moved_once(events: ModuleType) -> None:
    for start in range(0, 150, 25):
        listed = [one(eventId=f"{n}", sentAt=NOW_MS / 1000 - 1000 + n) for n in range(start, start + 25)]
        post(events, request(*listed, user=None, session="s1"))
    for number in range(2):
        post(events, request(one(eventId=f"last {number}"), session="s1"))
        assert (len(of("U#42")), len(of("S#s1"))) == (101 + number, 50)
