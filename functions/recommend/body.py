"""The fields of a request in JSON, read and validated.

Pure: no AWS, no environment. All functions raise `InvalidRequest`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contracts import limits, seen
from contracts.histories import BadHistory
from contracts.values import as_json, is_integer, kind
from recommend.history import History
from shared.refusal import InvalidRequest, category_names, check_unicode, field_names


def shown_fields(value: Any) -> tuple[str, ...]:
    """Return the names in `fields`."""
    if not isinstance(value, list):
        raise InvalidRequest(f"fields must be a list of names, not {kind(value)}", "fields")
    for position, name in enumerate(value):
        if not isinstance(name, str):
            raise InvalidRequest(f"fields[{position}] must be a string, not {kind(name)}", "fields")
    return field_names(value)


def num_results(document: dict[str, Any]) -> int:
    """Return `numResults`."""
    value = document.get("numResults", limits.DEFAULT_RESULTS)
    if isinstance(value, float) and value.is_integer():  # JSON has one kind of number
        value = int(value)
    if not is_integer(value, 1, limits.RESULTS):
        raise InvalidRequest(
            f"numResults must be an integer from 1 to {limits.RESULTS}, not {as_json(value)}", "numResults"
        )
    return value


def exclude_seen(document: dict[str, Any]) -> str:
    """Return `excludeSeen`, a kind of `contracts/seen.py`."""
    value = document.get("excludeSeen", seen.ANY)
    found = seen.read(value)
    if found is None:
        raise InvalidRequest(f"excludeSeen must be {seen.FORMS}, not {as_json(value)}", "excludeSeen")
    return found


def boolean(document: dict[str, Any], name: str, default: bool) -> bool:
    """Return the field `name`, true or false."""
    value = document.get(name, default)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name} must be true or false, not {as_json(value)}", name)
    return value


def categories(document: dict[str, Any]) -> tuple[str, ...]:
    """Return the names in `categories`, each once."""
    value = document.get("categories", [])
    if not isinstance(value, list):
        raise InvalidRequest(f"categories must be a list of names, not {kind(value)}", "categories")
    for position, name in enumerate(value):
        if not isinstance(name, str):
            raise InvalidRequest(f"categories[{position}] must be a string, not {kind(name)}", "categories")
    return category_names(value)


def history(document: dict[str, Any]) -> History:
    """Return `history`."""
    try:
        return History.from_json(document["history"])
    except BadHistory as error:
        raise InvalidRequest(str(error), "history") from None


def parameters(document: dict[str, Any]) -> dict[str, Sequence[str]]:
    """Return the fields that `Listing` reads, as the parameters of a query, and the names of all others."""
    found: dict[str, Sequence[str]] = dict.fromkeys(document, ())
    for name in ("placement", "window", "page"):
        if name in document:
            if not isinstance(document[name], str):
                raise InvalidRequest(f"{name} must be a string, not {kind(document[name])}", name)
            found[name] = [document[name]]
    excluded = document.get("exclude", [])
    if not isinstance(excluded, list) or not all(isinstance(item, str) for item in excluded):
        raise InvalidRequest("exclude must be a list of item ids", "exclude")
    return found | ({"exclude": excluded} if excluded else {})


def input_list(document: dict[str, Any]) -> tuple[str, ...]:
    """Return the ids in `inputList`, each once."""
    if "inputList" not in document:
        raise InvalidRequest("inputList is missing", "inputList")
    value = document["inputList"]
    if not isinstance(value, list):
        raise InvalidRequest(f"inputList must be a list of item ids, not {kind(value)}", "inputList")
    if not 1 <= len(value) <= limits.CANDIDATES:
        raise InvalidRequest(f"inputList must hold 1 to {limits.CANDIDATES} item ids, not {len(value)}", "inputList")
    for position, item in enumerate(value):
        if not isinstance(item, str):
            raise InvalidRequest(f"inputList[{position}] must be a string, not {kind(item)}", "inputList")
        check_unicode(item, f"inputList[{position}]")
    return tuple(dict.fromkeys(value))
