"""Writes `docs/reference/documents.md` and a page below `documents/` for each JSON document: its fields, from its
schema in `contracts/`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from delivery.assembly import pages
from delivery.assembly.fields import Fields, Schema

INDEX = f"{pages.REFERENCE}/documents.md"
HEAD = """\
# The JSON documents

A page for each document has all its fields. `make assemble` writes it from the schema in
`contracts/`, which is also the check: a document with another value is refused, with a sentence
that names the field. [Contracts](contracts.md) says who writes and who reads each document.

In the tables, `a.b` is the field `b` of the object `a`, `a[]` an entry of the list `a`, and `<key>`
any key. Where a field is absent, the default counts. A field without a meaning has that of the
object around it, or of the object that it links to.

`schemaVersion` is the version of the document's form, `runId` the retraining run that wrote it,
`datasetVersion` the dataset that it was made from, and `codeVersion` the code that made it.
"""


def assemble(root: Path) -> dict[str, str]:
    """The index and each document's page → its text, from the schemas below `root`."""
    documents = [_Document(path) for path in sorted((root / "contracts").glob("*.schema.json"))]
    index = HEAD + "".join(one.entry() for one in documents)
    return {INDEX: index} | {f"{pages.REFERENCE}/{one.link}": one.page() for one in documents}


class _Document:
    """One document. Objects that its schema defines once under `$defs` have tables of their own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name.removesuffix(".schema.json")
        self.link = f"documents/{self.name}.md"
        self.schema: dict[str, Any] = json.loads(path.read_text("utf-8"))
        sentences = [part.rstrip(".") for part in (self.schema["title"], self.schema.get("description")) if part]
        self.about = f"{'. '.join(sentences)}."
        shared = self.schema.get("$defs", {}).items()
        self.shared: dict[str, Schema] = {name: one for name, one in shared if one.get("type") == "object"}
        links = {f"#/$defs/{name}": f"[{name}](#{name.lower()})" for name in self.shared}
        self.fields = Fields(self.schema, links)

    def entry(self) -> str:
        return f"\n## {self.name}\n\n{pages.wrapped(f'{self.about} [All fields]({self.link}).')}\n"

    def page(self) -> str:
        source = f"[{self.path.name}](../../../contracts/{self.path.name})"
        about = pages.wrapped(f"{self.about} Source: {source}; [how to read the table](../documents.md).")
        return (
            f"# {self.name}\n\n{about}\n\n"
            + self.fields.table(self.schema)
            + "".join(self._shared(name) for name in self.shared)
        )

    def _shared(self, name: str) -> str:
        schema = self.shared[name]
        parts = [part for part in (schema.get("description"), self.fields.value(schema)) if part != "an object"]
        about = "; ".join(part.rstrip(".") for part in parts if part)
        return f"\n## {name}\n\n" + (f"{pages.wrapped(about)}.\n\n" if about else "") + self.fields.table(schema)
