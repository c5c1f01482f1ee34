"""The stored lists: those of a batch, by user, and the popularity list.

Pure: no AWS, no environment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts import lists, seen
from contracts.lists import BadList
from recommend import garbled
from recommend.garbled import GarbledAnswer
from recommend.list_filter import ListFilter
from recommend.ranking import Ranking


@dataclass(frozen=True)
class Lists:
    """The location of a batch's lists: under `prefix`, in `shards` parts, with at most `num_results` items per user."""

    prefix: str
    shards: int
    num_results: int

    @classmethod
    def from_json(cls, content: bytes) -> Lists:
        """Read `serving/batch.json`. Raises `GarbledAnswer`."""
        document = garbled.document(content)
        if document.get("schemaVersion") != "1.0":
            raise GarbledAnswer("schemaVersion must be 1.0")
        if document.get("shards") == 0:  # written by a rollback to a model without lists
            return NO_LISTS
        return cls(
            garbled.string(document, "prefix"),
            garbled.count(document, "shards", 1),
            garbled.count(document, "numResults", 1),
        )

    def key_of(self, user_id: str) -> str:
        """Return the key of the part that would hold this user's list; a hash of the user id selects the part."""
        return f"{self.prefix}{lists.part_of(user_id, self.shards):04d}.json.out"


NO_LISTS = Lists("", 1, 1)


@dataclass(frozen=True)
class Part:
    """One part: lists by user id (items with scores, best first), and the categories and fields of those items."""

    users: Mapping[str, Any]
    categories: Mapping[str, tuple[str, ...]]
    model_version: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    """JSON texts, which take less memory than what they hold."""

    @classmethod
    def from_json(cls, content: bytes) -> Part:
        """Read one part. Raises `GarbledAnswer`."""
        document = garbled.answer(content)
        users, categories = document.get("users"), document.get("itemCategories", {})
        if not isinstance(users, dict) or not isinstance(categories, dict):
            raise GarbledAnswer("users and itemCategories must be objects")
        named = {item: garbled.names(names, f"itemCategories.{item}") for item, names in categories.items()}
        fields = document.get("itemFields", {})
        return cls(users, named, garbled.string(document, "modelVersion"), fields if isinstance(fields, dict) else {})

    def ranking(self, user_id: str, number: int, list_filter: ListFilter, most: int) -> Ranking | None:
        """Return the first `number` items of the user's list that pass `list_filter`. The batch wrote at most `most`
        items per user. None if there is no list, or if the filter leaves too few items of a list that was cut there.

        Raises `GarbledAnswer` for an invalid list.
        """
        listed = self.users.get(user_id)
        if listed is None:
            return None
        ids, scores = garbled.checked(lambda: lists.of_pairs(listed), most)
        items = tuple(zip(ids, scores, strict=True))
        best = list_filter.best(items, self.categories, number)
        if not best or (len(best) < number and len(items) >= most):
            return None
        return Ranking(best, "batch", self.model_version, fields=self.fields, exclude_seen=seen.ANY)


@dataclass(frozen=True)
class Popularity:
    """The most popular items of the last promoted model, best first, with their numbers of interactions.

    `categories` holds the categories of the items that have any in the catalogue, `fields` what is known of an item.
    """

    items: tuple[tuple[str, float], ...]
    run_id: str
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fault: GarbledAnswer | None = None
    """The first fault of an entry that was left out."""
    fields: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, content: bytes) -> Popularity:
        """Read `popular.json`. Nothing stands in for this list, so a broken entry is left out and the others are used.
        Raises `GarbledAnswer` if none is left.
        """
        document = garbled.document(content)
        if document.get("schemaVersion") != "1.0":
            raise GarbledAnswer("schemaVersion must be 1.0")
        listed = document.get("itemList")
        if not isinstance(listed, list) or not listed:
            raise GarbledAnswer("itemList must be a list that is not empty")
        scores: dict[str, float] = {}
        categories: dict[str, tuple[str, ...]] = {}
        fields: dict[str, Any] = {}
        fault = None
        for place, entry in enumerate(listed):
            try:
                item, score, names = lists.of_popular(entry, f"itemList[{place}]")
                if item in scores:
                    raise BadList("duplicates", f"item {place + 1} is in the list twice")
            except BadList as error:
                fault = fault or GarbledAnswer(str(error), error.reason)
                continue
            scores[item] = score
            categories |= {item: names} if names else {}
            fields |= {item: entry["fields"]} if "fields" in entry else {}
        if fault and not scores:
            raise fault
        return cls(tuple(scores.items()), garbled.string(document, "runId"), categories, fault, fields)

    def top(self, number: int, list_filter: ListFilter) -> Ranking:
        """Return at most `number` items that pass `list_filter`."""
        best = list_filter.best(self.items, self.categories, number)
        return Ranking(best, "popular", self.run_id, fields=self.fields)

    def rank(self, items: Iterable[str]) -> Ranking:
        """Rank all of `items` by popularity. Items that are not in the list score 0 and keep their order: the list has
        only the most popular items, so a rare item looks like an unknown one.
        """
        scores = dict(self.items)
        ranked = sorted(((item, scores.get(item, 0.0)) for item in items), key=lambda pair: -pair[1])
        return Ranking(tuple(ranked), "popular", self.run_id, fields=self.fields)
