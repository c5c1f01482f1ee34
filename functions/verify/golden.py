"""Golden requests and their expected answers, written by the training job. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts import documents, lists
from contracts.documents import Unfit
from contracts.lists import BadList
from shared.errors import GoldenRequestMismatch, InvalidInput

CALLED = "golden.json"
MAXIMUM_REQUESTS = 100


@dataclass(frozen=True)
class Example:
    """One request to `/invocations`, and the answer of the model after training."""

    request: dict[str, Any]
    response: dict[str, Any]


def parse(content: bytes) -> list[Example]:
    """Read the examples in `golden.json`. Raises GoldenRequestMismatch if the document is invalid or empty."""
    try:
        document = documents.read(content, CALLED)
    except Unfit as error:
        raise GoldenRequestMismatch(str(error)) from error
    if not isinstance(document, list) or not document or len(document) > MAXIMUM_REQUESTS:
        raise GoldenRequestMismatch(f"{CALLED} must be an array of 1 to {MAXIMUM_REQUESTS} requests with their answers")
    return [_example(entry, f"{CALLED}[{position}]") for position, entry in enumerate(document)]


def _example(entry: Any, called: str) -> Example:
    request, response = (entry.get("request"), entry.get("response")) if isinstance(entry, dict) else (None, None)
    if not isinstance(request, dict) or not isinstance(response, dict):
        raise GoldenRequestMismatch(f"{called} must have a request and a response with an itemList")
    try:
        ids, scores = lists.of_items(response.get("itemList"))
        lists.check(ids, scores, len(ids))
    except BadList as error:
        raise GoldenRequestMismatch(f"{called}.response: {error}") from error
    return Example(request, response)


def read_answer(content: bytes) -> Any:
    """Return the endpoint's answer; None if it is not JSON. `difference` checks its values."""
    try:
        return documents.read(content, "the answer", has_schema=True)
    except Unfit:
        return None


def popular(content: bytes, called: str) -> bytes:
    """Return the content of a popularity list, unchanged. Raises InvalidInput naming the document (`called`) and the
    field.
    """
    try:
        document = documents.read_object(content, called)
        listed = document.get("itemList")
        if document.get("schemaVersion") != "1.0" or not isinstance(listed, list) or not listed:
            raise Unfit(f"{called} must have schemaVersion 1.0 and an itemList that is not empty")
        entries = [lists.of_popular(entry, f"itemList[{place}]") for place, entry in enumerate(listed)]
        lists.check([item for item, _, _ in entries], [score for _, score, _ in entries], len(entries))
    except Unfit as error:
        raise InvalidInput(str(error)) from error
    except BadList as error:
        raise InvalidInput(f"{called}: {error}") from error
    return content


def sameness(examples: list[Example], answers: list[dict[str, Any]]) -> str | None:
    """Return a sentence if all users get the same list. None if two lists differ, or if the examples have only one user
    (models older than this check).
    """
    lists: dict[str, list[Any]] = {}
    for example, answer in zip(examples, answers, strict=True):
        if "candidates" not in example.request and example.response.get("source") == "personalized":
            lists[str(example.request.get("userId"))] = [item["itemId"] for item in answer["itemList"]]
    if len(lists) > 1 and all(items == next(iter(lists.values())) for items in lists.values()):
        return f"{len(lists)} users get the same list"
    return None
