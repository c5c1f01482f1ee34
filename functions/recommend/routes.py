"""The routes of the HTTP API, from API Gateway events (payload 2.0).

Pure: no AWS, no environment.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from shared.refusal import InvalidRequest, id_of

_ROUTES = {
    "GET /recommendations": "recommendations",
    "GET /related": "related",
    "POST /recommendations": "stateless",
    "GET /users/{userId}/recommendations": "recommendations",
    "GET /sessions/{sessionId}/recommendations": "recommendations",
    "GET /items/{itemId}/related": "related",
    "POST /rankings": "rankings",
    "GET /health": "health",
}


_PATHS = tuple(dict.fromkeys(key.partition(" ")[2] for key in _ROUTES))


def route(event: dict[str, Any]) -> str:
    """Return `recommendations`, `stateless`, `related`, `rankings` or `health`. Raises `InvalidRequest` (404 or 405)
    otherwise.
    """
    key = event.get("routeKey") or ""
    if key in _ROUTES:
        return _ROUTES[key]
    # With a catch-all route ($default) the method and the path must be checked here.
    http = (event.get("requestContext") or {}).get("http") or {}
    method, path = http.get("method") or "", _path(event)
    known = next((known for known in _PATHS if _parameter(path, known) is not None), None)
    if known is None:
        raise InvalidRequest(
            f"the path does not exist; the routes are {', '.join(_ROUTES)}", status=404, code="NotFound"
        )
    methods = [key.partition(" ")[0] for key in _ROUTES if key.partition(" ")[2] == known]
    if method not in methods:
        raise InvalidRequest(f"the method must be {' or '.join(methods)}", status=405, code="MethodNotAllowed")
    return _ROUTES[f"{method} {known}"]


def id_in_path(event: dict[str, Any], name: str) -> str | None:
    """Return the id `name` of the path; None if the path has none. Raises `InvalidRequest`.

    In a path, API Gateway decodes a slash before it looks for the route, and a question mark before it ends the path.
    """
    parameters = event.get("pathParameters") or {}
    if name in parameters:
        return id_of(parameters[name], name)
    path = _path(event)
    for known in _PATHS:
        value = _parameter(path, known) if f"{{{name}}}" in known else None
        if value is not None:
            return id_of(unquote(value), name)
    return None


def _parameter(path: str, known: str) -> str | None:
    """Return the parameter of a path of the route `known`, empty if the route has none; None for another path."""
    before, brace, rest = known.partition("{")
    after = rest.partition("}")[2]
    if not brace:
        return "" if path == known else None
    fits = path.startswith(before) and path.endswith(after) and len(path) >= len(before) + len(after)
    return path[len(before) : len(path) - len(after)] if fits else None


def _path(event: dict[str, Any]) -> str:
    """Return the path without the stage, which API Gateway prepends unless it is the default stage."""
    path = event.get("rawPath") or "/"
    stage = (event.get("requestContext") or {}).get("stage") or "$default"
    return path.removeprefix(f"/{stage}") if path.startswith(f"/{stage}/") else path
