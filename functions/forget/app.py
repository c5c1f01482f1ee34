"""Forget one user id. A person calls this function; no state and no route does.

The ledger gets a tombstone with a keyed hash of the id. `serving/forgotten.json` tells it to `recommend`, which
answers as for a stranger, to `events`, which stores nothing more, and to the preparation, which drops the person's rows
and writes no text for the index. The lists of batches lose the person's entry, and the table of recent events loses the
person's events. Sessions in which the person logged in are forgotten too. A second call, or one after a failure, goes
on where the first one ended. Log lines never contain user ids.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from contracts import ids, recent_events
from contracts.forgotten import KEY, REFRESH_SECONDS, digest
from forget.request import Request
from shared import batch_lists, environment
from shared.clients import client
from shared.ledger import Ledger
from shared.objects import Bucket
from shared.observability import count, logger, observed
from shared.recent_events import RecentEvents
from shared.signed import DynamoDB


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    artifacts_bucket: str
    events_table: str
    aws_region: str
    url_suffix: str


SETTINGS = environment.load(Settings)
LEDGER = Ledger(SETTINGS.runs_table)
ARTIFACTS = Bucket(client("s3"), SETTINGS.artifacts_bucket)
EVENTS = RecentEvents(DynamoDB(SETTINGS.aws_region, SETTINGS.url_suffix), SETTINGS.events_table)
_READ_SECONDS = 1.0
"""Seconds that a read of the tombstones, and an answer that began before it, may take."""


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"person", "isNew", "lists", "events"}`: the hash of the id, whether the tombstone is new, how many
    lists of batches lost an entry, and how many items left the table of recent events. Raises InvalidInput for an
    invalid request.
    """
    request = Request.from_event(event)
    key = LEDGER.forgetting_key()
    person = digest(key, request.user_id)
    is_new = LEDGER.forget(person, request.reason, request.by)
    _publish()
    LEDGER.in_force(person)
    struck = batch_lists.strike_one(ARTIFACTS, request.user_id, LEDGER.forgotten())
    time.sleep(REFRESH_SECONDS + _READ_SECONDS)  # until no function takes an event of the person any more
    removed = _forget_events(key, request)
    logger.info("a person is forgotten", extra={"person": person, "is_new": is_new, "lists": struck, "events": removed})
    count("PersonForgotten", int(is_new))
    return {"person": person, "isNew": is_new, "lists": struck, "events": removed}


def _forget_events(key: str, request: Request) -> int:
    """Forget the sessions of a person, and remove the events of all; the items that name the sessions go last."""
    of_user = recent_events.of_user(request.user_id)
    found = list(EVENTS.all_of(of_user))
    sessions = [item["session"]["S"] for item in found if "session" in item]
    people = [digest(key, f"{ids.SESSION}{session}") for session in sessions]
    if request.user_id.startswith(ids.SESSION):  # a session without a user, as the training knows it
        sessions.append(request.user_id.removeprefix(ids.SESSION))
    for person in people:
        LEDGER.forget(person, request.reason, request.by)
    if people:
        _publish()
    for person in people:
        LEDGER.in_force(person)
    removed = 0
    for items in (*(list(EVENTS.all_of(recent_events.of_session(session))) for session in sessions), found):
        EVENTS.remove(items)
        removed += len(items)
    return removed


def _publish() -> None:
    """Write all tombstones to the document. Of calls at the same time, the one that writes last reads the ledger once
    more afterwards, so no tombstone is lost.
    """
    written = None
    while written != (known := LEDGER.forgotten()):
        ARTIFACTS.put(KEY, json.dumps(known.to_document()).encode())
        written = known
