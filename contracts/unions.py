"""The document that tells a preparation which drops it unites: `unions/<version>.json`, written once for a version.

    {"schemaVersion": "1.0", "datasetVersion": "v…", "warnings": ["…"], "drops": [
      {"name": "2026-11-01", "kind": "full", "parameters": {"userColumn": "Customer No"}},
      {"name": "2026-11-02", "kind": "append", "parameters": {}}]}

The drops stand from the oldest to the newest (docs/decisions/0033-what-is-new.md). One with `source`, a URI, is outside
the folder of the drops, and its `name` is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts import documents
from contracts.documents import Unfit
from contracts.values import shown

SCHEMA_VERSION = "1.0"
FULL, APPEND = "full", "append"
KINDS = (FULL, APPEND)
READING = (
    "format", "userColumn", "itemColumn", "timestampColumn", "timestampFormat", "eventTypeColumn", "weightColumn",
    "eventIdColumn", "sessionIdColumn", "ignoreTypes", "ownBoughtTypes",
)  # fmt: skip
"""The parameters that each drop has of its own; the others are those of the newest."""


@dataclass(frozen=True)
class Part:
    """A drop of a union: its folder below `raw/` or, outside it, its URI; its kind, and those of its parameters that
    READING names.
    """

    name: str
    kind: str = FULL
    parameters: dict[str, str] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class Union:
    """The drops that one preparation reads, the newest last, and what is to be told about them."""

    parts: tuple[Part, ...]
    warnings: tuple[str, ...] = ()

    def to_document(self, version: str) -> dict[str, Any]:
        """The document for dataset `version`."""
        drops = [
            {"name": part.name, "kind": part.kind, "parameters": part.parameters}
            | ({"source": part.source} if part.source else {})
            for part in self.parts
        ]
        return {
            "schemaVersion": SCHEMA_VERSION,
            "datasetVersion": version,
            "warnings": list(self.warnings),
            "drops": drops,
        }


def key_of(version: str) -> str:
    """The key of the document in the data bucket."""
    return f"unions/{version}.json"


def from_json(content: bytes, called: str) -> Union:
    """Read the document. Raises Unfit naming the invalid field."""
    document = documents.read_object(content, called)
    if document.get("schemaVersion") != SCHEMA_VERSION:
        raise Unfit(f"{called}: schemaVersion must be {SCHEMA_VERSION}, not {shown(document.get('schemaVersion'))}")
    drops, warnings = document.get("drops"), document.get("warnings", [])
    if not isinstance(drops, list) or not drops:
        raise Unfit(f"{called}: drops must be a list of at least one drop, not {shown(drops)}")
    return Union(tuple(_part(drop, f"{called}: drops[{place}]") for place, drop in enumerate(drops)), _texts(warnings))


def _part(drop: Any, label: str) -> Part:
    if not isinstance(drop, dict) or not isinstance(drop.get("name"), str) or drop.get("kind") not in KINDS:
        raise Unfit(f"{label} must be an object with a name and a kind, {' or '.join(KINDS)}, not {shown(drop)}")
    parameters = drop.get("parameters", {})
    if not isinstance(parameters, dict) or not all(isinstance(value, str) for value in parameters.values()):
        raise Unfit(f"{label}.parameters must be an object of strings, not {shown(parameters)}")
    source = drop.get("source", "")
    if not isinstance(source, str) or not (source or drop["name"]):
        raise Unfit(f"{label}.source must be a URI where the name is empty, not {shown(source)}")
    read = {name: parameters[name] for name in READING if name in parameters}
    return Part(drop["name"], drop["kind"], read, source)


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str)) if isinstance(values, Sequence) else ()
