"""The refusal of a request, and the checks that every form of a request shares.

Pure: no AWS, no environment. The rules equal those of the model server (`docs/reference/contracts.md`, "Server"), so
the server accepts every request that passes here.
"""

from __future__ import annotations

import json
from typing import Any

from contracts import limits
from contracts.item_fields import NAME_CHARACTERS
from contracts.values import kind


class InvalidRequest(Exception):
    """Raised for an invalid request. `field` names the invalid field; None if the request as a whole is invalid."""

    def __init__(self, message: str, field: str | None = None, status: int = 400, code: str = "InvalidInput") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.status = status
        self.code = code


def id_of(value: Any, name: str, characters: int = limits.ID_CHARACTERS) -> str:
    """Return the id of a person or item, of at most `characters`. Raises `InvalidRequest`, as all of these do."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be a string, not {kind(value)}", name)
    if not 1 <= len(value) <= characters:
        raise InvalidRequest(f"{name} must have 1 to {characters} characters, not {len(value)}", name)
    check_unicode(value, name)
    return value


def field_names(names: list[str]) -> tuple[str, ...]:
    """Return the names of an item's fields, each once."""
    if len(names) > limits.FIELDS:
        raise InvalidRequest(f"fields must hold at most {limits.FIELDS} names, not {len(names)}", "fields")
    for name in names:
        if not 1 <= len(name) <= NAME_CHARACTERS:
            raise InvalidRequest(
                f"fields must hold names of 1 to {NAME_CHARACTERS} characters, such as title,price, not {shown(name)}",
                "fields",
            )
        check_unicode(name, "fields")
    return tuple(dict.fromkeys(names))


def category_names(names: list[str]) -> tuple[str, ...]:
    """Return the names of categories, each once. Raises `InvalidRequest`."""
    if len(names) > limits.CATEGORIES:
        raise InvalidRequest(f"categories must hold at most {limits.CATEGORIES} names, not {len(names)}", "categories")
    for name in names:
        check_unicode(name, "categories")
    return tuple(dict.fromkeys(names))


def check_unicode(text: str, label: str) -> None:
    """Refuse lone surrogates, which JSON can escape: such a string can be neither stored nor sent."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidRequest(f"{label} is not valid Unicode", label.partition("[")[0]) from None


def shown(text: str) -> str:
    """Return the text as a message shows it, in quotes."""
    quoted = json.dumps(text)
    return quoted if len(quoted) <= 40 else quoted[:36] + '..."'


def shown_name(name: str) -> str:
    """Return the name of a field as an error's `field` shows it."""
    return name[:40].encode("utf-8", "replace").decode("utf-8")
