"""Items that the newest data withdraw: they are in no answer, whichever model serves."""

from __future__ import annotations

import time
from collections.abc import Callable

from contracts.withdrawn import KEY, Withdrawn
from recommend.beside import Beside
from shared.signed import Bucket


class Withdrawal:
    """`serving/withdrawn.json`."""

    def __init__(self, bucket: Bucket, clock: Callable[[], float] = time.monotonic) -> None:
        self._document = Beside(bucket, KEY, Withdrawn.from_json, Withdrawn(), clock)

    def begin(self) -> None:
        """Begin to read the document if it is due."""
        self._document.begin()

    def items(self) -> frozenset[str]:
        """Return the withdrawn items that are known now."""
        return self._document.known().items
