"""Small documents that are read beside the answer: no request waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Generic, TypeVar

from contracts.documents import Unfit
from recommend.budget import CALLS
from recommend.documents import Document
from recommend.garbled import GarbledAnswer
from shared.signed import Bucket

Content = TypeVar("Content")


class Beside(Generic[Content]):
    """The object `key` of a bucket, read at most once a minute. What is read counts as soon as it is there, and until
    then what was known before: first `otherwise`. `parse` raises Unfit.
    """

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        parse: Callable[[bytes], Content],
        otherwise: Content,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._document = Document(bucket, key, _checked(parse), clock, otherwise)
        self._reading: Future[Content] | None = None
        self._known = otherwise
        self._was_read = False

    @property
    def problem(self) -> str | None:
        """Why the document cannot be read, while what was known before counts; otherwise None."""
        return self._document.problem if self._document.unreadable else None

    def begin(self) -> None:
        """Begin to read the document if it is due."""
        if self._reading is None and self._document.is_due:
            self._reading = CALLS.submit(self._document.current)

    def known(self, first_wait: float = 0.0) -> Content:
        """Return what is known now. Until the first read has ended, it is waited for at most `first_wait` seconds."""
        if self._reading is not None:
            if not self._was_read:
                wait_for([self._reading], first_wait)
            if self._reading.done():
                self._known, self._reading, self._was_read = self._reading.result(), None, True
        return self._known


def _checked(parse: Callable[[bytes], Content]) -> Callable[[bytes], Content]:
    def parsed(content: bytes) -> Content:
        try:
            return parse(content)
        except Unfit as error:
            raise GarbledAnswer(str(error)) from None

    return parsed
