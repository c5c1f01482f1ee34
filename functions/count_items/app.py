"""EventBridge "Object Created" of a delivered file of events, `raw/live-<day>/….gz`: count how often each item was
chosen in it, for the lists of what is popular now.

The counts are one object, whose key is of the file's key: an event that arrives twice, late, or after a failure writes
the same object again. Log lines name no person and no item.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts import item_counts
from contracts.event_types import DEFAULT, EventTypes
from count_items import counting
from shared import environment, event_types
from shared.clients import client
from shared.errors import InvalidInput
from shared.objects import Bucket
from shared.observability import count, logger, observed


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    data_bucket: str
    artifacts_bucket: str


SETTINGS = environment.load(Settings)
S3 = client("s3")
DATA, ARTIFACTS = Bucket(S3, SETTINGS.data_bucket), Bucket(S3, SETTINGS.artifacts_bucket)


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"outcome": "COUNTED"|"IGNORED"|"OLD"|"ABSENT", "lines"?}`. Raises InvalidInput for an event without a
    key, DependencyFailed to be retried.
    """
    try:
        key = event["detail"]["object"]["key"]
    except (KeyError, TypeError):
        raise InvalidInput("the event must have detail.object.key, as S3 sends it") from None
    delivered = item_counts.DELIVERED.fullmatch(key) if isinstance(key, str) else None
    day = item_counts.day_of(delivered[1]) if delivered else None
    if delivered is None or day is None:
        return {"outcome": "IGNORED"}
    if day < datetime.now(UTC).date() - timedelta(days=item_counts.DAYS_KEPT):
        return {"outcome": "OLD"}
    if DATA.head(key) is None:
        logger.warning("the file is gone, so nothing is counted", extra={"key": key})
        return {"outcome": "ABSENT"}
    with DATA.open(key) as file:
        found = counting.count(file, _types())
    ARTIFACTS.put(item_counts.key_of_file(key, delivered[1]), item_counts.pack(found.to_document()), "application/gzip")
    count("EventsCounted", found.figures["counted"])
    if found.figures["unreadable"]:
        count("EventsUnreadable", found.figures["unreadable"])
    logger.info("events counted", extra={"key": key, "lines": found.figures})
    return {"outcome": "COUNTED", "lines": found.figures}


def _types() -> EventTypes:
    """Return the meaning of the types of events; the common one if the shop's document cannot be read."""
    try:
        return event_types.in_force(ARTIFACTS)
    except InvalidInput as error:
        logger.warning("the types of events cannot be read; the common ones count", extra={"reason": str(error)})
        return DEFAULT
