"""Which endpoint configurations are old. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from contracts.names import RUN_ID
from shared import names
from shared.records import Model, Run, Serving, Split

# Younger than this, it may be of a run that has just made it.
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
    """Names of the configurations that stay: of the `number` newest versions that have served, of the one that serves,
    the one before it and the one with a share of the traffic, of runs that are under way, and whatever one of
    `endpoints` (DescribeEndpoint) is on or goes to.
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
    """Of `configs` (name, created), those of this stack's runs that are neither to be kept nor young. What has another
    name is somebody else's.
    """
    ours = re.compile(rf"{re.escape(prefix)}-{RUN_ID.pattern}(-s[0-9a-f]{{8}})?")
    return sorted(
        name for name, created in configs if ours.fullmatch(name) and name not in keep and now - created > LEAST_AGE
    )
