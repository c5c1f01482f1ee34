"""Ages and keys of windows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from control import health


@pytest.mark.parametrize(("seconds", "words"), [(90, "2 min"), (7200, "2 h"), (3 * 86400, "3 days")])
def test_says_an_age_in_a_fitting_unit(seconds: int, words: str) -> None:
    assert health.age(1_000_000, 1_000_000 + seconds) == words


def test_an_age_without_a_time_is_unknown() -> None:
    assert health.age(None, 1.0) == "unknown"


def test_a_day_of_windows_ends_now() -> None:
    assert health.day_before(datetime(2026, 3, 1, 10, 15, tzinfo=UTC)) == ("2026-02-28T10:15Z", "2026-03-01T10:15Z")


def test_the_newest_dataset_is_found_whatever_the_order() -> None:
    times = ["2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00", "2026-01-01T00:00:00+00:00"]
    assert health.newest({"updatedAt": at} for at in times) == times[1]
    assert health.newest([]) is None
