"""`POST /events`, from HTTP API events (payload 2.0): takes what a customer did.

Each event is written twice before the answer: into the table of recent events, for the next answer, and to the delivery
stream, for the files of the next training. An event that arrives again is the same item of the table, so a caller who
got no 200 may send all of them again. Log lines never contain ids of people.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from contracts import event_types, forgotten, ids, recent_events
from contracts.event_types import EventTypes
from contracts.forgotten import NOBODY, Forgotten
from contracts.recommendation_ids import Answered
from events import records
from events.records import Session
from events.request import EventsRequest
from events.shop import Document
from shared import environment, http
from shared.caller import Caller
from shared.errors import DependencyFailed, MissingResource
from shared.observability import count, logger, observed
from shared.recent_events import Item, RecentEvents
from shared.refusal import InvalidRequest
from shared.signed import Bucket, DynamoDB, Firehose

TYPES_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Environment of this function. It reads no ledger, so it does not need the common settings."""

    artifacts_bucket: str
    events_table: str
    events_stream: str
    events_kept_days: int
    stack_id: str
    aws_region: str
    url_suffix: str
    jwt_user_claim: str = ""


SETTINGS = environment.load(Settings)
_PLACE = (SETTINGS.aws_region, SETTINGS.url_suffix)
_BUCKET = Bucket(SETTINGS.artifacts_bucket, *_PLACE)
FIREHOSE = Firehose(*_PLACE)
TABLE = RecentEvents(DynamoDB(*_PLACE), SETTINGS.events_table)
PEOPLE: Document[Forgotten] = Document(_BUCKET, forgotten.KEY, Forgotten.from_json, NOBODY, forgotten.REFRESH_SECONDS)
TYPES: Document[EventTypes] = Document(
    _BUCKET, event_types.KEY, EventTypes.from_json, event_types.DEFAULT, TYPES_SECONDS
)


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Answer one HTTP request: which events are accepted, and which are refused and why."""
    now = round(time.time() * 1000)
    caller = Caller.from_event(event or {}, SETTINGS.jwt_user_claim)
    types = TYPES.current(_unreadable("EventTypesUnreadable", "the event types"))
    try:
        request = EventsRequest.from_event(event or {}, now, SETTINGS.events_kept_days, types)
    except InvalidRequest as refusal:
        return _refused(refusal)
    refused = [one.to_answer() for one in request.refused]
    if refused:
        count("EventRefused", len(refused))
    if not request.events:
        first = request.refused[0]
        words = f"none of the {len(refused)} events can be used; eventList[{first.index}]: {first.message}"
        return http.answer(400, http.error("InvalidInput", first.field or "eventList", words) | {"refused": refused})
    answers = [_answered(one.recommendation_id) for one in request.events]
    try:
        # The answer to a forgotten person is that of anyone else: it must not tell whom the shop has forgotten.
        is_stored = _store(request, answers, types, now, caller)
        count("EventAccepted" if is_stored else "EventForgotten", len(request.events))
    except InvalidRequest as refusal:
        return _refused(refusal)
    except (DependencyFailed, MissingResource) as error:
        count("EventNotStored", len(request.events))
        logger.error("events cannot be stored", extra={"reason": str(error)})
        return http.answer(503, http.error("DependencyFailed", None, "events cannot be stored now; send all again"), 5)
    accepted = [
        {"index": one.index, "eventId": one.event_id}
        | ({"note": NOT_OURS} if one.recommendation_id and not answered else {})
        for one, answered in zip(request.events, answers, strict=True)
    ]
    return http.answer(200, {"accepted": accepted, "refused": refused})


NOT_OURS = "recommendationId is no id of this shop's recommendations: the event counts, but for no recommendation"


def _refused(refusal: InvalidRequest) -> dict[str, Any]:
    count("RequestRefused")
    return http.answer(refusal.status, http.error(refusal.code, refusal.field, refusal.message))


def _answered(recommendation_id: str | None) -> Answered | None:
    if recommendation_id is None:
        return None
    found = Answered.read(recommendation_id, SETTINGS.stack_id)
    if found is None:
        count("EventNotAttributed")
    return found


def _is_forgotten(request: EventsRequest) -> bool:
    people = PEOPLE.current(_unreadable("ForgottenUnreadable", "the forgotten people"))
    session = None if request.session_id is None else f"{ids.SESSION}{request.session_id}"
    return any(people.digest_of(name) is not None for name in (request.user_id, session) if name is not None)


def _session_of(request: EventsRequest) -> Session:
    if request.session_id is None:
        return Session()
    # Without a user it is enough to know whether the session has one; that item is the first.
    most = 1 if request.user_id is None else recent_events.NEWEST + 1
    return Session.from_items(TABLE.newest(recent_events.of_session(request.session_id), most))


def _store(request: EventsRequest, answers: list[Answered | None], types: EventTypes, now: int, caller: Caller) -> bool:
    """Write the events. False, and nothing is written, if the shop has forgotten the person. Raises `InvalidRequest`
    if the caller may not write for the user.

    The events of a session that has a user are the user's. When it gets one, its earlier events are moved: first
    written there, last deleted here. Each write may be done again, so the next call completes one that ended anywhere.
    """
    session = _session_of(request)
    owned = replace(request, user_id=request.user_id or session.user_id)
    caller.may_ask_for(owned.user_id)
    if _is_forgotten(owned):
        return False
    pk, kept_days = records.owner(owned), SETTINGS.events_kept_days
    items = [
        records.to_item(one, pk, answered, types, kept_days)
        for one, answered in zip(owned.events, answers, strict=True)
    ]
    anonymous = session.anonymous if owned.user_id is not None else ()
    links: tuple[Item, ...] = ()
    if owned.session_id is not None and owned.user_id is not None and owned.user_id != session.user_id:
        links = session.links(owned.session_id, owned.user_id, now // 1000 + kept_days * 86400)
    TABLE.keep([*links[:1], *(records.moved(one, pk) for one in anonymous), *items])
    _deliver(records.to_lines(owned, answers, now))
    if links:
        TABLE.keep(links[1:])
    TABLE.remove(anonymous)
    return True


def _deliver(lines: bytes) -> None:
    # One record for all: a record is billed as at least 5 KB, and is delivered as a whole or not at all.
    FIREHOSE.put_record(DeliveryStreamName=SETTINGS.events_stream, Record={"Data": lines})


def _unreadable(metric: str, what: str) -> Any:
    def warn(reason: str) -> None:
        count(metric)
        logger.warning(f"{what} cannot be read; the last known ones count", extra={"reason": reason})

    return warn
