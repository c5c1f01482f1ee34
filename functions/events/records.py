"""An event as an item of the table of recent events, and as a line of the files for the next training. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from contracts import ids, recent_events
from contracts.event_types import NONE, EventTypes
from contracts.recommendation_ids import Answered
from events.request import Event, EventsRequest
from shared.recent_events import Item


def owner(request: EventsRequest) -> str:
    """The key of the events: that of the user, or else of the session."""
    if request.user_id is not None:
        return recent_events.of_user(request.user_id)
    return recent_events.of_session(str(request.session_id))


def to_item(event: Event, pk: str, answered: Answered | None, types: EventTypes, kept_days: int) -> Item:
    """The item of an event; `answered` is what gave the recommendation that it names, if this shop did."""
    item: Item = {
        "pk": {"S": pk},
        "sk": {"S": recent_events.event_key(event.event_id)},
        "item": {"S": event.item_id},
        "type": {"S": event.event_type},
        "expiresAt": {"N": str(event.at // 1000 + kept_days * 86400)},
    }
    if types.of(event.event_type).is_history:
        item["at"] = {"N": str(event.at)}
    if event.value is not None:
        item["value"] = {"N": f"{event.value:.6f}"}
    if event.shown:
        item["shown"] = {"N": str(event.shown)}
    if answered and event.recommendation_id:
        item["rid"] = {"S": event.recommendation_id}
        if event.shown or types.of(event.event_type).outcome != NONE:
            item["window"] = {"S": recent_events.window_of(event.at, pk)}
    return item


@dataclass(frozen=True)
class Session:
    """A session as it is stored: the user that it belongs to, and its newest events that are not yet the user's."""

    user_id: str | None = None
    since: int = 0
    """Earlier events stay the session's, because the user has the newest 100."""
    anonymous: tuple[Item, ...] = ()

    @classmethod
    def from_items(cls, items: list[Item]) -> Session:
        """Read the newest items of the session, at most NEWEST + 1."""
        link = items[0] if items and "user" in items[0] else None
        since = int(link["since"]["N"]) if link else 0
        events = (item for item in items if item is not link and int(item["at"]["N"]) >= since)
        anonymous = tuple(events)[: recent_events.NEWEST]
        if len(anonymous) == recent_events.NEWEST:
            since = int(anonymous[-1]["at"]["N"])
        return cls(link["user"]["S"] if link else None, since, anonymous)

    def links(self, session_id: str, user_id: str, expires_at: int) -> tuple[Item, Item]:
        """The item of the user that names the session, and that of the session that names the user."""
        expires = {"expiresAt": {"N": str(expires_at)}}
        of_user: Item = {
            "pk": {"S": recent_events.of_user(user_id)},
            "sk": {"S": recent_events.session_key(session_id)},
            "session": {"S": session_id},
        }
        of_session: Item = {
            "pk": {"S": recent_events.of_session(session_id)},
            "sk": {"S": recent_events.USER},
            "at": {"N": str(recent_events.LINKED_AT)},
            "user": {"S": user_id},
            "since": {"N": str(self.since)},
        }
        return of_user | expires, of_session | expires


def moved(item: Item, pk: str) -> Item:
    """The item of a session's event under the key of its user."""
    window = {"window": {"S": recent_events.window_of(int(item["at"]["N"]), pk)}} if "window" in item else {}
    return {**item, "pk": {"S": pk}, **window}


def to_lines(request: EventsRequest, answers: Iterable[Answered | None], now: int) -> bytes:
    """The events as JSON lines; `answers` has what gave the recommendation of each."""
    pairs = zip(request.events, answers, strict=True)
    lines = {event.event_id: _line(request, event, answered, now) for event, answered in pairs}
    return "".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines.values()).encode()


def _line(request: EventsRequest, event: Event, answered: Answered | None, now: int) -> dict[str, Any]:
    user = request.user_id if request.user_id is not None else f"{ids.SESSION}{request.session_id}"
    line = {
        "USER_ID": user,
        "ITEM_ID": event.item_id,
        "EVENT_TYPE": event.event_type,
        "TIMESTAMP": event.at,
        "EVENT_VALUE": event.value,
        "EVENT_ID": event.event_id,
        "SESSION_ID": request.session_id,
        "SHOWN": event.shown or None,
    }
    if answered:
        line |= {
            "RECOMMENDATION_ID": event.recommendation_id,
            "RUN_ID": answered.run_id,
            "PLACEMENT": answered.placement or None,
            "TRIAL": answered.trial or None,
            "VARIANT": answered.variant or None,
        }
    return {name: value for name, value in line.items() if value is not None} | {"RECEIVED_AT": now}
