"""The table of recent events, `EventsTable`: what customers did since the last training, for the next answer and for
what recommendations earned.

| attribute | what |
|---|---|
| `pk` | whose: `U#<user id>` or `S#<session id>` |
| `sk` | `event_key` of the event's id: an event that arrives twice is one item |
| `at` | `sentAt`, epoch milliseconds (number); sort key of the local index `byTime`; only of types that are history |
| `item`, `type` | item id; event type |
| `value` | `eventValue`, a number; missing: none |
| `rid` | the id of this shop's recommendation that the event names; missing: none |
| `shown` | number of ids in the impression list; missing: none. Whatever the type is, the list was shown |
| `window` | `window_of(at, pk)`, only with `rid` and (an outcome or `shown`); hash key of the index `byWindow` |
| `expiresAt` | time to live, epoch seconds |

The events of a session that logs in are moved to its user. Two items tell of it:
`(S#<session id>, user)` has `user`, the user's id, and `since`: the session's events before that time (epoch
milliseconds) stay where they are. Its `at` is LINKED_AT, later than any event, so that a query for the newest of a
session gives it first. `(U#<user id>, session#<session id>)` has `session`, and no `at`.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

BY_TIME = "byTime"
BY_WINDOW = "byWindow"
USER = "user"
"""Sort key of the item that names a session's user."""
LINKED_AT = 10**15
"""`at` of that item."""
NEWEST = 100
"""Most events of a person that count in an answer."""
WINDOW_SECONDS = 900
"""Length of the windows in which outcomes are counted."""
WINDOW_PARTS = 4
"""Parts of a window, so that its events are not all under one key of the index."""


def of_user(user_id: str) -> str:
    """The key of a user's events."""
    return f"U#{user_id}"


def of_session(session_id: str) -> str:
    """The key of a session's events."""
    return f"S#{session_id}"


def session_key(session_id: str) -> str:
    """The sort key of the item that names a session of a user."""
    return f"session#{session_id}"


def event_key(event_id: str) -> str:
    """The sort key of an event: 32 hex digits, whatever its id is."""
    return hashlib.sha256(event_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def window_start(at: int) -> str:
    """The start of the window of a time in epoch milliseconds, such as `2026-11-29T10:15Z`."""
    seconds = at // 1000 // WINDOW_SECONDS * WINDOW_SECONDS
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%MZ}"


def window_of(at: int, pk: str) -> str:
    """The key in the index `byWindow` of an event at `at` (epoch milliseconds): the window's start and the part."""
    return f"{window_start(at)}#{group(pk, WINDOW_PARTS)}"


def group(pk: str, groups: int) -> int:
    """One of `groups` groups, from 0: always the same for a person or session, and equally likely."""
    return int.from_bytes(hashlib.sha256(f"group {pk}".encode("utf-8", "surrogatepass")).digest()[:8], "big") % groups
