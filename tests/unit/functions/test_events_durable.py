"""No event is lost or stored twice: with duplicates, in any order, and when the function is killed between any two
writes.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from types import ModuleType
from typing import Any

import pytest

from contracts.recent_events import event_key
from tests.unit.functions.cloud import NOW, Cloud
from tests.unit.functions.eventing import Stores, events, lines, one, post, request, stored
from tests.unit.functions.wire import Wire, refused, unheard

__all__ = ["events"]  # a fixture


class Killed(BaseException):
    """The function's environment ends."""


def requests_of(draw: random.Random, number: int) -> list[tuple[str | None, str | None, list[dict[str, Any]]]]:
    """Requests (user, session, events) with `number` events, some of them in several requests, in random order.

    Sessions are of one user or of none; one that has a user logs in with its last request.
    """
    made: list[tuple[str | None, str | None, list[dict[str, Any]]]] = []
    done = 0
    while done < number:
        session, user = f"s{len(made)}", draw.choice([None, *(f"u{person}" for person in range(40))])
        size = draw.choice([1, 2, 5, 60])
        events = [one(eventId=f"e{done + n}", sentAt=NOW - draw.randrange(80_000)) for n in range(size)]
        parts = [events[start : start + 25] for start in range(0, size, 25)]
        made += [(None, session, part) for part in parts]
        made += [(None, session, draw.sample(events, min(3, size)))]
        if user is not None:
            made += [(user, None, draw.sample(events, 1)), (user, session, draw.sample(events, min(9, size)))]
        done += size
    draw.shuffle(made)
    return made


def sent_until_accepted(app: ModuleType, user: str | None, session: str | None, listed: list[dict[str, Any]]) -> int:
    """Send a request as a client does, again until it is accepted; the number of times."""
    tries = 0
    while True:
        tries += 1
        try:
            status, body = post(app, request(*listed, user=user, session=session))
        except Killed:
            continue
        if status == 200:
            assert [entry["eventId"] for entry in body["accepted"]] == [event["eventId"] for event in listed]
            return tries


@pytest.mark.parametrize("seed", range(3))
def test_none_is_lost_and_none_is_twice(events: ModuleType, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    draw = random.Random(seed)

    def kill_sometimes() -> None:
        if draw.random() < 0.02:
            raise Killed

    stores = Stores(kill_sometimes)
    monkeypatch.setattr(events.TABLE, "_dynamodb", stores)
    monkeypatch.setattr(events, "FIREHOSE", stores)
    monkeypatch.setattr(events, "count", lambda *_: None)
    requests = requests_of(draw, 3000)
    killed = sum(sent_until_accepted(events, *each) > 1 for each in requests)
    assert killed > 100

    user_of = {session: user for user, session, _ in requests if user is not None and session is not None}
    owners: dict[str, str] = {}
    for _, session, listed in requests:
        if session is not None:
            user = user_of.get(session)
            owners |= {event["eventId"]: f"U#{user}" if user else f"S#{session}" for event in listed}
    found = Counter(
        (pk, item["sk"]["S"]) for pk, of_key in stores.items.items() for item in of_key.values() if "item" in item
    )
    assert found == {(owner, event_key(event_id)): 1 for event_id, owner in owners.items()}
    lines = [json.loads(line) for record in stores.delivered for line in record.splitlines()]
    assert {line["EVENT_ID"] for line in lines} == owners.keys()
    links = {pk: item["user"]["S"] for pk, of_key in stores.items.items() for item in of_key.values() if "user" in item}
    assert links == {f"S#{session}": user for session, user in user_of.items()}


@pytest.mark.parametrize("fault", [refused, unheard])
@pytest.mark.slow
def test_whichever_call_fails_the_answer_is_to_send_again_and_that_completes_it(
    events: ModuleType, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, naps: list[float], fault: Any
) -> None:
    wire, failed = Wire(fault), 0
    with wire.laid(monkeypatch):
        for number in itertools.count():
            session, user = f"s{number}", f"u{number}"
            post(events, request(one(itemId="1"), user=None, session=session))
            login = request(one(eventId="e2", itemId="2"), user=user, session=session)
            wire.begin(failing=number)
            status, body = post(events, login)
            if number >= len(wire.calls):
                break
            assert status == 503
            assert body["error"]["code"] == "DependencyFailed"
            failed += 1
            wire.begin(failing=None)
            assert post(events, login)[0] == 200
            of_session = [item for item in stored() if item["pk"] in (f"S#{session}", f"U#{user}")]
            assert sorted((item["pk"], item.get("item", "link")) for item in of_session) == [
                (f"S#{session}", "link"), (f"U#{user}", "1"), (f"U#{user}", "2"), (f"U#{user}", "link")
            ]  # fmt: skip
    assert failed == 5  # the session, the user's items, the stream, the link, the session's items
    ids = [line["ITEM_ID"] for line in lines(cloud) if line["USER_ID"] == "u0"]
    assert ids == ["2"]


def test_items_that_dynamodb_leaves_unwritten_are_written_again(
    events: ModuleType, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, naps: list[float]
) -> None:
    write = events.TABLE._dynamodb.batch_write_item

    def only_one(RequestItems: dict[str, list[Any]]) -> Any:
        ((table, wanted),) = RequestItems.items()
        write(RequestItems={table: wanted[:1]})
        return {"UnprocessedItems": {table: wanted[1:]} if wanted[1:] else {}}

    monkeypatch.setattr(events.TABLE._dynamodb, "batch_write_item", only_one)
    assert post(events, request(*(one(eventId=f"e{number}") for number in range(4))))[0] == 200
    assert (len(stored()), len(naps)) == (4, 3)
    assert post(events, request(*(one(eventId=f"f{number}") for number in range(9))))[0] == 503
