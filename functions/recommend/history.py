"""The `history` of an invocation: what a person chose since the training, or in this session.

Pure: no AWS, no environment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from contracts import histories, limits, seen
from contracts.event_types import EventTypes
from contracts.recent_events import NEWEST
from contracts.values import is_unicode
from recommend.person import Person


class Event(NamedTuple):
    """An item of the table of recent events (`contracts/recent_events.py`)."""

    at: int
    """Epoch milliseconds."""
    key: str
    """The event's sort key; an event that is there twice has one."""
    item_id: str
    event_type: str

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Event | None:
        """Read an item in DynamoDB's JSON. None if it breaks the format, which is no reason to lose
        an answer.
        """
        try:
            event = cls(int(item["at"]["N"]), item["sk"]["S"], item["item"]["S"], item["type"]["S"])
        except (KeyError, TypeError, ValueError):
            return None
        return event if 1 <= len(event.item_id) <= limits.ID_CHARACTERS and is_unicode(event.item_id) else None


class Newest(NamedTuple):
    """The newest events of a user or a session, and of a session that has logged in its user."""

    events: tuple[Event, ...]
    user_id: str | None = None
    since: int = 0
    """Epoch milliseconds: the events of the session before that are not the user's."""

    @classmethod
    def from_items(cls, items: Iterable[Mapping[str, Any]]) -> Newest:
        """Read items in DynamoDB's JSON."""
        user_id, since, events = None, 0, []
        for item in items:
            event = Event.from_item(item)
            if event is not None:
                events.append(event)
            elif "user" in item:
                user_id, since = item["user"]["S"], int(item.get("since", {}).get("N", 0))
        return cls(tuple(events), user_id, since)

    def events_of(self, person: Person) -> tuple[Event, ...]:
        """Return the events of this session that are the person's: of two users of one session, each has their own."""
        if self.user_id is None:
            return self.events
        return tuple(event for event in self.events if event.at >= self.since) if person.user_id == self.user_id else ()


class History(NamedTuple):
    """Choices of a person, and when they were made."""

    entries: tuple[dict[str, Any], ...] = ()
    """`itemId`, and optionally `ageSeconds` and `isBought`, as the model server takes them."""

    @classmethod
    def from_events(cls, events: Iterable[Event], types: EventTypes, now: float) -> History:
        """Return the newest events, each once, of the types that count; `now` in epoch seconds. An event of the future,
        by a clock that is ahead, happened now.
        """
        newest = sorted({event.key: event for event in events}.values(), reverse=True)[:NEWEST]
        entries = []
        for event in reversed(newest):
            meaning = types.of(event.event_type)
            if meaning.is_history:
                entry: dict[str, Any] = {"itemId": event.item_id, "ageSeconds": max(0.0, now - event.at / 1000)}
                entries.append(entry | {"isBought": True} if meaning.is_bought else entry)
        return cls(tuple(entries))

    @classmethod
    def from_json(cls, value: Any) -> History:
        """Read the history of a request. Raises `BadHistory` (`contracts/histories.py`)."""
        histories.read(value)
        return cls(tuple(value))

    def to_invocation(self) -> dict[str, Any]:
        """Return it as a field of the request to the model server."""
        return {"history": list(self.entries)} if self.entries else {}

    def left_out(self, exclude_seen: str) -> frozenset[str]:
        """Return the items that a list with this `excludeSeen` leaves out."""
        return frozenset(
            entry["itemId"] for entry in self.entries if seen.leaves_out(exclude_seen, entry.get("isBought", False))
        )


NO_HISTORY = History()
