"""The table of recent events in DynamoDB; `contracts/recent_events.py` defines its items.

Items are in DynamoDB's own form (`{"pk": {"S": "U#42"}, …}`), because a customer's page waits. All methods raise
DependencyFailed or MissingResource when DynamoDB fails.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from contracts import recent_events
from shared.errors import DependencyFailed
from shared.signed import DynamoDB

Item = dict[str, dict[str, str]]
_TRIES = 6
_FIRST_WAIT_SECONDS = 0.05
_BATCH = 25


class RecentEvents:
    """The table `name`."""

    def __init__(self, dynamodb: DynamoDB, name: str) -> None:
        self._dynamodb, self._name = dynamodb, name

    def keep(self, items: Iterable[Item]) -> None:
        """Write items; of several with one key the last counts."""
        self._write({(item["pk"]["S"], item["sk"]["S"]): {"PutRequest": {"Item": item}} for item in items})

    def remove(self, items: Iterable[Item]) -> None:
        """Delete items; those that do not exist are left alone."""
        keys = ({name: item[name] for name in ("pk", "sk")} for item in items)
        self._write({(key["pk"]["S"], key["sk"]["S"]): {"DeleteRequest": {"Key": key}} for key in keys})

    def newest(self, pk: str, most: int) -> list[Item]:
        """Return the newest events of a person or session, the newest first, at most `most`; of a session with a user,
        the item that names the user is the first.
        """
        answer = self._dynamodb.query(
            **self._of(pk), IndexName=recent_events.BY_TIME, ScanIndexForward=False, Limit=most
        )
        found: list[Item] = answer["Items"]
        return found

    def all_of(self, pk: str) -> Iterator[Item]:
        """Yield all items of a person or session, also those that are no events."""
        query = self._of(pk)
        while True:
            page = self._dynamodb.query(**query)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _of(self, pk: str) -> dict[str, Any]:
        return {
            "TableName": self._name,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": pk}},
            "ConsistentRead": True,
        }

    def _write(self, requests: dict[tuple[str, str], Any]) -> None:
        waiting = iter(requests.values())
        while batch := list(islice(waiting, _BATCH)):
            self._write_batch(batch)

    def _write_batch(self, batch: list[Any]) -> None:
        for tried in range(_TRIES):
            if tried:
                time.sleep(random.uniform(0, _FIRST_WAIT_SECONDS * 2**tried))
            answer = self._dynamodb.batch_write_item(RequestItems={self._name: batch})
            batch = answer.get("UnprocessedItems", {}).get(self._name, [])
            if not batch:
                return
        raise DependencyFailed(f"dynamodb BatchWriteItem left {len(batch)} items unwritten in {_TRIES} tries")
