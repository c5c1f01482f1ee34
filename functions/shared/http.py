"""HTTP requests with a JSON body, and HTTP answers, in the form of API Gateway's events (payload 2.0). Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection
from typing import Any

from contracts import documents, limits
from contracts.documents import Unfit
from shared.refusal import InvalidRequest, shown, shown_name


def document(event: dict[str, Any], fields: Collection[str], most: int = limits.REQUEST_BYTES) -> dict[str, Any]:
    """Return the body, a JSON object of at most `most` bytes, which may have these fields. Raises `InvalidRequest`."""
    _check_content_type(event.get("headers") or {})
    found = _document(_content(event, most))
    for name in found:
        if name not in fields:
            raise InvalidRequest(f"{shown(name)} is not a field; the fields are {', '.join(fields)}", shown_name(name))
    return found


def answer(status: int, body: dict[str, Any], retry_after: int = 60) -> dict[str, Any]:
    """Return an answer with a JSON body. That of status 503 says after how many seconds to try again."""
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    if status == 503:
        headers["retry-after"] = str(retry_after)
    return {"statusCode": status, "headers": headers, "body": json.dumps(body), "isBase64Encoded": False}


def error(code: str, field: str | None, message: str) -> dict[str, Any]:
    """Return the body of an answer that is an error."""
    return {"error": {"code": code, "field": field, "message": message}}


def _check_content_type(headers: dict[str, str]) -> None:
    # API Gateway sends names in lower case; a test console may not.
    given = next((value for name, value in headers.items() if name.lower() == "content-type"), None)
    if (given or "").partition(";")[0].strip().lower() != "application/json":
        shown = repr(given[:40]) if given else "missing"
        raise InvalidRequest(f"the content type must be application/json; it is {shown}", status=415)


def _content(event: dict[str, Any], most: int) -> bytes:
    body = event.get("body") or ""
    too_large = InvalidRequest(f"the body is larger than {most} bytes", status=413)
    if event.get("isBase64Encoded"):
        if len(body) > most * 4 // 3 + 4:
            raise too_large
        try:
            content = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidRequest("the body is marked as base64 but cannot be decoded") from None
    else:
        content = body.encode("utf-8", "surrogatepass")
    if len(content) > most:
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
