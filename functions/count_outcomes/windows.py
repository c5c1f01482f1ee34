"""Windows that are to be counted, from the times at which they were counted before. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.recent_events import WINDOW_SECONDS, window_start

MINUTE, HOUR = 60, 3600
AGES = (0, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 6 * HOUR)
"""Seconds after its end at which a window is counted again, for events that arrive late. Later ones do not count."""
CATCH_UP_SECONDS = 24 * HOUR
"""Age of the oldest window that is counted, after a time without counting. Events are kept as long."""


def due(now: float, read_at: Mapping[str, int]) -> list[str]:
    """Return the starts of the windows to count at `now` (epoch seconds), the earliest first.

    `read_at` has, by its start, when a window's events were read last (epoch milliseconds). The window that has not
    ended is always due.
    """
    newest = int(now) // WINDOW_SECONDS * WINDOW_SECONDS
    found = []
    for start in range(newest - CATCH_UP_SECONDS, newest + 1, WINDOW_SECONDS):
        name, end = window_start(start * 1000), start + WINDOW_SECONDS
        read = read_at.get(name)
        if read is None or now < end or any(read < (end + age) * 1000 <= now * 1000 for age in AGES):
            found.append(name)
    return found


def first(now: float) -> str:
    """Return the start of the oldest window that can be due."""
    return window_start((int(now) - CATCH_UP_SECONDS) * 1000)
