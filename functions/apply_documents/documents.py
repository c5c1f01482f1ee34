"""The documents that a shop writes under `rules/` and that are in force under `serving/`. Pure.

A further one is a further `Kind` here, and its keys in function.yaml.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from contracts import documents, event_types, limits, placements
from contracts.event_types import EventTypes
from contracts.placements import Placements
from shared.errors import InvalidInput
from shared.objects import Stored
from shared.rules import Rules


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of document."""

    source_key: str
    in_force_key: str
    called: str
    """Its name in notifications and logs."""
    metric: str
    """The start of the metrics' names."""
    notice: str
    """The key of its notices in the ledger."""
    read: Callable[[dict[str, Any], str], dict[str, Any]]
    """Checks the document, which is called as the second argument says, and returns it as it is in force. Raises
    InvalidInput or Unfit naming each invalid field.
    """

    def checked(self, found: Stored) -> dict[str, Any]:
        """Return the document as it is in force. Raises InvalidInput or Unfit naming what is wrong."""
        if found.size > limits.RULES_BYTES:
            raise InvalidInput(f"{self.source_key} is larger than {limits.RULES_BYTES} bytes")
        return self.read(documents.read_object(found.content, self.source_key, has_schema=True), self.source_key)


def _placements(document: dict[str, Any], called: str) -> dict[str, Any]:
    Placements.from_document(document, called)
    return document


KINDS = (
    Kind(
        source_key="rules/rules.json",
        in_force_key="serving/rules.json",
        called="business rules",
        metric="Rules",
        notice="RULES",
        read=lambda document, called: Rules.from_document(document, called).to_document(),
    ),
    Kind(
        source_key=event_types.SOURCE_KEY,
        in_force_key=event_types.KEY,
        called="event types",
        metric="EventTypes",
        notice="EVENT_TYPES",
        read=lambda document, called: EventTypes.from_document(document, called).to_document(),
    ),
    Kind(
        source_key=placements.SOURCE_KEY,
        in_force_key=placements.KEY,
        called="placements",
        metric="Placements",
        notice="PLACEMENTS",
        read=_placements,
    ),
)


def kind_of(event: Any) -> Kind:
    """Return the kind of document that an event of S3 is about. Raises InvalidInput for any other object."""
    try:
        key = event["detail"]["object"]["key"]
    except (KeyError, TypeError):
        raise InvalidInput("the event has no detail.object.key") from None
    found = next((kind for kind in KINDS if kind.source_key == key), None)
    if found is None:
        known = ", ".join(kind.source_key for kind in KINDS)
        raise InvalidInput(f"{str(key)[:100]} is no document that is put in force; these are: {known}")
    return found
