"""Reading the endpoint's answer and the popularity list, and the fallback from one to the other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recommend.circuit import Circuit
from recommend.ranking import GarbledAnswer, ListFilter, Popularity, Ranking, rules_from_json
from shared.rules import Rules

ANSWER = {
    "userId": "42",
    "itemList": [{"itemId": "1", "score": 0.93}, {"itemId": "2", "score": 0}],
    "source": "personalized",
    "modelVersion": "r1",
    "unknownItems": 1,
}
POPULAR = {
    "schemaVersion": "1.0",
    "runId": "r1",
    "datasetVersion": "v1",
    "itemList": [{"itemId": "9", "score": 30.0}, {"itemId": "7", "score": 20.0}, {"itemId": "8", "score": 20.0}],
}


def encoded(document: Any, **changes: Any) -> Any:
    return json.dumps({**document, **changes}).encode()


def test_reads_the_answer_of_the_endpoint() -> None:
    ranking = Ranking.from_endpoint(encoded(ANSWER))
    assert ranking == Ranking((("1", 0.93), ("2", 0.0)), "personalized", "r1", 1)
    assert ranking.to_recommendations("id") == {
        "recommendationId": "id",
        "itemList": [{"itemId": "1", "score": 0.93}, {"itemId": "2", "score": 0.0}],
        "model": {"version": "r1"},
        "source": "personalized",
    }
    assert ranking.to_personalized_ranking("id") == {
        "recommendationId": "id",
        "personalizedRanking": [{"itemId": "1", "score": 0.93}, {"itemId": "2", "score": 0.0}],
        "model": {"version": "r1"},
        "source": "personalized",
        "unknownItems": 1,
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"<html>", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "it is not a JSON object"),
        (encoded(ANSWER, itemList=None), "itemList must be a list"),
        (encoded(ANSWER, itemList=["1"]), "itemList[0].itemId must be a string"),
        (encoded(ANSWER, itemList=[{"itemId": 1, "score": 1}]), "itemList[0].itemId must be a string"),
        (encoded(ANSWER, itemList=[{"itemId": "1"}]), "itemList[0].score must be a finite number"),
        (encoded(ANSWER, itemList=[{"itemId": "1", "score": "1"}]), "itemList[0].score must be a finite number"),
        (encoded(ANSWER, itemList=[{"itemId": "1", "score": True}]), "itemList[0].score must be a finite number"),
        (
            encoded(ANSWER, itemList=[{"itemId": "1", "score": float("nan")}]),
            "itemList[0].score must be a finite number",
        ),
        (encoded(ANSWER, source="random"), "source must be personalized, related or popular"),
        (encoded(ANSWER, modelVersion=""), "modelVersion must be a string that is not empty"),
        (encoded(ANSWER, unknownItems=-1), "unknownItems must be an integer of at least 0"),
        (encoded(ANSWER, unknownItems=True), "unknownItems must be an integer of at least 0"),
    ],
    ids=lambda value: str(value)[-60:],
)
def test_refuses_a_garbled_answer(content: Any, reason: Any) -> None:
    with pytest.raises(GarbledAnswer) as caught:
        Ranking.from_endpoint(content)
    assert str(caught.value) == reason


def test_the_popularity_list_gives_its_first_items() -> None:
    popularity = Popularity.from_json(encoded(POPULAR))
    assert popularity.top(2, ListFilter()) == Ranking((("9", 30.0), ("7", 20.0)), "popular", "r1")
    assert popularity.top(100, ListFilter()).items == (("9", 30.0), ("7", 20.0), ("8", 20.0))


def test_boosts_are_weighed_and_full_categories_passed_over() -> None:
    items = (("1", 9.0), ("2", 8.0), ("3", 7.0), ("4", 6.0), ("5", 1.0))
    categories = {"1": ("A",), "2": ("A", "B"), "3": ("B",), "4": ("A",)}

    def ids(number: int = 9, **conditions: Any) -> Any:
        return [item for item, _ in ListFilter(**conditions).best(items, categories, number)]

    assert ids() == ["1", "2", "3", "4", "5"]
    assert ids(2) == ["1", "2"]
    assert ids(rules=Rules(deny=("1", "3"))) == ["2", "4", "5"]
    assert ids(rules=Rules(boosts={"5": 8.5, "1": 0.5})) == ["5", "2", "3", "4", "1"]
    assert ids(rules=Rules(category_caps={"A": 1})) == ["1", "3", "5"]
    assert ids(rules=Rules(category_caps={"A": 2, "B": 1})) == ["1", "2", "5"]
    assert ids(rules=Rules(category_caps={"A": 0})) == ["3", "5"]
    assert ids(categories=("B",), without=("3",)) == ["2"]
    assert ListFilter(rules=Rules(boosts={"5": 2.0})).best(items[4:], {}, 1) == (("5", 2.0),)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[]", "it must be a JSON object, not a list"),
        (b'{"schemaVersion": "2.0"}', "schemaVersion must be '1.0', not '2.0'"),
    ],
)
def test_refuses_garbled_rules(content: Any, reason: Any) -> None:
    with pytest.raises(GarbledAnswer) as caught:
        rules_from_json(content)
    assert str(caught.value) == reason


def test_the_popularity_list_ranks_given_items_and_keeps_the_others_in_their_order() -> None:
    ranking = Popularity.from_json(encoded(POPULAR)).rank(["rare", "8", "9", "7", "other"])
    assert ranking.items == (("9", 30.0), ("8", 20.0), ("7", 20.0), ("rare", 0.0), ("other", 0.0))
    assert (ranking.source, ranking.model_version, ranking.unknown_items) == ("popular", "r1", 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "it is not JSON: Expecting property name enclosed in double quotes at line 1 column 2"),
        (encoded(POPULAR, schemaVersion="2.0"), "schemaVersion must be 1.0"),
        (encoded(POPULAR, itemList=[]), "itemList is empty"),
        (
            encoded(POPULAR, itemList=[{"itemId": "9", "score": 1, "categories": "A"}]),
            "itemList[0].categories must be a list of strings",
        ),
        (encoded(POPULAR, runId=None), "runId must be a string that is not empty"),
    ],
)
def test_refuses_a_garbled_popularity_list(content: Any, reason: Any) -> None:
    with pytest.raises(GarbledAnswer) as caught:
        Popularity.from_json(content)
    assert str(caught.value) == reason


def test_the_circuit_opens_after_five_failures_in_a_row_and_tries_again_after_five_seconds() -> None:
    now = 100.0
    circuit = Circuit(lambda: now)
    for _ in range(4):
        circuit.failed()
    circuit.succeeded()
    for _ in range(4):
        circuit.failed()
        assert not circuit.is_open
    circuit.failed()
    assert circuit.is_open
    now = 104.9
    assert circuit.is_open
    now = 105.0
    assert not circuit.is_open  # one try
    circuit.failed()
    assert circuit.is_open  # it failed: five seconds more
    now = 110.0
    assert not circuit.is_open
    circuit.succeeded()
    circuit.failed()
    assert not circuit.is_open
