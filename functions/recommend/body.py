"""The JSON body of a request, read and validated from API Gateway events (payload 2.0).

Pure: no AWS, no environment. All functions raise `InvalidRequest`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from typing import Any

from contracts import documents, limits, seen
from contracts.documents import Unfit
from contracts.histories import BadHistory
from contracts.values import as_json, is_integer, kind
from recommend.history import History
from recommend.refusal import InvalidRequest, category_names, check_unicode, field_names, shown, shown_name


def document(event: dict[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """Return the body, which may have these fields."""
    _check_content_type(event.get("headers") or {})
    found = _document(_content(event))
    for name in found:
        if name not in fields:
            raise InvalidRequest(f"{shown(name)} is not a field; the fields are {', '.join(fields)}", shown_name(name))
    return found


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


def _check_content_type(headers: dict[str, str]) -> None:
    # API Gateway sends names in lower case; a test console may not.
    given = next((value for name, value in headers.items() if name.lower() == "content-type"), None)
    if (given or "").partition(";")[0].strip().lower() != "application/json":
        shown = repr(given[:40]) if given else "missing"
        raise InvalidRequest(f"the content type must be application/json; it is {shown}", status=415)


def _content(event: dict[str, Any]) -> bytes:
    body = event.get("body") or ""
    too_large = InvalidRequest(f"the body is larger than {limits.REQUEST_BYTES} bytes", status=413)
    if event.get("isBase64Encoded"):
        if len(body) > limits.REQUEST_BYTES * 4 // 3 + 4:
            raise too_large
        try:
            content = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidRequest("the body is marked as base64 but cannot be decoded") from None
    else:
        content = body.encode("utf-8", "surrogatepass")
    if len(content) > limits.REQUEST_BYTES:
        raise too_large
    return content


def _document(content: bytes) -> dict[str, Any]:
    if not content.strip():
        raise InvalidRequest("the body is empty; a JSON object is expected")
    try:
        return documents.read_object(content, "the body", has_schema=True)
    except Unfit as error:
        if error.key is not None:
            raise InvalidRequest(f"{shown(error.key)} is given twice", shown_name(error.key)) from None
        raise InvalidRequest(str(error)) from None
