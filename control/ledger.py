"""Reads the run ledger: the serving model, the runs with their decisions and reasons, the open jobs. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from contracts.outcomes import PK, Window
from control.connection import Clients

REFUSED = ("REFUSED", "QUARANTINED")
UNFINISHED = ("RUNNING", "PARKED")


def plain(value: Any) -> Any:
    """A DynamoDB value without Decimals and sets: whole numbers as int, others as float, sets as sorted lists."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


class Ledger:
    """Reads the table `name`."""

    def __init__(self, clients: Clients, name: str) -> None:
        self.client = clients.client("dynamodb")
        self.name = name
        self._deserializer = TypeDeserializer()

    def _record(self, item: Mapping[str, Any]) -> dict[str, Any]:
        return {name: plain(self._deserializer.deserialize(value)) for name, value in item.items()}

    def item(self, pk: str, sk: str) -> dict[str, Any]:
        """One record, or {}."""
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        return self._record(self.client.get_item(TableName=self.name, Key=key, ConsistentRead=True).get("Item", {}))

    def run(self, run_id: str) -> dict[str, Any]:
        return self.item(f"RUN#{run_id}", "STATE")

    def dataset(self, version: str) -> dict[str, Any]:
        return self.item(f"DATASET#{version}", "STATE")

    def decision(self, run_id: str, stage: str) -> dict[str, Any]:
        return self.item(f"RUN#{run_id}", f"DECISION#{stage}")

    def decisions_of(self, run_id: str) -> dict[str, dict[str, Any]]:
        """The decisions of a run by their stage."""
        found = self.client.query(
            TableName=self.name,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={":pk": {"S": f"RUN#{run_id}"}, ":sk": {"S": "DECISION#"}},
            ConsistentRead=True,
        )
        return {item["sk"]["S"].removeprefix("DECISION#"): self._record(item) for item in found["Items"]}

    def serving(self) -> dict[str, Any]:
        return self.item("SERVING", "CURRENT")

    def history(self) -> list[dict[str, Any]]:
        """The items of the serving record, for `contracts.history`."""
        pages = self.client.get_paginator("query").paginate(
            TableName=self.name,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": "SERVING"}},
            ConsistentRead=True,
        )
        return [self._record(item) for page in pages for item in page["Items"]]

    def outcomes(self, first: str, last: str) -> list[Window]:
        """Outcomes of the windows that start from `first` to `last`."""
        pages = self.client.get_paginator("query").paginate(
            TableName=self.name,
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeValues={":pk": {"S": PK}, ":first": {"S": first}, ":last": {"S": last}},
        )
        return [Window.from_item(self._record(item)) for page in pages for item in page["Items"]]

    def split(self) -> dict[str, Any]:
        """The second model of a traffic split, or {}."""
        found = self.item("SERVING", "SPLIT")
        return found if found.get("percent") else {}

    def trial(self, split: Mapping[str, Any]) -> dict[str, Any]:
        """The trial that a split began, or {}."""
        return self.item(f"TRIAL#{str(split.get('by')).rpartition(':')[2]}", "STATE")

    def of_kind(self, kind: str, limit: int = 100) -> list[dict[str, Any]]:
        """The records of a kind, the last updated first."""
        found = self.client.query(
            TableName=self.name,
            IndexName="byKind",
            KeyConditionExpression="kind = :kind",
            ExpressionAttributeValues={":kind": {"S": kind}},
            ScanIndexForward=False,
            Limit=limit,
        )
        return [self._record(item) for item in found["Items"]]

    def some_of_kind(self, kind: str, status: str, after: str, limit: int) -> tuple[list[dict[str, Any]], str]:
        """At most `limit` records of a kind are read, the last updated first; return those with `status` (all without
        one), and where to go on (`<updatedAt>~<pk>`, as `after`), nothing at the end.
        """
        query: dict[str, Any] = {
            "TableName": self.name,
            "IndexName": "byKind",
            "KeyConditionExpression": "kind = :kind",
            "ExpressionAttributeValues": {":kind": {"S": kind}},
            "ScanIndexForward": False,
            "Limit": limit,
        }
        if status:
            query["FilterExpression"] = "#status = :status"
            query["ExpressionAttributeNames"] = {"#status": "status"}
            query["ExpressionAttributeValues"][":status"] = {"S": status}
        if after:
            updated, pk, sk = [*after.split("~", 2), "STATE"][:3]
            start = {"kind": kind, "updatedAt": updated, "pk": pk, "sk": sk}
            query["ExclusiveStartKey"] = {name: {"S": value} for name, value in start.items()}
        found = self.client.query(**query)
        last = found.get("LastEvaluatedKey")
        names = ("updatedAt", "pk") if last and last["sk"]["S"] == "STATE" else ("updatedAt", "pk", "sk")
        more = "~".join(last[name]["S"] for name in names) if last else ""
        return [self._record(item) for item in found["Items"]], more


def key_of(record: Mapping[str, Any]) -> str:
    """The name in a record's partition key: `RUN#v…-r1` → `v…-r1`."""
    return str(record.get("pk", "")).partition("#")[2]


def newest_first(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Records by start time, the newest first; those without one come last, by name."""
    return sorted(records, key=lambda record: (moment(record.get("startedAt")) or 0.0, key_of(record)), reverse=True)


def reasons_of(record: Mapping[str, Any]) -> list[str]:
    """The reasons in a record and its error, if any: distinct sentences, in order."""
    reasons = record.get("reasons") or []
    found = [reasons] if isinstance(reasons, str) else [str(reason) for reason in reasons]
    error = record.get("error")
    if isinstance(error, Mapping):
        error = ": ".join(str(error[name]) for name in ("error", "Error", "cause", "Cause") if error.get(name))
    if error and not any(str(error) in reason for reason in found):
        found.append(str(error))
    return list(dict.fromkeys(found))


def moment(value: Any) -> float | None:
    """Epoch seconds of a time in the ledger (epoch seconds, or ISO-8601), or None."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            return None
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    return None


def when(value: Any) -> str:
    """A time in the ledger as text, in the machine's time zone; `-` if there is none."""
    seconds = moment(value)
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S") if seconds is not None else "-"


def duration(start: Any, end: Any) -> str:
    """Seconds between two times in the ledger, as text; `-` if one is missing."""
    first, last = moment(start), moment(end)
    return f"{last - first:.0f} s" if first is not None and last is not None else "-"
