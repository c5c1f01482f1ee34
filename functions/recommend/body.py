"""The fields of a request in JSON, read and validated.

Pure: no AWS, no environment. All functions raise `InvalidRequest`.
"""

from __future__ import annotations

from typing import Any

from contracts import limits
from contracts.values import kind
from shared.refusal import InvalidRequest, check_unicode, field_names


def shown_fields(value: Any) -> tuple[str, ...]:
    """Return the names in `fields`."""
    if not isinstance(value, list):
        raise InvalidRequest(f"fields must be a list of names, not {kind(value)}", "fields")
    for position, name in enumerate(value):
        if not isinstance(name, str):
            raise InvalidRequest(f"fields[{position}] must be a string, not {kind(name)}", "fields")
    return field_names(value)


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
