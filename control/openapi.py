"""The API's document, `docs/reference/openapi.json`, as routes with parameters to fill in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contracts import documents
from contracts.documents import Unfit
from control import api
from control.connection import NotReady

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "reference" / "openapi.json"
MOST_DEPTH = 6


class NoDocument(NotReady):
    """The document is not there or cannot be read; the message says what to do."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a route. `choices` are the only values, if there are any."""

    name: str
    place: str
    description: str
    is_needed: bool
    is_list: bool
    default: str
    choices: tuple[str, ...]
    limits: str


@dataclass(frozen=True)
class Route:
    """One route: method and path, what it is for, its parameters, and a body to begin with."""

    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[Parameter, ...]
    body_schema: Mapping[str, Any] | None
    answers: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def changes_something(self) -> bool:
        """True for events, the only route that writes."""
        return self.method != "GET" and self.path == "/events"


def read(path: Path = DOCUMENT) -> dict[str, Any]:
    """The document of this checkout. Raises NoDocument."""
    try:
        return documents.read_object(path.read_bytes(), path.name)
    except OSError as error:
        raise NoDocument(
            f"{path.name} is not beside the program: `make assemble` writes it to docs/reference/."
        ) from error
    except Unfit as error:
        raise NoDocument(f"{error}. `make assemble` writes it anew.") from error


def routes(document: Mapping[str, Any]) -> list[Route]:
    """The routes of a document, in its order."""
    return [
        _route(document, method.upper(), path, operation)
        for path, methods in document.get("paths", {}).items()
        for method, operation in methods.items()
        if method in ("get", "post", "put", "delete", "patch")
    ]


def _route(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> Route:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    return Route(
        method=method,
        path=path,
        summary=operation.get("summary", ""),
        description=operation.get("description", ""),
        parameters=tuple(_parameter(resolved(document, one)) for one in operation.get("parameters", [])),
        body_schema=None if body is None else resolved(document, body),
        answers=tuple((status, one.get("description", "")) for status, one in operation.get("responses", {}).items()),
    )


def _parameter(given: Mapping[str, Any]) -> Parameter:
    schema = given.get("schema", {})
    is_list = schema.get("type") == "array"
    choices = schema.get("enum") or (["true", "false"] if schema.get("type") == "boolean" else [])
    default = schema.get("default")
    return Parameter(
        name=given["name"],
        place=given["in"],
        description=given.get("description", ""),
        is_needed=bool(given.get("required")),
        is_list=is_list,
        default="" if default is None else default if isinstance(default, str) else json.dumps(default),
        choices=tuple(str(choice) for choice in choices),
        limits=limits_of(schema),
    )


def limits_of(schema: Mapping[str, Any]) -> str:
    """Return in words which values a schema allows."""
    parts = []
    if "minimum" in schema or "maximum" in schema:
        parts.append(f"{schema.get('minimum', 'any')} to {schema.get('maximum', 'any')}")
    if "maxLength" in schema:
        parts.append(f"at most {schema['maxLength']} characters")
    if schema.get("type") == "array":
        inner = limits_of(schema.get("items", {}))
        most = f"at most {schema['maxItems']} values" if "maxItems" in schema else "several values"
        parts.append(f"{most}, one a line" + (f", each {inner}" if inner else ""))
    return ", ".join(parts)


def resolved(document: Mapping[str, Any], schema: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """A schema with its references replaced by what they name, at most MOST_DEPTH deep."""
    if depth > MOST_DEPTH:
        return {}
    reference = schema.get("$ref")
    if isinstance(reference, str):
        found: Any = document
        for name in reference.removeprefix("#/").split("/"):
            found = found.get(name, {}) if isinstance(found, Mapping) else {}
        return resolved(document, found, depth + 1)
    return {name: _inner(document, value, depth) for name, value in schema.items()}


def _inner(document: Mapping[str, Any], value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return resolved(document, value, depth + 1)
    if isinstance(value, list):
        return [_inner(document, one, depth) for one in value]
    return value


def example(schema: Mapping[str, Any], user_id: str = "", item_id: str = "") -> Any:
    """A value to begin with: needed fields, ids that exist, and now for a time."""
    for choice in ("anyOf", "oneOf"):
        if "type" not in schema and schema.get(choice):
            return example(schema[choice][0], user_id, item_id)
    kind = schema.get("type")
    if kind == "object":
        named = schema.get("properties", {})
        needed = list(schema.get("required", []))
        needed += [name for name in _first_needed(schema.get("anyOf", [])) if name not in needed]
        return {
            name: _named(name, named[name], user_id, item_id) for name in needed if isinstance(named.get(name), Mapping)
        }
    if kind == "array":
        return [_named("itemId" if "items" not in schema else "", schema.get("items", {}), user_id, item_id)]
    if "default" in schema:
        return schema["default"]
    return {"integer": 1, "number": 1, "boolean": False}.get(str(kind), "")


def _first_needed(choices: Iterable[Any]) -> list[str]:
    for choice in choices:
        if isinstance(choice, Mapping) and choice.get("required"):
            return list(choice["required"])
    return []


def _named(name: str, schema: Mapping[str, Any], user_id: str, item_id: str) -> Any:
    if name == "userId":
        return user_id
    if name == "itemId":
        return item_id
    if name == "inputList":
        return [item_id]
    if name == "eventType":
        return "click"
    if name == "sentAt":
        return datetime.now(UTC).isoformat(timespec="seconds")
    return example(schema, user_id, item_id)


def request(base_url: str, route: Route, values: Mapping[str, str], body: str = "") -> api.Request:
    """The request of a filled form; a list has one value a line. Raises ValueError in words for what is missing."""
    given = {name: value.strip("\n") for name, value in values.items() if value.strip()}
    missing = [one.name for one in route.parameters if one.is_needed and one.name not in given]
    if missing:
        raise ValueError(f"{', '.join(missing)} is needed.")
    path = api.path_of(route.path, given)
    query: dict[str, str | list[str]] = {}
    for one in route.parameters:
        if one.place == "query" and one.name in given:
            value = given[one.name]
            query[one.name] = [line for line in value.splitlines() if line.strip()] if one.is_list else value
    content = None
    if route.body_schema is not None:
        try:
            content = documents.read_object(body, "The body")
        except Unfit as error:
            raise ValueError(f"{error}.") from error
    return api.Request(base_url, route.method, path, query, content)
