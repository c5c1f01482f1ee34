"""`POST /events`: what customers do, in the words of Personalize's PutEvents, read and validated. Pure.

An event that cannot be used is left out, with the reason; the others of its list count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contracts import ids, limits, recommendation_ids
from contracts.event_types import IMPRESSION, EventTypes
from contracts.values import is_number, is_unicode, kind
from shared import http
from shared.refusal import InvalidRequest, shown, shown_name

AHEAD_SECONDS = 600
"""A time that is at most so far ahead counts as now: a clock that is a little wrong. A later one is refused."""
IGNORED = ("trackingId", "properties", "metricAttribution")
"""Fields of Personalize that mean nothing here."""
_FIELDS = ("userId", "sessionId", "eventList", IGNORED[0])
_EVENT_FIELDS = (
    "eventId", "eventType", "itemId", "sentAt", "eventValue", "recommendationId", "impression", *IGNORED[1:]
)  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One valid event; `at` is when it happened, in epoch milliseconds."""

    index: int
    event_id: str
    event_type: str
    item_id: str
    at: int
    value: float | None = None
    recommendation_id: str | None = None
    shown: int = 0
    """Number of ids in the impression list."""


@dataclass(frozen=True)
class Refused:
    """An event that cannot be used: its place in the list, its id if it has one, the field and what is wrong."""

    index: int
    event_id: str | None
    field: str
    message: str

    def to_answer(self) -> dict[str, Any]:
        named = {} if self.event_id is None else {"eventId": self.event_id}
        return {"index": self.index, **named, "code": "InvalidInput", "field": self.field, "message": self.message}


@dataclass(frozen=True, kw_only=True)
class EventsRequest:
    """The events of one person or session, at least one of which is known."""

    user_id: str | None
    session_id: str | None
    events: tuple[Event, ...]
    refused: tuple[Refused, ...]

    @classmethod
    def from_event(cls, event: Mapping[str, Any], now: int, kept_days: int, types: EventTypes) -> EventsRequest:
        """Read the request, which arrived at `now` (epoch milliseconds). Raises `InvalidRequest`."""
        document = http.document(dict(event), _FIELDS, limits.EVENTS_BYTES)
        user_id = _person(document, "userId", limits.ID_CHARACTERS)
        session_id = _person(document, "sessionId", ids.SESSION_CHARACTERS)
        if user_id is None and session_id is None:
            raise InvalidRequest("userId and sessionId are missing; one of them is needed", "sessionId")
        listed = document.get("eventList")
        if not isinstance(listed, list):
            words = "is missing" if "eventList" not in document else f"must be a list of events, not {kind(listed)}"
            raise InvalidRequest(f"eventList {words}", "eventList")
        if not 1 <= len(listed) <= limits.EVENTS:
            raise InvalidRequest(f"eventList must hold 1 to {limits.EVENTS} events, not {len(listed)}", "eventList")
        events: list[Event] = []
        refused: list[Refused] = []
        reader = _Reader(user_id or f"{ids.SESSION}{session_id}", now, kept_days, types)
        for index, given in enumerate(listed):
            try:
                events.append(reader.event(index, given))
            except InvalidRequest as refusal:
                named = given.get("eventId") if isinstance(given, dict) else None
                event_id = named if _is_event_id(named) else None
                refused.append(Refused(index, event_id, refusal.field or "", refusal.message))
        return cls(user_id=user_id, session_id=session_id, events=tuple(events), refused=tuple(refused))


@dataclass(frozen=True)
class _Reader:
    """Reads the events of one person. All methods raise `InvalidRequest`."""

    person: str
    now: int
    kept_days: int
    types: EventTypes

    def event(self, index: int, given: Any) -> Event:
        if not isinstance(given, dict):
            raise InvalidRequest(f"an event must be an object, not {kind(given)}")
        for name in given:
            if name not in _EVENT_FIELDS:
                fields = ", ".join(_EVENT_FIELDS)
                raise InvalidRequest(f"{shown(name)} is not a field; the fields are {fields}", shown_name(name))
        event_type = _id(given, "eventType", limits.ID_CHARACTERS)
        impression = _impression(given)
        item_id = self._item(given, event_type, impression)
        sent_at = _sent_at(given)
        event_id = given.get("eventId")
        if event_id is not None and not _is_event_id(event_id):
            raise InvalidRequest(
                f"eventId must be a string of 1 to {limits.ID_CHARACTERS} characters of valid Unicode", "eventId"
            )
        return Event(
            index=index,
            event_id=event_id or _derived_id(self.person, event_type, item_id, sent_at),
            event_type=event_type,
            item_id=item_id,
            at=self._happened(sent_at),
            value=_value(given),
            recommendation_id=_recommendation_id(given),
            shown=len(impression),
        )

    def _item(self, given: dict[str, Any], event_type: str, impression: list[str]) -> str:
        """Return the item; that of a list that was shown is its first one, unless the event names another."""
        is_list = bool(impression) and self.types.of(event_type).outcome == IMPRESSION
        return impression[0] if is_list and given.get("itemId") is None else _id(given, "itemId", limits.ID_CHARACTERS)

    def _happened(self, sent_at: int) -> int:
        ahead = (sent_at - self.now) / 1000
        if ahead > AHEAD_SECONDS:
            raise InvalidRequest(
                f"sentAt is {ahead:.0f} s ahead of now, more than {AHEAD_SECONDS} s; a number is in seconds since 1970",
                "sentAt",
            )
        if -ahead > self.kept_days * 86400:
            raise InvalidRequest(
                f"sentAt is {-ahead / 86400:.1f} days ago, more than {self.kept_days}; bring older events in a drop",
                "sentAt",
            )
        return min(sent_at, self.now)


def _person(document: dict[str, Any], name: str, most: int) -> str | None:
    return None if document.get(name) is None else _id(document, name, most)


def _id(given: dict[str, Any], name: str, most: int) -> str:
    """Return an id, or the name of a type, without outer spaces, as the preparation reads it."""
    if name not in given:
        raise InvalidRequest(f"{name} is missing", name)
    return _checked_id(given[name], name, most)


def _checked_id(value: Any, name: str, most: int) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be a string, not {kind(value)}", name.partition("[")[0])
    text = ids.of(value)
    if fault := ids.fault(text, most):
        raise InvalidRequest(f"{name} {fault}", name.partition("[")[0])
    return text


def _is_event_id(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= limits.ID_CHARACTERS and is_unicode(value)


def _sent_at(given: dict[str, Any]) -> int:
    """Return `sentAt` in epoch milliseconds."""
    value = given.get("sentAt")
    if is_number(value) and abs(value) < 1e15:
        return round(value * 1000)
    if isinstance(value, str) and len(value) <= 40 and value.isascii():
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return round((aware - _EPOCH).total_seconds() * 1000)
    if "sentAt" not in given:
        raise InvalidRequest("sentAt is missing", "sentAt")
    raise InvalidRequest("sentAt must be seconds since 1970, or a time as 2026-11-29T10:15:30.250Z", "sentAt")


def _value(given: dict[str, Any]) -> float | None:
    value = given.get("eventValue")
    if value is None:
        return None
    if not is_number(value) or abs(value) > limits.EVENT_VALUE:
        raise InvalidRequest(
            f"eventValue must be a number from -{limits.EVENT_VALUE} to {limits.EVENT_VALUE}", "eventValue"
        )
    return float(value)


def _recommendation_id(given: dict[str, Any]) -> str | None:
    value = given.get("recommendationId")
    most = recommendation_ids.CHARACTERS
    if value is None or (isinstance(value, str) and 1 <= len(value) <= most):
        return value
    raise InvalidRequest(f"recommendationId must be a string of 1 to {most} characters", "recommendationId")


def _impression(given: dict[str, Any]) -> list[str]:
    value = given.get("impression")
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidRequest(f"impression must be a list of item ids, not {kind(value)}", "impression")
    if not 1 <= len(value) <= limits.IMPRESSION_ITEMS:
        raise InvalidRequest(
            f"impression must hold 1 to {limits.IMPRESSION_ITEMS} item ids, not {len(value)}", "impression"
        )
    return [_checked_id(item, f"impression[{position}]", limits.ID_CHARACTERS) for position, item in enumerate(value)]


def _derived_id(person: str, event_type: str, item_id: str, sent_at: int) -> str:
    """The id of an event that has none: the same event sent again has the same id."""
    return hashlib.sha256(json.dumps([person, event_type, item_id, sent_at]).encode()).hexdigest()[:32]
