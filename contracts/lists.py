"""The check of a ranked list before anybody sees it: the endpoint's, a batch's, the popular items, a golden answer's.

Item ids are strings, scores are finite numbers, no item is in the list twice, and the best is first. `reason` names the
kind of fault, for a metric; the message names the place. Neither contains an item id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from typing import Any

from contracts.values import is_number, is_unicode, kind, shown

ROUNDING = 1e-9
"""A score may be above the one before it by this share of it: a processor rounds equal scores to neighbours."""


class BadList(ValueError):
    """Raised for a list that must not be shown. `reason` is garbled, not_finite, too_long, duplicates or unsorted; the
    readers of a list may add their own.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def part_of(user_id: str, parts: int) -> int:
    """Return the part of a batch, of `parts`, that would hold this user's list."""
    return int(hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()[:8], 16) % parts


def of_items(listed: Any) -> tuple[list[str], list[float]]:
    """Return ids and scores of `[{"itemId": "1", "score": 0.9}]`. Raises BadList naming the field."""
    return _columns(listed, "itemList", ("itemId", ".itemId"), ("score", ".score"))


def of_pairs(listed: Any) -> tuple[list[str], list[float]]:
    """Return ids and scores of `[["1", 0.9]]`. Raises BadList naming the place."""
    return _columns(listed, "the list", (0, "[0]"), (1, "[1]"))


def of_popular(entry: Any, called: str) -> tuple[str, float, tuple[str, ...]]:
    """Return id, score and categories of one entry of `popular.json`: `{"itemId", "score", "categories"?: ["Drama"]}`.
    Raises BadList naming the field.
    """
    if not isinstance(entry, dict):
        raise BadList("garbled", f"{called} must be an object with itemId and score, not {kind(entry)}")
    _check_id(entry.get("itemId"), f"{called}.itemId")
    _check_score(entry.get("score"), f"{called}.score")
    return entry["itemId"], float(entry["score"]), names(entry.get("categories", []), f"{called}.categories")


def names(value: Any, called: str) -> tuple[str, ...]:
    """Return a list of strings as a tuple. Raises BadList naming the field."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadList("garbled", f"{called} must be a list of strings")
    return tuple(value)


def check(ids: Sequence[str], scores: Sequence[float], most: int) -> None:
    """Raise BadList if there are more than `most` items, if one is there twice, or if the best are not first."""
    if len(ids) > most:
        raise BadList("too_long", f"{len(ids)} items, more than {most}")
    if len(set(ids)) != len(ids):
        place = next(place for place, item in enumerate(ids) if item in ids[:place])
        raise BadList("duplicates", f"item {place + 1} is in the list twice")
    if list(scores) != sorted(scores, reverse=True):
        for place, (before, score) in enumerate(pairwise(scores), start=2):
            if score - before > ROUNDING * abs(before):
                raise BadList("unsorted", f"the score of item {place} is above that of the item before it")


def _columns(listed: Any, called: str, item: tuple[Any, str], score: tuple[Any, str]) -> tuple[list[str], list[float]]:
    """Read ids and scores, whose keys and labels are `item` and `score`. A customer waits, so they are checked
    together; only if there is a fault, its entry is looked for.
    """
    if not isinstance(listed, list):
        raise BadList("garbled", f"{called} must be a list, not {kind(listed)}")
    try:
        ids = [entry[item[0]] for entry in listed]
        scores = [entry[score[0]] for entry in listed]
        # The type of true is bool, which isinstance would take for an int.
        are_typed = {*map(type, ids)} <= {str} and {*map(type, scores)} <= {float, int}
        if are_typed and all(map(isfinite, scores)) and is_unicode("".join(ids)):
            return ids, [*map(float, scores)]
    except (TypeError, KeyError, IndexError, OverflowError):
        pass
    for place, entry in enumerate(listed):
        _check_id(_at(entry, item[0]), f"{called}[{place}]{item[1]}")
        _check_score(_at(entry, score[0]), f"{called}[{place}]{score[1]}")
    raise BadList("garbled", f"{called} cannot be read")


def _at(entry: Any, name: Any) -> Any:
    try:
        return entry[name]
    except (TypeError, KeyError, IndexError):
        return None


def _check_id(value: Any, label: str) -> None:
    if not isinstance(value, str):
        raise BadList("garbled", f"{label} must be a string, not {kind(value)}")
    if not is_unicode(value):
        raise BadList("garbled", f"{label} must be valid Unicode, without half of a surrogate pair")


def _check_score(value: Any, label: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadList("garbled", f"{label} must be a finite number, not {kind(value)}")
    if not is_number(value):
        raise BadList("not_finite", f"{label} must be a finite number, not {shown(value)}")
