"""The whole function: business rules and categories on every rung, and related items."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.functions.recommending import (
    DOWN,
    POPULAR,
    answer_id,
    app,
    aws,
    call,
    call_for_page,
    clock,
    cold_start,
    emitted,
    rankings,
    recommendations,
    related,
    reply,
)

__all__ = ["app", "aws", "clock", "cold_start"]  # fixtures


RULES = {"schemaVersion": "1.0", "deny": ["9"], "boosts": {"8": 3}, "categoryCaps": {"Drama": 1}}


def test_the_rules_and_the_wished_categories_go_to_the_endpoint(app: Any, aws: Any) -> None:
    aws.rules = lambda request: reply(200, RULES)
    call(app, recommendations(categories="Drama, War,Drama"))
    call(app, related("7"))
    call(app, rankings({"userId": "42", "inputList": ["9"]}))
    filters = {"deny": ["9"], "boosts": {"8": 3.0}, "categoryCaps": {"Drama": 1}}
    assert aws.invocations == [
        {"userId": "42", "numResults": 10, "excludeSeen": True, "categories": ["Drama", "War"], **filters},
        {"itemId": "7", "numResults": 10, **filters},
        {"userId": "42", "candidates": ["9"], "excludeSeen": False},
    ]
    assert aws.rule_reads == 1


def test_the_rules_hold_on_the_popularity_list_too(app: Any, aws: Any) -> None:
    aws.rules = lambda request: reply(200, RULES)
    aws.endpoint = DOWN
    aws.popular = lambda request: reply(
        200,
        {
            **POPULAR,
            "itemList": [
                {"itemId": "9", "score": 30.0, "categories": ["War"]},
                {"itemId": "7", "score": 20.0, "categories": ["Drama"]},
                {"itemId": "8", "score": 10.0, "categories": ["Drama", "War"]},
                {"itemId": "6", "score": 5.0, "categories": ["War"]},
                {"itemId": "5", "score": 1.0},
            ],
        },
    )

    def ids(event: Any) -> Any:
        return [item["itemId"] for item in call(app, event)[1]["itemList"]]

    assert ids(recommendations()) == ["8", "6", "5"]  # 8 is boosted to 30, and takes the one place of Drama
    assert ids(recommendations(categories="War")) == ["8", "6"]
    assert ids(recommendations(numResults="1")) == ["8"]
    assert ids(related("8")) == ["7", "6", "5"]


@pytest.mark.parametrize("broken", [lambda request: reply(200, b"{"), lambda request: reply(200, {"deny": []}), DOWN])
def test_rules_that_cannot_be_read_leave_those_that_were(
    app: Any, aws: Any, clock: Any, capsys: pytest.CaptureFixture[str], broken: Any
) -> None:
    aws.rules = lambda request: reply(200, RULES)
    call(app, recommendations())
    aws.rules = broken
    clock.now += 61
    assert call(app, recommendations())[0] == 200
    assert aws.invocations[-1]["deny"] == ["9"]
    assert ("RulesUnreadable", 1.0, {}) in emitted(capsys)
    aws.rules = lambda request: reply(200, {**RULES, "deny": []})
    clock.now += 5
    call(app, recommendations())
    assert "deny" not in aws.invocations[-1]


def test_no_rules_are_read_once_a_minute_and_no_problem(
    app: Any, aws: Any, clock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        call(app, recommendations())
    assert aws.rule_reads == 1
    assert "cannot be read" not in capsys.readouterr().out
    clock.now += 60
    call(app, recommendations())
    assert aws.rule_reads == 2


def test_related_items_come_from_the_endpoint_or_are_popular(app: Any, aws: Any) -> None:
    aws.endpoint = lambda request: reply(
        200,
        {
            "itemId": "7",
            "itemList": [{"itemId": "8", "score": 0.5}],
            "source": "related",
            "modelVersion": "run-2",
            "unknownItems": 0,
        },
    )
    assert call_for_page(app, related("7", numResults="1")) == (
        200,
        {
            "recommendationId": answer_id("run-2", "related"),
            "itemList": [{"itemId": "8", "score": 0.5}],
            "model": {"version": "run-2"},
            "source": "related",
        },
    )
    aws.endpoint = DOWN
    status, body = call(app, related("7"))
    assert (status, body["source"]) == (200, "popular")
    assert [item["itemId"] for item in body["itemList"]] == ["9", "8"]
