"""Clicks, impressions and purchases of each model by windows: every event once, in any order, whenever a call ends."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
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


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("U#1", "7", "impression", A, None)], Counts(1)),
        ([("U#1", "7", "view", A, None)], Counts(1, 1)),
        ([("U#1", "7", "purchase", A, 12.5)], Counts(1, 0, 1, 12.5)),
        ([("U#1", "7", "impression", A, None), ("U#1", "7", "view", A, None)], Counts(1, 1)),
        ([("U#1", "7", "view", A, None), ("U#1", "7", "cart", A, None)], Counts(1, 1)),
        ([("U#1", "7", "view", A, None), ("U#1", "8", "view", A, None)], Counts(1, 2)),
        ([("U#1", "7", "view", A, None), ("U#2", "7", "view", B, None)], Counts(2, 2)),
        ([("U#1", "7", "order", A, 5.0), ("U#1", "7", "checkout", A, 9.0)], Counts(1, 0, 1, 9.0)),
        ([("U#1", "7", "order", A, 5.0), ("U#1", "8", "order", A, None)], Counts(1, 0, 2, 5.0)),
        ([("U#1", "7", "refund", A, -5.0), ("U#1", "7", "cart", A, 99.0)], Counts(1, 1)),
        ([("S#1", "7", "impression", A, None), ("U#1", "7", "view", A, None)], Counts(1, 1)),
    ],
    ids=[
        "shown", "a click implies that it was shown", "so does a purchase", "shown and chosen", "chosen twice",
        "two items of an answer", "two answers", "one purchase by two events has the larger value", "two purchases",
        "a value counts for a purchase alone", "a session that logs in",
    ],
)  # fmt: skip
@pytest.mark.fault("W03")
def test_what_events_say_about_an_answer(rows: list[Row], expected: Counts) -> None:
    for order in itertools.permutations(rows):
        assert sums(counted(order)) == {RUN: expected}
        assert sums(counted([*order, *order])) == {RUN: expected}


def test_types_mean_what_the_shop_says() -> None:
    types = EventTypes.from_document({"schemaVersion": "1.0", "types": {"Basket": {"outcome": "purchase"}}}, "types")
    rows: list[Row] = [("U#1", "7", "basket", A, 3.0), ("U#1", "8", "view", A, None)]
    assert sums(counted(rows, types)) == {RUN: Counts(1, 0, 1, 3.0)}


def test_a_click_counts_for_the_model_that_gave_the_answer_whichever_serves_now() -> None:
    rows: list[Row] = [("U#1", "7", "view", rid("a", OLD), None), ("U#1", "7", "view", rid("b"), None)]
    assert sums(counted(rows)) == {OLD: Counts(1, 1), RUN: Counts(1, 1)}


@pytest.mark.fault("W04")
def test_ids_of_another_shop_and_damaged_ones_do_not_count_and_are_counted() -> None:
    odd = [rid("a", key="another shop"), A[:-1], A[:-1] + ("A" if A[-1] != "A" else "B"), "", "ü", "x" * 600, "\ud800"]
    found = counted([("U#1", "7", "view", text, None) for text in odd], most=10)
    assert (found.rows, found.not_attributed) == ({}, len(odd))


@pytest.mark.fault("W05")
def test_a_person_with_more_events_than_the_limit_is_a_bot_and_no_event_of_it_counts() -> None:
    rows: list[Row] = [("U#bot", str(item), "view", A, None) for item in range(BOT + 1)]
    rows += [("U#1", str(item), "view", B, None) for item in range(BOT)]
    for _ in range(5):
        random.Random(7).shuffle(rows)
        found = counted(rows)
        assert sums(found) == {RUN: Counts(1, BOT)}
        assert found.bots == 1


def test_an_answer_that_a_bot_repeats_still_counts_for_its_person() -> None:
    rows: list[Row] = [("U#bot", str(item), "view", A, None) for item in range(BOT + 1)]
    assert sums(counted([*rows, ("U#1", "7", "view", A, None)])) == {RUN: Counts(1, 1)}
    assert sums(counted([("U#1", "7", "view", A, None), *rows])) == {RUN: Counts(1, 1)}


def test_rows_are_by_model_source_placement_and_side() -> None:
    home = {"placement": "home", "trial": "t1", "variant": "Other"}
    rows: list[Row] = [
        ("U#1", "7", "view", rid("a", **home), None),
        ("U#1", "7", "impression", rid("b", source="popular"), None),
    ]
    assert counted(rows).rows == {
        Answers(RUN, "personalized", **home): Counts(1, 1),
        Answers(RUN, "popular"): Counts(1),
    }


def test_answers_of_a_trial_are_counted_by_groups_of_people() -> None:
    rows: list[Row] = []
    for person in range(100):
        answer = rid(f"r{person}", trial="t1", variant="Other" if person % 2 else "AllTraffic")
        rows.append((f"U#{person}", "7", "view" if person < 40 else "impression", answer, None))
    found = counted([*rows, ("U#1", "7", "view", rid("none"), None)])
    assert found.groups.keys() == {("t1", "Other"), ("t1", "AllTraffic")}
    other = found.groups["t1", "Other"]
    assert (len(other), sum(one.impressions for one in other), sum(one.clicks for one in other)) == (GROUPS, 50, 20)
    assert other[recent_events.group("U#41", GROUPS)].impressions > 0
    assert counted(reversed([*rows, ("U#1", "7", "view", rid("none"), None)])) == found


def test_an_answer_that_two_people_name_is_in_the_group_of_the_first_in_any_order() -> None:
    answer = rid("a", trial="t1", variant="Other")
    rows: list[Row] = [("U#1", "7", "view", answer, None), ("S#1", "7", "view", answer, None)]
    assert recent_events.group("S#1", GROUPS) != recent_events.group("U#1", GROUPS)
    for order in itertools.permutations(rows):
        assert counted(order).groups["t1", "Other"][recent_events.group("S#1", GROUPS)] == Shown(1, 1)


def test_the_sum_of_values_does_not_depend_on_the_order() -> None:
    rows: list[Row] = [(f"U#{n}", "7", "order", rid(f"r{n}"), value) for n, value in enumerate([1e12, 0.1, -1e12, 0.2])]
    assert {sums(counted(order))[RUN].value for order in itertools.permutations(rows)} == {0.3}


PEOPLE, ITEMS, REQUESTS = ("U#1", "U#2", "S#1"), ("7", "8"), ("a", "b", "c")
KINDS = ("impression", "view", "cart", "order", "refund")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(PEOPLE), st.sampled_from(ITEMS), st.sampled_from(KINDS), st.sampled_from(REQUESTS),
            st.sampled_from([None, 1.5, 7.25]),
        ),
        max_size=20,
    )
)  # fmt: skip
@pytest.mark.fault("W03")
def test_the_counts_are_those_of_their_definition(events: list[tuple[str, str, str, str, float | None]]) -> None:
    numbers = Counter(pk for pk, *_ in events)
    people = [event for event in events if numbers[event[0]] <= BOT]
    shown = {request for _, _, _, request, _ in people}
    chosen = {(request, item) for _, item, kind, request, _ in people if kind in ("view", "cart")}
    orders = [(request, item, value or 0.0) for _, item, kind, request, value in people if kind == "order"]
    bought = {
        (request, item): max(value for r, i, value in orders if (r, i) == (request, item))
        for request, item, _ in orders
    }
    found = counted([(pk, item, kind, rid(request), value) for pk, item, kind, request, value in events])
    expected = Counts(len(shown), len(chosen), len(bought), sum(bought.values()))
    assert sums(found) == ({RUN: expected} if shown else {})
    assert found.bots == sum(number > BOT for number in numbers.values())


# Which windows


def read_at(seconds: float) -> dict[str, int]:
    """All windows of the last day as if they had been read then."""
    starts = range(END - 2 * windows.CATCH_UP_SECONDS, END + 900, 900)
    return {recent_events.window_start(start * 1000): int(seconds * 1000) for start in starts}


def test_the_first_call_counts_the_last_day() -> None:
    due = windows.due(END + 60, {})
    assert len(due) == 97
    assert (due[0], due[-1]) == (windows.first(END + 60), recent_events.window_start(END * 1000))


def test_a_window_is_counted_until_six_hours_after_its_end() -> None:
    before, times = read_at(END - 900 + 60), []
    for quarter in range(30):
        now = END + 60 + quarter * 900
        if START in windows.due(now, before):
            times.append(quarter * 15)
            before[START] = now * 1000
    assert times == [0, 15, 30, 60, 120, 240, 360]


@pytest.mark.fault("W06")
def test_windows_of_calls_that_did_not_happen_are_counted_later() -> None:
    due = windows.due(END + 60 + 3 * 3600, read_at(END + 60))
    hours = [recent_events.window_start((END + quarter * 900) * 1000) for quarter in range(13)]
    assert set(hours) <= set(due)


def test_the_window_that_has_not_ended_is_counted_each_time() -> None:
    assert windows.due(END + 60, read_at(END + 60)) == [recent_events.window_start(END * 1000)]


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
