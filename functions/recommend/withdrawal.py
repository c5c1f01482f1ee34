"""Items that the newest data withdraw: they are in no answer, whichever model serves."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future

from contracts.documents import Unfit
from contracts.withdrawn import KEY, Withdrawn
from recommend.aws import Bucket
from recommend.budget import CALLS
from recommend.documents import Document
from recommend.garbled import GarbledAnswer


class Withdrawal:
    """`serving/withdrawn.json`, read at most once a minute and beside the answer: no request waits for it. What is
    read counts as soon as it is there, and until then what was known before.
    """

    def __init__(self, bucket: Bucket, clock: Callable[[], float] = time.monotonic) -> None:
        self._document = Document(bucket, KEY, _parsed, clock, Withdrawn())
        self._reading: Future[Withdrawn] | None = None
        self._known = Withdrawn()

    def begin(self) -> None:
        """Begin to read the document if it is due."""
        if self._reading is None and self._document.is_due:
            self._reading = CALLS.submit(self._document.current)

    def items(self) -> frozenset[str]:
        """Return the withdrawn items that are known now."""
        if self._reading is not None and self._reading.done():
            self._known, self._reading = self._reading.result(), None
        return self._known.items


def _parsed(content: bytes) -> Withdrawn:
    try:
        return Withdrawn.from_json(content)
    except Unfit as error:
        raise GarbledAnswer(str(error)) from None
