"""Ranked items: read from the endpoint, a batch or the popularity list, and written as answers of the API.

Pure: no AWS, no environment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts import documents
from contracts.documents import Unfit
from contracts.values import is_integer, is_number
from shared.errors import InvalidInput
from shared.rules import NO_RULES, Rules


class GarbledAnswer(Exception):
    """Raised for content that breaks its contract; the message names the field."""


@dataclass(frozen=True)
class Ranking:
    """Items, best first, from one source: `personalized`, `related`, `batch` or `popular`. `model_version` is the run
    id of the model; `variant` is the endpoint variant that answered.
    """

    items: tuple[tuple[str, float], ...]
    source: str
    model_version: str
    unknown_items: int = 0
    variant: str | None = None

    @classmethod
    def from_endpoint(cls, content: bytes, variant: str | None = None) -> Ranking:
        """Read the model server's answer. Raises `GarbledAnswer`."""
        document = _object(content)
        source = document.get("source")
        if source not in ("personalized", "related", "popular"):
            raise GarbledAnswer("source must be personalized, related or popular")
        unknown = _count(document, "unknownItems", 0)
        return cls(_items(document), source, _string(document, "modelVersion"), unknown, variant)

    def to_recommendations(self, recommendation_id: str) -> dict[str, Any]:
        """Return the body of `GET /users/{userId}/recommendations` and of `GET /items/{itemId}/related`."""
        return {
            "recommendationId": recommendation_id,
            "itemList": self._item_list(),
            "model": self._model(),
            "source": self.source,
        }

    def to_personalized_ranking(self, recommendation_id: str) -> dict[str, Any]:
        """Return the body of `POST /rankings`."""
        return {
            "recommendationId": recommendation_id,
            "personalizedRanking": self._item_list(),
            "model": self._model(),
            "source": self.source,
            "unknownItems": self.unknown_items,
        }

    def _model(self) -> dict[str, str]:
        return {"version": self.model_version} | ({"variant": self.variant} if self.variant else {})

    def _item_list(self) -> list[dict[str, Any]]:
        return [{"itemId": item, "score": score} for item, score in self.items]


@dataclass(frozen=True)
class Lists:
    """The location of a batch's lists: under `prefix`, in `shards` parts, with at most `num_results` items per user."""

    prefix: str
    shards: int
    num_results: int

    @classmethod
    def from_json(cls, content: bytes) -> Lists:
        """Read `serving/batch.json`. Raises `GarbledAnswer`."""
        document = _document(content)
        if document.get("schemaVersion") != "1.0":
            raise GarbledAnswer("schemaVersion must be 1.0")
        if document.get("shards") == 0:  # written by a rollback to a model without lists
            return NO_LISTS
        return cls(_string(document, "prefix"), _count(document, "shards", 1), _count(document, "numResults", 1))

    def key_of(self, user_id: str) -> str:
        """Return the key of the part that would hold this user's list; a hash of the user id selects the part."""
        digest = hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self.prefix}{int(digest[:8], 16) % self.shards:04d}.json.out"


NO_LISTS = Lists("", 1, 1)


@dataclass(frozen=True)
class Part:
    """One part: lists by user id (items with scores, best first), and the categories of those items."""

    users: Mapping[str, Any]
    categories: Mapping[str, tuple[str, ...]]
    model_version: str

    @classmethod
    def from_json(cls, content: bytes) -> Part:
        """Read one part. Raises `GarbledAnswer`."""
        document = _object(content)
        users, categories = document.get("users"), document.get("itemCategories", {})
        if not isinstance(users, dict) or not isinstance(categories, dict):
            raise GarbledAnswer("users and itemCategories must be objects")
        named = {item: _names(names, f"itemCategories.{item}") for item, names in categories.items()}
        return cls(users, named, _string(document, "modelVersion"))

    def ranking(self, user_id: str, number: int, list_filter: ListFilter, most: int) -> Ranking | None:
        """Return the first `number` items of the user's list that pass `list_filter`. The batch wrote at most `most`
        items per user. None if there is no list, or if the filter leaves too few items of a list that was cut there.

        Raises `GarbledAnswer` for an invalid list.
        """
        listed = self.users.get(user_id)
        if listed is None:
            return None
        try:
            items = [(str(item), float(score)) for item, score in listed]
        except (TypeError, ValueError, OverflowError):
            raise GarbledAnswer("a list must hold pairs of an item and its score") from None
        best = list_filter.best(items, self.categories, number)
        if not best or (len(best) < number and len(items) >= most):
            return None
        return Ranking(best, "batch", self.model_version)


@dataclass(frozen=True)
class Popularity:
    """The most popular items of the last promoted model, best first, with their numbers of interactions.

    `categories` holds the categories of the items that have any in the catalogue.
    """

    items: tuple[tuple[str, float], ...]
    run_id: str
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, content: bytes) -> Popularity:
        """Read `popular.json`. Raises `GarbledAnswer`."""
        document = _document(content)
        if document.get("schemaVersion") != "1.0":
            raise GarbledAnswer("schemaVersion must be 1.0")
        items = _items(document)
        if not items:
            raise GarbledAnswer("itemList is empty")
        return cls(items, _string(document, "runId"), _categories(document["itemList"]))

    def top(self, number: int, list_filter: ListFilter) -> Ranking:
        """Return at most `number` items that pass `list_filter`."""
        return Ranking(list_filter.best(self.items, self.categories, number), "popular", self.run_id)

    def rank(self, items: Iterable[str]) -> Ranking:
        """Rank all of `items` by popularity. Items that are not in the list score 0 and keep their order: the list has
        only the most popular items, so a rare item looks like an unknown one.
        """
        scores = dict(self.items)
        ranked = sorted(((item, scores.get(item, 0.0)) for item in items), key=lambda pair: -pair[1])
        return Ranking(tuple(ranked), "popular", self.run_id)


@dataclass(frozen=True)
class ListFilter:
    """The conditions on a list's items: the shop's rules and the caller's categories (empty: all)."""

    rules: Rules = NO_RULES
    categories: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    """Items to leave out of this list."""

    def to_invocation(self) -> dict[str, Any]:
        """Return the filter as fields of the request to the model server."""
        fields = self.rules.to_fields()
        return fields | ({"categories": list(self.categories)} if self.categories else {})

    def best(
        self, items: Iterable[tuple[str, float]], categories: Mapping[str, tuple[str, ...]], number: int
    ) -> tuple[tuple[str, float], ...]:
        """Return the best `number` of `items` (id, score), chosen by the same rules as in the model server."""
        excluded = {*self.rules.deny, *self.without}
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
        return Rules.from_document(_document(content), called="")
    except InvalidInput as error:
        raise GarbledAnswer(str(error)) from None


def _categories(listed: list[Any]) -> dict[str, tuple[str, ...]]:
    found = {}
    for position, entry in enumerate(listed):
        if names := _names(entry.get("categories", []), f"itemList[{position}].categories"):
            found[entry["itemId"]] = names
    return found


def _names(value: Any, label: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise GarbledAnswer(f"{label} must be a list of strings")
    return tuple(value)


def _document(content: bytes) -> dict[str, Any]:
    """Parse a document strictly; it is read once a minute."""
    try:
        return documents.read_object(content, "it")
    except Unfit as error:
        raise GarbledAnswer(str(error)) from None


def _object(content: bytes) -> dict[str, Any]:
    """Parse an answer of the endpoint or a part of a batch, quickly: a customer waits."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise GarbledAnswer("it is not JSON") from None
    if not isinstance(document, dict):
        raise GarbledAnswer("it is not a JSON object")
    return document


def _count(document: dict[str, Any], name: str, least: int) -> int:
    value = document.get(name)
    if not is_integer(value, least):
        raise GarbledAnswer(f"{name} must be an integer of at least {least}")
    return value


def _string(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise GarbledAnswer(f"{name} must be a string that is not empty")
    return value


def _items(document: dict[str, Any]) -> tuple[tuple[str, float], ...]:
    listed = document.get("itemList")
    if not isinstance(listed, list):
        raise GarbledAnswer("itemList must be a list")
    items = []
    for position, entry in enumerate(listed):
        item, score = (entry.get("itemId"), entry.get("score")) if isinstance(entry, dict) else (None, None)
        if not isinstance(item, str):
            raise GarbledAnswer(f"itemList[{position}].itemId must be a string")
        if not is_number(score):
            raise GarbledAnswer(f"itemList[{position}].score must be a finite number")
        items.append((item, float(score)))
    return tuple(items)
