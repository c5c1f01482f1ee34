"""One DynamoDB table of small items, with conditional writes.

A write returns False if its condition failed. Reads of an item are strongly consistent; those of the index `byKind`
may be about a second behind. Every method raises DependencyFailed or MissingResource when DynamoDB fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import boto3
from boto3.dynamodb.conditions import ConditionBase, Key
from botocore.config import Config
from botocore.exceptions import ClientError

from shared.clients import calling, code_of


class Table:
    """The table `table_name`; subclasses define its items. `clock` returns epoch seconds."""

    def __init__(self, table_name: str, clock: Callable[[], float] = time.time) -> None:
        config = Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=3, read_timeout=10)
        self._table = boto3.resource("dynamodb", config=config).Table(table_name)
        self._clock = clock

    def seconds(self) -> float:
        """Return the time as epoch seconds."""
        return self._clock()

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _get(self, pk: str, sk: str) -> dict[str, Any] | None:
        with calling("dynamodb GetItem"):
            item = self._table.get_item(Key={"pk": pk, "sk": sk}, ConsistentRead=True).get("Item")
        return _plain(item) if item else None

    def _update(self, pk: str, sk: str, condition: ConditionBase | None = None, **attributes: Any) -> bool:
        return self._replace(pk, sk, condition, **attributes) is not None

    def _replace(
        self, pk: str, sk: str, condition: ConditionBase | None = None, **attributes: Any
    ) -> dict[str, Any] | None:
        """Set `attributes`. Returns the item as it was before, {} if there was none; None if the condition failed."""
        attributes["updatedAt"] = self._now()
        names = {f"#{position}": name for position, name in enumerate(attributes)}
        values = {f":{position}": _storable(value) for position, value in enumerate(attributes.values())}
        call: dict[str, Any] = {
            "Key": {"pk": pk, "sk": sk},
            "UpdateExpression": "SET " + ", ".join(f"#{position} = :{position}" for position in range(len(attributes))),
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
            "ReturnValues": "ALL_OLD",
        }
        if condition is not None:
            call["ConditionExpression"] = condition
        answer = self._conditionally("dynamodb UpdateItem", self._table.update_item, call)
        return None if answer is None else _plain(answer.get("Attributes", {}))

    def _delete(self, pk: str, sk: str, condition: ConditionBase | None = None) -> bool:
        call: dict[str, Any] = {"Key": {"pk": pk, "sk": sk}}
        if condition is not None:
            call["ConditionExpression"] = condition
        return self._conditionally("dynamodb DeleteItem", self._table.delete_item, call) is not None

    @staticmethod
    def _conditionally(what: str, operation: Callable[..., Any], call: dict[str, Any]) -> dict[str, Any] | None:
        with calling(what):
            try:
                return dict(operation(**call))
            except ClientError as error:
                if code_of(error) == "ConditionalCheckFailedException":
                    return None
                raise

    def _by_kind(self, kind: str) -> list[dict[str, Any]]:
        return self._query("byKind", IndexName="byKind", KeyConditionExpression=Key("kind").eq(kind))

    def _under(self, pk: str) -> list[dict[str, Any]]:
        return self._query(pk, KeyConditionExpression=Key("pk").eq(pk), ConsistentRead=True)

    def _query(self, what: str, **query: Any) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        while True:
            with calling(f"dynamodb Query {what}"):
                page = self._table.query(**query)
            items += [_plain(item) for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                return items
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _storable(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(str(value))
    if isinstance(value, dict):
        return {name: _storable(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_storable(inner) for inner in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
