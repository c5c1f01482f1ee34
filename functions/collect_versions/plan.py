"""The endpoint configurations to keep and to delete, and the log streams to delete. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from contracts.names import RUN_ID
from shared import names
from shared.records import Model, Run, Serving, Split

# A younger configuration may belong to a run in progress.
LEAST_AGE = timedelta(days=1)


def kept(
    prefix: str,
    number: int,
    champions: Iterable[Model],
    serving: Serving | None,
    running: Iterable[Run],
    endpoints: Iterable[dict[str, Any]],
    split: Split | None = None,
) -> set[str]:
    """Return the names of the configurations to keep: those of the `number` newest versions that have served, of the
    serving version, the previous one and the one in a traffic split, of unfinished runs, and the current and pending
    ones of `endpoints` (DescribeEndpoint).
    """
    newest = sorted(champions, key=lambda model: model["datasetVersion"], reverse=True)[:number]
    found = {model["endpointConfigName"] for model in newest}
    for model in (serving, serving.get("previous") if serving else None):
        if model:
            found.add(model["endpointConfigName"])
    found |= {names.model(prefix, run["runId"]) for run in running}
    if split:
        found.add(names.model(prefix, split["runId"]))
    for endpoint in endpoints:
        found.add(str(endpoint["EndpointConfigName"]))
        pending = endpoint.get("PendingDeploymentSummary", {}).get("EndpointConfigName")
        if pending:
            found.add(str(pending))
    return found


def old(prefix: str, configs: Iterable[tuple[str, datetime]], keep: set[str], now: datetime) -> list[str]:
    """Return the names in `configs` (name, created) to delete: of this stack's runs, not in `keep`, and older than
    LEAST_AGE. Other names are not ours.
    """
    ours = re.compile(rf"{re.escape(prefix)}-{RUN_ID.pattern}(-s[0-9a-f]{{8}})?")
    return sorted(
        name for name, created in configs if ours.fullmatch(name) and name not in keep and now - created > LEAST_AGE
    )


def old_streams(prefix: str, streams: Iterable[dict[str, Any]], days: int, now: datetime) -> list[str]:
    """Return the names in `streams` (DescribeLogStreams) to delete: of this stack's jobs, `<job>/<machine>`, with the
    last event, or the creation if there is none, more than `days` ago.
    """
    ours = re.compile(rf"{re.escape(prefix)}-{RUN_ID.pattern}(-[tb][0-9]+)?/.*")
    oldest = (now - timedelta(days=days)).timestamp() * 1000
    return sorted(
        stream["logStreamName"]
        for stream in streams
        if ours.fullmatch(stream["logStreamName"])
        and max(stream.get("lastEventTimestamp", 0), stream.get("lastIngestionTime", 0), stream["creationTime"])
        < oldest
    )
