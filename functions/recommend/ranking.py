"""Ranked items: read from the endpoint, a batch or the popularity list, and written as answers of the API.

Pure: no AWS, no environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from contracts import documents, limits, lists, seen
from contracts.documents import Unfit
from contracts.lists import BadList
from contracts.values import is_integer, is_unicode
from shared.errors import InvalidInput
from shared.rules import NO_RULES, Rules

_SOURCES = {"userId": ("personalized", "popular"), "itemId": ("related", "popular")}
_NARROWING = ("deny", "categories", "categoryCaps")
"""The fields of a request that may leave no item at all."""


class GarbledAnswer(Exception):
    """Raised for content that breaks its contract, or that was not asked for; the message names the field, but no user.
    `reason` is the kind of fault: garbled, or a reason of `BadList` or `_check_asked`.
    """

    def __init__(self, message: str, reason: str = "garbled") -> None:
        super().__init__(message)
        self.reason = reason


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
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What is known of items, by item id: an object, or its JSON text."""
    explored: frozenset[str] = frozenset()
    """Items that are there because few people know them."""
    because: Mapping[str, list[str]] = field(default_factory=dict)
    """By item id, the items of the person's history that weigh most in the score."""
    exclude_seen: str = seen.NONE
    """Which of the person's own items are left out: a kind of `contracts/seen.py`."""

    @classmethod
    def from_endpoint(cls, content: bytes, invocation: Mapping[str, Any], variant: str | None = None) -> Ranking:
        """Read the model server's answer to `invocation`, and check it before a customer sees it. Raises
        `GarbledAnswer`.
        """
        document = _object(content)
        subject = "itemId" if "itemId" in invocation else "userId"
        source = document.get("source")
        if source not in _SOURCES[subject]:
            raise GarbledAnswer(f"source must be {' or '.join(_SOURCES[subject])}")
        if document.get(subject) != invocation[subject]:
            raise GarbledAnswer(f"{subject} is not the one that was asked for", "not_asked_for")
        unknown = _count(document, "unknownItems", 0)
        candidates = invocation.get("candidates")
        most = invocation.get("numResults", limits.DEFAULT_RESULTS) if candidates is None else len(candidates)
        ids, scores = _list(lambda: lists.of_items(document.get("itemList")), most)
        _check_asked(ids, unknown, invocation)
        items, version = tuple(zip(ids, scores, strict=True)), _string(document, "modelVersion")
        entries = document["itemList"]
        return cls(
            items,
            source,
            version,
            unknown,
            variant,
            {entry["itemId"]: entry.get("fields") for entry in entries} if "fields" in invocation else {},
            frozenset(entry["itemId"] for entry in entries if entry.get("isExploration") is True)
            if "exploration" in invocation
            else frozenset(),
            {entry["itemId"]: _reasons(entry.get("because")) for entry in entries} if "explain" in invocation else {},
            seen.read(invocation.get("excludeSeen", False)) or seen.NONE,
        )

    def without(self, items: frozenset[str]) -> Ranking | None:
        """Return the ranking without these items; None if that leaves nothing of it."""
        if items.isdisjoint(item for item, _ in self.items):
            return self
        kept = tuple(pair for pair in self.items if pair[0] not in items)
        return replace(self, items=kept) if kept else None

    def to_recommendations(
        self, recommendation_id: str, fields: Sequence[str] = (), explain: bool = False
    ) -> dict[str, Any]:
        """Return the body of `GET /users/{userId}/recommendations`, with these fields of each item, and if wanted the
        items because of which it is there.
        """
        answer = self.to_related(recommendation_id, fields)
        for entry in answer["itemList"] if explain or self.explored else ():
            if entry["itemId"] in self.explored:
                entry["isExploration"] = True
            if explain:
                entry["because"] = self.because.get(entry["itemId"], [])
        return answer | {"excludeSeen": self.exclude_seen}

    def to_related(self, recommendation_id: str, fields: Sequence[str] = ()) -> dict[str, Any]:
        """Return the body of `GET /items/{itemId}/related`, with these fields of each item."""
        return {
            "recommendationId": recommendation_id,
            "itemList": self._item_list(fields),
            "model": self._model(),
            "source": self.source,
        }

    def to_personalized_ranking(self, recommendation_id: str, fields: Sequence[str] = ()) -> dict[str, Any]:
        """Return the body of `POST /rankings`, with these fields of each item."""
        return {
            "recommendationId": recommendation_id,
            "personalizedRanking": self._item_list(fields),
            "model": self._model(),
            "source": self.source,
            "unknownItems": self.unknown_items,
        }

    def _model(self) -> dict[str, str]:
        return {"version": self.model_version} | ({"variant": self.variant} if self.variant else {})

    def _item_list(self, fields: Sequence[str]) -> list[dict[str, Any]]:
        if not fields:
            return [{"itemId": item, "score": score} for item, score in self.items]
        return [
            {"itemId": item, "score": score, "fields": _shown(self.fields.get(item), fields)}
            for item, score in self.items
        ]


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
        document = _object(content)
        users, categories = document.get("users"), document.get("itemCategories", {})
        if not isinstance(users, dict) or not isinstance(categories, dict):
            raise GarbledAnswer("users and itemCategories must be objects")
        named = {item: _names(names, f"itemCategories.{item}") for item, names in categories.items()}
        fields = document.get("itemFields", {})
        return cls(users, named, _string(document, "modelVersion"), fields if isinstance(fields, dict) else {})

    def ranking(self, user_id: str, number: int, list_filter: ListFilter, most: int) -> Ranking | None:
        """Return the first `number` items of the user's list that pass `list_filter`. The batch wrote at most `most`
        items per user. None if there is no list, or if the filter leaves too few items of a list that was cut there.

        Raises `GarbledAnswer` for an invalid list.
        """
        listed = self.users.get(user_id)
        if listed is None:
            return None
        ids, scores = _list(lambda: lists.of_pairs(listed), most)
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
        document = _document(content)
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
        return cls(tuple(scores.items()), _string(document, "runId"), categories, fault, fields)

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


@dataclass(frozen=True)
class ListFilter:
    """The conditions on a list's items: the shop's rules and the caller's categories (empty: all)."""

    rules: Rules = NO_RULES
    categories: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    """Items to leave out of this list."""
    withdrawn: frozenset[str] = frozenset()
    """Items that the newest data withdraw; the model server knows those of its own data."""

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
            if item not in excluded
            and item not in self.withdrawn
            and (not wanted or wanted.intersection(categories.get(item, ())))
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


def _check_asked(ids: list[str], unknown: int, invocation: Mapping[str, Any]) -> None:
    """Check that the items are those that `invocation` asks for. Raises `GarbledAnswer`: not_asked_for, incomplete, or
    empty.

    A list without items is an answer only if the request is narrowed by categories or rules. Otherwise it is refused,
    even for a user who has seen the whole catalogue: popular items are then of more use than an empty page.
    """
    candidates = invocation.get("candidates")
    if candidates is not None:
        if not set(candidates).issuperset(ids):
            raise GarbledAnswer("itemList has an item that is no candidate", "not_asked_for")
        if len(ids) + unknown != len(candidates):
            raise GarbledAnswer(f"{len(ids)} items and {unknown} unknown ones of {len(candidates)}", "incomplete")
        return
    if not set(ids).isdisjoint(invocation.get("deny", ())):
        raise GarbledAnswer("itemList has an item that the rules deny", "not_asked_for")
    if invocation.get("itemId") in ids:
        raise GarbledAnswer("itemList has the item that others are related to", "not_asked_for")
    if not ids and not any(name in invocation for name in _NARROWING):
        raise GarbledAnswer("itemList is empty, and nothing narrows the request", "empty")


def _shown(known: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the fields `names` of an item; null where there is no such text, number or boolean. A title that cannot
    be read is no reason to lose a list.
    """
    if isinstance(known, str):
        try:
            known = documents.read(known.encode(), "it")
        except (Unfit, UnicodeEncodeError):
            known = None
    values = known if isinstance(known, dict) else {}
    return {name: values[name] if isinstance(values.get(name), str | int | float) else None for name in names}


def _reasons(value: Any) -> list[str]:
    """Return ids of items; none where there is no list of some. An explanation that cannot be read is no reason to lose
    a list.
    """
    is_list = isinstance(value, list) and len(value) <= limits.REASONS
    return value if is_list and all(isinstance(item, str) and is_unicode(item) for item in value) else []


def _list(read: Callable[[], tuple[list[str], list[float]]], most: int) -> tuple[list[str], list[float]]:
    try:
        ids, scores = read()
        lists.check(ids, scores, most)
    except BadList as error:
        raise GarbledAnswer(str(error), error.reason) from None
    return ids, scores


def _names(value: Any, label: str) -> tuple[str, ...]:
    try:
        return lists.names(value, label)
    except BadList as error:
        raise GarbledAnswer(str(error)) from None


def _document(content: bytes) -> dict[str, Any]:
    """Parse a document strictly; it is read once a minute."""
    try:
        return documents.read_object(content, "it")
    except Unfit as error:
        raise GarbledAnswer(str(error)) from None


def _object(content: bytes) -> dict[str, Any]:
    """Parse an answer of the endpoint or a part of a batch; the values that are used are checked afterwards."""
    try:
        return documents.read_object(content, "it", has_schema=True)
    except Unfit as error:
        # The key may be a user id, which must not be logged.
        raise GarbledAnswer(str(error) if error.key is None else "it has a key twice") from None


def _count(document: dict[str, Any], name: str, least: int) -> int:
    value = document.get(name)
    if not is_integer(value, least):
        raise GarbledAnswer(f"{name} must be an integer of at least {least}")
    return value


def _string(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value or not is_unicode(value):
        raise GarbledAnswer(f"{name} must be a string that is not empty")
    return value
