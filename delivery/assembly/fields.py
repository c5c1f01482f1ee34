"""The fields of a JSON Schema as rows of a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from contracts import schemas
from delivery.assembly import pages

HEAD = ("field", "value", "default", "meaning")
Schema = dict[str, Any]


class Fields:
    """The tables of the objects in `document`. `links` has what to write for a reference to an object that has a table
    of its own; any other reference is written out in its place.
    """

    def __init__(self, document: Schema, links: Mapping[str, str]) -> None:
        self._document, self._links = document, links

    def table(self, schema: Schema) -> str:
        """The table of the fields inside `schema`."""
        return pages.table(HEAD, self._rows(schema, ""))

    def value(self, field: Schema) -> str:
        """The values that `field` may have."""
        if field.get("$ref") in self._links:
            return self._links[field["$ref"]]
        if field.keys() <= {"description"}:
            return "anything"
        if "anyOf" in field and not field.keys() & {"type", "title"}:
            return " or ".join(self.value(part) for part in field["anyOf"])
        if any(isinstance(one, bool) for one in field.get("enum", [field.get("const")])):
            return " or ".join(json.dumps(one).strip('"') for one in field.get("enum", [field.get("const")]))
        parts = [schemas.allowed_values(field, self._document)]
        if "pattern" in field and "title" not in field:
            parts.append(f"matching {pages.code(field['pattern'])}")
        if "propertyNames" in field:
            parts.append(f"each key {self._words(field['propertyNames'])}")
        if "items" in field and "properties" not in field["items"]:
            parts.append(f"each {self._words(field['items'])}")
        others = [name for name in field.get("required", ()) if name not in field.get("properties", {})]
        contained = [self._words(part["contains"]) for part in field.get("allOf", ()) if "contains" in part]
        if others or contained:
            parts.append(f"with {', '.join([*map(pages.code, others), *contained])}")
        return ", ".join(parts)

    def _rows(self, schema: Schema, path: str) -> Iterator[tuple[str, ...]]:
        """The rows of the fields inside `schema`, which is at `path`; none if it has no fields."""
        dot = f"{path}." if path else ""
        fields = dict(schema.get("properties", {}))
        if isinstance(schema.get("additionalProperties"), dict):
            fields["<key>"] = schema["additionalProperties"]
        for name, field in fields.items():
            yield from self._field(dot + name, field, name in schema.get("required", ()))
        if "items" in schema:
            yield from self._rows(schema["items"], f"{path}[]")

    def _field(self, path: str, field: Schema, is_required: bool) -> Iterator[tuple[str, ...]]:
        default = json.dumps(field["default"]) if "default" in field else ""
        yield pages.code(path), self.value(field), "required" if is_required else default, self._meaning(field)
        yield from self._rows(field, path)

    def _words(self, field: Schema) -> str:
        return self.value({"type": "string", **field} if "pattern" in field or "minLength" in field else field)

    def _meaning(self, field: Schema) -> str:
        is_shown = field.get("$ref") in self._links  # below the heading of its own table
        name = field.get("$ref", "").removeprefix("#/$defs/")
        inherited = "" if is_shown else self._document.get("$defs", {}).get(name, {}).get("description", "")
        own = [part["description"] for part in field.get("anyOf", ()) if "description" in part]
        return str(field.get("description", inherited or (own[0] if own else ""))).rstrip(".")
