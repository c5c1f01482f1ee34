"""The popularity list of the model that was promoted last, kept in memory between requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from recommend.ranking import GarbledAnswer, Popularity

KEY = "serving/popular.json"
REFRESH_SECONDS = 60.0
# Without s3:ListBucket, S3 answers for a key that is not there as for one that may not be read.
_ABSENT = {"NoSuchKey", "404", "AccessDenied", "403"}


class NothingDeployed(Exception):
    """Raised when there is no popularity list: no model was ever promoted."""


class PopularityUnavailable(Exception):
    """Raised when the list cannot be read now and was never read before; the message is safe to log."""


class PopularityList:
    """`serving/popular.json` of a bucket, read when it is first needed and at most every `REFRESH_SECONDS` after that.

    The last good copy is kept when reading fails. `connect` makes the S3 client, when it is first needed: where the
    endpoint answers there is no need of it, and it would cost every cold start.
    """

    def __init__(self, connect: Callable[[], Any], bucket: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._connect = connect
        self._bucket = bucket
        self._clock = clock
        self._client: Any = None
        self._copy: Popularity | None = None
        self._next_read = 0.0
        self.problem: str | None = None
        """Why the last reading failed, if it did and an earlier copy stands in."""

    def current(self) -> Popularity:
        """The list. Raises `NothingDeployed` or `PopularityUnavailable` if there is no copy of it."""
        if self._copy is not None and self._clock() < self._next_read:
            return self._copy
        try:
            self._copy = self._read()
            self.problem = None
        except (NothingDeployed, PopularityUnavailable) as error:
            if self._copy is None:
                raise
            self.problem = str(error)
        self._next_read = self._clock() + REFRESH_SECONDS
        return self._copy

    def _read(self) -> Popularity:
        if self._client is None:
            self._client = self._connect()
        try:
            response = self._client.get_object(Bucket=self._bucket, Key=KEY)
            return Popularity.from_json(response["Body"].read())
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _ABSENT:
                raise NothingDeployed(f"{KEY} cannot be read: {code}") from None
            raise PopularityUnavailable(f"{KEY} cannot be read: {code}") from None
        except BotoCoreError as error:
            raise PopularityUnavailable(f"{KEY} cannot be read: {type(error).__name__}") from None
        except GarbledAnswer as error:
            raise PopularityUnavailable(f"{KEY} is broken: {error}") from None
