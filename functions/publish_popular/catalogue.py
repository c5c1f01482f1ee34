"""Categories and fields of items, as the model that serves has them.

The server has all items of its data in memory, so it is asked. An item that it does not know is in no list: nobody can
make a list by events of items that the shop does not have.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from contracts import documents, limits, lists
from contracts.documents import Unfit
from contracts.lists import BadList
from contracts.popular_now import SCHEMA_VERSION
from publish_popular.document import Item, categories_of
from shared.clients import calling
from shared.errors import DependencyFailed

ASKED_ITEMS = 500
"""Items of a request; their ids are at most half of a request's bytes."""
SHOWN_ITEMS = 100
"""Items of a request for all fields, whose answer may have 40 kB for each."""
_USER = "popular-now"  # nobody: the ranking does not matter


class Catalogue:
    """The items of the endpoint `name`; `runtime` is a client of sagemaker-runtime."""

    def __init__(self, runtime: Any, name: str) -> None:
        self._runtime, self._name = runtime, name

    def known(self, items: Iterable[str]) -> dict[str, Item]:
        """Return those items that the model knows, with their categories. Raises FunctionError."""
        return {
            item: Item(categories_of(fields.get("category")))
            for part in _parts(items, ASKED_ITEMS)
            for item, fields in self._ask(part, ["category"]).items()
        }

    def shown(self, items: Iterable[str], names: Sequence[str]) -> dict[str, Item]:
        """Return those items that the model knows, with the fields `names` that they have. Raises FunctionError."""
        return {
            item: Item(
                categories_of(fields.get("category")),
                {name: fields[name] for name in names if fields.get(name) is not None},
            )
            for part in _parts(items, SHOWN_ITEMS)
            for item, fields in self._ask(part, [*dict.fromkeys((*names, "category"))][: limits.FIELDS]).items()
        }

    def _ask(self, items: list[str], names: list[str]) -> dict[str, dict[str, Any]]:
        asked = {"userId": _USER, "candidates": items, "excludeSeen": False, "fields": names}
        with calling("sagemaker-runtime InvokeEndpoint"):
            answer = self._runtime.invoke_endpoint(
                EndpointName=self._name,
                ContentType="application/json",
                Accept="application/json",
                Body=json.dumps(asked, ensure_ascii=False).encode(),
            )
            content = answer["Body"].read()
        try:
            entries = documents.read_object(content, "the answer").get("itemList")
            ids, _ = lists.of_items(entries)
        except (Unfit, BadList) as error:
            raise DependencyFailed(f"the endpoint's answer cannot be read: {error}") from None
        found = {entry["itemId"]: entry.get("fields") for entry in entries or ()}
        wanted = set(items)
        return {item: found[item] if isinstance(found[item], dict) else {} for item in ids if item in wanted}


def of_popular(content: bytes) -> dict[str, Item]:
    """Return the items of `popular.json`. Raises Unfit."""
    document = documents.read_object(content, "serving/popular.json")
    known = {}
    for place, entry in enumerate(document.get("itemList") or ()):
        try:
            item, _, categories = lists.of_popular(entry, f"itemList[{place}]")
        except BadList:
            continue
        fields = entry.get("fields")
        known[item] = Item(categories, fields if isinstance(fields, dict) else {})
    return known


def of_earlier(content: bytes) -> dict[str, Item]:
    """Return the items of the document that was published before; none if it is not one of ours."""
    try:
        document = documents.read_object(content, "serving/popular_now.json")
    except Unfit:
        return {}
    items = document.get("items")
    if document.get("schemaVersion") != SCHEMA_VERSION or not isinstance(items, dict):
        return {}
    return {
        item: Item(tuple(entry.get("categories", ())), entry.get("fields", {}))
        for item, entry in items.items()
        if isinstance(entry, dict)
    }


def names_in(known: Mapping[str, Item]) -> list[str]:
    """Return the fields that any of these items has."""
    names = dict.fromkeys(("title", "category", *(name for item in known.values() for name in item.fields)))
    return list(names)[: limits.FIELDS]


def _parts(items: Iterable[str], number: int) -> Iterator[list[str]]:
    left = iter(items)
    while part := list(islice(left, number)):
        yield part
