"""Whether all is well now: alarms that ring, the age of the data, and what recommendations earned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from contracts.outcomes import Window, total
from control.connection import Clients
from control.ledger import moment


def ringing(clients: Clients, prefix: str) -> list[str]:
    """The names of the alarms that ring, of those whose names begin with `prefix` and a dash."""
    pages = clients.client("cloudwatch").get_paginator("describe_alarms")
    found = pages.paginate(AlarmNamePrefix=f"{prefix}-", StateValue="ALARM")
    return [str(alarm["AlarmName"]) for page in found for alarm in page.get("MetricAlarms", ())]


def age(value: Any, now: float) -> str:
    """How long ago a time in the ledger was, in words."""
    then = moment(value)
    if then is None:
        return "unknown"
    hours = max(0.0, now - then) / 3600
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def newest(datasets: Iterable[Mapping[str, Any]]) -> Any:
    """When the newest of the datasets was updated, or None."""
    return max((one.get("updatedAt") for one in datasets), key=lambda at: moment(at) or 0.0, default=None)


def day_before(now: datetime) -> tuple[str, str]:
    """The first and the last window's key of the 24 hours before `now`."""
    return f"{now - timedelta(days=1):%Y-%m-%dT%H:%MZ}", f"{now:%Y-%m-%dT%H:%MZ}"


def earned(windows: Sequence[Window]) -> list[str]:
    """Return the earnings of each model as sentences."""
    counts = total(windows, lambda answers: answers.run_id)
    return [
        f"{run}: {one.impressions} impressions, {one.clicks} clicks, {one.purchases} purchases worth {one.value:g}"
        for run, one in sorted(counts.items())
    ]
