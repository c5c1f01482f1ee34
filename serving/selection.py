"""Selects the best items by score: applies filters, orders the items, and limits the number per category.

Keys order the items (logits, numbers of interactions, similarities); scores are in the answer. Greater is better; equal
keys are ordered by item index. Filters that name an unknown item or category have no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ncf.bundle import Bundle
from serving import kernels
from serving.invocation import NO_FILTERS, Filters
from serving.logits import NOTHING, Floats, Places, Rows

ToScores = Callable[[Floats], Floats]
"""Turns keys into scores; must keep their order."""

_MOST_BY_INSERTION = 1024
"""For longer lists than this, sorting all items is faster than inserting into a sorted list of the best."""


class Selection:
    """Selects lists of items from the catalogue of a bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self._item_index = bundle.item_index
        self._items = len(bundle.item_ids)
        self._categories = bundle.item_categories
        self._names = {name: place for place, name in enumerate(bundle.category_names)}
        items: list[list[int]] = [[] for _ in bundle.category_names]
        for item, places in enumerate(bundle.item_categories):
            for place in places:
                items[place].append(item)
        self._of_category = [np.array(rows, dtype=np.int64) for rows in items]

    def rows(self, filters: Filters, candidates: Rows | None) -> Rows | None:
        """The items in `candidates` (sorted; None: all) that `filters.categories` allow, sorted; None for all."""
        if not filters.categories:
            return candidates
        of_names = [self._of_category[self._names[name]] for name in filters.categories if name in self._names]
        allowed = np.unique(np.concatenate([np.empty(0, np.int64), *of_names]))
        return allowed if candidates is None else np.intersect1d(allowed, candidates, assume_unique=True)

    def excluded(self, filters: Filters, seen: Places) -> Places:
        """`seen` (sorted) and the items in `filters.deny`, sorted."""
        denied = [self._item_index[item] for item in filters.deny if item in self._item_index]
        return np.union1d(seen, np.array(denied, dtype=np.int32)) if denied else seen

    def best(
        self,
        keys: Floats,
        to_scores: ToScores,
        number: int,
        filters: Filters,
        *,
        rows: Rows | None = None,
        excluded: Places = NOTHING,
    ) -> list[tuple[int, float]]:
        """The best `number` of the items `rows` (None: all, by index) without `excluded` (item indices, sorted), as
        (index, score), best first. `keys` has one key for each of `rows`.
        """
        if rows is not None and excluded.size:
            excluded = np.flatnonzero(np.isin(rows, excluded, assume_unique=True)).astype(np.int32)
        if filters is NO_FILTERS:
            first = _first(keys, min(number, keys.size - excluded.size), excluded)
            places = first if rows is None else rows[first]
            return list(zip(places.tolist(), to_scores(keys[first]).tolist(), strict=True))
        boosts = self._boosts(filters.boosts, rows, excluded)
        caps = self._caps(filters)
        available = keys.size - excluded.size
        pool = min(number, available) if not caps else min(4 * number, available)
        while True:
            ranked = _ranked(keys, to_scores, pool, excluded, boosts)
            listed = [(int(place if rows is None else rows[place]), score) for place, score in ranked]
            chosen = self._capped(listed, caps)[:number] if caps else listed
            if len(chosen) == number or pool == available:
                return chosen
            pool = min(4 * pool, available)

    def capped(self, ranked: list[tuple[int, float]], filters: Filters) -> list[tuple[int, float]]:
        """The list without the items in a category that already has its maximum."""
        caps = self._caps(filters)
        return self._capped(ranked, caps) if caps else ranked

    def _caps(self, filters: Filters) -> dict[int, int]:
        return {self._names[name]: cap for name, cap in filters.category_caps.items() if name in self._names}

    def _boosts(self, boosts: Mapping[str, float], rows: Rows | None, excluded: Places) -> dict[int, float]:
        """The boost factors by position in the keys, without excluded items."""
        known = {self._item_index[item]: factor for item, factor in boosts.items() if item in self._item_index}
        if rows is not None and known:
            place = {int(row): position for position, row in enumerate(rows)}
            known = {place[item]: factor for item, factor in known.items() if item in place}
        excluded_positions = set(excluded.tolist()) if known else ()
        return {position: factor for position, factor in known.items() if position not in excluded_positions}

    def _capped(self, ranked: list[tuple[int, float]], caps: Mapping[int, int]) -> list[tuple[int, float]]:
        """The list without the items in a category that already has its maximum."""
        room = dict(caps)
        chosen = []
        for item, score in ranked:
            counted = [place for place in self._categories[item] if place in room]
            if all(room[place] > 0 for place in counted):
                chosen.append((item, score))
                for place in counted:
                    room[place] -= 1
        return chosen


def _ranked(
    keys: Floats, to_scores: ToScores, number: int, excluded: Places, boosts: Mapping[int, float]
) -> list[tuple[int, float]]:
    """The best `number` items as (position, score), with scores multiplied by `boosts`."""
    if number <= 0:
        return []
    boosted = np.array(sorted(boosts), dtype=np.int32)
    first = _first(keys, number, np.union1d(excluded, boosted) if boosted.size else excluded)
    ranked = list(zip(first.tolist(), to_scores(keys[first]).tolist(), strict=True))
    if boosted.size:
        scores = to_scores(keys[boosted]).tolist()
        ranked += [(place, score * boosts[place]) for place, score in zip(boosted.tolist(), scores, strict=True)]
        ranked.sort(key=lambda entry: (-entry[1], entry[0]))
    return ranked[:number]


def _first(keys: Floats, number: int, excluded: Places) -> NDArray[np.int64]:
    if number <= _MOST_BY_INSERTION:
        first: NDArray[np.int64] = kernels.best(keys, excluded, number)
        return first
    allowed = np.delete(np.arange(keys.size), excluded)
    return allowed[np.argsort(-keys[allowed], kind="stable")[:number]]
