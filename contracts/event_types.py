"""The meaning of each type of event: data of the shop, `rules/event_types.json`, in force as
`serving/event_types.json`.

    {"schemaVersion": "1.0", "types": {"view": {}, "cart": {"outcome": "click"},
     "order": {"isBought": true, "outcome": "purchase"}, "shown": {"isHistory": false, "outcome": "impression"}}}

The schema `event_types` defines the fields. A shop that writes none has DEFAULT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts import documents, schemas
from contracts.documents import Unfit
from contracts.values import shown

SOURCE_KEY = "rules/event_types.json"
KEY = "serving/event_types.json"
SCHEMA_VERSION = "1.0"
NONE, IMPRESSION, CLICK, PURCHASE = "none", "impression", "click", "purchase"


@dataclass(frozen=True, kw_only=True)
class EventType:
    """The meaning of events of a type; see the schema."""

    is_history: bool = True
    is_bought: bool = False
    outcome: str = NONE


_UNNAMED = EventType()


@dataclass(frozen=True)
class EventTypes:
    """The meaning of each type, by its name without regard to case."""

    by_name: Mapping[str, EventType]

    @classmethod
    def from_document(cls, document: Any, called: str) -> EventTypes:
        """Read the document. Raises Unfit naming it (`called`) and each invalid field with its value."""
        schemas.check(document, "event_types", called)
        names: dict[str, str] = {}
        for name in document["types"]:
            other = names.setdefault(name.casefold(), name)
            if other != name:
                raise Unfit(
                    f"{called}: types has {shown(other)} and {shown(name)}, which are one type: keep one of them"
                )
        return cls(
            {
                name.casefold(): EventType(
                    is_history=given.get("isHistory", True),
                    is_bought=given.get("isBought", False),
                    outcome=given.get("outcome", NONE),
                )
                for name, given in document["types"].items()
            }
        )

    @classmethod
    def from_json(cls, content: bytes, called: str = KEY) -> EventTypes:
        """Like `from_document`, for the document's bytes."""
        return cls.from_document(documents.read_object(content, called, has_schema=True), called)

    def of(self, name: str) -> EventType:
        """Return what an event of the type `name` means."""
        return self.by_name.get(name.casefold(), _UNNAMED)

    def apart_from_history(self) -> list[str]:
        """Return the names of the types that training does not learn from."""
        return sorted(name for name, one in self.by_name.items() if not one.is_history)

    def bought(self) -> list[str]:
        """Return the names of the types that are purchases."""
        return sorted(name for name, one in self.by_name.items() if one.is_bought)

    def to_document(self) -> dict[str, Any]:
        types = {
            name: {"isHistory": one.is_history, "isBought": one.is_bought, "outcome": one.outcome}
            for name, one in sorted(self.by_name.items())
        }
        return {"schemaVersion": SCHEMA_VERSION, "types": types}


_BOUGHT = EventType(is_bought=True, outcome=PURCHASE)
_CHOSEN = EventType(outcome=CLICK)
DEFAULT = EventTypes(
    {
        "impression": EventType(is_history=False, outcome=IMPRESSION),
        **dict.fromkeys(("click", "view", "detail", "cart", "add_to_cart", "addtocart"), _CHOSEN),
        **dict.fromkeys(("purchase", "buy", "order", "transaction", "checkout"), _BOUGHT),
        "refund": EventType(is_history=False),
        "remove_from_cart": EventType(is_history=False),
    }
)
"""The meaning of common names, where the shop says nothing."""
