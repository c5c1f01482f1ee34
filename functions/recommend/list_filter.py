"""The conditions on the items of a list: the shop's rules, and what the caller asks for.

Pure: no AWS, no environment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from contracts import limits
from recommend import garbled
from recommend.garbled import GarbledAnswer
from shared.errors import InvalidInput
from shared.rules import NO_RULES, Rules


@dataclass(frozen=True)
class ListFilter:
    """The conditions on a list's items: the shop's rules and the caller's categories (empty: all)."""

    rules: Rules = NO_RULES
    categories: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()
    """Items to leave out of this list."""
    withdrawn: frozenset[str] = frozenset()
    """Items that the newest data withdraw; the model server knows those of its own data."""

    @property
    def untold(self) -> frozenset[str]:
        """Denied items that are too many for a request to the model server."""
        return frozenset(self.rules.deny[limits.RULE_ITEMS :])

    def to_invocation(self) -> dict[str, Any]:
        """Return the filter as fields of the request to the model server."""
        fields = self.rules.to_fields()
        return fields | ({"categories": list(self.categories)} if self.categories else {})

    def best(
        self, items: Iterable[tuple[str, float]], categories: Mapping[str, tuple[str, ...]], number: int
    ) -> tuple[tuple[str, float], ...]:
        """Return the best `number` of `items` (id, score), chosen by the same rules as in the model server."""
        excluded = {*self.rules.deny} | self.without | self.withdrawn
        wanted = set(self.categories)
        boosts = self.rules.boosts
        boosted = [
            (item, score * boosts.get(item, 1.0))
            for item, score in items
            if item not in excluded and (not wanted or wanted.intersection(categories.get(item, ())))
        ]
        boosted.sort(key=lambda pair: -pair[1])
        room = dict(self.rules.category_caps)
        chosen: list[tuple[str, float]] = []
        for item, score in boosted:
            counted = [name for name in categories.get(item, ()) if name in room]
            if len(chosen) < number and all(room[name] > 0 for name in counted):
                chosen.append((item, score))
                for name in counted:
                    room[name] -= 1
        return tuple(chosen)


def rules_from_json(content: bytes) -> Rules:
    """Read `serving/rules.json`. Raises `GarbledAnswer`."""
    try:
        return Rules.from_document(garbled.document(content), called="")
    except InvalidInput as error:
        raise GarbledAnswer(str(error)) from None
