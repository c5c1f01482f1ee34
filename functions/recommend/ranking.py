"""Ranked items: read from the endpoint, and written as answers of the API. `stored_lists.py` has the lower rungs.

Pure: no AWS, no environment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from contracts import documents, limits, lists, seen
from contracts.documents import Unfit
from contracts.values import is_unicode
from recommend import garbled
from recommend.garbled import GarbledAnswer

_SOURCES = {"userId": ("personalized", "popular"), "itemId": ("related", "popular")}
_NARROWING = ("deny", "categories", "categoryCaps")
"""The fields of a request that may leave no item at all."""


@dataclass(frozen=True)
class Ranking:
    """Items, best first, from one source: `personalized`, `session` (of a person whom the model has not met, by their
    history), `related`, `batch`, `popular` or `trending`. `model_version` is the run id of the model; `variant` is the
    endpoint variant that answered.
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
    window: str | None = None
    """The window of `contracts/popular_now.py` in which the items were chosen most; None: another source."""

    @classmethod
    def from_endpoint(cls, content: bytes, invocation: Mapping[str, Any], variant: str | None = None) -> Ranking:
        """Read the model server's answer to `invocation`, and check it before a customer sees it. Raises
        `GarbledAnswer`.
        """
        document = garbled.answer(content)
        subject = "itemId" if "itemId" in invocation else "userId"
        source = document.get("source")
        if source not in _SOURCES[subject]:
            raise GarbledAnswer(f"source must be {' or '.join(_SOURCES[subject])}")
        if document.get(subject) != invocation[subject]:
            raise GarbledAnswer(f"{subject} is not the one that was asked for", "not_asked_for")
        unknown = garbled.count(document, "unknownItems", 0)
        candidates = invocation.get("candidates")
        most = invocation.get("numResults", limits.DEFAULT_RESULTS) if candidates is None else len(candidates)
        ids, scores = garbled.checked(lambda: lists.of_items(document.get("itemList")), most)
        _check_asked(ids, unknown, invocation)
        items, version = tuple(zip(ids, scores, strict=True)), garbled.string(document, "modelVersion")
        entries = document["itemList"]
        return cls(
            items,
            "session" if source == "personalized" and document.get("isStranger") is True else source,
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
        } | self._window()

    def to_personalized_ranking(self, recommendation_id: str, fields: Sequence[str] = ()) -> dict[str, Any]:
        """Return the body of `POST /rankings`, with these fields of each item."""
        return {
            "recommendationId": recommendation_id,
            "personalizedRanking": self._item_list(fields),
            "model": self._model(),
            "source": self.source,
            "unknownItems": self.unknown_items,
        } | self._window()

    def _window(self) -> dict[str, str]:
        return {"window": self.window} if self.window else {}

    def _model(self) -> dict[str, str]:
        return {"version": self.model_version} | ({"variant": self.variant} if self.variant else {})

    def _item_list(self, fields: Sequence[str]) -> list[dict[str, Any]]:
        if not fields:
            return [{"itemId": item, "score": score} for item, score in self.items]
        return [
            {"itemId": item, "score": score, "fields": _shown(self.fields.get(item), fields)}
            for item, score in self.items
        ]


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
