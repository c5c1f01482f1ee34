"""Each delivered file of events is counted once, whatever its lines hold."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest

from contracts import item_counts
from contracts.event_types import DEFAULT, EventTypes
from count_items import counting
from shared.errors import InvalidInput
from tests.unit.functions.cloud import ARTIFACTS, CONTEXT, DATA, Cloud, sample_event

TODAY = f"{datetime.now(UTC):%Y-%m-%d}"
KEY = f"raw/live-{TODAY}/ncf-events-1-{TODAY}-10-15-00-5a1c6b1e.gz"
TEN = 1_795_687_200_000  # 2026-11-26T10:00 UTC, epoch milliseconds


def event(person: Any = "42", item: Any = "7", kind: Any = "view", at: Any = TEN, **more: Any) -> dict[str, Any]:
    return {
        "USER_ID": person, "ITEM_ID": item, "EVENT_TYPE": kind, "TIMESTAMP": at, "EVENT_ID": "e", "RECEIVED_AT": TEN
    } | more  # fmt: skip


def packed(events: Iterable[Any]) -> bytes:
    lines = (one if isinstance(one, bytes) else json.dumps(one).encode() for one in events)
    return gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0)


def counted(content: bytes, types: EventTypes = DEFAULT) -> counting.Counting:
    return counting.count(io.BytesIO(content), types)


def counts(*events: Any) -> Any:
    return counted(packed(events)).to_document()["counts"]


def delivery(key: str = KEY) -> dict[str, Any]:
    notice = sample_event("count_items")
    notice["detail"]["object"]["key"] = key
    return notice


def situation(cloud: Cloud, aws: Any) -> dict[str, Any]:
    cloud.write(DATA, KEY, packed([event()]))
    return delivery()


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud) -> ModuleType:
    return load("count_items")


def stored(cloud: Cloud) -> dict[str, Any]:
    return {
        key: item_counts.unpack(content, key)["counts"]
        for key, content in cloud.objects(ARTIFACTS).items()
        if key.startswith("counts/")
    }


def test_a_file_is_counted_once_however_often_its_event_comes(app: ModuleType, cloud: Cloud) -> None:
    cloud.write(DATA, KEY, packed([event("1"), event("2"), event("1", "8", at=TEN - 3_600_000)]))
    first, second = app.handler(delivery(), CONTEXT), app.handler(delivery(), CONTEXT)
    assert first == second
    assert (first["outcome"], first["lines"]["counted"]) == ("COUNTED", 3)
    place = item_counts.key_of_file(KEY, TODAY)
    assert stored(cloud) == {place: {"2026-11-26T10": {"7": 2}, "2026-11-26T09": {"8": 1}}}
    assert item_counts.file_of_key(place) == (TODAY, place[-40:-8])


def test_a_file_that_is_written_again_replaces_its_counts(app: ModuleType, cloud: Cloud) -> None:
    for events in ([event("1"), event("2")], [event("1")]):
        cloud.write(DATA, KEY, packed(events))
        app.handler(delivery(), CONTEXT)
    assert list(stored(cloud).values()) == [{"2026-11-26T10": {"7": 1}}]


@pytest.mark.parametrize(
    ("key", "outcome"),
    [
        (KEY, "ABSENT"),
        (f"raw/live-{datetime.now(UTC) - timedelta(days=32):%Y-%m-%d}/a.gz", "OLD"),
        (f"raw/live-{TODAY}/deeper/a.gz", "IGNORED"),
        (f"raw/live-{TODAY}/_SUCCESS", "IGNORED"),
        ("raw/live-2026-13-41/a.gz", "IGNORED"),
        ("raw/live-2026-02-30/a.gz", "IGNORED"),
        ("raw/live-٢٠٢٦-11-26/a.gz", "IGNORED"),
        ("raw/mine/a.gz", "IGNORED"),
    ],
)
def test_another_file_is_left_alone(app: ModuleType, cloud: Cloud, key: str, outcome: str) -> None:
    assert app.handler(delivery(key), CONTEXT) == {"outcome": outcome}
    assert stored(cloud) == {}


@pytest.mark.parametrize("notice", [None, {}, {"detail": []}, {"detail": {"object": {}}}])
def test_an_event_without_a_key_is_refused(app: ModuleType, notice: Any) -> None:
    with pytest.raises(InvalidInput, match=r"must have detail\.object\.key"):
        app.handler(notice, CONTEXT)


def test_only_types_that_are_history_count(app: ModuleType, cloud: Cloud) -> None:
    cloud.write(DATA, KEY, packed([event("1", kind="impression"), event("2", kind="Refund"), event("3", kind="BUY")]))
    assert app.handler(delivery(), CONTEXT)["lines"] == lines(counted=1, otherTypes=2)
    types = {"schemaVersion": "1.0", "types": {"buy": {"isHistory": False}}}
    cloud.write(ARTIFACTS, "serving/event_types.json", types)
    assert app.handler(delivery(), CONTEXT)["lines"] == lines(counted=2, otherTypes=1)


def test_types_that_cannot_be_read_are_the_common_ones(app: ModuleType, cloud: Cloud) -> None:
    cloud.write(DATA, KEY, packed([event("1", kind="impression"), event("2")]))
    cloud.write(ARTIFACTS, "serving/event_types.json", b"{")
    assert app.handler(delivery(), CONTEXT)["lines"] == lines(counted=1, otherTypes=1)


def lines(**figures: int) -> dict[str, int]:
    return dict.fromkeys(counting.Counting(DEFAULT).figures, 0) | figures


def test_a_person_counts_an_item_once_and_only_so_many_items() -> None:
    again = counted(packed([event("1")] * 5 + [event("1", at=TEN - 3_600_000)]))
    assert again.figures == lines(counted=1, again=5)
    robot = counted(packed([event("1", str(item)) for item in range(150)] + [event("2", "0")]))
    assert robot.figures == lines(counted=101, robots=50)
    assert robot.to_document()["counts"]["2026-11-26T10"]["0"] == 2


def test_a_clock_that_is_ahead_counts_when_the_event_came_and_an_old_event_does_not_count() -> None:
    assert counts(event(at=TEN + 86_400_000)) == {"2026-11-26T10": {"7": 1}}
    assert counted(packed([event(at=TEN - 32 * 86_400_000)])).figures == lines(old=1)
    late = event(at=TEN - 30 * 86_400_000)
    assert counts(late) == {"2026-10-27T10": {"7": 1}}


def test_an_event_without_the_time_of_its_receipt_counts_at_its_own() -> None:
    bare = event()
    del bare["RECEIVED_AT"]
    assert counts(bare) == {"2026-11-26T10": {"7": 1}}


def test_the_lines_are_those_that_events_writes() -> None:
    from events.records import to_lines
    from events.request import EventsRequest

    body = {
        "sessionId": "s",
        "eventList": [{"eventType": "view", "itemId": item, "sentAt": TEN // 1000} for item in "78"],
    }
    request = EventsRequest.from_event(
        {"headers": {"content-type": "application/json"}, "body": json.dumps(body)}, TEN, 14, DEFAULT
    )
    found = counted(gzip.compress(to_lines(request, [None, None], TEN)))
    assert found.to_document()["counts"] == {"2026-11-26T10": {"7": 1, "8": 1}}


@pytest.mark.parametrize(
    "line",
    [
        b"not JSON", b"\xff\xfe", b"[]", b"7", b"null", b"{}", b"[" * 60_000, b'{"USER_ID": "1"',
        event(person=None), event(person=7), event(item=""), event(item="x" * 257), event(item=7), event(item=["7"]),
        event(item="\ud800"), event(kind=None), event(at="2026"), event(at=1.5), event(at=True), event(at=-1),
        event(at=10**30), event(at=float("nan")), event(RECEIVED_AT="now"), event(RECEIVED_AT=10**18),
        b"x" * (counting.LINE_BYTES + 10), b"x" * (3 * counting.LINE_BYTES),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_read_costs_nothing_but_itself(line: Any) -> None:
    found = counted(packed([event("1"), line, event("2")]))
    assert found.figures == lines(counted=2, unreadable=1)
    assert found.to_document()["counts"] == {"2026-11-26T10": {"7": 2}}


@pytest.mark.parametrize("item", ["../serving/rules", "__proto__", "7\n8", "\x00", "🛒", "a,b", "x" * 256, "toString"])
def test_an_id_with_odd_characters_is_an_id(item: str) -> None:
    document = counted(packed([event(item=item)])).to_document()
    assert item_counts.unpack(item_counts.pack(document), "it")["counts"] == {"2026-11-26T10": {item: 1}}


def test_files_of_several_parts_are_read_whole_and_damaged_ones_up_to_the_damage() -> None:
    whole = packed([event("1")]) + packed([event("2")])
    assert counted(whole).figures == lines(counted=2)
    assert counted(b"").figures == lines()
    assert counted(b"not gzip").figures == lines(unreadable=1)
    assert counted(whole[:-4]).figures["unreadable"] == 1
    assert counted(whole + b"garbage").figures == lines(counted=2, unreadable=1)


def test_the_limits_bound_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "FILE_ITEMS", 3)
    assert counted(packed(event(str(item), str(item)) for item in range(5))).figures == lines(counted=3, tooMany=2)
    monkeypatch.setattr(counting, "FILE_BYTES", 1000)
    assert counted(packed(event(str(item), "7") for item in range(50))).figures["unreadable"] == 1


def test_a_file_is_read_piece_by_piece() -> None:
    content = packed(json.dumps(event()).encode() + b" " * 4000 for _ in range(5000))  # 20 MB
    tracemalloc.start()
    assert counted(content).figures == lines(counted=1, again=4999)
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()
