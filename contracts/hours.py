"""The hours of the week in which the endpoint is there, such as `MON-FRI 06-20` (UTC)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_TEXT = re.compile(rf"({'|'.join(_DAYS)})-({'|'.join(_DAYS)}) ([01][0-9]|2[0-3])-([01][0-9]|2[0-4])")


@dataclass(frozen=True)
class Hours:
    """From `begin` o'clock, for `length` hours, on each of `days` (0 is Monday); a night belongs to its first day."""

    days: frozenset[int]
    begin: int
    length: int

    def has(self, moment: datetime) -> bool:
        """True if `moment` (UTC) is within the hours."""
        since = moment - timedelta(hours=self.begin)
        return since.weekday() in self.days and since.hour < self.length

    @property
    def a_week(self) -> int:
        """Number of hours in a week."""
        return len(self.days) * self.length


ALWAYS = Hours(frozenset(range(7)), 0, 24)


def parse(text: str) -> Hours:
    """Return the hours in `text`; ALWAYS for an empty one. Raises ValueError with a sentence."""
    if not text:
        return ALWAYS
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"must be days and hours of UTC, such as MON-FRI 06-20, not {text[:40]!r}")
    first, last = _DAYS.index(match[1]), _DAYS.index(match[2])
    days = frozenset((first + day) % 7 for day in range((last - first) % 7 + 1))
    return Hours(days, int(match[3]), (int(match[4]) - int(match[3])) % 24 or 24)
