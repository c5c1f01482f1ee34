"""A forgotten person's events leave the table, with those of their sessions, and no further one is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import EndpointConnectionError

from contracts.forgotten import Forgotten, digest
from shared.signed import Answer, NoAnswer
from tests.unit.functions.cloud import ARTIFACTS, CONTEXT, Cloud
from tests.unit.functions.eventing import events, lines, one, post, request, stored

__all__ = ["events"]  # a fixture

JANE = "jane.doe"
ASKED = {"userId": JANE, "reason": "asked for it"}


@pytest.fixture
def forget(events: ModuleType, load: Callable[..., ModuleType], cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The function forget, on the same stack; the sleep of its app is recorded."""
    cloud.s3.put_bucket_versioning(Bucket=ARTIFACTS, VersioningConfiguration={"Status": "Enabled"})
    app: Any = load("forget")
    slept: list[float] = []
    monkeypatch.setattr(app, "time", SimpleNamespace(sleep=slept.append))
    app.slept = slept
    return app


@pytest.fixture
def clock(events: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The clock by which the function reads its documents again."""
    clock = SimpleNamespace(now=0.0)
    for document in (events.PEOPLE, events.TYPES):
        monkeypatch.setattr(document, "_clock", lambda: clock.now)
    return clock


def test_the_events_of_a_person_and_of_their_sessions_leave_the_table(
    events: ModuleType, forget: ModuleType, cloud: Cloud, clock: Any
) -> None:
    post(events, request(one(eventId="a"), user=None, session="s1"))
    post(events, request(one(eventId="b"), user=JANE, session="s1"))
    post(events, request(*(one(eventId=f"{n}") for n in range(25)), user=JANE))
    post(events, request(one(eventId="c"), user="joe", session="s2"))
    answer = forget.handler(ASKED, CONTEXT)
    assert answer["events"] == 29  # 27 events, and the two items that link the session
    assert {item["pk"] for item in stored()} == {"U#joe", "S#s2"}
    assert forget.slept == [6.0]
    key = cloud.item("FORGOTTEN", "KEY")["key"]
    known = Forgotten.from_json(cloud.objects(ARTIFACTS)["serving/forgotten.json"])
    assert known.people == {digest(key, JANE), digest(key, "session:s1")}  # the preparation drops those rows too
    assert forget.handler(ASKED, CONTEXT) == {**answer, "isNew": False, "events": 0}


def test_events_of_a_forgotten_person_are_answered_as_all_and_stored_nowhere(
    events: ModuleType, forget: ModuleType, cloud: Cloud, clock: Any
) -> None:
    post(events, request(one(), user=JANE, session="s1"))
    before = len(lines(cloud))
    forget.handler(ASKED, CONTEXT)
    clock.now += 5
    for named in ({"user": JANE}, {"user": JANE, "session": "s9"}, {"user": None, "session": "s1"}):
        expected = {"accepted": [{"index": 0, "eventId": "e1"}], "refused": []}
        assert post(events, request(one(), **named)) == (200, expected)
    assert (stored(), len(lines(cloud))) == ([], before)
    assert post(events, request(one(), user="joe"))[0] == 200
    assert [item["pk"] for item in stored()] == ["U#joe"]


def test_a_session_of_a_forgotten_person_stores_nothing_before_it_is_forgotten_itself(
    events: ModuleType, cloud: Cloud, clock: Any
) -> None:
    post(events, request(one(), user=JANE, session="s1"))
    known = {"schemaVersion": "1.0", "key": "5a" * 32, "people": [digest("5a" * 32, JANE)]}
    cloud.write(ARTIFACTS, "serving/forgotten.json", known)
    clock.now += 5
    before = stored()
    assert post(events, request(one(eventId="e2"), user=None, session="s1"))[0] == 200
    assert stored() == before


@pytest.mark.parametrize(
    "broken", ["{", 403, '{"people": []}', 503, NoAnswer(EndpointConnectionError(endpoint_url="s3"))]
)
def test_tombstones_that_cannot_be_read_leave_those_that_were(
    events: ModuleType,
    cloud: Cloud,
    clock: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    broken: Any,
) -> None:
    known = {"schemaVersion": "1.0", "key": "5a" * 32, "people": [digest("5a" * 32, JANE)]}
    cloud.write(ARTIFACTS, "serving/forgotten.json", known)
    post(events, request(one(), user=JANE))
    if isinstance(broken, str):
        cloud.write(ARTIFACTS, "serving/forgotten.json", broken)
    else:
        fault = {"side_effect": broken} if isinstance(broken, Exception) else {"return_value": Answer(broken, {}, b"")}
        monkeypatch.setattr(events._BUCKET, "get_object", Mock(**fault))
    clock.now += 60
    assert post(events, request(one(), user=JANE))[0] == 200
    assert stored() == []
    printed = capsys.readouterr().out
    assert "ForgottenUnreadable" in printed
    assert "jane" not in printed


def test_a_forgetting_that_ends_anywhere_is_completed_by_the_next_one(
    events: ModuleType, forget: ModuleType, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    remove = forget.EVENTS.remove
    for number in range(1, 3):
        post(events, request(one(), user=JANE, session=f"s{number}"))
        calls = iter(range(1, 9))

        def killed(items: Any, calls: Any = calls, number: int = number) -> None:
            if next(calls) == number:
                raise Killed
            remove(items)

        monkeypatch.setattr(forget.EVENTS, "remove", killed)
        with pytest.raises(Killed):
            forget.handler(ASKED, CONTEXT)
        monkeypatch.setattr(forget.EVENTS, "remove", remove)
        forget.handler(ASKED, CONTEXT)
        assert stored() == []
        assert JANE not in json.dumps(cloud.items(), default=str)


def test_a_session_without_a_user_is_forgotten_by_the_name_that_the_training_knows(
    events: ModuleType, forget: ModuleType, cloud: Cloud, clock: Any
) -> None:
    post(events, request(one(eventId="a"), user=None, session="s1"))
    post(events, request(one(eventId="b"), user=None, session="s2"))
    assert forget.handler({**ASKED, "userId": "session:s1"}, CONTEXT)["events"] == 1
    assert [item["pk"] for item in stored()] == ["S#s2"]
