"""Golden requests and their expected answers, written by the training job. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts import documents
from contracts.documents import Unfit
from shared.errors import GoldenRequestMismatch

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
    examples = []
    for position, entry in enumerate(document):
        request, response = (entry.get("request"), entry.get("response")) if isinstance(entry, dict) else (None, None)
        if (
            not isinstance(request, dict)
            or not isinstance(response, dict)
            or not isinstance(response.get("itemList"), list)
        ):
            raise GoldenRequestMismatch(f"{CALLED}[{position}] must have a request and a response with an itemList")
        examples.append(Example(request, response))
    return examples


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
