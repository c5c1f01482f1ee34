"""The list that a request asks for: its placement, the items that it leaves out, and the page.

These parameters of a request go before the placement's: `numResults`, `excludeSeen`, `category` and `categories`,
`fields`, `window`. Only the placement says which kind of list it is, and what stands in for it. Its `deny`, `boosts`
and `categoryCaps` come to those of the business rules; of a boost or a cap for the same item or category, the
placement's counts. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

from contracts import limits, popular_now
from contracts.documents import Unfit
from contracts.placements import RECOMMENDATIONS, Placement, Placements
from recommend.garbled import GarbledAnswer
from recommend.pages import Page
from recommend.ranking import Ranking
from shared.refusal import InvalidRequest, id_of, shown
from shared.rules import Rules

_DEFAULTS = {
    "num_results": ("numResults",),
    "exclude_seen": ("excludeSeen",),
    "categories": ("category", "categories"),
    "fields": ("fields",),
}
"""The fields of a request that a placement may set, and the parameters that go before it."""

PLAIN = Placement()
Request = TypeVar("Request", bound=Any)
Known = Callable[[], Placements | None]
"""Returns the placements of the shop; None if they cannot be read."""


@dataclass(frozen=True)
class Listing:
    """The list that is asked for."""

    page: Page
    name: str = ""
    """Name of the placement; empty: none."""
    placement: Placement = PLAIN
    window: str = "24h"
    """The shortest window of the popular items."""
    exclude: tuple[str, ...] = ()
    given: frozenset[str] = frozenset()
    """The names of all parameters of the request."""

    @classmethod
    def from_query(
        cls, values: Mapping[str, Sequence[str]], route: str, subject: str, known: Known, key: str
    ) -> Listing:
        """Read the parameters `placement`, `window`, `exclude` and `page` of a request to `route` about `subject`.
        `key` is the stack's id. Raises `InvalidRequest`.
        """
        name, placement = _placement(values, route, known)
        about = f"{route}\n{name}\n{subject}"
        token = _one(values, "page")
        return cls(
            Page(about, key) if token is None else Page.from_token(token, about, key),
            name,
            placement,
            _window(values, placement),
            _exclude(values),
            frozenset(values),
        )

    @property
    def is_of_model(self) -> bool:
        """True if the model makes the list, False if it is one of popular or trending items."""
        return self.placement.list not in ("popular", "trending")

    @property
    def stand_in(self) -> str:
        """The kind of the list that needs no model."""
        return self.placement.fallback if self.is_of_model else self.placement.list

    def completed(self, request: Request) -> Request:
        """Return the request with what the placement says where its own parameters say nothing."""
        of_placement = {
            field: getattr(self.placement, field)
            for field, parameters in _DEFAULTS.items()
            if hasattr(request, field) and self.given.isdisjoint(parameters)
        }
        made: Request = replace(request, **{field: value for field, value in of_placement.items() if value is not None})
        return made

    def cut(self, ranking: Ranking, number: int) -> tuple[Ranking, dict[str, str]]:
        """Return the page of the list, at most `number` items, and the answer's `nextPage`, if there is one."""
        items = self.page.cut(ranking.items, number)
        token = self.page.next_token(items, number)
        return replace(ranking, items=items), {} if token is None else {"nextPage": token}

    def rules(self, rules: Rules) -> Rules:
        """Return the shop's rules with those of the placement, which come first where there are too many."""
        placement = self.placement
        if not (self.exclude or placement.deny or placement.boosts or placement.category_caps):
            return rules
        return replace(
            rules,
            deny=tuple(dict.fromkeys((*self.exclude, *placement.deny, *rules.deny))),
            boosts=_first(placement.boosts, rules.boosts, limits.RULE_ITEMS),
            category_caps=_first(placement.category_caps, rules.category_caps, limits.CATEGORIES),
        )


def placements_from_json(content: bytes) -> Placements:
    """Read `serving/placements.json`. Raises `GarbledAnswer`."""
    try:
        return Placements.from_json(content)
    except Unfit as error:
        raise GarbledAnswer(str(error)) from None


def _first(before: Mapping[str, Any], after: Mapping[str, Any], most: int) -> dict[str, Any]:
    others = {name: value for name, value in after.items() if name not in before}
    return dict(islice({**before, **others}.items(), most))


def _placement(values: Mapping[str, Sequence[str]], route: str, known: Known) -> tuple[str, Placement]:
    name = _one(values, "placement")
    if name is None:
        return "", Placement(list=route)
    placements = known()
    if placements is None:
        return "", Placement(list=route)
    found = placements.by_name.get(name)
    if found is None:
        names = ", ".join(sorted(placements.by_name))
        known_names = (
            f"the placements are {names}" if names else "the shop has none; rules/placements.json defines them"
        )
        raise InvalidRequest(f"{shown(name)} is no placement; {known_names}", "placement")
    if found.list not in (route, "popular", "trending"):
        other = "a person" if found.list == RECOMMENDATIONS else "an item"
        raise InvalidRequest(f"{name} is a placement of {found.list}, for requests about {other}", "placement")
    return name, found


def _window(values: Mapping[str, Sequence[str]], placement: Placement) -> str:
    window = _one(values, "window")
    if window is None:
        return placement.window
    if window not in popular_now.WINDOWS:
        raise InvalidRequest(
            f"window must be one of {', '.join(popular_now.WINDOWS)}, not {shown(window)[1:-1]}", "window"
        )
    return window


def _exclude(values: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the ids of each `exclude`, between commas. An id may have a comma too, so the whole is one as well."""
    ids: list[str] = []
    whole: list[str] = []
    for value in values.get("exclude", ()):
        parts = value.split(",")
        ids += [id_of(part, "exclude") for part in parts]
        whole += [value] if len(parts) > 1 and len(value) <= limits.ID_CHARACTERS else []
    if len(ids) > limits.EXCLUDED:
        raise InvalidRequest(f"exclude must hold at most {limits.EXCLUDED} ids, not {len(ids)}", "exclude")
    return tuple(dict.fromkeys((*ids, *whole)))


def _one(values: Mapping[str, Sequence[str]], name: str) -> str | None:
    given = values.get(name, ())
    if len(given) > 1:
        raise InvalidRequest(f"{name} is given twice", name)
    return given[0] if given else None
