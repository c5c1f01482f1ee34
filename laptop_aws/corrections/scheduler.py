"""EventBridge Scheduler: precision, and saved state."""

from __future__ import annotations

from functools import partial
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import scheduler

from laptop_aws.correction import corrects

TICK_SECONDS = 1
LAST_FIRED = "last_fired"

_remembered = partial(
    corrects,
    aws="a one-time schedule fires once",
    ministack="forgets with each restart what has fired, so that it fires again and a rate begins anew",
    test="test_a_one_time_schedule_fires_once_and_not_again_after_a_restart",
)


@corrects(
    "ministack.services.scheduler:_SCHEDULE_TICK_INTERVAL",
    source="4a44dc153642",
    aws="a schedule fires within its minute",
    ministack="looks every 10 s",
    test="test_a_schedule_fires_when_it_is_due",
    is_value=True,
)
def tick_seconds() -> int:
    return TICK_SECONDS


@_remembered("ministack.services.scheduler:get_state", source="fd3982d0f2cf")
def get_state(stock: Any) -> dict[str, Any]:
    fired = [[*key, when] for key, when in list(scheduler._schedule_last_fired.items())]
    return {**stock(), LAST_FIRED: fired}


@_remembered("ministack.services.scheduler:load_persisted_state", source="6f58d9dc1e6e")
def load_persisted_state(stock: Any, data: dict[str, Any]) -> None:
    stock(data)
    for account, region, name, when in data.get(LAST_FIRED, []):
        scheduler._schedule_last_fired[account, region, name] = when


@_remembered("ministack.services.scheduler:_create_schedule", source="5b205607c15c")
def create_schedule(stock: Any, name: str, body: dict[str, Any]) -> Any:
    """A schedule with the name of a deleted one starts afresh."""
    full_name = f"{body.get('GroupName', 'default')}/{name}"
    if full_name not in scheduler._schedules:
        scheduler._schedule_last_fired.pop((get_account_id(), get_region(), full_name), None)
    return stock(name, body)
