"""Business rules that a shop applies to every list, independent of the model. Pure.

    {"schemaVersion": "1.0", "deny": ["item id"], "boosts": {"item id": 1.5}, "categoryCaps": {"category": 3},
     "exploration": {"share": 0.1, "fewerThan": 5}}

`contracts/rules.schema.json` defines the fields and their limits, which the model server shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts import limits, schemas
from contracts.documents import Unfit
from shared.errors import InvalidInput

SCHEMA_VERSION = "1.0"


@dataclass(frozen=True)
class Rules:
    """Valid business rules; empty by default."""

    deny: tuple[str, ...] = ()
    boosts: Mapping[str, float] = field(default_factory=dict)
    category_caps: Mapping[str, int] = field(default_factory=dict)
    exploration: Mapping[str, Any] = field(default_factory=dict)
    """`share` and `fewerThan`; empty: none."""

    @classmethod
    def from_document(cls, document: Any, called: str = "rules/rules.json") -> Rules:
        """Read the rules. Raises InvalidInput naming the document (`called`) and each invalid field with its value."""
        try:
            schemas.check(document, "rules", called)
        except Unfit as error:
            raise InvalidInput(str(error)) from error
        return cls(
            deny=tuple(dict.fromkeys(document.get("deny", []))),
            boosts={item: float(factor) for item, factor in document.get("boosts", {}).items()},
            category_caps={name: int(cap) for name, cap in document.get("categoryCaps", {}).items()},
            exploration=dict(document.get("exploration", {})),
        )

    def to_fields(self) -> dict[str, Any]:
        """Return the fields for every list that are not empty, as in the document and in requests to the server."""
        fields = {
            "deny": list(self.deny[: limits.RULE_ITEMS]),
            "boosts": dict(self.boosts),
            "categoryCaps": dict(self.category_caps),
        }
        return {name: value for name, value in fields.items() if value}

    def to_exploration(self) -> dict[str, Any]:
        """Return the field that is for recommendations to a person alone, if it is not empty."""
        return {"exploration": dict(self.exploration)} if self.exploration else {}

    def to_document(self) -> dict[str, Any]:
        return {"schemaVersion": SCHEMA_VERSION, **self.to_fields(), **self.to_exploration()}


NO_RULES = Rules()
