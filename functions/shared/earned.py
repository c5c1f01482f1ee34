"""Outcomes of recommendations in the run ledger: one item a window and one a day (`contracts.outcomes`)."""

from __future__ import annotations

from datetime import datetime

from boto3.dynamodb.conditions import Attr, Key

from contracts import outcomes
from contracts.outcomes import Window
from shared.table import Table

KEPT_SECONDS = 400 * 24 * 3600


class Earned(Table):
    """The part of the ledger with the outcomes of recommendations."""

    def outcomes(self, first: str, last: str) -> list[Window]:
        """Return the windows that start from `first` to `last`, both included, such as `2026-11-29T10:15Z`."""
        return self._windows(outcomes.PK, first, last)

    def outcomes_by_day(self, first: str, last: str) -> list[Window]:
        """Return the days from `first` to `last`, both included, such as `2026-11-29`."""
        return self._windows(outcomes.DAY_PK, first, last)

    def outcomes_read_at(self, first: str, last: str) -> dict[str, int]:
        """Return, by its start, when the events of a counted window were read last (epoch milliseconds)."""
        items = self._query(
            outcomes.PK,
            KeyConditionExpression=Key("pk").eq(outcomes.PK) & Key("sk").between(first, last),
            ProjectionExpression="sk, readAt",
            ConsistentRead=True,
        )
        return {item["sk"]: item["readAt"] for item in items}

    def save_outcomes(self, window: Window, read_at: int) -> Window | None:
        """Write the counts of a window whose events were read from `read_at` on (epoch milliseconds). Returns the
        counts that they replace; None, and unchanged, if counts of the same time or later are there.
        """
        before = self._replace(
            outcomes.PK,
            window.start,
            Attr("pk").not_exists() | Attr("readAt").lt(read_at),
            readAt=read_at,
            expiresAt=_expiry(window.start),
            **window.to_item(),
        )
        return None if before is None else Window.from_item({**before, "sk": window.start})

    def save_day(self, day: Window) -> None:
        """Write the counts of a day."""
        self._update(outcomes.DAY_PK, day.start, expiresAt=_expiry(day.start), **day.to_item())

    def _windows(self, pk: str, first: str, last: str) -> list[Window]:
        condition = Key("pk").eq(pk) & Key("sk").between(first, last)
        return [
            Window.from_item(item) for item in self._query(pk, KeyConditionExpression=condition, ConsistentRead=True)
        ]


def _expiry(start: str) -> int:
    return int(datetime.fromisoformat(f"{start[:10]}T00:00:00+00:00").timestamp()) + KEPT_SECONDS
