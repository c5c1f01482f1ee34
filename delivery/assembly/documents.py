"""Writes `docs/reference/documents.md`: the fields of each JSON document, from its schema in `contracts/`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contracts import schemas

PAGE = "docs/reference/documents.md"
HEAD = """\
# The JSON documents

Written by `make assemble` from `contracts/*.schema.json`; a test holds it current. These schemas are also the check:
a document with another value is refused, with a sentence that names the field. [Contracts](contracts.md) says who
writes and who reads each document.

`a.b` is the field `b` of the object `a`, `a[]` an entry of the list `a`, and `<key>` any key. Where a field is absent,
the default counts. A field without a meaning has that of the object around it,
or of the object that it links to.

`schemaVersion` is the version of the document's form, `runId` the retraining run that wrote it, `datasetVersion` the
dataset that it was made from, and `codeVersion` the code that made it.
"""
TABLE = "\n| field | value | default | meaning |\n|---|---|---|---|\n"
Schema = dict[str, Any]


def assemble(root: Path) -> dict[str, str]:
    """`docs/reference/documents.md` → its text, from the schemas below `root`."""
    paths = sorted((root / "contracts").glob("*.schema.json"))
    return {PAGE: HEAD + "".join(_Document(path).text() for path in paths)}


class _Document:
    """One document. Objects that its schema defines once under `$defs` have tables of their own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name.removesuffix(".schema.json")
        self.schema: dict[str, Any] = json.loads(path.read_text("utf-8"))
        self.shared = {
            f"#/$defs/{name}": name for name, shared in self.schema.get("$defs", {}).items() if _is_object(shared)
        }

    def text(self) -> str:
        source = f"[{self.path.name}](../../contracts/{self.path.name})"
        sentences = [part.rstrip(".") for part in (self.schema["title"], self.schema.get("description")) if part]
        own = f"\n## {self.name}\n{'. '.join(sentences)}. Source: {source}.\n" + self._table(self.schema)
        return own + "".join(self._shared(name) for name in self.shared.values())

    def _shared(self, name: str) -> str:
        schema = self.schema["$defs"][name]
        parts = [part for part in (schema.get("description"), self._value(schema)) if part and part != "an object"]
        about = f"{'; '.join(parts)}.\n" if parts else ""
        return f"\n### {self.name}: {name}\n{about}" + self._table(schema)

    def _table(self, schema: Schema) -> str:
        return TABLE + "".join(f"| {' | '.join(cells)} |\n" for cells in self._rows(schema, ""))

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
        yield f"`{path}`", self._value(field), "required" if is_required else default, self._meaning(field)
        yield from self._rows(field, path)

    def _value(self, field: Schema) -> str:
        if field.get("$ref") in self.shared:
            name = self.shared[field["$ref"]]
            return f"[{name}](#{self.name.lower()}-{name.lower()})"
        parts = [schemas.allowed_values(field, self.schema)]
        if "pattern" in field and "title" not in field:
            parts.append(f"matching {_code(field['pattern'])}")
        if "propertyNames" in field:
            parts.append(f"each key {self._words(field['propertyNames'])}")
        if "items" in field and "properties" not in field["items"]:
            parts.append(f"each {self._words(field['items'])}")
        others = [name for name in field.get("required", ()) if name not in field.get("properties", {})]
        contained = [self._words(part["contains"]) for part in field.get("allOf", ()) if "contains" in part]
        if others or contained:
            parts.append(f"with {', '.join([*map(_code, others), *contained])}")
        return ", ".join(parts)

    def _words(self, field: Schema) -> str:
        return self._value({"type": "string", **field} if "pattern" in field or "minLength" in field else field)

    def _meaning(self, field: Schema) -> str:
        is_shown = field.get("$ref") in self.shared  # below the heading of its own table
        name = field.get("$ref", "").removeprefix("#/$defs/")
        inherited = "" if is_shown else self.schema.get("$defs", {}).get(name, {}).get("description", "")
        return str(field.get("description", inherited)).replace("|", "\\|").rstrip(".")


def _is_object(schema: Schema) -> bool:
    return schema.get("type") == "object"


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")
