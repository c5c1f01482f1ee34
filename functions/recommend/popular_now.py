"""Popular items of now, in place of a ranking: `serving/popular_now.json`, followed by the model's popular items.

The list of now comes first if it is fresh (at most `FRESH_SECONDS` old) and a window has enough events
(`LEAST_EVENTS`): the shortest such window, from the one that is asked for. Otherwise the model's list is the answer, as
without events. Scores of what follows are scaled to stay below those before. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from contracts import lists
from contracts.placements import POPULAR, TRENDING
from contracts.popular_now import FRESH_SECONDS, LEAST_EVENTS, LIST_ITEMS, WINDOWS
from contracts.values import is_number
from recommend import garbled
from recommend.garbled import GarbledAnswer
from recommend.list_filter import ListFilter
from recommend.ranking import Ranking
from recommend.stored_lists import Popularity

Scored = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class PopularNow:
    """The document. A list is checked when it is used: there are hundreds."""

    until: float = float("-inf")
    popular: Mapping[str, Any] = field(default_factory=dict)
    trending: Mapping[str, Any] = field(default_factory=dict)
    items: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, content: bytes) -> PopularNow:
        """Read the document. Raises `GarbledAnswer`."""
        document = garbled.answer(content)
        if document.get("schemaVersion") != "1.0":
            raise GarbledAnswer("schemaVersion must be 1.0")
        until = document.get("until")
        if not is_number(until):
            raise GarbledAnswer("until must be a number")
        parts = {name: document.get(name) for name in ("popular", "trending", "items")}
        for name, value in parts.items():
            if not isinstance(value, dict):
                raise GarbledAnswer(f"{name} must be an object")
        return cls(until, **parts)  # type: ignore[arg-type]  # they are objects

    def window(self, shortest: str, now: float) -> str | None:
        """Return the window that is used at `now` (epoch seconds); None if none is."""
        if not -FRESH_SECONDS <= now - self.until <= FRESH_SECONDS:
            return None
        names = list(WINDOWS)
        return next((name for name in names[names.index(shortest) :] if self._events(name) >= LEAST_EVENTS), None)

    def lists(self, kind: str, window: str, categories: Sequence[str]) -> Iterator[Scored]:
        """Yield the lists of this kind, the first one first. Raises `GarbledAnswer` for a list that is none."""
        if kind == TRENDING:
            yield _listed(self.trending, "trending", categories)
        yield _listed(self.popular[window], f"popular.{window}", categories)

    def _events(self, window: str) -> float:
        found = self.popular.get(window)
        events = found.get("events") if isinstance(found, dict) else None
        return events if is_number(events) else 0


NOTHING = PopularNow()


@dataclass(frozen=True)
class StandIn:
    """The list that needs no model, of this kind: the model's popular items, after those of now if there are any."""

    model: Popularity
    now: PopularNow
    kind: str = POPULAR
    window: str | None = None
    """None: nothing is known of now."""

    @classmethod
    def at(cls, time: float, model: Popularity, now: PopularNow, kind: str = POPULAR, shortest: str = "24h") -> StandIn:
        """The list at this time, epoch seconds."""
        return cls(model, now, kind, now.window(shortest, time))

    def top(self, number: int, list_filter: ListFilter) -> Ranking:
        """Return at most `number` items that pass `list_filter`."""
        if self.window is None:
            return self.model.top(number, list_filter)
        parts = [*self.now.lists(self.kind, self.window, list_filter.categories), self.model.items]
        rising = {item for item, _ in parts[0]} if self.kind == TRENDING else set()
        ranking = replace(self._joined(parts), fault=None).top(number, list_filter)
        is_trending = any(item in rising for item, _ in ranking.items)
        return replace(ranking, source="trending" if is_trending else "popular", window=self.window)

    def before(self, found: Ranking, number: int, list_filter: ListFilter) -> Ranking:
        """Return what is popular now, followed by the model server's popular items in `found`. Of these, the ones that
        few people know keep their places.
        """
        if self.window is None:
            return found
        # The categories of the server's items are not known here, so with caps the list has only items of known ones.
        is_capped = bool(list_filter.rules.category_caps)
        first = self if is_capped else replace(self, model=replace(self.model, items=()))
        made = first.top(number, list_filter)
        explored = tuple(pair for pair in found.items if pair[0] in found.explored)
        others = () if is_capped else tuple(pair for pair in found.items if pair[0] not in found.explored)
        items = joined([joined([made.items, others])[: number - len(explored)], explored])
        fields = {**made.fields, **found.fields}
        return replace(found, items=items, source=made.source, window=made.window, fields=fields)

    def rank(self, items: Iterable[str]) -> Ranking:
        """Rank all of `items`, as `Popularity.rank`."""
        if self.window is None:
            return self.model.rank(items)
        parts = [*self.now.lists(POPULAR, self.window, ()), self.model.items]
        return replace(self._joined(parts).rank(items), window=self.window)

    def _joined(self, parts: Sequence[Scored]) -> Popularity:
        categories, fields = dict(self.model.categories), dict(self.model.fields)
        for item in {item for part in parts[:-1] for item, _ in part}:
            entry = self.now.items.get(item)
            known = entry if isinstance(entry, dict) else {}
            names = known.get("categories")
            if isinstance(names, list) and all(isinstance(name, str) for name in names):
                categories[item] = tuple(names)
            if isinstance(known.get("fields"), dict):
                fields[item] = known["fields"]
        return replace(self.model, items=joined(parts), categories=categories, fields=fields)


def joined(parts: Iterable[Scored]) -> tuple[tuple[str, float], ...]:
    """Return the items of all lists in turn, each once; the scores of a list are scaled to those before it."""
    scores: dict[str, float] = {}
    for part in parts:
        rest = [(item, score) for item, score in part if item not in scores]
        if not rest:
            continue
        first = rest[0][1]
        last = next(reversed(scores.values()), first)
        factor = min(1.0, last / first) if first > 0 else 1.0
        scores |= {item: min(score * factor, last) for item, score in rest}
    return tuple(scores.items())


def _listed(found: Any, called: str, categories: Sequence[str]) -> Scored:
    """Return the list of all items, or that of the items of any of these categories."""
    if not isinstance(found, dict):
        raise GarbledAnswer(f"{called} must be an object")
    if not categories:
        return _checked(found.get("itemList"), f"{called}.itemList")
    by_category = found.get("byCategory")
    if not isinstance(by_category, dict):
        raise GarbledAnswer(f"{called}.byCategory must be an object")
    scores: dict[str, float] = {}
    for name in categories:
        if name in by_category:
            scores |= dict(_checked(by_category[name], f"{called}.byCategory"))
    return sorted(scores.items(), key=lambda pair: -pair[1])


def _checked(listed: Any, called: str) -> Scored:
    try:
        ids, scores = garbled.checked(lambda: lists.of_pairs(listed), LIST_ITEMS)
    except GarbledAnswer as error:
        raise GarbledAnswer(f"{called}: {error}", error.reason) from None
    return tuple(zip(ids, scores, strict=True))
