"""The smoke test says what did not hold. The whole of it, on a deployed stack, is in tests/e2e/test_smoke.py."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from functools import cached_property
from typing import Any

import pytest

from control import api
from control.api import Answer, Request
from control.connection import Connection
from delivery.chain import smoke
from delivery.chain.smoke import Smoke
from delivery.chain.stack import ChainError

Answers = dict[str, Any] | Callable[[str], dict[str, Any]]


class Stack(Connection):
    """A stack whose answers are prepared."""

    @cached_property
    def outputs(self) -> dict[str, str]:
        return {"EndpointName": "ncf-recommender", "ApiId": "a", "ApiUrl": "https://a.example"}


def answering(monkeypatch: pytest.MonkeyPatch, answers: Answers, status: int = 200) -> list[str]:
    """Let every call of the API be answered; returns the paths as they come."""
    paths: list[str] = []

    def call(connection: Connection, request: Request) -> Answer:
        paths.append(request.path)
        return Answer(status, answers(request.path) if callable(answers) else answers)

    monkeypatch.setattr(api, "call", call)
    return paths


def own_items(path: str) -> dict[str, Any]:
    circle = int(path.split("/")[2].removeprefix("u")) % smoke.CIRCLES
    return {"source": "personalized", "itemList": [{"itemId": f"i{circle * smoke.ITEMS + n}"} for n in range(5)]}


DEPLOYED, REJECTED = {"status": "DEPLOYED"}, {"status": "REJECTED", "reasons": ["0% of the users are in the data"]}


def test_items_of_the_customers_own_circle_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    paths = answering(monkeypatch, own_items)
    Smoke(Stack("ncf-staging"), said.append).ask(DEPLOYED)
    assert len(set(paths)) == smoke.CIRCLES * smoke.PEOPLE
    assert said == ["asked for 20 customers: 100 of 100 items are of the customer's own circle"]


@pytest.mark.parametrize(
    ("body", "status", "run", "words"),
    [
        ({"source": "personalized", "itemList": [{"itemId": "i0"}]}, 200, DEPLOYED, "5 of 20 recommended items"),
        ({"source": "personalized", "itemList": []}, 200, DEPLOYED, "0 of 0 recommended items"),
        ({"source": "popular", "itemList": []}, 200, DEPLOYED, "see the log of the function recommend"),
        ({"source": "popular", "itemList": []}, 200, REJECTED, "the gate rejected: 0% of the users are in the data"),
        ({"error": {"message": "no model"}}, 503, DEPLOYED, "the API answered 503: no model"),
    ],
)
def test_what_did_not_hold_is_said(
    monkeypatch: pytest.MonkeyPatch, body: dict[str, Any], status: int, run: dict[str, Any], words: str
) -> None:
    answering(monkeypatch, body, status)
    with pytest.raises(ChainError, match=words):
        Smoke(Stack("ncf-staging"), print).ask(run)


def test_a_stack_with_customers_is_asked_and_gets_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = answering(monkeypatch, {"status": "ok"})
    Smoke(Stack("ncf-prod"), print).answers()
    assert paths == ["/health"]


def test_the_shop_is_the_same_every_day_and_its_customers_buy_in_their_circle() -> None:
    content = smoke.shop()
    assert content == smoke.shop()
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    own = sum(int(row["item_id"][1:]) // smoke.ITEMS == int(row["user_id"][1:]) % smoke.CIRCLES for row in rows)
    assert len(rows) == smoke.CUSTOMERS * smoke.EACH
    assert 0.9 < own / len(rows) < 1
