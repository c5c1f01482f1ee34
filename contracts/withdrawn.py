"""`withdrawn.json` of a dataset version, and its copy for `recommend`: the items that the shop no longer offers.

It holds until a model of these data serves, and for older models that serve again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from contracts import documents
from contracts.documents import Unfit

FILE = "withdrawn.json"
"""The document in the folder of a dataset version."""
KEY = "serving/withdrawn.json"
"""The copy of the newest version's document."""
MOST = 10_000
"""Maximum ids; those that were withdrawn last come first."""
SCHEMA_VERSION = "1.0"


@dataclass(frozen=True)
class Withdrawn:
    """Ids of items that are withdrawn by a dataset version."""

    dataset_version: str = ""
    items: frozenset[str] = frozenset()

    @classmethod
    def from_json(cls, content: bytes) -> Withdrawn:
        """Read the document. Raises Unfit."""
        document = documents.read_object(content, FILE)
        version, items = document.get("datasetVersion"), document.get("items")
        if document.get("schemaVersion") != SCHEMA_VERSION:
            raise Unfit(f"{FILE}: schemaVersion must be {SCHEMA_VERSION}")
        if not isinstance(version, str) or not version:
            raise Unfit(f"{FILE}: datasetVersion must be a string that is not empty")
        if not isinstance(items, list) or len(items) > MOST or not all(isinstance(item, str) for item in items):
            raise Unfit(f"{FILE}: items must be a list of at most {MOST} ids")
        return cls(version, frozenset(items))


def as_json(dataset_version: str, items: Sequence[str]) -> str:
    """Return the document, with the first `MOST` of `items`."""
    document = {"schemaVersion": SCHEMA_VERSION, "datasetVersion": dataset_version, "items": list(items[:MOST])}
    return json.dumps(document, ensure_ascii=False) + "\n"
