"""Content that breaks its contract: lists and documents are read through these functions, which say what is wrong.

Pure: no AWS, no environment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contracts import documents, lists
from contracts.documents import Unfit
from contracts.lists import BadList
from contracts.values import is_integer, is_unicode


class GarbledAnswer(Exception):
    """Raised for content that breaks its contract, or that was not asked for; the message names the field, but no user.
    `reason` is the kind of fault: garbled, or a reason of `BadList` or `_check_asked`.
    """

    def __init__(self, message: str, reason: str = "garbled") -> None:
        super().__init__(message)
        self.reason = reason


def checked(read: Callable[[], tuple[list[str], list[float]]], most: int) -> tuple[list[str], list[float]]:
    """Return the ids and scores that `read` returns, at most `most`. Raises `GarbledAnswer`, as all of these do."""
    try:
        ids, scores = read()
        lists.check(ids, scores, most)
    except BadList as error:
        raise GarbledAnswer(str(error), error.reason) from None
    return ids, scores


def names(value: Any, label: str) -> tuple[str, ...]:
    """Return a list of names."""
    try:
        return lists.names(value, label)
    except BadList as error:
        raise GarbledAnswer(str(error)) from None


def document(content: bytes) -> dict[str, Any]:
    """Parse a document strictly; it is read once a minute."""
    try:
        return documents.read_object(content, "it")
    except Unfit as error:
        raise GarbledAnswer(str(error)) from None


def answer(content: bytes) -> dict[str, Any]:
    """Parse an answer of the endpoint or a part of a batch; the values that are used are checked afterwards."""
    try:
        return documents.read_object(content, "it", has_schema=True)
    except Unfit as error:
        # The key may be a user id, which must not be logged.
        raise GarbledAnswer(str(error) if error.key is None else "it has a key twice") from None


def count(document: dict[str, Any], name: str, least: int) -> int:
    """Return the field `name`, an integer of at least `least`."""
    value = document.get(name)
    if not is_integer(value, least):
        raise GarbledAnswer(f"{name} must be an integer of at least {least}")
    return value


def string(document: dict[str, Any], name: str) -> str:
    """Return the field `name`, a text that is not empty."""
    value = document.get(name)
    if not isinstance(value, str) or not value or not is_unicode(value):
        raise GarbledAnswer(f"{name} must be a string that is not empty")
    return value
