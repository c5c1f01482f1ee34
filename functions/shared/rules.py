"""Business rules: what a shop wants of every list, whatever the model says. Pure.

    {"schemaVersion": "1.0", "deny": ["item id"], "boosts": {"item id": 1.5}, "categoryCaps": {"category": 3}}

`deny`: never shown. `boosts`: what an item's score is multiplied by. `categoryCaps`: the most items of a category in
one list. Each may be left out. The limits are those of the model server's fields (docs/contracts.md), which gets them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from shared.errors import InvalidInput

SCHEMA_VERSION = "1.0"
MAXIMUM_ITEMS = 1000
MAXIMUM_CATEGORIES = 100
MAXIMUM_BOOST = 100
MAXIMUM_CAP = 100
MAXIMUM_BYTES = 1 << 20

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class Rules:
    """Valid ones; no rules at all by default."""

    deny: tuple[str, ...] = ()
    boosts: Mapping[str, float] = field(default_factory=dict)
    category_caps: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_document(cls, document: Any) -> Rules:
        """Raises InvalidInput, naming the field and what is wrong with its value."""
        if not isinstance(document, Mapping):
            raise InvalidInput(f"the rules must be a JSON object, not {_shown(document)}")
        for name in document:
            if name not in ("schemaVersion", "deny", "boosts", "categoryCaps"):
                raise InvalidInput(
                    f"{_shown(name)} is not a field; the fields are schemaVersion, deny, boosts, categoryCaps"
                )
        if document.get("schemaVersion") != SCHEMA_VERSION:
            raise InvalidInput(f"schemaVersion must be {SCHEMA_VERSION!r}, not {_shown(document.get('schemaVersion'))}")
        deny = document.get("deny", [])
        if not isinstance(deny, list) or len(deny) > MAXIMUM_ITEMS:
            size = f"a list of {len(deny)}" if isinstance(deny, list) else _shown(deny)
            raise InvalidInput(f"deny must be a list of at most {MAXIMUM_ITEMS} item ids, not {size}")
        for position, item in enumerate(deny):
            _text(item, f"deny[{position}]")
        return cls(
            deny=tuple(dict.fromkeys(deny)),
            boosts=_numbers(document, "boosts", MAXIMUM_ITEMS, _boost),
            category_caps=_numbers(document, "categoryCaps", MAXIMUM_CATEGORIES, _cap),
        )

    def to_fields(self) -> dict[str, Any]:
        """The fields that say something, as the document and the model server have them."""
        fields = {"deny": list(self.deny), "boosts": dict(self.boosts), "categoryCaps": dict(self.category_caps)}
        return {name: value for name, value in fields.items() if value}

    def to_document(self) -> dict[str, Any]:
        return {"schemaVersion": SCHEMA_VERSION, **self.to_fields()}


NO_RULES = Rules()


def _numbers(
    document: Mapping[str, Any], name: str, most: int, read: Callable[[Any, str], _Number]
) -> dict[str, _Number]:
    value = document.get(name, {})
    if not isinstance(value, Mapping) or len(value) > most:
        size = f"one of {len(value)}" if isinstance(value, Mapping) else _shown(value)
        raise InvalidInput(f"{name} must be an object of at most {most} entries, not {size}")
    return {_text(key, name): read(number, f"{name}[{_shown(key)}]") for key, number in value.items()}


def _boost(value: Any, label: str) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not 0 < value <= MAXIMUM_BOOST
    ):
        raise InvalidInput(f"{label} must be a number above 0 and at most {MAXIMUM_BOOST}, not {_shown(value)}")
    return float(value)


def _cap(value: Any, label: str) -> int:
    # In JSON 3 and 3.0 are one number.
    if isinstance(value, bool) or not isinstance(value, int | float) or value not in range(MAXIMUM_CAP + 1):
        raise InvalidInput(f"{label} must be an integer from 0 to {MAXIMUM_CAP}, not {_shown(value)}")
    return int(value)


def _text(value: Any, label: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{label} must be a string that is not empty, not {_shown(value)}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInput(f"{label} is not valid Unicode") from None
    return value


def _shown(value: object) -> str:
    return ascii(value)[:80]
