"""Documents of the shop in S3, about events and people, read again after some seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from contracts.documents import Unfit
from shared.errors import FunctionError
from shared.objects import Bucket

Content = TypeVar("Content")
RETRY_SECONDS = 5.0
"""Seconds to the next read after one that failed."""


class Document(Generic[Content]):
    """The object `key`, read on first use and then at most every `seconds`; `otherwise`, if it does not exist.

    If it cannot be read, the last good copy counts, and before the first one `otherwise`.
    """

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        parse: Callable[[bytes], Content],
        otherwise: Content,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bucket, self._key, self._parse, self._clock = bucket, key, parse, clock
        self._copy = self._otherwise = otherwise
        self._seconds, self._next_read = seconds, float("-inf")
        self._etag = ""

    def current(self, warn: Callable[[str], None]) -> Content:
        """Return the content; `warn` gets the reason if it cannot be read."""
        if self._clock() < self._next_read:
            return self._copy
        try:
            found = self._bucket.get(self._key, forbidden_is_absent=True)
            if found is None:
                self._copy, self._etag = self._otherwise, ""
            elif found.etag != self._etag:
                self._copy, self._etag = self._parse(found.content), found.etag
            self._next_read = self._clock() + self._seconds
        except (FunctionError, Unfit) as error:
            warn(str(error))
            self._next_read = self._clock() + RETRY_SECONDS
        return self._copy
