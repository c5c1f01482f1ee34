"""The requests of the HTTP API, read and validated from API Gateway events (payload 2.0).

Pure: no AWS, no environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts import limits, seen
from recommend import body
from recommend.history import NO_HISTORY, History
from recommend.person import SESSION_CHARACTERS, Person
from recommend.query import Query
from recommend.routes import id_in_path
from shared import http
from shared.refusal import InvalidRequest, id_of


@dataclass(frozen=True)
class RecommendationsRequest:
    """`GET /recommendations?userId=42&sessionId=7f&numResults=10&excludeSeen=any&category=Drama&category=Comedy`; or
    `GET /users/{userId}/recommendations` and `GET /sessions/{sessionId}/recommendations`, which cannot take every id
    (`id_in_path`); or `POST /recommendations` with a history.
    """

    person: Person
    num_results: int = limits.DEFAULT_RESULTS
    exclude_seen: str = seen.ANY
    """A kind of `contracts/seen.py`."""
    categories: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    explain: bool = False
    history: History | None = None
    """What the caller says that the person chose; None: what the table of recent events has."""
    parameters: Mapping[str, Sequence[str]] = field(default_factory=dict, compare=False, repr=False)
    """What was given, by name, for `Listing`."""

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> RecommendationsRequest:
        """Raises `InvalidRequest`."""
        query = Query.from_event(event)
        return cls(
            person=_person(event, query),
            num_results=query.num_results(),
            exclude_seen=query.exclude_seen(),
            categories=query.categories(),
            fields=query.fields(),
            explain=query.boolean("explain", False),
            parameters=query.values,
        )

    @classmethod
    def from_body(cls, event: dict[str, Any]) -> RecommendationsRequest:
        """Raises `InvalidRequest`."""
        document = http.document(event, _STATELESS)
        if "history" not in document:
            raise InvalidRequest("history is missing; a person without one has an empty list", "history")
        user_id = id_of(document["userId"], "userId") if "userId" in document else None
        return cls(
            person=Person(user_id),
            num_results=body.num_results(document),
            exclude_seen=body.exclude_seen(document),
            categories=body.categories(document),
            fields=body.shown_fields(document.get("fields", [])),
            explain=body.boolean(document, "explain", False),
            history=body.history(document),
            parameters=body.parameters(document),
        )

    def to_invocation(self, name: str, history: History = NO_HISTORY) -> dict[str, Any]:
        """The body of the model server's `/invocations`, for the person of this name."""
        asked = {"userId": name, "numResults": self.num_results, "excludeSeen": seen.for_server(self.exclude_seen)}
        asked |= history.to_invocation() | _asked_fields(self.fields)
        return asked | ({"explain": True} if self.explain else {})


@dataclass(frozen=True)
class RelatedRequest:
    """`GET /related?itemId=7&numResults=10&category=Drama`, or `GET /items/{itemId}/related`."""

    item_id: str
    num_results: int = limits.DEFAULT_RESULTS
    categories: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    parameters: Mapping[str, Sequence[str]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> RelatedRequest:
        """Raises `InvalidRequest`."""
        query = Query.from_event(event)
        return cls(
            item_id=_subject(event, query, "itemId"),
            num_results=query.num_results(),
            categories=query.categories(),
            fields=query.fields(),
            parameters=query.values,
        )

    def to_invocation(self) -> dict[str, Any]:
        """The body of the model server's `/invocations`."""
        return {"itemId": self.item_id, "numResults": self.num_results} | _asked_fields(self.fields)


@dataclass(frozen=True)
class RankingRequest:
    """`POST /rankings` with `{"userId", "inputList", "fields"?}`; `input_list` holds each item id once, in the given
    order.
    """

    user_id: str
    input_list: tuple[str, ...]
    fields: tuple[str, ...] = ()

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> RankingRequest:
        """Raises `InvalidRequest`."""
        document = http.document(event, ("userId", "inputList", "fields"))
        if "userId" not in document:
            raise InvalidRequest("userId is missing", "userId")
        return cls(
            id_of(document["userId"], "userId"),
            body.input_list(document),
            body.shown_fields(document.get("fields", [])),
        )

    def to_invocation(self) -> dict[str, Any]:
        """The body of the model server's `/invocations`."""
        asked = {"userId": self.user_id, "candidates": list(self.input_list), "excludeSeen": False}
        return asked | _asked_fields(self.fields)


_STATELESS = (
    "userId", "history", "numResults", "excludeSeen", "categories", "fields", "explain",
    "placement", "window", "exclude", "page",
)  # fmt: skip


def _person(event: dict[str, Any], query: Query) -> Person:
    """Return the user and the session of the request; one of them may be missing."""
    user_id, session_id = _given(event, query, "userId"), _given(event, query, "sessionId")
    if user_id is None and session_id is None:
        raise InvalidRequest("userId and sessionId are missing; one of them says who asks", "userId")
    return Person(
        None if user_id is None else id_of(user_id, "userId"),
        None if session_id is None else id_of(session_id, "sessionId", SESSION_CHARACTERS),
    )


def _subject(event: dict[str, Any], query: Query, name: str) -> str:
    """Return the id that the request is about."""
    given = _given(event, query, name)
    return id_of(query.one(name) if given is None else given, name)


def _given(event: dict[str, Any], query: Query, name: str) -> str | None:
    """Return the id in the path, or else the one in the query, if there is any."""
    found = id_in_path(event, name)
    return query.one(name) if found is None and name in query.values else found


def _asked_fields(fields: tuple[str, ...]) -> dict[str, Any]:
    return {"fields": list(fields)} if fields else {}
