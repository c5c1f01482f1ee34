"""Writes to CloudWatch Logs from inside the host, as the services do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any


def append(group: str, stream: str, messages: Sequence[str], account: str, region: str) -> None:
    """Appends one event per message; creates the group and the stream if missing. Thread-safe."""
    from ministack.core.responses import request_scope
    from ministack.services import cloudwatch_logs as logs

    if not messages:
        return
    now = int(time.time() * 1000)
    events = [{"timestamp": now, "message": message, "ingestionTime": now} for message in messages]
    with request_scope(account, region):
        record = _stream(logs, group, stream, now)
        logs._append_log_events(record, events)
        logs._fanout_to_subscription_filters(group, stream, [{"timestamp": now, "message": text} for text in messages])


def _stream(logs: Any, group: str, stream: str, now: int) -> dict[str, Any]:
    groups = logs._log_groups
    if group not in groups:
        groups[group] = {
            "arn": logs._make_group_arn(group),
            "creationTime": now,
            "retentionInDays": None,
            "tags": {},
            "subscriptionFilters": {},
            "streams": {},
        }
    streams: dict[str, dict[str, Any]] = groups[group]["streams"]
    return streams.setdefault(
        stream,
        {
            "events": [],
            "uploadSequenceToken": "1",
            "creationTime": now,
            "firstEventTimestamp": None,
            "lastEventTimestamp": None,
            "lastIngestionTime": None,
        },
    )
