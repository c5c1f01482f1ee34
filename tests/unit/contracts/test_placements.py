"""The document of placements: what it may say, and that its limits are those of the model server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts import item_fields, limits, placements, popular_now, schemas, seen
from contracts.documents import Unfit
from contracts.placements import Placement, Placements

WHOLE = {
    "list": "related",
    "fallback": "trending",
    "window": "7d",
    "numResults": 20.0,
    "excludeSeen": "bought",
    "categories": ["Drama", "Drama"],
    "fields": ["title"],
    "deny": ["9", "9"],
    "boosts": {"8": 2},
    "categoryCaps": {"Drama": 0},
}


def read(placements: Any) -> Placements:
    return Placements.from_json(json.dumps({"schemaVersion": "1.0", "placements": placements}).encode())


def test_a_placement_is_read_with_its_defaults() -> None:
    assert read({"home": {}, "cart": WHOLE}).by_name == {
        "home": Placement(),
        "cart": Placement(
            list="related",
            fallback="trending",
            window="7d",
            num_results=20,
            exclude_seen="bought",
            categories=("Drama",),
            fields=("title",),
            deny=("9",),
            boosts={"8": 2.0},
            category_caps={"Drama": 0},
        ),
    }


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"list": "best"}, "list must be one of recommendations, related, popular, trending, not 'best'"),
        ({"fallback": "none"}, "fallback must be one of popular, trending, not 'none'"),
        ({"window": "1h"}, "window must be one of 24h, 7d, 30d, not '1h'"),
        ({"numResults": 0}, "numResults must be an integer from 1 to 100, not 0"),
        ({"numResults": 101}, "numResults must be an integer from 1 to 100, not 101"),
        ({"numResults": True}, "numResults must be an integer from 1 to 100, not True"),
        ({"excludeSeen": True}, "excludeSeen must be one of none, bought, any, not True"),
        ({"categories": [""]}, "categories[0] must be a string that is not empty, not ''"),
        ({"categories": "Drama"}, "categories must be a list of at most 100 entries, not 'Drama'"),
        ({"fields": ["x" * 65]}, "fields[0] must be a string of 1 to 64 characters, not "),
        ({"fields": ["x"] * 41}, "fields must be a list of at most 40 entries, not 41 entries"),
        ({"deny": ["7"] * 1001}, "deny must be a list of at most 1000 entries, not 1001 entries"),
        ({"deny": ["\ud800"]}, "deny[0] must be a string that is not empty, not text that is not valid Unicode"),
        ({"boosts": {"7": 0}}, "boosts.7 must be a number above 0 and at most 100, not 0"),
        ({"boosts": {"7": float("nan")}}, "boosts.7 must be a number above 0 and at most 100, not nan"),
        ({"categoryCaps": {"Drama": -1}}, "categoryCaps.Drama must be an integer from 0 to 100, not -1"),
        ({"denied": []}, " has an unknown key denied; the keys are list, fallback, window, numResults, "),
    ],
)
def test_each_invalid_field_is_named_with_its_value(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unfit) as caught:
        read({"home": fields})
    assert f"serving/placements.json: placements.home{'' if reason[0] == ' ' else '.'}{reason}" in str(caught.value)


@pytest.mark.parametrize("name", ["", "x" * 33, "a b", "home/1", "é", "a\n"])
def test_a_name_is_fit_for_a_metric(name: str) -> None:
    with pytest.raises(Unfit, match="has a key that is not a name of 1 to 32 letters, digits, hyphens"):
        read({name: {}})


@pytest.mark.parametrize("placements", [None, [], {str(number): {} for number in range(51)}, {"home": None}])
def test_the_placements_are_few_objects(placements: Any) -> None:
    with pytest.raises(Unfit):
        read(placements)


def test_the_limits_are_those_of_every_request() -> None:
    root = schemas.load("placements")["properties"]["placements"]
    fields = root["additionalProperties"]["properties"]
    rules = schemas.load("rules")["properties"]
    for name in ("deny", "boosts", "categoryCaps"):
        assert without_words(fields[name]) == without_words(rules[name])
    assert root["maxProperties"] == limits.PLACEMENTS
    assert root["propertyNames"]["pattern"] == placements.NAME
    assert fields["numResults"]["maximum"] == limits.RESULTS
    assert fields["numResults"]["default"] == limits.DEFAULT_RESULTS
    assert fields["categories"]["maxItems"] == limits.CATEGORIES
    assert fields["fields"]["maxItems"] == limits.FIELDS
    assert fields["fields"]["items"]["maxLength"] == item_fields.NAME_CHARACTERS
    assert fields["window"]["enum"] == list(popular_now.WINDOWS)
    assert fields["excludeSeen"]["enum"] == list(seen.KINDS)


def without_words(field: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in field.items() if name != "description"}
