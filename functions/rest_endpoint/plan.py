"""What to do with the endpoint at this moment. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from contracts.hours import Hours

LEAD = timedelta(minutes=30)
"""Time before the hours begin at which the endpoint comes back: a pass every 15 minutes, and its start."""


class Action(StrEnum):
    """The next action. FORGET: the endpoint is there again, and if it goes, a person took it away."""

    STOP = "stop"
    START = "start"
    FORGET = "forget"
    NOTHING = "nothing"


def action(hours: Hours, now: datetime, endpoint: dict[str, Any] | None, config: str, is_resting: bool) -> Action:
    """Return the action; `endpoint` is DescribeEndpoint, or None; `config` is the configuration of the model that
    serves. An endpoint on another configuration, or that a person deleted, is left as it is.
    """
    if endpoint is None:
        return Action.START if is_resting and hours.has(now + LEAD) else Action.NOTHING
    if hours.has(now) or hours.has(now + LEAD):
        return Action.FORGET if is_resting else Action.NOTHING
    serves = endpoint["EndpointStatus"] == "InService" and endpoint["EndpointConfigName"] == config
    return Action.STOP if serves else Action.NOTHING
