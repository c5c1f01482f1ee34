"""The OpenAPI document of the HTTP API, with the limits that requests are checked against.

`make assemble` writes it to docs/reference/openapi.json.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from contracts import limits, seen
from contracts.item_fields import NAME_CHARACTERS
from contracts.placements import NAME as PLACEMENT_NAME
from contracts.popular_now import WINDOWS
from contracts.trials import ALL_TRAFFIC, OTHER
from recommend import openapi_events
from recommend.openapi_events import FORBIDDEN
from recommend.pages import CHARACTERS as PAGE_CHARACTERS
from recommend.person import SESSION_CHARACTERS

_ID = {"type": "string", "minLength": 1, "maxLength": limits.ID_CHARACTERS}
_SESSION_ID = _ID | {"maxLength": SESSION_CHARACTERS}
_USER = "id of the user; a user of whom nothing is known gets popular items"
_SESSION = (
    "id of the visitor's session; with a userId, what the session did counts too, and without one it is the user that "
    "has logged in, if there is one"
)
_ITEM = "id of the item; an unknown item gets popular items"
_VARIANT = {
    "type": "string",
    "description": "the endpoint variant that answered; while traffic is split, it shows which model did",
}
_FIELDS = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    "description": "the fields that the request names, null where nothing is known; times are ISO 8601 in UTC",
}
_ABOUT = {
    "isExploration": {
        "const": True,
        "description": "the item is there because few people know it, by the rule exploration; missing otherwise",
    },
    "because": {
        "type": "array",
        "items": {"type": "string"},
        "maxItems": limits.REASONS,
        "description": "with explain: items of the person's history that weigh most in the score, the first one most; "
        "empty if there is none",
    },
}
_FIELD_NAME = {"type": "string", "minLength": 1, "maxLength": NAME_CHARACTERS}
_TRIAL = {
    "type": "object",
    "additionalProperties": False,
    "required": ["trialId", "variant"],
    "properties": {"trialId": {"type": "string"}, "variant": {"enum": [ALL_TRAFFIC, OTHER]}},
    "description": "while two models are on trial: the trial, and the side that this answer counts for",
}
_NUMBER = {"type": "integer", "minimum": 1, "maximum": limits.RESULTS, "default": limits.DEFAULT_RESULTS}
_VERSION = {"type": "string", "description": "run id of the model, the same as in the ledger and the registry"}


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Recommendations",
            "version": "1.0.0",
            "description": "Personal recommendations and rankings, with the terms of Amazon Personalize. Requests are "
            "signed for the service execute-api (SigV4), or carry a JWT if the stack was deployed with JwtIssuer. A "
            "signed request is a service's, and may name any user. One with a JWT may name only the user in its claim "
            "`sub`, or JwtUserClaim: another user, also one who has logged in to the request's session, is 403.",
        },
        "paths": {
            "/recommendations": {
                "get": {
                    "operationId": "getRecommendations",
                    "summary": "Recommend items to a user, a session, or both; one of the ids is needed",
                    "parameters": [_query("userId", _ID, _USER), _session(), *_for_a_user()],
                    "responses": _responses("Recommendations", 400, 403),
                },
                "post": {
                    "operationId": "getRecommendationsForHistory",
                    "summary": "Recommend items by the history in the request; nothing else of the last days counts",
                    "requestBody": _body("RecommendationsRequest"),
                    "responses": _responses("Recommendations", 400, 403, 413, 415),
                },
            },
            "/users/{userId}/recommendations": {
                "get": {
                    "operationId": "getRecommendationsByPath",
                    "summary": "The same, for a user whose id has no slash, percent sign, question mark or hash",
                    "parameters": [_id("userId", _USER, "path"), _session(), *_for_a_user()],
                    "responses": _responses("Recommendations", 400, 403),
                }
            },
            "/sessions/{sessionId}/recommendations": {
                "get": {
                    "operationId": "getRecommendationsForSession",
                    "summary": "Recommend items to a visitor",
                    "parameters": [
                        _id("sessionId", _SESSION, "path") | {"schema": _SESSION_ID},
                        _query("userId", _ID, _USER),
                        *_for_a_user(),
                    ],
                    "responses": _responses("Recommendations", 400, 403),
                }
            },
            "/related": {
                "get": {
                    "operationId": "getRelatedItems",
                    "summary": "Recommend items similar to an item",
                    "parameters": [
                        _id("itemId", _ITEM, "query"),
                        _num_results(),
                        *_categories(),
                        _fields(),
                        *_listing(),
                    ],
                    "responses": _responses("Related", 400),
                }
            },
            "/items/{itemId}/related": {
                "get": {
                    "operationId": "getRelatedItemsByPath",
                    "summary": "The same, for an item whose id has no slash, percent sign, question mark or hash",
                    "parameters": [
                        _id("itemId", _ITEM, "path"),
                        _num_results(),
                        *_categories(),
                        _fields(),
                        *_listing(),
                    ],
                    "responses": _responses("Related", 400),
                }
            },
            "/rankings": {
                "post": {
                    "operationId": "getPersonalizedRanking",
                    "summary": "Rank the given items for a user",
                    "requestBody": _body("RankingRequest"),
                    "responses": _responses("PersonalizedRanking", 400, 403, 413, 415),
                }
            },
            "/health": {
                "get": {
                    "operationId": "getHealth",
                    "summary": "Health, and the version of the model that answers",
                    "responses": {
                        "200": _json(
                            "the endpoint answers (ok), or only the popularity list is available (degraded)", "Health"
                        ),
                        "503": _json("neither is available", "Health"),
                    },
                }
            },
            **openapi_events.paths(),
        },
        "components": {"schemas": _schemas() | openapi_events.schemas()},
    }


def _schemas() -> dict[str, Any]:
    own = {"itemId": {"type": "string"}, "score": {"type": "number"}}
    item = _object(own) | {"properties": own | {"fields": _FIELDS}}
    recommended = _object(own) | {"properties": own | {"fields": _FIELDS, **_ABOUT}}
    ranked = {
        "userId": _ID | {"description": _USER},
        "inputList": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": limits.CANDIDATES,
            "description": "ids of the items to rank; those that the model does not know are left out",
        },
    }
    model = _object({"version": _VERSION}) | {"properties": {"version": _VERSION, "variant": _VARIANT}}
    identity = {
        "recommendationId": {
            "type": "string",
            "description": "id of this answer, which tells what gave it; events that follow from the answer name it",
        }
    }
    source = {
        "enum": ["personalized", "session", "related", "batch", "popular", "trending"],
        "description": "personalized and related: the model; session: the model, for a person whom it has not met, by "
        "their history alone; batch: the user's stored list, while the model does not answer; popular and trending: "
        "items that many choose, or more than before, for an unknown user or item, while the model does not answer, or "
        "by the placement",
    }
    listed = identity | {
        "itemList": {"type": "array", "items": item, "maxItems": limits.RESULTS, "description": "best first"},
        "model": model,
        "source": source,
    }
    window = {
        "window": {
            "enum": list(WINDOWS),
            "description": "time in which the popular items were chosen most; missing: all of the model's data",
        }
    }
    page = {
        "nextPage": {
            "type": "string",
            "description": f"for the parameter page; missing on the last one, which ends at {limits.RESULTS} items",
        }
    }
    left_out = {
        "enum": list(seen.KINDS),
        "description": "which of the user's own items the list leaves out: what was asked for, if the model answers; "
        "any in the source batch; none in popular items that stand in for it. Every list leaves out in this "
        "way what the person did since the training",
    }
    told = {
        "history": _history(),
        "userId": _ID | {"description": _USER},
        "numResults": _NUMBER,
        "excludeSeen": {"enum": [*seen.KINDS, True, False], "default": seen.ANY},
        "categories": {
            "type": "array",
            "items": {"type": "string"},
            "maxItems": limits.CATEGORIES,
            "description": "only items that have at least one of these categories",
        },
        "fields": {"type": "array", "maxItems": limits.FIELDS, "items": _FIELD_NAME},
        "explain": {"type": "boolean", "default": False},
        **{one["name"]: one["schema"] for one in _listing()},
    }
    told["exclude"] |= {"description": "ids of items to leave out"}
    for one in _for_a_user():
        if one["name"] in told:
            told[one["name"]] = {"description": one["description"]} | told[one["name"]]
    return {
        "Recommendations": _in_a_trial(
            listed | {"itemList": listed["itemList"] | {"items": recommended}, "excludeSeen": left_out}, window | page
        ),
        "Related": _object(listed, window | page),
        "PersonalizedRanking": _in_a_trial(
            identity
            | {
                "personalizedRanking": {"type": "array", "items": item, "maxItems": limits.CANDIDATES}
                | {"description": "best first"},
                "model": model,
                "source": source,
                "unknownItems": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "number of items that the model does not know",
                },
            },
            window,
        ),
        "RecommendationsRequest": _object({"history": told["history"]}) | {"properties": told},
        "RankingRequest": _object(ranked) | {"properties": ranked | {"fields": _field_names(_FIELD_NAME)}},
        "Health": _object(
            {
                "status": {
                    "enum": ["ok", "degraded", "unavailable"],
                    "description": "ok: the endpoint answers; degraded: popular items do; unavailable: nothing does",
                },
                "model": _object({"version": {"type": ["string", "null"]}}),
                "endpoint": _object({"status": {"type": "string", "description": "answering, or why it does not"}}),
            }
        ),
        "Error": _object(
            {
                "error": _object(
                    {
                        "code": {
                            "enum": [
                                "InvalidInput",
                                "Forbidden",
                                "NotFound",
                                "MethodNotAllowed",
                                "NothingDeployed",
                                "DependencyFailed",
                            ]
                        },
                        "field": {"type": ["string", "null"], "description": "the invalid field"},
                        "message": {"type": "string"},
                    }
                )
            }
        ),
    }


def _object(properties: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(properties),
        "properties": properties | (optional or {}),
    }


def _in_a_trial(properties: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an answer to a person, who may be on a side of a trial of two models."""
    return _object(properties, optional | {"trial": _TRIAL})


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ref(schema)}}}


def _body(schema: str) -> dict[str, Any]:
    return {
        "required": True,
        "description": f"at most {limits.REQUEST_BYTES} bytes",
        "content": {"application/json": {"schema": _ref(schema)}},
    }


def _history() -> dict[str, Any]:
    one = {"itemId": _ID, "isBought": {"type": "boolean", "default": False}}
    aged = {"itemId": _ID, "ageSeconds": {"type": "number", "minimum": 0, "description": "seconds since the event"}}

    def entries(required: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
        return {"type": "array", "maxItems": limits.HISTORY, "items": _object(required) | {"properties": properties}}

    return {
        "anyOf": [entries({"itemId": _ID}, one), entries(aged, one | aged)],
        "title": f"a list of at most {limits.HISTORY} entries with itemId, and isBought and ageSeconds if known",
        "description": "what the person chose, the oldest first; with ageSeconds, in all entries or in none, ordered "
        "by it. An item may be there several times",
    }


def _session() -> dict[str, Any]:
    return _query("sessionId", _SESSION_ID, _SESSION)


def _responses(schema: str, *refusals: int) -> dict[str, Any]:
    words = {
        400: "a value is invalid; the message names the field and the reason",
        403: FORBIDDEN,
        413: "the body is too large",
        415: "the content type is not application/json",
    }
    return {
        "200": _json("a list, best first", schema),
        **{str(status): _json(words[status], "Error") for status in refusals},
        "503": _json("no model was ever deployed, or no list can be read", "Error"),
    }


def _id(name: str, description: str, place: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": True, "description": description, "schema": _ID}


def _for_a_user() -> list[dict[str, Any]]:
    forms = {"enum": [*seen.KINDS, "true", "false"], "default": seen.ANY}
    words = (
        "which of the user's own items to leave out: none, those that they bought, or any that they interacted with "
        "(true and false are older names of any and none)"
    )
    return [
        _num_results(),
        _query("excludeSeen", forms, words),
        *_categories(),
        _fields(),
        _query("explain", {"type": "boolean", "default": False}, "tell because of which items each one is there"),
        *_listing(),
    ]


def _fields() -> dict[str, Any]:
    name = _FIELD_NAME | {"title": "a name without a comma", "pattern": r"^[^ ,]([^,]*[^ ,])?$"}
    return _query(
        "fields", _field_names(name), "what to tell of each item: title, category, columns of the catalogue"
    ) | {
        "style": "form",
        "explode": False,
    }


def _field_names(name: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "maxItems": limits.FIELDS, "items": name}


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def _listing() -> list[dict[str, Any]]:
    words = "a name of 1 to 32 letters, digits, hyphens and underscores"
    name = {"title": words, "type": "string", "pattern": PLACEMENT_NAME}
    page = {"type": "string", "minLength": 1, "maxLength": PAGE_CHARACTERS}
    excluded = {
        "type": "array",
        "minItems": 1,
        "maxItems": limits.EXCLUDED,
        "items": _ID | {"title": "an id", "pattern": "^[^,]+$"},
    }
    return [
        _query("placement", name, "the list of this name in rules/placements.json; parameters go before what it says"),
        _query("window", {"enum": list(WINDOWS), "default": "24h"}, "shortest window of popular items"),
        _query("exclude", excluded, "ids of items to leave out, repeated or between commas"),
        _query("page", page, "nextPage of the answer before, to the same request"),
    ]


def _num_results() -> dict[str, Any]:
    return _query("numResults", _NUMBER, "maximum number of items")


def _categories() -> list[dict[str, Any]]:
    any_name = {"type": "string", "minLength": 1}
    name = {"title": "a name without a comma", "type": "string", "pattern": r"^[^ ,]([^,]*[^ ,])?$"}
    return [
        _query(
            "category",
            {"type": "array", "minItems": 1, "maxItems": limits.CATEGORIES, "items": any_name},
            "only items that have at least one of these categories",
        ),
        _query(
            "categories",
            {"type": "array", "minItems": 1, "maxItems": limits.CATEGORIES, "items": name},
            "the same for names without a comma; both together hold at most as many",
        )
        | {"style": "form", "explode": False},
    ]


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=2)
    sys.stdout.write("\n")
