"""The lists that a shop shows, by name: data of the shop, `rules/placements.json`, in force as
`serving/placements.json`.

    {"schemaVersion": "1.0", "placements": {"home": {"numResults": 20, "categoryCaps": {"Shoes": 4}},
     "cart": {"list": "related"}, "hot": {"list": "trending", "categories": ["Fashion"]}}}

The schema `placements` defines the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts import documents, schemas

SOURCE_KEY = "rules/placements.json"
KEY = "serving/placements.json"
SCHEMA_VERSION = "1.0"
NAME = "^[A-Za-z0-9_-]{1,32}$"
"""Pattern of a name: a metric has it as a dimension."""
RECOMMENDATIONS, RELATED, POPULAR, TRENDING = "recommendations", "related", "popular", "trending"


@dataclass(frozen=True, kw_only=True)
class Placement:
    """One list; see the schema. None: the request's default."""

    list: str = RECOMMENDATIONS
    fallback: str = POPULAR
    window: str = "24h"
    num_results: int | None = None
    exclude_seen: str | None = None
    categories: tuple[str, ...] | None = None
    fields: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    boosts: Mapping[str, float] = field(default_factory=dict)
    category_caps: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Placements:
    """The lists by name; none by default."""

    by_name: Mapping[str, Placement] = field(default_factory=dict)

    @classmethod
    def from_document(cls, document: Any, called: str) -> Placements:
        """Read the document. Raises Unfit naming it (`called`) and each invalid field with its value."""
        schemas.check(document, "placements", called)
        return cls({name: _placement(given) for name, given in document["placements"].items()})

    @classmethod
    def from_json(cls, content: bytes, called: str = KEY) -> Placements:
        """Like `from_document`, for the document's bytes."""
        return cls.from_document(documents.read_object(content, called, has_schema=True), called)


def _placement(given: Mapping[str, Any]) -> Placement:
    def names(name: str) -> tuple[str, ...] | None:
        return tuple(dict.fromkeys(given[name])) if name in given else None

    number = given.get("numResults")
    return Placement(
        list=given.get("list", RECOMMENDATIONS),
        fallback=given.get("fallback", POPULAR),
        window=given.get("window", "24h"),
        num_results=None if number is None else int(number),
        exclude_seen=given.get("excludeSeen"),
        categories=names("categories"),
        fields=names("fields"),
        deny=names("deny") or (),
        boosts={item: float(factor) for item, factor in given.get("boosts", {}).items()},
        category_caps={name: int(cap) for name, cap in given.get("categoryCaps", {}).items()},
    )
