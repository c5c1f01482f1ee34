"""Explored items, and the items because of which one is there, in answers of the API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import InvalidInput
from shared.rules import Rules
from tests.unit.functions.recommending import (
    DOWN,
    app,
    aws,
    call,
    clock,
    cold_start,
    rankings,
    recommendations,
    related,
    reply,
)

__all__ = ["app", "aws", "clock", "cold_start"]  # fixtures

EXPLORATION = {"share": 0.1, "fewerThan": 5}


def answering(*entries: dict[str, Any]) -> Any:
    listed = [{"itemId": str(n), "score": 1 - n / 10} | entry for n, entry in enumerate(entries)]

    def answer(request: Any) -> Any:
        asked = json.loads(request.body)
        about = {"source": "personalized", "modelVersion": "r", "unknownItems": 0}
        return reply(200, {"userId": asked["userId"], "itemList": listed, **about})

    return answer


def test_the_rule_goes_to_the_endpoint_for_recommendations_alone(app: Any, aws: Any) -> None:
    aws.rules = lambda request: reply(200, {"schemaVersion": "1.0", "exploration": EXPLORATION})
    call(app, recommendations())
    call(app, related("7"))
    call(app, rankings({"userId": "42", "inputList": ["9"]}))
    assert [asked.get("exploration") for asked in aws.invocations] == [EXPLORATION, None, None]


def test_an_explored_item_is_marked(app: Any, aws: Any) -> None:
    aws.rules = lambda request: reply(200, {"schemaVersion": "1.0", "exploration": EXPLORATION})
    aws.endpoint = answering({}, {"isExploration": True}, {"isExploration": "yes"})
    found = call(app, recommendations())[1]["itemList"]
    assert [entry.get("isExploration") for entry in found] == [None, True, None]


def test_the_lower_rungs_do_not_explore(app: Any, aws: Any) -> None:
    aws.rules = lambda request: reply(200, {"schemaVersion": "1.0", "exploration": EXPLORATION})
    aws.endpoint = DOWN
    status, body = call(app, recommendations(explain="true"))
    assert status == 200 and body["source"] == "popular"
    assert [(entry.get("isExploration"), entry["because"]) for entry in body["itemList"]] == [(None, [])] * 3


def test_each_item_names_the_items_because_of_which_it_is_there(app: Any, aws: Any) -> None:
    aws.endpoint = answering({"because": ["7", "8"]}, {"because": []}, {})
    found = call(app, recommendations(explain="true"))[1]["itemList"]
    assert aws.invocations[-1]["explain"] is True
    assert [entry["because"] for entry in found] == [["7", "8"], [], []]
    plain = call(app, recommendations(explain="false"))[1]["itemList"]
    assert "explain" not in aws.invocations[-1] and all("because" not in entry for entry in plain)


@pytest.mark.parametrize("garbled", ["7", [7], ["1", "2", "3", "4"], {"7": 1}, ["\ud800"]])
def test_an_explanation_that_cannot_be_read_is_left_out(app: Any, aws: Any, garbled: Any) -> None:
    aws.endpoint = answering({"because": garbled}, {"because": ["7"]})
    found = call(app, recommendations(explain="true"))[1]["itemList"]
    assert [entry["because"] for entry in found] == [[], ["7"]]


def test_explain_must_be_true_or_false(app: Any, aws: Any) -> None:
    status, body = call(app, recommendations(explain="yes"))
    assert (status, body["error"]["field"]) == (400, "explain")
    assert body["error"]["message"] == "explain must be true or false, not yes"


@pytest.mark.parametrize(
    "value", [0.1, {}, {"share": 0.6, "fewerThan": 5}, {"share": 0.1, "fewerThan": 0}, {"share": 0.1}]
)
def test_a_rule_that_cannot_be_used_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidInput, match="exploration"):
        Rules.from_document({"schemaVersion": "1.0", "exploration": value})


def test_the_rule_is_kept_as_it_is_written() -> None:
    document = {"schemaVersion": "1.0", "exploration": EXPLORATION}
    assert Rules.from_document(document).to_document() == document
