"""The sum of the counts of a day's files. Pure.

Its size is bounded by the limits below, so the cost of a publication does not grow with the number of files or events.
Up to the limits the sums are exact. Beyond them, items that were chosen least in an hour or a day are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from contracts.documents import Unfit
from contracts.item_counts import SCHEMA_VERSION, Counts, hour_number, most, unpack
from contracts.values import is_integer

HOUR_ITEMS = 10_000
DAY_ITEMS = 20_000
"""Most items of an hour and of a day."""
SAFE_HOURS = 2
"""Hours after which a file's counts that were added may be removed. A call takes
minutes at most, so one that read the sum before they were in it can no longer replace this sum.
"""
_HOURS_STAY = 24  # hours after a day's end in which the shortest window may need its hours


class Rollup:
    """The sum: `counts` by period, and `files`, the digest of each file in it with the hour in which it was added."""

    def __init__(self) -> None:
        self.counts: Counts = {}
        self.files: dict[str, int] = {}

    @classmethod
    def from_bytes(cls, content: bytes, called: str) -> Rollup:
        """Read a stored sum. Raises Unfit."""
        document = unpack(content, called)
        files = document.get("files")
        if not isinstance(files, dict) or not all(is_integer(hour, 0) for hour in files.values()):
            raise Unfit(f"{called}: files must be an object of hours")
        made = cls()
        made.counts, made.files = document["counts"], files
        return made

    def add(self, digest: str, counts: Counts, hour: int) -> None:
        """Add the counts of a file in this hour; not if they are in the sum."""
        if digest in self.files:
            return
        self.files[digest] = hour
        for period, items in counts.items():
            into = self.counts.setdefault(period, {})
            for item, number in items.items():
                into[item] = into.get(item, 0) + number

    def tidy(self, hour: int) -> None:
        """Join the hours of each day that is over, and keep the items that were chosen most."""
        for period in [one for one in self.counts if "T" in one and _is_over(one[:10], hour)]:
            into = self.counts.setdefault(period[:10], {})
            for item, number in self.counts.pop(period).items():
                into[item] = into.get(item, 0) + number
        for period, items in self.counts.items():
            self.counts[period] = most(items, HOUR_ITEMS if "T" in period else DAY_ITEMS)

    def needs_tidying(self, hour: int) -> bool:
        """True if the hours of a day that is over are not joined."""
        return any("T" in period and _is_over(period[:10], hour) for period in self.counts)

    def removable(self, digests: Iterable[str], hour: int) -> list[str]:
        """Return those whose counts nobody needs any more."""
        return [one for one in digests if one in self.files and hour - self.files[one] >= SAFE_HOURS]

    def to_document(self) -> dict[str, Any]:
        return {"schemaVersion": SCHEMA_VERSION, "files": self.files, "counts": self.counts}


def _is_over(day: str, hour: int) -> bool:
    return hour - (hour_number(day) + 24) >= _HOURS_STAY
