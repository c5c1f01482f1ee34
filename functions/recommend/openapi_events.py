"""The part of the OpenAPI document about `POST /events`, which the function `events` answers."""

from __future__ import annotations

from typing import Any

from contracts import ids, limits, recommendation_ids

_PLAIN = r"\u0000-\u001f\u007f-\u009f\u2028\u2029\ufffd"
FORBIDDEN = "the caller has a JWT, and the request is about another user than that of the JWT"
_MISSING = "null or none, na, n/a or nan stand for a missing value in any case, and are refused"


def _id(description: str, most: int = limits.ID_CHARACTERS) -> dict[str, Any]:
    return {
        "title": f"a string of 1 to {most} characters without control characters",
        "type": "string",
        "minLength": 1,
        "maxLength": most,
        "pattern": f"^[^{_PLAIN}]*[^{_PLAIN} ][^{_PLAIN}]*$",
        "not": {"pattern": r"^ *([nN][aA]([nN]|/[aA])?|[nN][uU][lL][lL]|[nN][oO][nN][eE]) *$"},
        "description": f"{description}; {_MISSING}",
    }


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _known(name: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"type": "string"}}}


def _object(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ref(schema)}}}


def paths() -> dict[str, Any]:
    """Return the paths."""
    return {
        "/events": {
            "post": {
                "operationId": "putEvents",
                "summary": "Tell what a user or a visitor did, as with Personalize's PutEvents",
                "description": "An event that is sent again counts once, so all events may be sent again after any "
                "answer but 200. A request with both ids makes the session part of the user.",
                "requestBody": {
                    "required": True,
                    "description": f"at most {limits.EVENTS_BYTES} bytes",
                    "content": {"application/json": {"schema": _ref("EventsRequest")}},
                },
                "responses": {
                    "200": _json("the accepted events are stored; the refused ones cannot be used", "Events"),
                    "400": _json("nothing can be used; the message names the field and the reason", "EventsError"),
                    "403": _json(FORBIDDEN, "Error"),
                    "413": _json("the body is too large", "Error"),
                    "415": _json("the content type is not application/json", "Error"),
                    "503": _json("the events cannot be stored now: send all again", "Error"),
                },
            }
        }
    }


def schemas() -> dict[str, Any]:
    """Return the schemas of requests and answers."""
    request = {
        "userId": _or_null(_id("id of the user, if known")),
        "sessionId": _or_null(_id("id of the session; a new one after a logout", ids.SESSION_CHARACTERS)),
        "eventList": {"type": "array", "minItems": 1, "maxItems": limits.EVENTS, "items": _ref("Event")},
        "trackingId": {"description": "left alone, as Personalize's clients send it"},
    }
    entry = {"index": {"type": "integer", "minimum": 0, "maximum": limits.EVENTS - 1}, "eventId": {"type": "string"}}
    note = {"note": {"type": "string", "description": "recommendationId is of no recommendation of this shop"}}
    reason = {"code": {"enum": ["InvalidInput"]}, "field": {"type": "string"}, "message": {"type": "string"}}
    refused = {"type": "array", "maxItems": limits.EVENTS, "items": _object(entry | reason, "eventId")}
    accepted = {"type": "array", "minItems": 1, "maxItems": limits.EVENTS, "items": _object(entry | note, "note")}
    error = _object(
        {"code": {"enum": ["InvalidInput"]}, "field": {"type": ["string", "null"]}, "message": {"type": "string"}}
    )
    return {
        "EventsRequest": _object(request, "userId", "sessionId", "trackingId")
        | {"anyOf": [_known("userId"), _known("sessionId")]},
        "Event": _event(),
        "Events": _object({"accepted": accepted, "refused": refused}),
        "EventsError": _object({"error": error, "refused": refused}, "refused"),
    }


def _event() -> dict[str, Any]:
    sent_at = {
        "anyOf": [{"type": "number"}, {"type": "string", "format": "date-time"}],
        "description": "seconds since 1970, or ISO 8601; up to 600 s ahead it counts as now; a later one is refused, "
        "as is one older than EventsKeptDays",
    }
    value = {"type": "number", "minimum": -limits.EVENT_VALUE, "maximum": limits.EVENT_VALUE}
    impression = {
        "type": "array",
        "minItems": 1,
        "maxItems": limits.IMPRESSION_ITEMS,
        "items": _id("id of an item"),
        "description": "the items of the list that was shown",
    }
    fields = {
        "eventId": _or_null(
            {"type": "string", "minLength": 1, "maxLength": limits.ID_CHARACTERS, "description": "missing: derived"}
        ),
        "eventType": _id("type, such as view, click or purchase; what it means is data of the shop"),
        "itemId": _id(
            "id of the item; may be missing where a list was shown (impression), whose first item it is then"
        ),
        "sentAt": sent_at,
        "eventValue": _or_null(value | {"description": "such as a price"}),
        "recommendationId": _or_null(
            {
                "type": "string",
                "minLength": 1,
                "maxLength": recommendation_ids.CHARACTERS,
                "description": "the id of the answer because of which it happened",
            }
        ),
        "impression": _or_null(impression),
        "properties": {"description": "left alone"},
        "metricAttribution": {"description": "left alone"},
    }
    listed = {
        "required": ["impression"],
        "properties": {"eventType": {"enum": ["impression"]}, "impression": {"type": "array"}},
    }
    optional = [name for name in fields if name not in ("eventType", "sentAt")]
    return _object(fields, *optional) | {"anyOf": [{"required": ["itemId"]}, listed]}
