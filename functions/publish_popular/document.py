"""`serving/popular_now.json` from the numbers of each item. Pure."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

from contracts import limits
from contracts.popular_now import CATEGORIES, DOCUMENT_BYTES, LIST_ITEMS, SCHEMA_VERSION, WINDOWS
from publish_popular.windows import Totals

CANDIDATES = 5_000
"""Most items that can be in a list."""

Scores = Mapping[str, float]


@dataclass(frozen=True)
class Item:
    """Categories and fields of an item."""

    categories: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)


def categories_of(category: Any) -> tuple[str, ...]:
    """Return the names in an item's field `category`, which stand between `|`."""
    return tuple(sorted({name.strip() for name in category.split("|")} - {""})) if isinstance(category, str) else ()


def candidates(rankings: Iterable[Scores]) -> list[str]:
    """Return the first items of each ranking by turns, at most `CANDIDATES`."""
    turns = zip_longest(*(_best(scores, CANDIDATES) for scores in rankings))
    items = dict.fromkeys(item for turn in turns for item in turn if item is not None)
    return list(items)[:CANDIDATES]


@dataclass(frozen=True)
class Lists:
    """The lists of known items by window, and those of trending items."""

    totals: Totals
    trending: Scores
    known: Mapping[str, Item]

    def named(self) -> list[str]:
        """Return the items in any list, those in most lists first."""
        numbers: dict[str, int] = {}
        for one in self._all(self._categories()).values():
            for listed in (one["itemList"], *one["byCategory"].values()):
                for item, _ in listed:
                    numbers[item] = numbers.get(item, 0) + 1
        return sorted(numbers, key=lambda item: (-numbers[item], item))

    def to_json(self, until: int, shown: Mapping[str, Item]) -> bytes:
        """Return the document. `shown` has what is known of the items, fields too; fields that would make it too large
        are left out, those of the items in fewest lists first.
        """
        categories = self._categories()
        while True:
            content = self._json(until, shown, categories)
            if len(content) <= DOCUMENT_BYTES or not categories:
                return content
            categories = categories[: len(categories) // 2]

    def _json(self, until: int, shown: Mapping[str, Item], categories: Sequence[str]) -> bytes:
        popular = self._all(categories)
        document = {
            "schemaVersion": SCHEMA_VERSION,
            "writtenAt": datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "until": until,
            "trending": popular.pop("trending"),
            "popular": popular,
            "items": self._items(shown),
        }
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()

    def _items(self, shown: Mapping[str, Item]) -> dict[str, Any]:
        left, entries = limits.PART_FIELDS_BYTES, {}
        for item in self.named():
            found = shown.get(item) or self.known[item]
            left -= len(json.dumps(found.fields))
            entry = {"categories": list(found.categories)} if found.categories else {}
            entries[item] = entry | ({"fields": dict(found.fields)} if found.fields and left >= 0 else {})
        return entries

    def _categories(self) -> list[str]:
        """Return the categories of the items that were chosen most, at most `CATEGORIES`."""
        numbers: dict[str, int] = {}
        for item, number in self.totals["30d"].items():
            for name in self.known[item].categories if item in self.known else ():
                numbers[name] = numbers.get(name, 0) + number
        return sorted(numbers, key=lambda name: (-numbers[name], name))[:CATEGORIES]

    def _all(self, categories: Sequence[str]) -> dict[str, Any]:
        lists = {window: self._lists(self.totals[window], categories) for window in WINDOWS}
        now = sum(number for item, number in self.totals["24h"].items() if item in self.known)
        return lists | {"trending": self._lists(self.trending, categories) | {"events": now}}

    def _lists(self, scores: Scores, categories: Sequence[str]) -> dict[str, Any]:
        known = {item: score for item, score in scores.items() if item in self.known}
        of: dict[str, dict[str, float]] = {name: {} for name in categories}
        for item, score in known.items():
            for name in self.known[item].categories:
                if name in of:
                    of[name][item] = score
        return {
            "events": sum(known.values()),
            "itemList": _listed(known),
            "byCategory": {name: _listed(of[name]) for name in categories if of[name]},
        }


def _listed(scores: Scores) -> list[tuple[str, float]]:
    return [(item, round(scores[item], 4)) for item in _best(scores, LIST_ITEMS)]


def _best(scores: Scores, number: int) -> list[str]:
    return [item for _, item in heapq.nsmallest(number, ((-score, item) for item, score in scores.items()))]
