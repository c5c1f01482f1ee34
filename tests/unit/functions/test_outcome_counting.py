"""The counts of one window, and which windows are due."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import recent_events
from contracts.event_types import EventTypes
from contracts.outcomes import GROUPS, Answers, Counts, Shown
from count_outcomes import windows
from tests.unit.functions.cloud import RUN
from tests.unit.functions.test_count_outcomes import BOT, END, OLD, START, A, B, Row, counted, rid, sums


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
