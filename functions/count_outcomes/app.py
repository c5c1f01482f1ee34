"""Count what recommendations earned, every 15 minutes: from the events that name one to the ledger's windows and days,
and to metrics.

A window is counted from scratch, again and again until 6 hours after its end (`windows.AGES`), so a call may end
anywhere and two may overlap: each window is one conditional write, and the counts that were read last stay. A metric is
the difference to the counts that the write replaced, at the window's time. A call that ends between the two loses the
difference in the metrics; the ledger has it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from contracts import outcomes, recent_events
from contracts.event_types import EventTypes
from contracts.outcomes import Answers, Counts, Window
from count_outcomes import windows
from count_outcomes.counting import Count
from shared import environment, event_types
from shared.clients import calling, client
from shared.ledger import Ledger
from shared.objects import Bucket
from shared.observability import logger, observed

WORK_SECONDS = 600
"""Seconds after which a call begins no further window; the next call counts those that are left."""


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    artifacts_bucket: str
    events_table: str
    stack_id: str
    maximum_events_per_window: int


SETTINGS = environment.load(Settings)
LEDGER = Ledger(SETTINGS.runs_table)
ARTIFACTS = Bucket(client("s3"), SETTINGS.artifacts_bucket)
DYNAMODB = client("dynamodb")
# `item`, `type` and `value` are reserved words of DynamoDB.
_ATTRIBUTES = {"#i": "item", "#t": "type", "#v": "value"}


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"counted", "left"}`, numbers of windows. Raises InvalidInput if `serving/event_types.json` is invalid,
    DependencyFailed or MissingResource to be tried again.
    """
    began, now = time.monotonic(), LEDGER.seconds()
    types = event_types.in_force(ARTIFACTS)
    newest = recent_events.window_start(int(now * 1000))
    due = windows.due(now, LEDGER.outcomes_read_at(windows.first(now), newest))
    counted = []
    for start in due:
        if time.monotonic() - began > WORK_SECONDS:
            break
        _count(start, types)
        counted.append(start)
    today = datetime.fromtimestamp(now, UTC)
    _sum_days(
        {today.date().isoformat(), (today - timedelta(days=1)).date().isoformat(), *(day[:10] for day in counted)}
    )
    left = len(due) - len(counted)
    logger.info("outcomes counted", extra={"windows": len(counted), "left": left})
    return {"counted": len(counted), "left": left}


def _count(start: str, types: EventTypes) -> None:
    """Count one window, write it, and emit what has changed."""
    read_at = int(LEDGER.seconds() * 1000)
    count = Count(start, SETTINGS.stack_id, types, SETTINGS.maximum_events_per_window)
    for item in _events(start):
        value = item.get("value")
        count.add(
            item["pk"]["S"],
            item["item"]["S"],
            item["type"]["S"],
            item["rid"]["S"],
            float(value["N"]) if value else None,
        )
    window = count.window()
    before = LEDGER.save_outcomes(window, read_at)
    if before is None:
        logger.info("another call has counted the window", extra={"window": start})
        return
    _emit(before, window)


def _events(start: str) -> Iterator[dict[str, Any]]:
    """Return the events of a window that name a recommendation, from the index."""
    for part in range(recent_events.WINDOW_PARTS):
        query: dict[str, Any] = {
            "TableName": SETTINGS.events_table,
            "IndexName": recent_events.BY_WINDOW,
            "KeyConditionExpression": "#w = :w",
            "ExpressionAttributeNames": {"#w": "window", **_ATTRIBUTES},
            "ExpressionAttributeValues": {":w": {"S": f"{start}#{part}"}},
            "ProjectionExpression": "pk, #i, #t, rid, #v",
        }
        while True:
            with calling("dynamodb Query byWindow"):
                page = DYNAMODB.query(**query)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                break
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _sum_days(days: set[str]) -> None:
    for day in sorted(days):
        found = LEDGER.outcomes(f"{day}T00:00Z", f"{day}T23:59Z")
        LEDGER.save_day(
            Window(
                start=day,
                rows=outcomes.fold(outcomes.total(found, lambda answers: answers)),
                bots=sum(window.bots for window in found),
                not_attributed=sum(window.not_attributed for window in found),
            )
        )


def _emit(before: Window, after: Window) -> None:
    """Emit the differences by variant and by placement, at the window's time. A run id is no dimension: each would be
    another metric.
    """
    at = datetime.fromisoformat(after.start.replace("Z", ":00+00:00"))
    by: dict[str, Any] = {"variant": _variant, "placement": _placement}
    for dimension, name in by.items():
        earlier, later = outcomes.total([before], name), outcomes.total([after], name)
        for value in sorted({*earlier, *later}):
            change = later.get(value, Counts()) - earlier.get(value, Counts())
            figures = {
                "Impressions": change.impressions,
                "Clicks": change.clicks,
                "Purchases": change.purchases,
                "PurchaseValue": change.value,
            }
            _send(at, figures, **{dimension: value})
    _send(at, {"Bots": after.bots - before.bots, "NotAttributed": after.not_attributed - before.not_attributed})


def _variant(answers: Answers) -> str:
    return answers.variant or "AllTraffic"


def _placement(answers: Answers) -> str:
    return answers.placement or "none"


def _send(at: datetime, figures: dict[str, float], **dimensions: str) -> None:
    changed = {name: value for name, value in figures.items() if value}
    if not changed:
        return
    sent = EphemeralMetrics()
    sent.set_timestamp(at)
    for dimension, of in dimensions.items():
        sent.add_dimension(name=dimension, value=of)
    for name, value in changed.items():
        sent.add_metric(name=name, unit=MetricUnit.Count, value=value)
    sent.flush_metrics()
