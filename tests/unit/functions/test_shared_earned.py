"""Outcomes of recommendations in the ledger: a later reading replaces an earlier one, and never the other way."""

from __future__ import annotations

from decimal import Decimal

from contracts import outcomes
from contracts.outcomes import Answers, Counts, Shown, Window
from shared.ledger import Ledger
from tests.unit.functions.cloud import RUN, Cloud

START = "2026-11-29T10:15Z"
PERSONALIZED = Answers(RUN, "personalized")


def window(clicks: int, start: str = START) -> Window:
    groups = {("t", "Other"): (Shown(1, 1),) * outcomes.GROUPS}
    return Window(start=start, rows={PERSONALIZED: Counts(100, clicks, 1, 19.9)}, groups=groups, bots=1)


def test_a_window_is_found_as_it_was_written_with_the_one_that_it_replaces(book: Ledger) -> None:
    assert book.save_outcomes(window(3), 1000) == Window(start=START)
    assert book.save_outcomes(window(5), 2000) == window(3)
    assert book.outcomes(START, START) == [window(5)]
    assert book.outcomes_read_at(START, START) == {START: 2000}


def test_counts_that_were_read_earlier_or_at_the_same_time_replace_nothing(book: Ledger) -> None:
    book.save_outcomes(window(5), 2000)
    assert book.save_outcomes(window(3), 1000) is None
    assert book.save_outcomes(window(3), 2000) is None
    assert book.outcomes(START, START) == [window(5)]


def test_windows_and_days_are_read_by_their_times(book: Ledger) -> None:
    for start in ("2026-11-28T23:45Z", "2026-11-29T00:00Z", "2026-11-29T00:15Z"):
        book.save_outcomes(window(1, start), 1000)
    book.save_day(Window(start="2026-11-29", rows={PERSONALIZED: Counts(1)}))
    assert [one.start for one in book.outcomes("2026-11-29T00:00Z", "2026-11-29T23:45Z")] == [
        "2026-11-29T00:00Z",
        "2026-11-29T00:15Z",
    ]
    assert [one.start for one in book.outcomes_by_day("2026-11-01", "2026-11-30")] == ["2026-11-29"]


def test_items_expire_400_days_after_their_day(book: Ledger, cloud: Cloud) -> None:
    book.save_outcomes(window(1), 1000)
    book.save_day(Window(start="2026-11-29"))
    expected = Decimal(1_795_910_400 + 400 * 86_400)  # 2026-11-29T00:00:00Z
    assert cloud.item(outcomes.PK, START)["expiresAt"] == expected
    assert cloud.item(outcomes.DAY_PK, "2026-11-29")["expiresAt"] == expected
