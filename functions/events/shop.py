"""Documents of the shop in S3, about events and people, read again after some seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from contracts.documents import Unfit
from shared.signed import Bucket, NoAnswer

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
            answer = self._bucket.get_object(self._key)
            if answer.status == 404:  # 403 is a refusal: the function may list the bucket
                self._copy, self._etag = self._otherwise, ""
            elif answer.status != 200:
                raise Unfit(f"the answer is {answer.status}")
            elif answer.headers["etag"] != self._etag:
                self._copy, self._etag = self._parse(answer.content), answer.headers["etag"]
            self._next_read = self._clock() + self._seconds
        except (NoAnswer, Unfit) as error:
            warn(f"{self._key}: {error}")
            self._next_read = self._clock() + RETRY_SECONDS
        return self._copy
