"""`contracts/time_forms.py`: which times need a pattern, and which one. That Spark reads them so is in
tests/unit/emr/test_times.py."""

from __future__ import annotations

import pytest

from contracts import time_forms
from contracts.time_forms import patterns_of
from tests.times import BY_PATTERN


@pytest.mark.parametrize(("text", "pattern"), BY_PATTERN)
def test_a_text_tells_its_pattern(text: str, pattern: str) -> None:
    assert patterns_of([text]) == (pattern,)
    assert time_forms.fault(pattern) is None


@pytest.mark.parametrize(
    "text",
    [
        "1700000000", "1700000000123", "1.7e9", "1646128800 +0000", "20240131", "2024-01-31", "2024/1/31",
        "2019-10-01 00:00:00 UTC", "2024-01-31T23:59:59.123456789+02:00", "2024-01-31 5:07",
    ],
)  # fmt: skip
def test_what_is_read_without_a_pattern_needs_none(text: str) -> None:
    assert patterns_of([text]) == (() if text == "1.7e9" else None)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["12/1/2010 8:26", "1/12/2010 8:26"], ("M/d/yyyy H:mm", "d/M/yyyy H:mm")),
        (["12/1/2010", "12/31/2010"], ("M/d/yyyy",)),
        (["12/1/2010", "31/12/2010"], ("d/M/yyyy",)),
        (["12/13/2010", "31/12/2010"], ()),  # neither fits both
        (["1.2.2010"], ("d.M.yyyy",)),  # points stand between day, month and year alone
        (["2010.1.2"], ("yyyy.M.d",)),
        (["2023-01-02", "2023-31-01"], ("yyyy-d-M",)),
        (["2023-01-02", "2023-01-03", "2023-31-31"], None),  # a bad row says nothing about the others
        (["32/1/2010"], ()),
        (["May 5, 2021"], ("MMM d, yyyy",)),
        (["23-11-05"], ("d-M-yy", "yy-M-d")),
        (["May 5, 2021", "June 5, 2021"], ("MMMM d, yyyy",)),
        (["Mai 5, 2021"], ()),
        (["soon"], ()),
        (["", ""], None),
        ([], None),
        (["1/31/2010"] * 99 + ["soon"], ("M/d/yyyy",)),
        (["1/31/2010"] * 9 + ["soon"], ()),
    ],
)
def test_all_texts_tell_the_pattern(texts: list[str], expected: tuple[str, ...] | None) -> None:
    assert patterns_of(texts) == expected


def test_numbers_that_a_spreadsheet_shows_as_dates_are_days() -> None:
    assert time_forms.are_days(["45201", "45201.97", "25569,5"])
    assert not time_forms.are_days(["45201", "1700000000"])
    assert not time_forms.are_days(["711"])
    assert not time_forms.are_days([])


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("YYYY-MM-dd", "it has 'YYYY'"),
        ("%d.%m.%Y", "it has 'Y'"),
        ("HH:mm", "it has no year"),
        ("dd MMM yyyy EEE", "it has 'EEE'"),
    ],
)
def test_what_is_no_pattern_is_told(pattern: str, problem: str) -> None:
    assert problem in str(time_forms.fault(pattern))
