"""Small documents in S3, cached in memory between requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from recommend.garbled import GarbledAnswer
from shared.signed import Bucket, NoAnswer

POPULAR_KEY = "serving/popular.json"
RULES_KEY = "serving/rules.json"
REFRESH_SECONDS = 60.0
RETRY_SECONDS = 5.0
"""Seconds to the next read after a failed one, while an earlier copy or a default is used."""

Content = TypeVar("Content")


class Absent(Exception):
    """Raised when the document does not exist and was never read before."""


class Refused(Absent):
    """Raised when S3 answers 403: without s3:ListBucket it does so for a missing key, and otherwise for a right that is
    missing.
    """


class Unreadable(Exception):
    """Raised when the document cannot be read now and was never read before; the message is safe to log."""


class Document(Generic[Content]):
    """The object `key` of a bucket, read on first use and then at most every `refresh_seconds`.

    If a read fails, the last good copy is used; before the first one, `otherwise`, if given.
    """

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        parse: Callable[[bytes], Content],
        clock: Callable[[], float] = time.monotonic,
        otherwise: Content | None = None,
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        self._bucket, self._key, self._parse, self._clock = bucket, key, parse, clock
        self._copy = otherwise
        self._refresh_seconds = refresh_seconds
        self._next_read = 0.0
        self.problem: str | None = None
        """Why the last read failed, while an earlier copy or `otherwise` is used; otherwise None."""
        self.unreadable = False
        """True if the last read failed although the document may exist."""
        self.refused: GarbledAnswer | None = None
        """The fault of the content that was read last; None if it has none or could not be read."""

    @property
    def is_due(self) -> bool:
        """True if `current` would read the object."""
        return self._copy is None or self._clock() >= self._next_read

    def current(self) -> Content:
        """Return the content. Raises `Absent` or `Unreadable` if there is neither an earlier copy nor `otherwise`."""
        if self._copy is not None and self._clock() < self._next_read:
            return self._copy
        wait = self._refresh_seconds
        try:
            self._copy = self._read()
            self.problem, self.unreadable = None, False
        except (Absent, Unreadable) as error:
            if self._copy is None:
                raise
            self.problem, self.unreadable = str(error), isinstance(error, Refused | Unreadable)
            wait = RETRY_SECONDS if self.unreadable else wait
        self._next_read = self._clock() + wait
        return self._copy

    def _read(self) -> Content:
        self.refused = None
        try:
            return self._parse(read(self._bucket, self._key))
        except GarbledAnswer as error:
            self.refused = error
            raise Unreadable(f"{self._key} is broken: {error}") from None


def read(bucket: Bucket, key: str) -> bytes:
    """Read an object. Raises `Absent` or `Unreadable`."""
    try:
        answer = bucket.get_object(key)
    except NoAnswer as error:
        raise Unreadable(f"{key} cannot be read: {error}") from None
    if answer.status in (403, 404):
        raise (Refused if answer.status == 403 else Absent)(f"{key} cannot be read: {answer.status}")
    if answer.status != 200:
        raise Unreadable(f"{key} cannot be read: {answer.status}")
    return answer.content
