"""The function and the model server: the server accepts every request of the function, and both refuse the same."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from recommend.person import Person
from recommend.ranking import Ranking
from recommend.request import RankingRequest, RecommendationsRequest
from serving.invocation import InvalidInvocation, Invocation, from_body
from shared.refusal import InvalidRequest


def test_the_server_takes_what_the_function_sends() -> None:
    def taken(request: Any) -> Any:
        return from_body(json.dumps(request).encode())

    assert taken(RecommendationsRequest(Person("ü\n"), 100, "none").to_invocation("ü\n")) == Invocation(
        "ü\n", 100, "none", None
    )
    assert taken(RecommendationsRequest(Person("4" * 256)).to_invocation("4" * 256)) == Invocation(
        "4" * 256, 10, "any", None
    )
    assert taken(RecommendationsRequest(Person("4"), 10, "bought").to_invocation("4")) == Invocation(
        "4", 10, "bought", None
    )
    items = tuple(map(str, range(1000)))
    assert taken(RankingRequest("42", items).to_invocation()) == Invocation("42", None, "none", items)


def test_the_function_reads_what_the_server_writes() -> None:
    answer = {
        "userId": "42",
        "itemList": [{"itemId": "ü", "score": 0.12345678901234567}, {"itemId": "2", "score": 5e-324}],
        "source": "personalized",
        "modelVersion": "r1",
        "unknownItems": 3,
    }
    asked = {"userId": "42", "candidates": ["ü", "2", "3", "4", "5"], "excludeSeen": False}
    assert Ranking.from_endpoint(orjson.dumps(answer), asked) == Ranking(
        (("ü", 0.12345678901234567), ("2", 5e-324)), "personalized", "r1", 3
    )


@pytest.mark.parametrize(
    "body",
    [
        '{"userId": "42", "LIST": ["1", "1"]}',
        '{"userId": "42", "LIST": [""]}',
        '{"userId": "", "LIST": ["1"]}',
        '{"userId": null, "LIST": ["1"]}',
        '{"userId": 1.5, "LIST": ["1"]}',
        '{"LIST": ["1"]}',
        '{"userId": "42", "LIST": []}',
        '{"userId": "42", "LIST": null}',
        '{"userId": "42", "LIST": "1"}',
        '{"userId": "42", "LIST": ["1", null]}',
        '{"userId": "42", "LIST": ["\\ud800"]}',
        '{"userId": "\\ud800", "LIST": ["1"]}',
        '{"userId": "42", "LIST": ["1"], "LIST": ["2"]}',
        '{"userId": "42", "LIST": ["1"],}',
        '{"userId": "42", "LIST": [Infinity]}',
        '{"userId": "42", "LIST": ' + json.dumps(["x"] * 1001) + "}",
        '{"userId": "' + "u" * 257 + '", "LIST": ["1"]}',
        "[" * 5000,
        "1" * 5000,
        "\ufeff{}",
        "",
        " ",
        "null",
        "[]",
        '"x"',
        "{",
        " " * ((1 << 20) + 1),
    ],
    ids=lambda body: body[:40],
)
def test_both_refuse_the_same_in_the_same_words(body: Any) -> None:
    event = {"headers": {"content-type": "application/json"}, "body": body.replace("LIST", "inputList")}
    try:
        RankingRequest.from_event(event)
        by_function = None
    except InvalidRequest as error:
        by_function = (error.status, error.field, error.message)
    try:
        from_body(body.replace("LIST", "candidates").encode())
        by_server = None
    except InvalidInvocation as error:
        by_server = (error.status, error.field, error.message)
    renamed = json.loads(json.dumps(by_function).replace("inputList", "candidates"))
    # The position in the text moves with the length of the name.
    assert [str(part).partition(" at line ")[0] for part in renamed or ()] == [
        str(part).partition(" at line ")[0] for part in by_server or ()
    ]
