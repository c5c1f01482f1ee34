"""Reading the endpoint's answer and the popularity list, and the fallback from one to the other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recommend.circuit import Circuit
from recommend.garbled import GarbledAnswer
from recommend.list_filter import ListFilter, rules_from_json
from recommend.ranking import Ranking
from recommend.stored_lists import Popularity
from shared.rules import Rules

ANSWER = {
    "userId": "42",
    "itemList": [{"itemId": "1", "score": 0.93}, {"itemId": "2", "score": 0}],
    "source": "personalized",
    "modelVersion": "r1",
    "unknownItems": 1,
}
ASKED = {"userId": "42", "numResults": 3, "excludeSeen": True}
POPULAR = {
    "schemaVersion": "1.0",
    "runId": "r1",
    "datasetVersion": "v1",
    "itemList": [{"itemId": "9", "score": 30.0}, {"itemId": "7", "score": 20.0}, {"itemId": "8", "score": 20.0}],
}


def encoded(document: Any, **changes: Any) -> Any:
    return json.dumps({**document, **changes}).encode()


def test_reads_the_answer_of_the_endpoint() -> None:
    ranking = Ranking.from_endpoint(encoded(ANSWER), ASKED)
    assert ranking == Ranking((("1", 0.93), ("2", 0.0)), "personalized", "r1", 1, exclude_seen="any")
    assert ranking.to_recommendations("id") == {
        "recommendationId": "id",
        "itemList": [{"itemId": "1", "score": 0.93}, {"itemId": "2", "score": 0.0}],
        "model": {"version": "r1"},
        "source": "personalized",
        "excludeSeen": "any",
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
        (b"", "it is not JSON: Expecting value at line 1 column 1"),
        (b"\xff\xfe", "it is not UTF-8: byte 0 cannot be decoded"),
        (b"<html>", "it is not JSON: Expecting value at line 1 column 1"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b"[]", "it must be a JSON object, not a list"),
        (b'{"source": "personalized", "source": "popular"}', "it has a key twice"),
        (encoded(ANSWER, itemList=None), "itemList must be a list, not null"),
        (encoded(ANSWER, itemList={"1": 0.9}), "itemList must be a list, not an object"),
        (encoded(ANSWER, itemList=["1"]), "itemList[0].itemId must be a string, not null"),
        (encoded(ANSWER, itemList=[{"itemId": 1, "score": 1}]), "itemList[0].itemId must be a string, not a number"),
        (encoded(ANSWER, itemList=[{"itemId": "1"}]), "itemList[0].score must be a finite number, not null"),
        (encoded(ANSWER, source="random"), "source must be personalized or popular"),
        (encoded(ANSWER, source="related"), "source must be personalized or popular"),
        (encoded(ANSWER, source=["personalized"]), "source must be personalized or popular"),
        (encoded(ANSWER, modelVersion=""), "modelVersion must be a string that is not empty"),
        (encoded(ANSWER, modelVersion={"a": 1}), "modelVersion must be a string that is not empty"),
        (encoded(ANSWER, unknownItems=-1), "unknownItems must be an integer of at least 0"),
        (encoded(ANSWER, unknownItems=True), "unknownItems must be an integer of at least 0"),
    ],
    ids=lambda value: str(value)[-60:],
)
def test_refuses_a_garbled_answer(content: Any, reason: Any) -> None:
    with pytest.raises(GarbledAnswer) as caught:
        Ranking.from_endpoint(content, ASKED)
    assert (str(caught.value), caught.value.reason) == (reason, "garbled")


def answered(*pairs: tuple[str, Any], **changes: Any) -> Any:
    return encoded(ANSWER, itemList=[{"itemId": item, "score": score} for item, score in pairs], **changes)


RELATED = {"itemId": "7", "numResults": 3, "deny": ["7", "9"]}
CANDIDATES = {"userId": "42", "candidates": ["1", "2", "3"], "excludeSeen": False}
MANY = [(str(item), 1.0 - item / 1000) for item in range(500)]


@pytest.mark.fault("A01", "A02", "A03", "A04")
@pytest.mark.parametrize(
    ("invocation", "content", "reason", "message"),
    [
        (ASKED, answered(*MANY), "too_long", "500 items, more than 3"),
        (CANDIDATES, answered(*MANY), "too_long", "500 items, more than 3"),
        (ASKED, answered(("1", 0.9), ("1", 0.8)), "duplicates", "item 2 is in the list twice"),
        (ASKED, answered(("1", 0.8), ("2", 0.9)), "unsorted",
         "the score of item 2 is above that of the item before it"),
        (ASKED, answered(("1", 0.8), ("2", float("nan"))), "not_finite",
         "itemList[1].score must be a finite number, not nan"),
        (ASKED, answered(("1", float("inf"))), "not_finite", "itemList[0].score must be a finite number, not inf"),
        (ASKED, answered(("1", 10**400)), "not_finite",
         "itemList[0].score must be a finite number, not a number beyond the range of a double"),
        (ASKED, answered(), "empty", "itemList is empty, and nothing narrows the request"),
        (ASKED, answered(("1", 0.9), userId="43"), "not_asked_for", "userId is not the one that was asked for"),
        (ASKED | {"deny": ["5", "1"]}, answered(("1", 0.9)), "not_asked_for",
         "itemList has an item that the rules deny"),
        (CANDIDATES, answered(("1", 0.9), ("4", 0.8), unknownItems=1), "not_asked_for",
         "itemList has an item that is no candidate"),
        (CANDIDATES, answered(unknownItems=0), "incomplete", "0 items and 0 unknown ones of 3"),
        (CANDIDATES, answered(("1", 0.9), unknownItems=1), "incomplete", "1 items and 1 unknown ones of 3"),
        (RELATED, answered(("8", 0.9), ("7", 0.8), itemId="7", source="related"), "not_asked_for",
         "itemList has an item that the rules deny"),
        ({**RELATED, "deny": []}, answered(("8", 0.9), ("7", 0.8), itemId="7", source="related"), "not_asked_for",
         "itemList has the item that others are related to"),
        (RELATED, answered(("8", 0.9), itemId="8", source="related"), "not_asked_for",
         "itemId is not the one that was asked for"),
        (RELATED, answered(("8", 0.9), itemId="7"), "garbled", "source must be related or popular"),
    ],
)  # fmt: skip
def test_an_answer_that_was_not_asked_for_is_refused(
    invocation: Any, content: bytes, reason: str, message: str
) -> None:
    with pytest.raises(GarbledAnswer) as caught:
        Ranking.from_endpoint(content, invocation)
    assert (caught.value.reason, str(caught.value)) == (reason, message)


@pytest.mark.parametrize(
    ("invocation", "content"),
    [
        (ASKED | {"categories": ["Drama"]}, answered()),
        (ASKED | {"deny": ["1"]}, answered()),
        (ASKED | {"categoryCaps": {"Drama": 0}}, answered()),
        (CANDIDATES, answered(unknownItems=3)),
        (CANDIDATES, answered(("3", 2), ("1", 2), unknownItems=1, source="popular")),
        (RELATED, answered(("8", 0.2), ("6", -0.3), itemId="7", source="related")),
        (ASKED, answered(("1", 3), ("2", 3.0), ("3", 2))),
    ],
)
def test_an_answer_may_be_short_where_the_request_is_narrow(invocation: Any, content: bytes) -> None:
    ranking = Ranking.from_endpoint(content, invocation)
    assert len(ranking.items) == len(json.loads(content)["itemList"])


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
    assert ids(categories=("B",), without=frozenset(["3"])) == ["2"]
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
        (encoded(POPULAR, itemList=[]), "itemList must be a list that is not empty"),
        (encoded(POPULAR, itemList={"9": 1}), "itemList must be a list that is not empty"),
        (encoded(POPULAR, itemList=["9"]), "itemList[0] must be an object with itemId and score, not a string"),
        (
            encoded(POPULAR, itemList=[{"itemId": "9", "score": 1, "categories": {"A": 1}}]),
            "itemList[0].categories must be a list of strings",
        ),
        (
            encoded(POPULAR, itemList=[{"itemId": "9", "score": 10**400}]),
            "it: itemList[0].score must be a number within the range of a double, not a larger one",
        ),
        (b'{"runId": "1", "runId": "2"}', "it has the key 'runId' twice"),
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


def test_a_broken_entry_of_the_popularity_list_is_left_out_and_named() -> None:
    good = POPULAR["itemList"]
    for broken, fault in (
        ({"itemId": "6", "score": 5, "categories": {"Drama": 1}}, "itemList[1].categories must be a list of strings"),
        ({"itemId": "6", "score": 5, "categories": [["Drama"]]}, "itemList[1].categories must be a list of strings"),
        ({"itemId": 6, "score": 5}, "itemList[1].itemId must be a string, not a number"),
        ({"itemId": ["6"], "score": 5}, "itemList[1].itemId must be a string, not a list"),
        ({"itemId": "6"}, "itemList[1].score must be a finite number, not null"),
        ({"itemId": "9", "score": 5}, "item 2 is in the list twice"),
        ("6", "itemList[1] must be an object with itemId and score, not a string"),
    ):
        popularity = Popularity.from_json(encoded(POPULAR, itemList=[good[0], broken, *good[1:]]))
        assert (popularity.items, str(popularity.fault)) == (Popularity.from_json(encoded(POPULAR)).items, fault)


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
