"""Clicks, impressions and purchases of each model by windows: every event once, in any order, whenever a call ends."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
from moto.dynamodb.models import dynamodb_backends

from contracts import outcomes, recent_events
from contracts.event_types import DEFAULT, EventTypes
from contracts.outcomes import GROUPS, Answers, Counts, Shown, Window
from contracts.recommendation_ids import Answered
from count_outcomes import windows
from count_outcomes.counting import Count
from shared.errors import DependencyFailed, InvalidInput
from shared.ledger import Ledger
from tests.unit.functions.cloud import ACCOUNT, ARTIFACTS, CONTEXT, ENVIRONMENT, NOW, REGION, RUN, Cloud, sample_event

KEY = ENVIRONMENT["STACK_ID"]
OLD = RUN.replace("-r1", "-r2")
END = int(NOW) // 900 * 900
START = recent_events.window_start((END - 900) * 1000)  # the window that ended last
AT = (END - 450) * 1000
BOT = int(ENVIRONMENT["MAXIMUM_EVENTS_PER_WINDOW"])
Row = tuple[str, str, str, str, float | None]


def rid(request: str, run_id: str = RUN, key: str = KEY, **more: str) -> str:
    return Answered(run_id=run_id, source=more.pop("source", "personalized"), request=request, **more).to_text(key)


def counted(rows: Iterable[Row], types: EventTypes = DEFAULT, most: int = BOT) -> Window:
    count = Count(START, KEY, types, most)
    for pk, item, event_type, recommendation_id, value in rows:
        count.add(pk, item, event_type, recommendation_id, value)
    return count.window()


def sums(window: Window) -> dict[str, Counts]:
    return outcomes.total([window], lambda answers: answers.run_id)


A, B = rid("a"), rid("b")


# One window


# Which windows


# The function


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(windows, "CATCH_UP_SECONDS", 1800)
    return load("count_outcomes")


def situation(cloud: Cloud, aws: Any) -> dict[str, Any]:
    """A window with an event, and all others counted; for test_api_faults.py."""
    dynamodb_backends[ACCOUNT][REGION].tables[ENVIRONMENT["EVENTS_TABLE"]].items.clear()
    put(cloud, ("U#1", "7", "view", A, None))
    for start in windows.due(NOW, {})[:-3]:
        cloud.put(outcomes.PK, start, readAt=int(NOW * 1000))
    return sample_event("count_outcomes")


def put(cloud: Cloud, *rows: Row, at: int = AT) -> None:
    """Write events at `at`, as POST /events does."""
    for pk, item, event_type, recommendation_id, value in rows:
        number = {"value": {"N": str(value)}} if value is not None else {}
        dynamodb_backends[ACCOUNT][REGION].put_item(
            ENVIRONMENT["EVENTS_TABLE"],
            {
                "pk": {"S": pk},
                "sk": {"S": recent_events.event_key(f"{pk} {item} {event_type} {recommendation_id}")},
                "at": {"N": str(at)},
                "item": {"S": item},
                "type": {"S": event_type},
                "rid": {"S": recommendation_id},
                "window": {"S": recent_events.window_of(at, pk)},
                **number,
            },
        )


def metrics(text: str) -> dict[tuple[str, str], float]:
    """Sums of the metrics in what was printed, by name and dimension."""
    found: dict[tuple[str, str], float] = {}
    for line in text.splitlines():
        entry = json.loads(line)
        if "_aws" in entry:
            [directive] = entry["_aws"]["CloudWatchMetrics"]
            [dimensions] = directive["Dimensions"]
            assert set(dimensions) <= {"service", "variant", "placement"}  # no run ids, each of which is a metric
            value = " ".join(entry[name] for name in dimensions if name != "service")
            for metric in directive["Metrics"]:
                key = (metric["Name"], value)
                found[key] = found.get(key, 0) + sum(entry[metric["Name"]])
    return found


def test_events_become_a_window_and_a_day(app: ModuleType, cloud: Cloud, book: Ledger) -> None:
    put(cloud, ("U#1", "7", "impression", A, None), ("U#1", "7", "order", A, 19.9), ("U#2", "8", "view", B, None))
    assert app.handler(sample_event("count_outcomes"), CONTEXT) == {"counted": 3, "left": 0}
    [window] = book.outcomes(START, START)
    assert window.rows == {Answers(RUN, "personalized"): Counts(2, 1, 1, 19.9)}
    [day] = book.outcomes_by_day(START[:10], START[:10])
    assert day.rows == window.rows


def test_metrics_are_the_differences_at_the_windows_time(
    app: ModuleType, cloud: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cloud, ("U#1", "7", "impression", rid("a", placement="home"), None), ("U#1", "7", "view", B, None))
    app.handler({}, CONTEXT)
    text = capsys.readouterr().out
    assert metrics(text) == {
        ("Impressions", "AllTraffic"): 2, ("Clicks", "AllTraffic"): 1,
        ("Impressions", "home"): 1, ("Impressions", "none"): 1, ("Clicks", "none"): 1,
    }  # fmt: skip
    assert {json.loads(line)["_aws"]["Timestamp"] for line in text.splitlines() if "_aws" in line} == {
        (END - 900) * 1000
    }
    app.handler({}, CONTEXT)
    assert metrics(capsys.readouterr().out) == {}  # the same again is no news
    put(cloud, ("U#1", "7", "order", B, 3.5), ("U#9", "7", "view", "another shop's", None))
    app.LEDGER._clock = lambda: NOW + 900
    app.handler({}, CONTEXT)
    assert metrics(capsys.readouterr().out) == {
        ("Purchases", "AllTraffic"): 1, ("PurchaseValue", "AllTraffic"): 3.5,
        ("Purchases", "none"): 1, ("PurchaseValue", "none"): 3.5, ("NotAttributed", ""): 1,
    }  # fmt: skip


@pytest.mark.fault("W05")
def test_who_turns_out_to_be_a_bot_is_taken_out_of_the_counts_and_the_metrics(
    app: ModuleType, cloud: Cloud, book: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    put(cloud, *[("U#1", str(item), "view", A, None) for item in range(BOT)])
    app.handler({}, CONTEXT)
    put(cloud, ("U#1", "more", "view", A, None))
    app.LEDGER._clock = lambda: NOW + 900
    app.handler({}, CONTEXT)
    [window] = book.outcomes(START, START)
    assert (window.rows, window.bots) == ({}, 1)
    found = metrics(capsys.readouterr().out)
    assert found[("Clicks", "AllTraffic")] == 0
    assert found[("Bots", "")] == 1


def test_the_day_before_is_summed_again_without_a_window_that_is_due(app: ModuleType, book: Ledger) -> None:
    """A call may have ended between its last window of that day and the sum."""
    rows = {Answers(RUN, "personalized"): Counts(3, 1)}
    book.save_outcomes(Window(start="2026-11-25T10:15Z", rows=rows), 1000)
    app.LEDGER._clock = lambda: NOW + 12 * 3600
    app.handler({}, CONTEXT)
    assert [(day.start, day.rows) for day in book.outcomes_by_day("2026-11-01", "2026-11-30")] == [
        ("2026-11-25", rows),
        ("2026-11-26", {}),
    ]


def test_all_pages_of_the_index_are_read(app: ModuleType, cloud: Cloud, book: Ledger) -> None:
    rows: list[Row] = [(f"U#{person}", "7", "view", rid(f"r{person}"), None) for person in range(40)]
    put(cloud, *rows)
    query = app.DYNAMODB.query
    pages = []

    def paged(**given: Any) -> Any:
        pages.append(given.get("ExclusiveStartKey"))
        return query(**given, Limit=3)

    app.DYNAMODB.query = paged
    app.handler({}, CONTEXT)
    assert sums(*book.outcomes(START, START)) == {RUN: Counts(40, 40)}
    assert sum(page is not None for page in pages) >= 10


def test_a_shops_own_event_types_count(app: ModuleType, cloud: Cloud, book: Ledger) -> None:
    cloud.write(ARTIFACTS, "serving/event_types.json", {"schemaVersion": "1.0", "types": {"view": {"outcome": "none"}}})
    put(cloud, ("U#1", "7", "view", A, None))
    app.handler({}, CONTEXT)
    assert sums(*book.outcomes(START, START)) == {RUN: Counts(1)}


def test_event_types_that_cannot_be_read_stop_the_call_and_name_the_field(app: ModuleType, cloud: Cloud) -> None:
    cloud.write(ARTIFACTS, "serving/event_types.json", {"schemaVersion": "1.0", "types": {"view": {"outcome": "x"}}})
    with pytest.raises(InvalidInput, match=r"serving/event_types.json: types.view.outcome must be"):
        app.handler({}, CONTEXT)


@pytest.mark.slow
@pytest.mark.fault("W01")
def test_a_call_that_is_killed_at_any_write_is_made_good_by_the_next(
    app: ModuleType, cloud: Cloud, book: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cloud, ("U#1", "7", "order", A, 19.9), ("U#2", "8", "view", B, None))
    monkeypatch.setattr(windows, "CATCH_UP_SECONDS", 900)

    class Killed(BaseException):
        pass

    send = app.LEDGER._table.update_item
    for survives in range(5):
        for is_done in (False, True):
            cloud.empty()
            left = itertools.count(survives, -1)

            def write(_left: Any = left, _is_done: bool = is_done, **call: Any) -> Any:
                number = next(_left)
                if number < 0 or (number == 0 and not _is_done):
                    raise Killed
                answer = send(**call)
                if number == 0:
                    raise Killed
                return answer

            app.LEDGER._table.update_item = write
            with contextlib.suppress(Killed):
                app.handler({}, CONTEXT)
            app.LEDGER._table.update_item = send
            app.handler({}, CONTEXT)
            assert sums(*book.outcomes(START, START)) == {RUN: Counts(2, 1, 1, 19.9)}
            assert sums(*book.outcomes_by_day(START[:10], START[:10])) == {RUN: Counts(2, 1, 1, 19.9)}


@pytest.mark.fault("W01")
def test_a_call_that_ends_before_its_metrics_loses_them_and_not_the_counts(
    app: ModuleType, cloud: Cloud, book: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cloud, ("U#1", "7", "view", A, None))
    emit = app._emit
    monkeypatch.setattr(app, "_emit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        app.handler({}, CONTEXT)
    monkeypatch.setattr(app, "_emit", emit)
    app.LEDGER._clock = lambda: NOW + 900
    app.handler({}, CONTEXT)
    assert sums(*book.outcomes(START, START)) == {RUN: Counts(1, 1)}
    put(cloud, ("U#2", "7", "view", B, None))
    app.LEDGER._clock = lambda: NOW + 1800
    app.handler({}, CONTEXT)
    assert metrics(capsys.readouterr().out)[("Clicks", "AllTraffic")] == 1


@pytest.mark.slow
@pytest.mark.fault("W02")
def test_calls_at_the_same_time_count_nothing_twice(
    app: ModuleType, cloud: Cloud, book: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    put(cloud, *[(f"U#{person}", "7", "view", rid(f"r{person}"), None) for person in range(10)])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: app.handler({}, CONTEXT), range(4)))
    assert sums(*book.outcomes(START, START)) == {RUN: Counts(10, 10)}
    assert metrics(capsys.readouterr().out)[("Clicks", "AllTraffic")] == 10


@pytest.mark.fault("W02")
def test_the_counts_that_were_read_last_stay(app: ModuleType, cloud: Cloud, book: Ledger) -> None:
    """Another call reads and writes the window while this one reads it."""
    put(cloud, ("U#1", "7", "view", A, None))
    query = app.DYNAMODB.query

    def slow(**given: Any) -> Any:
        app.DYNAMODB.query = query
        answer = query(**given)
        put(cloud, ("U#2", "7", "view", B, None))
        app.handler({}, CONTEXT)
        return answer

    app.DYNAMODB.query = slow
    app.handler({}, CONTEXT)
    assert sums(*book.outcomes(START, START)) == {RUN: Counts(2, 2)}


def test_a_call_that_runs_out_of_time_leaves_windows_to_the_next(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "WORK_SECONDS", -1)
    assert app.handler({}, CONTEXT) == {"counted": 0, "left": 3}


def test_a_failing_index_is_told_as_such(app: ModuleType) -> None:
    from botocore.exceptions import ClientError

    def refuse(**_: Any) -> Any:
        raise ClientError(
            {"Error": {"Code": "ProvisionedThroughputExceededException", "Message": "slow down"}}, "Query"
        )

    app.DYNAMODB.query = refuse
    with pytest.raises(DependencyFailed, match="dynamodb Query byWindow"):
        app.handler({}, CONTEXT)


def test_shown_is_the_default_of_groups_nobody_is_in() -> None:
    found = counted([("U#1", "7", "view", rid("a", trial="t", variant="Other"), None)])
    groups = found.groups["t", "Other"]
    assert sorted(groups) == [Shown()] * (GROUPS - 1) + [Shown(1, 1)]
