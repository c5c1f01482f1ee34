"""The users' lists from a batch, read part by part when the endpoint does not answer."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from recommend.budget import Budget
from recommend.documents import Absent, Document, Unreadable, read
from recommend.garbled import GarbledAnswer
from recommend.list_filter import ListFilter
from recommend.ranking import Ranking
from recommend.stored_lists import NO_LISTS, Lists, Part
from shared.signed import Bucket

POINTER_KEY = "serving/batch.json"
POINTER_SECONDS = 10.0
"""Seconds between two reads of the pointer, which is read only while the endpoint does not answer."""
KEPT_BYTES = 8 << 20
"""Maximum bytes of the parts in memory, as JSON; only the last part read may be larger. Some 16 parts of 256 users: all
users of a small shop, the most active of a large one."""
LEAST_SECONDS = 0.03
"""Minimum seconds for a read after the endpoint has used up the budget. A later result serves the next request."""


class Batch:
    """The lists under the prefix in `serving/batch.json`."""

    def __init__(self, bucket: Bucket, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket = bucket
        self._pointer = Document(bucket, POINTER_KEY, Lists.from_json, clock, NO_LISTS, POINTER_SECONDS)
        self._parts: OrderedDict[str, tuple[Part, int]] = OrderedDict()

    def ranking(self, user_id: str, number: int, list_filter: ListFilter, budget: Budget) -> Ranking | None:
        """Return the user's list, filtered; None if there is none, if it is too short, or if it cannot be read in
        time. Raises `GarbledAnswer` for a list, or a pointer to it, that must not be used; the message names no user.
        """
        try:
            return budget.at_least(LEAST_SECONDS).spend(lambda: self._ranking(user_id, number, list_filter))
        except (TimeoutError, Absent, Unreadable):
            return None

    def _ranking(self, user_id: str, number: int, list_filter: ListFilter) -> Ranking | None:
        lists = self._pointer.current()
        if lists is NO_LISTS:
            if self._pointer.refused:
                raise GarbledAnswer(f"{POINTER_KEY} is broken: {self._pointer.refused}", self._pointer.refused.reason)
            return None
        key = lists.key_of(user_id)
        try:
            return self._part(key).ranking(user_id, number, list_filter, lists.num_results)
        except GarbledAnswer as error:
            raise GarbledAnswer(f"{key} is broken: {error}", error.reason) from None

    def _part(self, key: str) -> Part:
        kept = self._parts.get(key)
        if kept is None:
            content = read(self._bucket, key)
            kept = Part.from_json(content), len(content)
            while self._parts and sum(size for _, size in self._parts.values()) + len(content) > KEPT_BYTES:
                self._parts.popitem(last=False)
        self._parts[key] = kept
        return kept[0]
