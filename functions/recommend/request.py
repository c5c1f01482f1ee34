"""The requests of the HTTP API, read and validated from API Gateway events (payload 2.0).

Pure: no AWS, no environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts import limits, seen
from recommend import body
from recommend.query import Query
from recommend.routes import id_in_path
from shared import http
from shared.refusal import InvalidRequest, id_of


@dataclass(frozen=True)
class RecommendationsRequest:
    """`GET /recommendations?userId=42&numResults=10&excludeSeen=any&category=Drama&category=Comedy`, or
    `GET /users/{userId}/recommendations`, which cannot take every id (`id_in_path`).
    """

    user_id: str
    num_results: int = limits.DEFAULT_RESULTS
    exclude_seen: str = seen.ANY
    """A kind of `contracts/seen.py`."""
    categories: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    explain: bool = False

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> RecommendationsRequest:
        """Raises `InvalidRequest`."""
        query = Query.from_event(event)
        return cls(
            user_id=_subject(event, query, "userId"),
            num_results=query.num_results(),
            exclude_seen=query.exclude_seen(),
            categories=query.categories(),
            fields=query.fields(),
            explain=query.boolean("explain", False),
        )

    def to_invocation(self) -> dict[str, Any]:
        """The body of the model server's `/invocations`."""
        asked = {
            "userId": self.user_id,
            "numResults": self.num_results,
            "excludeSeen": seen.for_server(self.exclude_seen),
        }
        return asked | _asked_fields(self.fields) | ({"explain": True} if self.explain else {})


@dataclass(frozen=True)
class RelatedRequest:
    """`GET /related?itemId=7&numResults=10&category=Drama`, or `GET /items/{itemId}/related`."""

    item_id: str
    num_results: int = limits.DEFAULT_RESULTS
    categories: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> RelatedRequest:
        """Raises `InvalidRequest`."""
        query = Query.from_event(event)
        return cls(
            item_id=_subject(event, query, "itemId"),
            num_results=query.num_results(),
            categories=query.categories(),
            fields=query.fields(),
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


def _subject(event: dict[str, Any], query: Query, name: str) -> str:
    """Return the id that the request is about: that of the path, or else the one of the query."""
    given = id_in_path(event, name)
    return id_of(query.one(name), name) if given is None else given


def _asked_fields(fields: tuple[str, ...]) -> dict[str, Any]:
    return {"fields": list(fields)} if fields else {}
