"""The count of one file's events, by hour and item. Pure.

A person counts an item once in a file, and at most `PERSON_ITEMS` items: a robot that clicks through the catalogue
counts no more than a busy customer. The memory is bounded by the limits below, whatever the lines hold.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import IO, Any

from contracts import limits
from contracts.event_types import EventTypes
from contracts.item_counts import DAYS_KEPT, HOUR_MILLISECONDS, SCHEMA_VERSION, Counts, hour_name
from contracts.values import is_integer, is_unicode

PERSON_ITEMS = 100
"""Most items that one person counts in one file."""
LINE_BYTES = 1 << 16
"""A longer line is not read."""
FILE_BYTES = 1 << 28
"""What follows in an unpacked file is not read; a delivery has at most 128 MiB."""
FILE_ITEMS = 200_000
"""Most pairs of hour and item that the counts of a file have; later ones are left out."""
_LATEST = 4_102_444_800_000  # 2100, epoch milliseconds


class Counting:
    """The counts of the lines that were added so far."""

    def __init__(self, types: EventTypes) -> None:
        self._types = types
        self._is_history: dict[str, bool] = {}
        self._by_hour: dict[int, dict[str, int]] = {}
        self._pairs = 0
        # Hashes alone: a file has a million events. Python's are keyed by a secret of the process.
        self._chosen: set[int] = set()
        self._items_of: dict[int, int] = {}
        self.figures = dict.fromkeys(("counted", "again", "robots", "otherTypes", "old", "tooMany", "unreadable"), 0)
        """How many lines were counted, or why they were not."""

    def add(self, line: bytes) -> None:
        """Count one line. One that cannot be read is only counted as such."""
        self.figures[self._outcome(line)] += 1

    def to_document(self) -> dict[str, Any]:
        counts: Counts = {hour_name(hour): items for hour, items in self._by_hour.items()}
        return {"schemaVersion": SCHEMA_VERSION, "counts": counts}

    def _outcome(self, line: bytes) -> str:
        try:
            event = json.loads(line)
            person, item, kind, at = event["USER_ID"], event["ITEM_ID"], event["EVENT_TYPE"], event["TIMESTAMP"]
            received = event.get("RECEIVED_AT", at)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return "unreadable"
        if not (_is_id(item) and isinstance(person, str) and isinstance(kind, str) and _is_time(at, received)):
            return "unreadable"
        if not self._counts(kind):
            return "otherTypes"
        hour = min(at, received) // HOUR_MILLISECONDS  # no clock of a customer is ahead of ours
        if received // HOUR_MILLISECONDS - hour > DAYS_KEPT * 24:
            return "old"
        who = hash(person)
        pair = hash((who, item))
        if pair in self._chosen:
            return "again"
        number = self._items_of.get(who, 0)
        if number >= PERSON_ITEMS:
            return "robots"
        items = self._by_hour.setdefault(hour, {})
        if item not in items:
            if self._pairs >= FILE_ITEMS:
                return "tooMany"
            self._pairs += 1
        self._chosen.add(pair)
        self._items_of[who] = number + 1
        items[item] = items.get(item, 0) + 1
        return "counted"

    def _counts(self, kind: str) -> bool:
        known = self._is_history.get(kind)
        if known is None:
            known = self._types.of(kind).is_history
            if len(self._is_history) < 1000:
                self._is_history[kind] = known
        return known


def lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """Yield the lines of a packed file of any number of members; None for one that is too long, and at the end if the
    file is damaged or too large. What comes before the damage counts.
    """
    left, is_rest = FILE_BYTES, False
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            while line := unpacked.readline(LINE_BYTES):
                left -= len(line)
                if left < 0:
                    yield None
                    return
                is_cut = len(line) == LINE_BYTES and not line.endswith(b"\n")
                if is_rest or is_cut:
                    if not is_cut:
                        yield None
                    is_rest = is_cut
                elif line.strip():
                    yield line
    except (gzip.BadGzipFile, EOFError, zlib.error):
        yield None


def count(file: IO[bytes], types: EventTypes) -> Counting:
    """Count the events of a packed file of lines."""
    counting = Counting(types)
    for line in lines(file):
        counting.add(line if line is not None else b"")
    return counting


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= limits.ID_CHARACTERS and is_unicode(value)


def _is_time(*values: Any) -> bool:
    return all(is_integer(value, 0, _LATEST) for value in values)
