"""The requests of the HTTP API, read and validated from API Gateway events (payload 2.0).

Pure: no AWS, no environment. The rules equal those of the model server (`docs/contracts.md`, "Server" and "HTTP API"),
so the server accepts every request that passes here.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

from contracts import documents, limits, seen
from contracts.documents import Unfit
from contracts.item_fields import NAME_CHARACTERS
from contracts.values import kind

_RECOMMENDATIONS_PATH = re.compile(r"/users/(?P<id>.*)/recommendations", re.DOTALL)
_RELATED_PATH = re.compile(r"/items/(?P<id>.*)/related", re.DOTALL)


class InvalidRequest(Exception):
    """Raised for an invalid request. `field` names the invalid field; None if the request as a whole is invalid."""

    def __init__(self, message: str, field: str | None = None, status: int = 400, code: str = "InvalidInput") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.status = status
        self.code = code


@dataclass(frozen=True)
class RecommendationsRequest:
    """`GET /recommendations?userId=42&numResults=10&excludeSeen=any&category=Drama&category=Comedy`, or
    `GET /users/{userId}/recommendations`, which cannot take every id (`_subject`).
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
        query = _query(event)
        return cls(
            user_id=_id(_subject(event, query, "userId", _RECOMMENDATIONS_PATH), "userId"),
            num_results=_query_num_results(_joined(query, "numResults")),
            exclude_seen=_query_exclude_seen(_joined(query, "excludeSeen")),
            categories=_query_categories(query),
            fields=_query_fields(_joined(query, "fields")),
            explain=_query_boolean(query, "explain", False),
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
        query = _query(event)
        return cls(
            item_id=_id(_subject(event, query, "itemId", _RELATED_PATH), "itemId"),
            num_results=_query_num_results(_joined(query, "numResults")),
            categories=_query_categories(query),
            fields=_query_fields(_joined(query, "fields")),
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
        _check_content_type(event.get("headers") or {})
        document = _document(_body(event))
        for name in document:
            if name not in _RANKING_FIELDS:
                fields = ", ".join(_RANKING_FIELDS)
                raise InvalidRequest(f"{_shown(name)} is not a field; the fields are {fields}", _name(name))
        if "userId" not in document:
            raise InvalidRequest("userId is missing", "userId")
        return cls(_id(document["userId"], "userId"), _input_list(document), _body_fields(document.get("fields", [])))

    def to_invocation(self) -> dict[str, Any]:
        """The body of the model server's `/invocations`."""
        asked = {"userId": self.user_id, "candidates": list(self.input_list), "excludeSeen": False}
        return asked | _asked_fields(self.fields)


def route(event: dict[str, Any]) -> str:
    """Return `recommendations`, `related`, `rankings` or `health`. Raises `InvalidRequest` (404 or 405) otherwise."""
    key = event.get("routeKey") or ""
    if key in _ROUTES:
        return _ROUTES[key]
    # With a catch-all route ($default) the method and the path must be checked here.
    http = (event.get("requestContext") or {}).get("http") or {}
    method, path = http.get("method") or "", _path(event)
    found = next((key for key in _ROUTES if key.partition(" ")[2] == path), None)
    if found is None and _RECOMMENDATIONS_PATH.fullmatch(path):
        found = "GET /users/{userId}/recommendations"
    if found is None and _RELATED_PATH.fullmatch(path):
        found = "GET /items/{itemId}/related"
    if found is None:
        raise InvalidRequest(
            f"the path does not exist; the routes are {', '.join(_ROUTES)}", status=404, code="NotFound"
        )
    wanted = found.partition(" ")[0]
    if method != wanted:
        raise InvalidRequest(f"the method must be {wanted}", status=405, code="MethodNotAllowed")
    return _ROUTES[found]


_RANKING_FIELDS = ("userId", "inputList", "fields")
_ROUTES = {
    "GET /recommendations": "recommendations",
    "GET /related": "related",
    "GET /users/{userId}/recommendations": "recommendations",
    "GET /items/{itemId}/related": "related",
    "POST /rankings": "rankings",
    "GET /health": "health",
}


def _path(event: dict[str, Any]) -> str:
    """Return the path without the stage, which API Gateway prepends unless it is the default stage."""
    path = event.get("rawPath") or "/"
    stage = (event.get("requestContext") or {}).get("stage") or "$default"
    return path.removeprefix(f"/{stage}") if path.startswith(f"/{stage}/") else path


def _query(event: dict[str, Any]) -> Mapping[str, list[str]]:
    """Return the values of each query parameter. API Gateway joins those of one name with commas, which values may have
    too, so the raw query is read. A plus is a space, as in a form.
    """
    raw = event.get("rawQueryString")
    if raw is None:
        return {name: [value] for name, value in (event.get("queryStringParameters") or {}).items()}
    try:
        return parse_qs(raw, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise InvalidRequest("the query is not UTF-8") from None


def _joined(query: Mapping[str, list[str]], name: str) -> str | None:
    return ",".join(query[name]) if name in query else None


def _subject(event: dict[str, Any], query: Mapping[str, list[str]], name: str, pattern: re.Pattern[str]) -> str:
    """Return the id that the request is about: that of the path, or else the one of the query.

    In a path, API Gateway decodes a slash before it looks for the route, and a question mark before it ends the path.
    """
    parameters = event.get("pathParameters") or {}
    if name in parameters:
        value: str = parameters[name]
        return value
    match = pattern.fullmatch(_path(event))
    if match is not None:
        return unquote(match["id"])
    given = query.get(name, [])
    if len(given) != 1:
        raise InvalidRequest(f"{name} is {'given twice' if given else 'missing'}", name)
    return given[0]


def _id(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be a string, not {kind(value)}", name)
    if not 1 <= len(value) <= limits.ID_CHARACTERS:
        raise InvalidRequest(f"{name} must have 1 to {limits.ID_CHARACTERS} characters, not {len(value)}", name)
    _check_unicode(value, name)
    return value


def _query_num_results(value: str | None) -> int:
    if value is None:
        return limits.DEFAULT_RESULTS
    # [0-9] and not \d: int() also reads digits of other scripts.
    if not re.fullmatch(r"[0-9]{1,9}", value) or not 1 <= int(value) <= limits.RESULTS:
        raise InvalidRequest(
            f"numResults must be an integer from 1 to {limits.RESULTS}, not {_shown(value)[1:-1]}", "numResults"
        )
    return int(value)


def _query_boolean(query: Mapping[str, list[str]], name: str, default: bool) -> bool:
    value = _joined(query, name)
    if value is None:
        return default
    if value not in ("true", "false"):
        raise InvalidRequest(f"{name} must be true or false, not {_shown(value)[1:-1]}", name)
    return value == "true"


def _query_exclude_seen(value: str | None) -> str:
    if value is None:
        return seen.ANY
    kind = seen.read({"true": True, "false": False}.get(value, value))
    if kind is None:
        raise InvalidRequest(f"excludeSeen must be {seen.FORMS}, not {_shown(value)[1:-1]}", "excludeSeen")
    return kind


def _query_categories(query: Mapping[str, list[str]]) -> tuple[str, ...]:
    """Return the names of each `category`, which may have commas, and of `categories`, between commas."""
    names = list(query.get("category", []))
    if "" in names:
        raise InvalidRequest("category must be a name, not empty", "category")
    value = _joined(query, "categories")
    if value is not None:
        names += [name.strip(" ") for name in value.split(",")]
        if "" in names:
            raise InvalidRequest(
                f"categories must be names separated by commas, not {_shown(value)[1:-1]}", "categories"
            )
    if len(names) > limits.CATEGORIES:
        raise InvalidRequest(f"categories must hold at most {limits.CATEGORIES} names, not {len(names)}", "categories")
    for name in names:
        _check_unicode(name, "categories")
    return tuple(dict.fromkeys(names))


def _query_fields(value: str | None) -> tuple[str, ...]:
    """Return the names in `fields`, between commas."""
    return () if value is None else _field_names([name.strip(" ") for name in value.split(",")])


def _body_fields(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InvalidRequest(f"fields must be a list of names, not {kind(value)}", "fields")
    for position, name in enumerate(value):
        if not isinstance(name, str):
            raise InvalidRequest(f"fields[{position}] must be a string, not {kind(name)}", "fields")
    return _field_names(value)


def _field_names(names: list[str]) -> tuple[str, ...]:
    if len(names) > limits.FIELDS:
        raise InvalidRequest(f"fields must hold at most {limits.FIELDS} names, not {len(names)}", "fields")
    for name in names:
        if not 1 <= len(name) <= NAME_CHARACTERS:
            raise InvalidRequest(
                f"fields must hold names of 1 to {NAME_CHARACTERS} characters, such as title,price, not {_shown(name)}",
                "fields",
            )
        _check_unicode(name, "fields")
    return tuple(dict.fromkeys(names))


def _asked_fields(fields: tuple[str, ...]) -> dict[str, Any]:
    return {"fields": list(fields)} if fields else {}


def _input_list(document: dict[str, Any]) -> tuple[str, ...]:
    if "inputList" not in document:
        raise InvalidRequest("inputList is missing", "inputList")
    value = document["inputList"]
    if not isinstance(value, list):
        raise InvalidRequest(f"inputList must be a list of item ids, not {kind(value)}", "inputList")
    if not 1 <= len(value) <= limits.CANDIDATES:
        raise InvalidRequest(f"inputList must hold 1 to {limits.CANDIDATES} item ids, not {len(value)}", "inputList")
    for position, item in enumerate(value):
        if not isinstance(item, str):
            raise InvalidRequest(f"inputList[{position}] must be a string, not {kind(item)}", "inputList")
        _check_unicode(item, f"inputList[{position}]")
    return tuple(dict.fromkeys(value))


def _check_content_type(headers: dict[str, str]) -> None:
    # API Gateway sends names in lower case; a test console may not.
    given = next((value for name, value in headers.items() if name.lower() == "content-type"), None)
    if (given or "").partition(";")[0].strip().lower() != "application/json":
        shown = repr(given[:40]) if given else "missing"
        raise InvalidRequest(f"the content type must be application/json; it is {shown}", status=415)


def _body(event: dict[str, Any]) -> bytes:
    body = event.get("body") or ""
    too_large = InvalidRequest(f"the body is larger than {limits.REQUEST_BYTES} bytes", status=413)
    if event.get("isBase64Encoded"):
        if len(body) > limits.REQUEST_BYTES * 4 // 3 + 4:
            raise too_large
        try:
            content = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidRequest("the body is marked as base64 but cannot be decoded") from None
    else:
        content = body.encode("utf-8", "surrogatepass")
    if len(content) > limits.REQUEST_BYTES:
        raise too_large
    return content


def _document(content: bytes) -> dict[str, Any]:
    if not content.strip():
        raise InvalidRequest("the body is empty; a JSON object is expected")
    try:
        return documents.read_object(content, "the body", has_schema=True)
    except Unfit as error:
        if error.key is not None:
            raise InvalidRequest(f"{_shown(error.key)} is given twice", _name(error.key)) from None
        raise InvalidRequest(str(error)) from None


def _check_unicode(text: str, label: str) -> None:
    """Refuse lone surrogates, which JSON can escape: such a string can be neither stored nor sent."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidRequest(f"{label} is not valid Unicode", label.partition("[")[0]) from None


def _shown(text: str) -> str:
    quoted = json.dumps(text)
    return quoted if len(quoted) <= 40 else quoted[:36] + '..."'


def _name(name: str) -> str:
    return name[:40].encode("utf-8", "replace").decode("utf-8")
