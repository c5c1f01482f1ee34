"""The history of a request: what a person chose since the training, or in this session.

    [{"itemId": "4", "ageSeconds": 20, "isBought": false}, ...]

The oldest first, unless the ages give another order. The API and the model server read it by these rules alone.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from contracts import limits
from contracts.values import as_json, is_number, is_unicode, kind

_FIELDS = frozenset({"itemId", "ageSeconds", "isBought"})


class BadHistory(ValueError):
    """Raised for a history that breaks the rules; the message names the entry and the field."""


class History(NamedTuple):
    """A history as columns."""

    items: tuple[str, ...] = ()
    """Item ids, an item as often as it was chosen."""
    ages: tuple[float, ...] | None = None
    """Seconds since each choice; None: the oldest is first."""
    bought: frozenset[str] = frozenset()
    """The items that were bought."""


def read(value: Any) -> History:
    """Read `history` from JSON. Raises BadHistory."""
    if not isinstance(value, list):
        raise BadHistory(f"history must be a list of objects, not {kind(value)}")
    if len(value) > limits.HISTORY:
        raise BadHistory(f"history must hold at most {limits.HISTORY} items, not {len(value)}: send the newest")
    # By column, not by entry: a server reads a history of fifty in the time in which it ranks thousands of items.
    if not {dict}.issuperset(map(type, value)):
        _refuse_entry(value)
    items = [entry["itemId"] for entry in value if "itemId" in entry]
    ages = [entry["ageSeconds"] for entry in value if "ageSeconds" in entry]
    flags = [entry["isBought"] for entry in value if "isBought" in entry]
    is_whole = len(items) == len(value) and len(items) + len(ages) + len(flags) == sum(map(len, value))
    if not (is_whole and {bool}.issuperset(map(type, flags))):
        _refuse_entry(value)
    if not ({int, float}.issuperset(map(type, ages)) and all(0 <= age <= sys.float_info.max for age in ages)):
        _refuse_age(value)
    if not ({str}.issuperset(map(type, items)) and is_unicode("".join(items))):
        _refuse_item(items)
    if not all(1 <= len(item) <= limits.ID_CHARACTERS for item in items):
        raise BadHistory(f"history: an itemId must have 1 to {limits.ID_CHARACTERS} characters")
    if ages and len(ages) != len(items):
        raise BadHistory("history: ageSeconds must be in all entries or in none")
    bought = frozenset(entry["itemId"] for entry in value if entry.get("isBought")) if flags else frozenset[str]()
    return History(tuple(items), tuple(map(float, ages)) if ages else None, bought)


def _refuse_entry(entries: list[Any]) -> None:
    for place, entry in enumerate(entries):
        if type(entry) is not dict or not {"itemId"} <= entry.keys() <= _FIELDS:
            raise BadHistory(f"history[{place}] must be an object with itemId and at most ageSeconds and isBought")
        if type(entry.get("isBought", False)) is not bool:
            shown = as_json(entry["isBought"])
            raise BadHistory(f"history[{place}].isBought must be true or false, not {shown}")


def _refuse_age(entries: list[dict[str, Any]]) -> None:
    for place, entry in enumerate(entries):
        age = entry.get("ageSeconds", 0)
        if not is_number(age) or age < 0:
            wanted = "a number of at least 0, the seconds since the event"
            raise BadHistory(f"history[{place}].ageSeconds must be {wanted}, not {as_json(age)}")


def _refuse_item(items: list[Any]) -> None:
    for place, item in enumerate(items):
        if not isinstance(item, str):
            raise BadHistory(f"history[{place}].itemId must be a string, not {kind(item)}")
        if not is_unicode(item):
            raise BadHistory(f"history[{place}].itemId is not valid Unicode")
