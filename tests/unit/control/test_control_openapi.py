"""The API's document becomes forms whose requests the API takes."""

import json
from pathlib import Path

import pytest

from contracts import limits
from control import openapi
from control.openapi import NoDocument, Route


def routes() -> dict[str, Route]:
    return {route.name: route for route in openapi.routes(openapi.read())}


def test_every_route_of_the_published_document_is_there_with_its_parameters() -> None:
    found = routes()
    assert {"GET /recommendations", "GET /health", "POST /events", "GET /items/{itemId}/related"} <= set(found)
    wanted = {one.name: one for one in found["GET /recommendations"].parameters}
    assert wanted["numResults"].limits == "1 to 100" and wanted["numResults"].default == "10"
    assert wanted["excludeSeen"].choices[:3] == ("none", "bought", "any")
    assert wanted["userId"].limits == f"at most {limits.ID_CHARACTERS} characters"
    assert all(one.description for route in found.values() for one in route.parameters)
    assert [name for name, route in found.items() if route.changes_something] == ["POST /events"]


def test_a_body_to_begin_with_has_what_is_needed() -> None:
    found = routes()
    schema = found["POST /rankings"].body_schema
    assert schema is not None
    assert openapi.example(schema, "42", "7") == {"userId": "42", "inputList": ["7"]}
    events = found["POST /events"].body_schema
    assert events is not None
    begun = openapi.example(events, "42", "7")
    assert begun["userId"] == "42"
    assert set(begun["eventList"][0]) == {"eventType", "itemId", "sentAt"}


def test_a_filled_form_is_a_request() -> None:
    route = routes()["GET /items/{itemId}/related"]
    request = openapi.request("https://x", route, {"itemId": "<b>", "category": "A, B\nC\n", "window": ""})
    assert request.url == "https://x/items/%3Cb%3E/related?category=A%2C%20B&category=C"
    with pytest.raises(ValueError, match="itemId is needed"):
        openapi.request("https://x", route, {"itemId": " "})


def test_a_body_that_is_no_json_is_told_before_anything_is_sent() -> None:
    route = routes()["POST /events"]
    with pytest.raises(ValueError, match="The body is not JSON"):
        openapi.request("https://x", route, {}, "{")
    assert openapi.request("https://x", route, {}, '{"eventList": []}').body == {"eventList": []}


def test_a_document_that_is_missing_or_broken_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoDocument, match="`make assemble` writes it"):
        openapi.read(tmp_path / "openapi.json")
    (tmp_path / "openapi.json").write_text("{")
    with pytest.raises(NoDocument, match="not JSON"):
        openapi.read(tmp_path / "openapi.json")


def test_a_reference_to_itself_ends() -> None:
    document = {"components": {"a": {"properties": {"a": {"$ref": "#/components/a"}}}}}
    assert len(json.dumps(openapi.resolved(document, {"$ref": "#/components/a"}))) < 1000
