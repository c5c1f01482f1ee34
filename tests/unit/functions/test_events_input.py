"""Every bad input to POST /events has its documented outcome: what is good in the same list is kept."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest

from tests.unit.functions.cloud import NOW, Cloud
from tests.unit.functions.eventing import NOW_MS, events, lines, one, post, raw, request, stored

__all__ = ["events"]  # a fixture

GOOD = {"eventId": "good", "eventType": "view", "itemId": "1", "sentAt": NOW}
DAY = 86400
ODD_TIMES: list[Any] = ["", "1795651200", "٢٠٢٦-١١-٢٦", True, [], {}, 1e300]
ODD = "a/b?c#d%2F&é 😀\"'\\<>|`$"


def refusal(app: ModuleType, event: Any) -> dict[str, Any]:
    """The refusal of an event beside a good one, which is kept."""
    status, body = post(app, request(event, GOOD))
    assert (status, [entry["index"] for entry in body["accepted"]]) == (200, [1])
    (item,) = stored()
    assert item["item"] == "1"
    refused: dict[str, Any] = body["refused"][0]
    assert len(body["refused"]) == 1
    assert (refused["index"], refused["code"]) == (0, "InvalidInput")
    return refused


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"sentAt": None}, "sentAt", "sentAt is missing"),
        ({"sentAt": NOW + 601}, "sentAt",
         "sentAt is 601 s ahead of now, more than 600 s; a number is in seconds since 1970"),
        ({"sentAt": NOW_MS}, "sentAt",
         "sentAt is 1793855548800 s ahead of now, more than 600 s; a number is in seconds since 1970"),
        ({"sentAt": NOW - 14 * DAY - 3600}, "sentAt",
         "sentAt is 14.0 days ago, more than 14; bring older events in a drop"),
        ({"sentAt": 0}, "sentAt", "sentAt is 20783.0 days ago, more than 14; bring older events in a drop"),
        ({"sentAt": -1e14}, "sentAt", None),
        ({"sentAt": "0001-01-01T00:00:00+14:00"}, "sentAt", None),
        ({"sentAt": "9999-12-31T23:59:59-14:00"}, "sentAt", None),
        ({"sentAt": "yesterday"}, "sentAt",
         "sentAt must be seconds since 1970, or a time as 2026-11-29T10:15:30.250Z"),
        *[({"sentAt": odd}, "sentAt", None) for odd in ODD_TIMES],
        ({"itemId": None}, "itemId", "itemId is missing"),
        ({"itemId": 7}, "itemId", "itemId must be a string, not a number"),
        ({"itemId": "  "}, "itemId", "itemId must have 1 to 256 characters, not 0"),
        ({"itemId": "x" * 257}, "itemId", "itemId must have 1 to 256 characters, not 257"),
        ({"itemId": "null"}, "itemId", "itemId is 'null', which stands for a missing value"),
        ({"itemId": "a\nb"}, "itemId", "itemId must have no control character and no line break"),
        ({"itemId": "a\N{REPLACEMENT CHARACTER}"}, "itemId",
         "itemId must not have the character U+FFFD, which stands for bytes that are not UTF-8"),
        ({"itemId": "a\ud800"}, "itemId", "itemId is not valid Unicode: it has half of a surrogate pair"),
        ({"eventType": None}, "eventType", "eventType is missing"),
        ({"eventType": ""}, "eventType", "eventType must have 1 to 256 characters, not 0"),
        ({"eventId": "\udfff"}, "eventId", "eventId must be a string of 1 to 256 characters of valid Unicode"),
        ({"eventId": ""}, "eventId", "eventId must be a string of 1 to 256 characters of valid Unicode"),
        ({"eventId": "x" * 257}, "eventId", "eventId must be a string of 1 to 256 characters of valid Unicode"),
        ({"eventId": 7}, "eventId", "eventId must be a string of 1 to 256 characters of valid Unicode"),
        *[({"eventValue": value}, "eventValue", "eventValue must be a number from -1000000000000 to 1000000000000")
          for value in (float("nan"), float("inf"), 1e13, "3", True)],
        ({"recommendationId": ""}, "recommendationId", "recommendationId must be a string of 1 to 512 characters"),
        ({"recommendationId": "x" * 513}, "recommendationId", None),
        ({"recommendationId": 7}, "recommendationId", None),
        ({"impression": []}, "impression", "impression must hold 1 to 1000 item ids, not 0"),
        ({"impression": [str(n) for n in range(10_000)]}, "impression",
         "impression must hold 1 to 1000 item ids, not 10000"),
        ({"impression": "7"}, "impression", "impression must be a list of item ids, not a string"),
        ({"impression": ["7", ""]}, "impression", "impression[1] must have 1 to 256 characters, not 0"),
        ({"impression": ["7", 8]}, "impression", "impression[1] must be a string, not a number"),
        ({"eventtype": "view"}, "eventtype", None),
    ],
    ids=lambda value: ascii(value)[:40],
)  # fmt: skip
def test_an_event_that_cannot_be_used_is_named_and_the_others_are_kept(
    events: ModuleType, fields: dict[str, Any], field: str, message: str | None
) -> None:
    refused = refusal(events, one(**fields))
    assert refused["field"] == field
    assert message in (None, refused["message"])
    json.dumps(refused, ensure_ascii=False).encode()  # no half of a surrogate pair is sent back


@pytest.mark.parametrize("event", [None, 7, "view", []])
def test_what_is_no_event_is_refused(events: ModuleType, event: Any) -> None:
    assert refusal(events, event)["message"].startswith("an event must be an object, not ")


@pytest.mark.parametrize(
    ("sent_at", "at"),
    [
        (NOW - 1.25, NOW_MS - 1250),
        (NOW + 600, NOW_MS),  # a clock that is a little ahead
        (NOW - 14 * DAY, NOW_MS - 14 * DAY * 1000),
        ("2026-11-26T00:00:00Z", NOW_MS),
        ("2026-11-25T23:59:58.250+00:00", NOW_MS - 1750),
        ("2026-11-26T01:00:00+02:00", NOW_MS - 3_600_000),
        ("2026-11-25T23:00:00", NOW_MS - 3_600_000),
        ("2026-11-26", NOW_MS),
    ],
)
def test_times_are_seconds_or_iso_8601(events: ModuleType, sent_at: Any, at: int) -> None:
    assert post(events, request(one(sentAt=sent_at)))[0] == 200
    assert [item["at"] for item in stored()] == [at]


def test_an_event_from_a_clock_ahead_that_is_sent_again_later_is_the_same(
    events: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = request(one(eventId=None, sentAt=NOW + 300))
    first = post(events, event)
    monkeypatch.setattr(events.time, "time", lambda: NOW + 20)
    assert post(events, event) == first
    assert len(stored()) == 1


@pytest.mark.parametrize("name", [ODD, "😀" * 256, "x" * 256, "session:s1", "0"])
def test_ids_with_odd_characters_are_ids(events: ModuleType, cloud: Cloud, name: str) -> None:
    event = one(eventId=name, itemId=name, eventType=name)
    assert post(events, request(event, user=name))[0] == 200
    (item,) = stored()
    assert (item["pk"], item["item"], item["type"]) == (f"U#{name}", name, name)
    (line,) = lines(cloud)
    assert (line["USER_ID"], line["ITEM_ID"], line["EVENT_ID"]) == (name, name, name)


def test_outer_spaces_are_cut_as_the_preparation_cuts_them(events: ModuleType, cloud: Cloud) -> None:
    post(events, request(one(itemId=" 7 "), user=" 42 "))
    assert [(item["pk"], item["item"]) for item in stored()] == [("U#42", "7")]
    assert [(line["USER_ID"], line["ITEM_ID"]) for line in lines(cloud)] == [("42", "7")]


def test_types_and_items_that_nobody_knows_are_accepted(events: ModuleType) -> None:
    assert post(events, request(one(eventType="never heard of", itemId="no such item")))[0] == 200
    assert len(stored()) == 1


def test_the_longest_session_id_is_a_persons_id_of_the_preparation(events: ModuleType, cloud: Cloud) -> None:
    assert post(events, request(one(), user=None, session="s" * 248))[0] == 200
    assert [len(line["USER_ID"]) for line in lines(cloud)] == [256]
    status, body = post(events, request(one(), user=None, session="s" * 249))
    assert (status, body["error"]["field"]) == (400, "sessionId")


@pytest.mark.parametrize(
    ("event", "status", "field", "message"),
    [
        (request(one(), user=None), 400, "sessionId", "userId and sessionId are missing; one of them is needed"),
        (request(one(), user="null"), 400, "userId", "userId is 'null', which stands for a missing value"),
        (request(one(), user=7), 400, "userId", "userId must be a string, not a number"),
        (request(one(), user="\ud83d"), 400, "userId",
         "userId is not valid Unicode: it has half of a surrogate pair"),
        (request(), 400, "eventList", "eventList must hold 1 to 25 events, not 0"),
        (request(*[one()] * 26), 400, "eventList", "eventList must hold 1 to 25 events, not 26"),
        (raw('{"userId": "42"}'), 400, "eventList", "eventList is missing"),
        (raw('{"userId": "42", "eventList": {}}'), 400, "eventList",
         "eventList must be a list of events, not an object"),
        (request(one(), user="42", events=[]), 400, "events",
         '"events" is not a field; the fields are userId, sessionId, eventList, trackingId'),
        (raw('{"userId": "42", "userId": "43", "eventList": []}'), 400, "userId", '"userId" is given twice'),
        (raw('{"userId": "42", "eventList": [{"itemId": "1", "itemId": "2"}]}'), 400, "itemId",
         '"itemId" is given twice'),
        (raw(""), 400, None, "the body is empty; a JSON object is expected"),
        (raw("[]"), 400, None, "the body must be a JSON object, not a list"),
        (raw("[" * 200_000), 400, None, "the body is nested too deeply"),
        (request(one(), trackingId="x" * 1_000_000), 413, None, "the body is larger than 262144 bytes"),
        ({**request(one()), "headers": {}}, 415, None, "the content type must be application/json; it is missing"),
        (request(one(itemId=""), one(sentAt=0)), 400, "itemId",
         "none of the 2 events can be used; eventList[0]: itemId must have 1 to 256 characters, not 0"),
    ],
    ids=lambda value: ascii(value)[:40] if not isinstance(value, dict) else "",
)  # fmt: skip
def test_a_request_of_which_nothing_can_be_used_is_an_error_and_stores_nothing(
    events: ModuleType, cloud: Cloud, event: dict[str, Any], status: int, field: str | None, message: str
) -> None:
    found, body = post(events, event)
    assert (found, body["error"]["field"], body["error"]["message"]) == (status, field, message)
    assert (stored(), lines(cloud)) == ([], [])


def test_an_error_because_of_the_events_names_each_of_them(events: ModuleType) -> None:
    body = post(events, request(one(itemId=""), one(eventId="e2", sentAt=0)))[1]
    assert [(entry["index"], entry["eventId"], entry["field"]) for entry in body["refused"]] == [
        (0, "e1", "itemId"),
        (1, "e2", "sentAt"),
    ]


def test_numbers_beyond_a_double_are_refused_with_their_event_alone(events: ModuleType) -> None:
    written = json.dumps([GOOD, {**GOOD, "eventId": "e1", "eventValue": "X"}, {**GOOD, "eventId": "e2"}])
    for number in ("1e400", "-1e400", "NaN", "1" + "0" * 5000):
        status, body = post(events, raw(f'{{"userId": "42", "eventList": {written}}}'.replace('"X"', number)))
        assert (status, [entry["index"] for entry in body["refused"]]) == (200, [1])


@pytest.mark.parametrize("value", [1e12, -1e12, 1e-300, 0, -0.0, 0.1 + 0.2])
def test_values_that_the_table_can_hold_are_kept_to_six_decimals(events: ModuleType, cloud: Cloud, value: Any) -> None:
    assert post(events, request(one(eventValue=value)))[0] == 200
    assert float(stored()[0]["value"]) == pytest.approx(value, abs=5e-7)
    assert lines(cloud)[0]["EVENT_VALUE"] == value


def test_fields_of_personalize_that_mean_nothing_here_are_left_alone(events: ModuleType) -> None:
    event = one(properties='{"a": 1}', metricAttribution={"eventAttributionSource": "x"})
    assert post(events, request(event, trackingId="t"))[0] == 200


def test_no_line_of_the_log_has_an_id_of_a_person(events: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    post(events, request(one(), one(itemId=""), user="jane.doe", session="secret"))
    post(events, request(one(itemId=""), user="jane.doe"))
    printed = capsys.readouterr()
    assert "jane" not in printed.out + printed.err
    assert "secret" not in printed.out + printed.err
