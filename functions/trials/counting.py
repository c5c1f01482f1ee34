"""The evidence in the counted windows of a trial. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from contracts import outcomes, recent_events
from contracts.outcomes import Shown, Window
from contracts.trials import ALL_TRAFFIC, OTHER
from trials.decision import Evidence, Side


def seconds_of(time: str) -> float:
    """Return the epoch seconds of a time in ISO 8601."""
    return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()


def time_of(seconds: float) -> str:
    """Return a time in epoch seconds in ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def window_of(time: str) -> str:
    """Return the start of the window of a time in ISO 8601."""
    return recent_events.window_start(int(seconds_of(time) * 1000))


def evidence(windows: Iterable[Window], trial_id: str, steps: Sequence[str]) -> Evidence:
    """Return the evidence of a trial whose share moved at `steps` (ISO 8601, sorted). A window in which the share moved
    belongs to the period before.
    """
    moved = [window_of(since) for since in steps]
    periods: dict[int, list[Window]] = defaultdict(list)
    for window in windows:
        periods[bisect_left(moved, window.start)].append(window)
    found = Evidence()
    for _, counted in sorted(periods.items()):
        sides = outcomes.of_trial(counted, trial_id)
        found = found.plus(_side(sides.get(ALL_TRAFFIC)), _side(sides.get(OTHER)))
    return found


def _side(groups: Sequence[Shown] | None) -> Side:
    groups = groups or [Shown()] * outcomes.GROUPS
    return Side([one.impressions for one in groups], [one.clicks for one in groups])
