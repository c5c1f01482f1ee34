"""EventBridge Scheduler: how exactly it keeps time, and what it remembers."""

from __future__ import annotations

from typing import Any

from ministack.services import scheduler

TICK_SECONDS = 1
LAST_FIRED = "last_fired"


def apply() -> None:
    """AWS: a schedule fires within its minute, a one-time schedule once. ministack: looks every 10 s and forgets with
    each restart what has fired, so that a one-time schedule fires again and a rate begins anew.

    Here it looks every second, and what has fired is part of the state.
    Conformance: ``test_a_one_time_schedule_fires_once_and_not_again_after_a_restart``.
    """
    scheduler._SCHEDULE_TICK_INTERVAL = TICK_SECONDS
    scheduler.get_state = _with_last_fired(scheduler.get_state)
    scheduler.load_persisted_state = _load(scheduler.load_persisted_state)
    scheduler._create_schedule = _forgetting(scheduler._create_schedule)


def _with_last_fired(get_state: Any) -> Any:
    def get_state_with_last_fired() -> dict[str, Any]:
        fired = [[*key, when] for key, when in list(scheduler._schedule_last_fired.items())]
        return {**get_state(), LAST_FIRED: fired}

    return get_state_with_last_fired


def _load(load: Any) -> Any:
    def load_with_last_fired(data: dict[str, Any]) -> None:
        load(data)
        for account, region, name, when in data.get(LAST_FIRED, []):
            scheduler._schedule_last_fired[account, region, name] = when

    return load_with_last_fired


def _forgetting(create: Any) -> Any:
    def create_schedule(name: str, body: dict[str, Any]) -> Any:
        """A schedule made again under the name of a deleted one begins anew."""
        from ministack.core.responses import get_account_id, get_region

        key = (get_account_id(), get_region(), f"{body.get('GroupName', 'default')}/{name}")
        if f"{body.get('GroupName', 'default')}/{name}" not in scheduler._schedules:
            scheduler._schedule_last_fired.pop(key, None)
        return create(name, body)

    return create_schedule
