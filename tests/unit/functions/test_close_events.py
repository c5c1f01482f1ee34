"""Events are announced once, whatever ends a call between two writes, and late files are announced too."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from close_events import live
from contracts import schemas
from contracts.event_types import DEFAULT, EventTypes
from contracts.names import MARKER_KEY
from shared.errors import InvalidInput
from tests.unit.functions.cloud import ARTIFACTS, CONTEXT, DATA, Cloud

DAY, NEXT = "live-2026-11-24", "live-2026-11-25"
COLUMNS = {
    "kind": "append",
    "userColumn": "USER_ID",
    "itemColumn": "ITEM_ID",
    "timestampColumn": "TIMESTAMP",
    "eventTypeColumn": "EVENT_TYPE",
    "eventIdColumn": "EVENT_ID",
    "sessionIdColumn": "SESSION_ID",
}

BOUGHT = "buy,checkout,order,purchase,transaction"


@pytest.fixture
def app(load: Callable[..., ModuleType]) -> ModuleType:
    return load("close_events")


def situation(cloud: Cloud, aws: Any) -> Any:
    """An AWS in which the call succeeds; its event."""
    deliver(cloud, DAY, "a.jsonl.gz")
    cloud.write(
        ARTIFACTS, "serving/event_types.json", {"schemaVersion": "1.0", "types": {"shown": {"isHistory": False}}}
    )
    cloud.write(DATA, "raw/2026/_drop.json", {"schemaVersion": "1.0"})
    cloud.write(DATA, "raw/2026/_SUCCESS", b"")
    return {}


def deliver(cloud: Cloud, folder: str, *files: str) -> None:
    for file in files:
        cloud.write(DATA, f"raw/{folder}/{file}", b"packed")


def read(cloud: Cloud, key: str) -> Any:
    return json.loads(cloud.s3.get_object(Bucket=DATA, Key=f"raw/{key}")["Body"].read())


def keys(cloud: Cloud) -> set[str]:
    found = cloud.s3.list_objects_v2(Bucket=DATA, Prefix="raw/").get("Contents", [])
    return {entry["Key"].removeprefix("raw/") for entry in found}


def written(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, app: ModuleType) -> list[str]:
    """The keys that the function writes from now on."""
    found: list[str] = []
    put = app.DATA._s3.put_object

    def note(**call: Any) -> Any:
        answer = put(**call)
        found.append(call["Key"].removeprefix("raw/"))
        return answer

    monkeypatch.setattr(app.DATA._s3, "put_object", note)
    return found


def closed(app: ModuleType) -> dict[str, Any]:
    answer: dict[str, Any] = app.handler({}, CONTEXT)
    return answer


NOTHING = {"outcome": "NOTHING_NEW", "drop": None}


def test_new_files_are_announced_once_and_late_ones_again(
    app: ModuleType, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert closed(app) == NOTHING
    deliver(cloud, DAY, "a.jsonl.gz", "b.jsonl.gz", "_temporary/c.jsonl.gz")
    deliver(cloud, "live-odd", "x.jsonl.gz")
    puts = written(cloud, monkeypatch, app)
    assert closed(app) == {"outcome": "ANNOUNCED", "drop": DAY}
    assert puts == [f"{DAY}/_drop.json", f"{DAY}/_SUCCESS"]
    said = read(cloud, f"{DAY}/_drop.json")
    assert said == {
        "schemaVersion": "1.0",
        **COLUMNS,
        "ignoreTypes": "impression,refund,remove_from_cart",
        "ownBoughtTypes": BOUGHT,
    }
    schemas.check(said, "drop", "_drop.json")
    assert closed(app) == NOTHING and len(puts) == 2

    puts.clear()
    deliver(cloud, NEXT, "a.jsonl.gz")
    assert closed(app) == {"outcome": "ANNOUNCED", "drop": NEXT}
    # One announcement: the preparation reads all live folders. The earlier day has said all there is to say.
    assert puts == [f"{NEXT}/_drop.json", f"{NEXT}/_SUCCESS"]

    puts.clear()
    deliver(cloud, DAY, "late.jsonl.gz")
    assert closed(app) == {"outcome": "ANNOUNCED", "drop": NEXT} and puts == [f"{NEXT}/_SUCCESS"]
    assert read(cloud, f"{NEXT}/_SUCCESS")["files"] == {DAY: 3, NEXT: 1}
    assert closed(app) == NOTHING
    assert MARKER_KEY.fullmatch(f"raw/{NEXT}/_SUCCESS")


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_call_that_ends_between_two_writes_is_completed_by_the_next(
    app: ModuleType, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    monkeypatch.setattr(app, "WRITERS", 1)
    deliver(cloud, DAY, "a.jsonl.gz")
    deliver(cloud, NEXT, "a.jsonl.gz")
    put, left = app.DATA._s3.put_object, [writes]

    def end(**call: Any) -> Any:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return put(**call)

    with monkeypatch.context() as killed:
        killed.setattr(app.DATA._s3, "put_object", end)
        if writes < 3:
            with pytest.raises(KeyboardInterrupt):
                closed(app)
        else:
            closed(app)
    assert (closed(app) == NOTHING) == (writes == 3)
    assert closed(app) == NOTHING
    assert {f"{DAY}/_drop.json", f"{NEXT}/_drop.json", f"{NEXT}/_SUCCESS"} <= keys(cloud)
    versions = [one for one in cloud.s3.list_objects_v2(Bucket=DATA)["Contents"] if one["Key"].endswith("_SUCCESS")]
    assert len(versions) == 1


@pytest.mark.parametrize("is_first", [True, False])
def test_two_calls_at_once_announce_once(
    app: ModuleType, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    deliver(cloud, DAY, "a.jsonl.gz")
    if not is_first:
        closed(app)
        deliver(cloud, DAY, "b.jsonl.gz")
    answers: list[Any] = []
    types = app.event_types.in_force

    def other(artifacts: Any) -> Any:
        monkeypatch.setattr(app.event_types, "in_force", types)
        answers.append(closed(app))  # the other call overtakes this one after its listing
        return types(artifacts)

    monkeypatch.setattr(app.event_types, "in_force", other)
    answers.append(closed(app))
    assert answers == [{"outcome": "ANNOUNCED", "drop": DAY}, NOTHING]


def test_what_the_shops_newest_drop_says_holds_for_events_too(app: ModuleType, cloud: Cloud) -> None:
    shop = {"schemaVersion": "1.0", "userColumn": "Kunde", "format": "csv", "split": "global-time", "testDays": 3}
    weights = {"eventWeights": {"buy": 5, "Refund": -5}}
    cloud.write(DATA, "raw/2026/11/_drop.json", {**shop, **weights})
    cloud.write(DATA, "raw/2026/11/_SUCCESS", b"")
    deliver(cloud, DAY, "a.jsonl.gz")
    deliver(cloud, NEXT, "a.jsonl.gz")
    closed(app)
    # What a refund is worth is told by its weight, so it is learned from.
    ignored = {"ignoreTypes": "impression,remove_from_cart", "ownBoughtTypes": BOUGHT}
    expected = {"schemaVersion": "1.0", **COLUMNS, "split": "global-time", "testDays": 3, **weights, **ignored}
    assert read(cloud, f"{NEXT}/_drop.json") == expected
    # The shop changes its mind: all folders say so, when there is something new.
    cloud.write(DATA, "raw/2026/12/_drop.json", b'{"schemaVersion": "1.0", "colour": 1}')
    cloud.write(DATA, "raw/2026/12/_SUCCESS", b"")
    assert closed(app) == NOTHING
    deliver(cloud, NEXT, "b.jsonl.gz")
    closed(app)
    for folder in (DAY, NEXT):
        assert read(cloud, f"{folder}/_drop.json") == {
            "schemaVersion": "1.0", **COLUMNS, "ignoreTypes": "impression,refund,remove_from_cart",
            "ownBoughtTypes": BOUGHT,
        }  # fmt: skip


def test_the_shops_event_types_decide_what_is_learned(app: ModuleType, cloud: Cloud) -> None:
    cloud.write(DATA, f"raw/{DAY}/a.jsonl.gz", b"x")
    cloud.write(ARTIFACTS, "serving/event_types.json", b"{")
    with pytest.raises(InvalidInput, match=r"serving/event_types\.json is not JSON"):
        closed(app)
    shown = {"Shown": {"isHistory": False}, "buy": {"isBought": True}}
    cloud.write(ARTIFACTS, "serving/event_types.json", {"schemaVersion": "1.0", "types": shown})
    closed(app)
    said = read(cloud, f"{DAY}/_drop.json")
    assert (said["ignoreTypes"], said["ownBoughtTypes"]) == ("shown", "buy")


def test_event_types_that_no_parameter_can_hold_are_named() -> None:
    def types(*names: str) -> EventTypes:
        return EventTypes.from_document(
            {"schemaVersion": "1.0", "types": {name: {"isHistory": False} for name in names}}, "event_types.json"
        )

    assert "ignoreTypes" not in live.document(types(), {}, {})
    assert live.document(DEFAULT, {}, {"eventWeights": "refund=-1"})["ignoreTypes"] == "impression,remove_from_cart"
    assert live.document(types("shown"), {}, {})["ownBoughtTypes"] == "(none)"
    for shop, defaults in (({"boughtTypes": "sold"}, {}), ({}, {"boughtTypes": "sold"})):
        assert "ownBoughtTypes" not in live.document(DEFAULT, shop, defaults)
    for names in (("a,b",), tuple(f"{number:0256}" for number in range(20))):
        with pytest.raises(
            InvalidInput, match="the event types with isHistory false must have at most 4096 characters"
        ):
            live.document(types(*names), {}, {})


@pytest.mark.parametrize("content", [b"", b"{}", b"[", b'{"files": [1]}', b'{"files": {"live-2026-11-24": "2"}}'])
def test_a_marker_that_a_person_wrote_has_announced_nothing(app: ModuleType, cloud: Cloud, content: bytes) -> None:
    deliver(cloud, DAY, "a.jsonl.gz")
    cloud.write(DATA, f"raw/{DAY}/_SUCCESS", content)
    assert closed(app) == {"outcome": "ANNOUNCED", "drop": DAY}
    assert closed(app) == NOTHING
