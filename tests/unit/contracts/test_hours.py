"""The hours of the endpoint."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from contracts import hours


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """2026-11-`day`; the 23rd is a Monday."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment", "is_open"),
    [
        ("MON-FRI 06-20", at(23, 6), True),
        ("MON-FRI 06-20", at(23, 5, 59), False),
        ("MON-FRI 06-20", at(27, 19, 59), True),
        ("MON-FRI 06-20", at(27, 20), False),
        ("MON-FRI 06-20", at(28, 12), False),
        ("MON-MON 00-24", at(23, 23, 59), True),
        ("MON-MON 00-24", at(24, 0), False),
        ("FRI-SAT 22-04", at(28, 3, 59), True),
        ("FRI-SAT 22-04", at(29, 3, 59), True),
        ("FRI-SAT 22-04", at(27, 3), False),
        ("SAT-MON 08-10", at(22, 9), True),
        ("SAT-MON 08-10", at(24, 9), False),
        ("", at(22, 3), True),
    ],
)
def test_a_moment_is_within_the_hours_or_not(text: str, moment: datetime, is_open: bool) -> None:
    assert hours.parse(text).has(moment) is is_open


@pytest.mark.parametrize(
    ("text", "number"), [("", 168), ("MON-FRI 06-20", 70), ("FRI-SAT 22-04", 12), ("MON-SUN 00-24", 168)]
)
def test_the_hours_of_a_week(text: str, number: int) -> None:
    assert hours.parse(text).a_week == number


@pytest.mark.parametrize("text", ["MON 06-20", "MON-FRI 6-20", "MON-FRI 06-25", "mon-fri 06-20", "MON-FRI 06-20 "])
def test_other_hours_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as MON-FRI 06-20, not"):
        hours.parse(text)
