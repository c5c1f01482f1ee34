"""A person's recent events, read while a customer waits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from contracts import recent_events
from recommend.budget import Budget
from recommend.circuit import Circuit
from recommend.history import Event, Newest
from recommend.person import Person
from shared.signed import Answer, NoAnswer, Table

IDLE_SECONDS = 30.0
"""After this time without an answer a connection may have been closed, and opening one takes several round trips."""
OPENING = 5
"""A read that may have to open a connection may take this many times the limit."""
_THROTTLED = ("ProvisionedThroughputExceeded", "Throttling", "RequestLimitExceeded")

# Not the threads of the other calls: while DynamoDB hangs, abandoned reads must not keep the endpoint from being asked.
_READS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="recent")


class RecentEventsUnavailable(Exception):
    """Raised when the events cannot be read. `reason` is timeout, unreachable, throttled, refused, garbled or
    circuit_open.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RecentEvents:
    """The newest events of people in `table`, within `seconds` a request, behind a circuit breaker."""

    def __init__(
        self,
        table: Table,
        seconds: float,
        circuit: Circuit | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table, self._seconds, self._clock = table, seconds, clock
        self._circuit = circuit or Circuit(clock)
        self._answered_at = float("-inf")

    def begin(self, person: Person, seconds: float = float("inf")) -> Reading:
        """Begin to read what a user or session did, within `seconds` and the own limit."""
        if self._circuit.is_open:
            return Reading(self, person, None)
        is_idle = self._clock() - self._answered_at >= IDLE_SECONDS
        limit = self._seconds * (OPENING if is_idle else 1)
        return Reading(self, person, Budget(min(limit, seconds), self._clock))

    def ended(self, is_answered: bool) -> None:
        """Record how a reading ended."""
        if is_answered:
            self._answered_at = self._clock()
            self._circuit.succeeded()
        else:
            self._circuit.failed()

    def newest(self, key: str) -> Newest:
        """Return the newest items under a key. Raises `RecentEventsUnavailable`.

        The read is consistent: an event that was accepted before is there.
        """
        names = ("sk", "at", "item", "type", "user", "since")
        answer = _sent(
            lambda: self._table.query(
                IndexName=recent_events.BY_TIME,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": key}},
                ProjectionExpression=", ".join(f"#{name}" for name in names),
                ExpressionAttributeNames={f"#{name}": name for name in names},
                ScanIndexForward=False,
                Limit=recent_events.NEWEST + 1,  # the user of a session is an item too
                ConsistentRead=True,
            )
        )
        items = answer.get("Items")
        if not isinstance(items, list):
            raise RecentEventsUnavailable("garbled")
        return Newest.from_items(items)


class Reading:
    """The read of one person's events; `budget` None: the circuit is open."""

    def __init__(self, source: RecentEvents, person: Person, budget: Budget | None) -> None:
        self._source, self._person, self._budget = source, person, budget
        self._of_session: Future[Newest] | None = None
        self._of_user: Future[Newest] | None = None
        if budget is not None:
            if person.session_id is not None:
                self._of_session = _READS.submit(source.newest, recent_events.of_session(person.session_id))
            if person.user_id is not None:
                self._of_user = _READS.submit(source.newest, recent_events.of_user(person.user_id))

    def result(self) -> tuple[Person, list[Event]]:
        """Return who the person is, for a session that has logged in its user, and their events. Raises
        `RecentEventsUnavailable`.
        """
        if self._budget is None:
            raise RecentEventsUnavailable("circuit_open")
        try:
            found = self._found(self._budget)
        except RecentEventsUnavailable:
            self._source.ended(is_answered=False)
            raise
        except TimeoutError:
            for future in (self._of_session, self._of_user):
                if future is not None:
                    future.cancel()
            self._source.ended(is_answered=False)
            raise RecentEventsUnavailable("timeout") from None
        self._source.ended(is_answered=True)
        return found

    def _found(self, budget: Budget) -> tuple[Person, list[Event]]:
        person = self._person
        events: list[Event] = []
        if self._of_session is not None:
            session = self._of_session.result(budget.left)
            if person.user_id is None and session.user_id is not None:
                person = Person(session.user_id, person.session_id)
                self._of_user = _READS.submit(self._source.newest, recent_events.of_user(session.user_id))
            events += session.events_of(person)
        if self._of_user is not None:
            events += self._of_user.result(budget.left).events
        return person, events


def _sent(call: Callable[[], Answer]) -> dict[str, Any]:
    try:
        answer = call()
    except NoAnswer as error:
        raise RecentEventsUnavailable("timeout" if error.timed_out else "unreachable") from None
    if answer.status >= 500:
        raise RecentEventsUnavailable("unreachable")
    try:
        document = json.loads(answer.content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise RecentEventsUnavailable("garbled")
    if answer.status != 200:
        code = str(document.get("__type")).rpartition("#")[2]
        raise RecentEventsUnavailable("throttled" if code.startswith(_THROTTLED) else "refused")
    return document
