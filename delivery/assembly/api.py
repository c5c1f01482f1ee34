"""Tables and examples of the HTTP API, from openapi.json and examples.json in docs/reference."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from delivery.assembly import pages
from delivery.assembly.fields import Fields, Schema

EVENTS = ("EventsRequest", "Event", "Events", "EventsError")
"""The schemas that stand in events.md."""


class Api:
    """The tables of both pages, api.md and events.md."""

    def __init__(self, root: Path) -> None:
        folder = root / pages.REFERENCE
        self._document: Schema = json.loads((folder / "openapi.json").read_text("utf-8"))
        self._examples: dict[str, Any] = json.loads((folder / "examples.json").read_text("utf-8"))
        self._schemas: dict[str, Schema] = self._document["components"]["schemas"]
        self._operations = {
            f"{method.upper()} {path}": operation
            for path, methods in self._document["paths"].items()
            for method, operation in methods.items()
        }

    def about(self) -> str:
        """The description of all routes together."""
        return pages.wrapped(self._document["info"]["description"])

    def routes(self) -> str:
        """All routes, with links to their sections."""
        rows = (
            (f"[{route}]({_page(route)}#{_anchor(route)})", operation["summary"])
            for route, operation in self._operations.items()
        )
        return pages.table(("route", "what it does"), rows)

    def sections(self) -> str:
        """A section for each route, those of events apart."""
        return "\n".join(self.section(route) for route in self._operations if not _page(route))

    def section(self, route: str) -> str:
        """One route: its parameters, body and answers, and an example."""
        operation = self._operations[route]
        sentences = [operation["summary"], operation.get("description", "").rstrip(".")]
        parts = [f"### {route}", pages.wrapped(". ".join(one for one in sentences if one) + ".")]
        parts += self._parameters(route, operation)
        if "requestBody" in operation:
            body = operation["requestBody"]
            parts.append(f"Body: {self._link(body, route)}, {body['description']}.")
        answers = (
            (status, self._link(answer, route), answer["description"])
            for status, answer in operation["responses"].items()
        )
        parts.append(pages.table(("answer", "body", "meaning"), answers).strip())
        return "\n\n".join([*parts, *self._example(route)]) + "\n"

    def schemas(self) -> str:
        """A section for each body, those of events apart."""
        return self._sections((name for name in self._schemas if name not in EVENTS), "")

    def events(self) -> str:
        """A section for each body of events."""
        return self._sections(EVENTS, "api.md")

    def _sections(self, names: Iterable[str], page_of_others: str) -> str:
        chosen = list(names)
        links = {
            f"#/components/schemas/{name}": f"[{name}]({'' if name in chosen else page_of_others}#{name.lower()})"
            for name in self._schemas
        }
        fields = Fields(self._document, links)
        return "\n".join(f"### {name}\n\n{fields.table(self._schemas[name])}" for name in chosen)

    def _parameters(self, route: str, operation: Schema) -> Iterator[str]:
        """The table of the parameters; what another route explains is not repeated."""
        parameters = operation.get("parameters", [])
        base = next((one for one in self._operations if "{" in route and _explains(one, parameters, self)), None)
        own = [one for one in parameters if base is None or one["in"] == "path"]
        fields = Fields(self._document, {})
        rows = (
            (
                pages.code(one["name"]),
                one["in"],
                fields.value(one["schema"]),
                "required" if one["required"] else json.dumps(one["schema"].get("default", "")).strip('"'),
                one["description"],
            )
            for one in own
        )
        if own:
            yield pages.table(("parameter", "in", "value", "default", "meaning"), rows).strip()
        if base:
            yield f"The other parameters are those of [{base}](#{_anchor(base)})."

    def explained(self, route: str) -> list[Schema]:
        """The parameters of `route`."""
        return list(self._operations[route].get("parameters", []))

    def _link(self, of: Schema, route: str) -> str:
        """The link to a body, on the page of `route`."""
        name = of["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        page = "events.md" if name in EVENTS else "api.md"
        return f"[{name}]({'' if page == (_page(route) or 'api.md') else page}#{name.lower()})"

    def _example(self, route: str) -> Iterator[str]:
        example = self._examples[route]
        method = route.split()[0]
        body = f"\n\n{_text(example['body'])}" if "body" in example else ""
        yield f"```http\n{method} {example['request']}{body}\n```"
        yield f"```json\n{_text(example['answer'])}\n```"


def _explains(route: str, parameters: list[Schema], api: Api) -> bool:
    """True if `route`, which has no parameter in its path, has all parameters of a query that are in `parameters`."""
    theirs = api.explained(route)
    return "{" not in route and bool(theirs) and all(one in theirs for one in parameters if one["in"] == "query")


def _text(value: Any, indent: str = "") -> str:
    """JSON; what fits into a line is one."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent + line) <= 80 or not isinstance(value, dict | list) or not value:
        return line
    inner = f"{indent}  "
    if isinstance(value, list):
        return f"[\n{inner}" + f",\n{inner}".join(_text(one, inner) for one in value) + f"\n{indent}]"
    entries = (f"{json.dumps(name)}: {_text(one, inner)}" for name, one in value.items())
    return f"{{\n{inner}" + f",\n{inner}".join(entries) + f"\n{indent}}}"


def _page(route: str) -> str:
    """The page of a route, as api.md names it in a link."""
    return "events.md" if route.endswith("/events") else ""


def _anchor(route: str) -> str:
    return "".join(letter for letter in route.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")
