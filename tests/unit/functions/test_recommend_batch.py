"""The batch fallback: the user's list from a batch replaces the endpoint's answer."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.unit.functions.recommending import CONTEXT, DOWN, EVENTS, app, aws, clock, cold_start, recommendations, reply

__all__ = ["app", "aws", "clock", "cold_start"]  # fixtures


POINTER = {"schemaVersion": "1.0", "runId": "run-2", "prefix": "batch/job/lists/", "shards": 1, "numResults": 3}
PART: dict[str, Any] = {
    "schemaVersion": "1.0",
    "modelVersion": "run-2",
    "shard": 0,
    "shards": 1,
    "users": {"42": [["5", 0.9], ["6", 0.8], ["4", 0.1]], "43": [["5", 0.9]]},
    "itemCategories": {"5": ["Drama"], "4": ["Drama"]},
}


@pytest.fixture
def lists(aws: Any) -> Any:
    """An endpoint that is down, and a batch that knows the users 42 and 43."""
    aws.endpoint = DOWN
    aws.lists = {"serving/batch.json": POINTER, "batch/job/lists/0000.json.out": PART}
    return aws.lists


def listed(answer: Any) -> Any:
    body = json.loads(answer["body"])
    return body["source"], [item["itemId"] for item in body["itemList"]], body["model"]["version"]


def test_a_known_users_own_list_stands_in_for_the_endpoint(app: Any, aws: Any, lists: Any) -> None:
    answer = app.handler(recommendations(numResults="2"), CONTEXT)
    assert answer["statusCode"] == 200
    assert listed(answer) == ("batch", ["5", "6"], "run-2")
    assert json.loads(answer["body"])["itemList"][0] == {"itemId": "5", "score": 0.9}
    assert json.loads(answer["body"])["excludeSeen"] == "any"
    assert aws.reads == 0, "the popularity list was not needed"


def test_a_stored_list_has_nothing_that_was_bought_and_says_that_it_leaves_out_more(app: Any, lists: Any) -> None:
    answer = app.handler(recommendations(excludeSeen="bought", numResults="2"), CONTEXT)
    assert listed(answer)[:2] == ("batch", ["5", "6"])
    assert json.loads(answer["body"])["excludeSeen"] == "any"
    popular = app.handler(recommendations(excludeSeen="none", numResults="2"), CONTEXT)
    assert listed(popular)[0] == "popular" and json.loads(popular["body"])["excludeSeen"] == "none"


def test_parts_are_read_once_and_the_pointer_once_a_minute(app: Any, aws: Any, lists: Any, clock: Any) -> None:
    for _ in range(3):
        app.handler(recommendations(numResults="2"), CONTEXT)
    assert aws.list_reads == ["serving/batch.json", "batch/job/lists/0000.json.out"]
    lists["serving/batch.json"] = {**POINTER, "runId": "run-3", "prefix": "batch/next/lists/"}
    lists["batch/next/lists/0000.json.out"] = {**PART, "modelVersion": "run-3"}
    clock.now += 61
    assert listed(app.handler(recommendations(numResults="2"), CONTEXT))[2] == "run-3"


def test_the_parts_in_memory_are_bounded_in_bytes_not_in_number(aws: Any) -> None:
    from recommend.batch import KEPT_BYTES, Batch

    text = json.dumps(PART | {"padding": "x" * (KEPT_BYTES // 5)}).encode()
    batch = Batch(aws)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("recommend.batch.read", lambda bucket, key: text)
        for number in range(40):
            batch._part(f"{number:04d}.json.out")
            assert sum(size for _, size in batch._parts.values()) <= KEPT_BYTES
    assert list(batch._parts) == [f"{number:04d}.json.out" for number in range(36, 40)]


@pytest.mark.parametrize(
    "query",
    [{"user": "44"}, {"numResults": "4"}, {"excludeSeen": "false", "numResults": "2"}],
    ids=["nobody the batch knew", "more than the batch wrote", "with what is seen"],
)
def test_who_is_not_served_by_a_batch_gets_popular_items(app: Any, lists: Any, query: Any) -> None:
    assert listed(app.handler(recommendations(**query), CONTEXT))[0] == "popular"


def test_a_list_that_was_not_cut_is_the_answer_however_short(app: Any, lists: Any) -> None:
    assert listed(app.handler(recommendations("43", numResults="4"), CONTEXT))[:2] == ("batch", ["5"])


def test_rules_and_categories_hold_for_a_batch_too(app: Any, aws: Any, lists: Any) -> None:
    aws.rules = lambda request: reply(200, {"schemaVersion": "1.0", "deny": ["5"], "boosts": {"4": 20}})
    assert listed(app.handler(recommendations(numResults="2"), CONTEXT))[1] == ["4", "6"]
    assert listed(app.handler(recommendations(numResults="1", categories="Drama"), CONTEXT))[1] == ["4"]


PART_KEY = "batch/job/lists/0000.json.out"


def of_42(listed: Any) -> dict[str, Any]:
    return {PART_KEY: {**PART, "users": {**PART["users"], "42": listed}}}


@pytest.mark.fault("A05")
@pytest.mark.parametrize(
    ("broken", "reason", "words"),
    [
        ({"serving/batch.json": b"{"}, "garbled", "serving/batch.json is broken: it is not JSON"),
        ({"serving/batch.json": {**POINTER, "schemaVersion": "2.0"}}, "garbled", "schemaVersion must be 1.0"),
        ({"serving/batch.json": {**POINTER, "prefix": "\ud800"}}, "garbled", "prefix must be valid Unicode"),
        ({"serving/batch.json": {**POINTER, "shards": 10**400}}, "garbled", "shards must be a number within"),
        ({"serving/batch.json": {**POINTER, "numResults": "3"}}, "garbled", "numResults must be an integer"),
        ({PART_KEY: b"[]"}, "garbled", "it must be a JSON object, not a list"),
        ({PART_KEY: b'{"jane.doe@example.org": 1, "jane.doe@example.org": 2}'}, "garbled", "it has a key twice"),
        ({PART_KEY: {**PART, "itemCategories": {"5": {"Drama": 1}}}}, "garbled", "itemCategories.5 must be a list"),
        ({PART_KEY: {**PART, "users": [["42"]]}}, "garbled", "users and itemCategories must be objects"),
        ({PART_KEY: {**PART, "itemCategories": ["5"]}}, "garbled", "users and itemCategories must be objects"),
        ({PART_KEY: {**PART, "modelVersion": 2}}, "garbled", "modelVersion must be a string that is not empty"),
        (of_42([["5"]]), "garbled", "the list[0][1] must be a finite number, not null"),
        (of_42("list"), "garbled", "the list must be a list, not a string"),
        (of_42({"5": 0.9}), "garbled", "the list must be a list, not an object"),
        (of_42([[5, 0.9]]), "garbled", "the list[0][0] must be a string, not a number"),
        (of_42([[{"id": "5"}, 0.9]]), "garbled", "the list[0][0] must be a string, not an object"),
        (of_42([["5", "0.9"]]), "garbled", "the list[0][1] must be a finite number, not a string"),
        (of_42([["5", float("nan")]]), "not_finite", "the list[0][1] must be a finite number, not nan"),
        (of_42([["5", 10**400]]), "not_finite", "the list[0][1] must be a finite number, not a number beyond"),
        (of_42([["5", 0.9], ["5", 0.8]]), "duplicates", "item 2 is in the list twice"),
        (of_42([["5", 0.8], ["6", 0.9]]), "unsorted", "the score of item 2 is above"),
        (of_42([[str(item), 0.5] for item in range(4)]), "too_long", "4 items, more than 3"),
    ],
)
def test_a_broken_batch_is_passed_over_and_named_without_the_user(
    app: Any, lists: Any, capsys: pytest.CaptureFixture[str], broken: Any, reason: str, words: str
) -> None:
    lists |= broken
    assert listed(app.handler(recommendations(numResults="2"), CONTEXT))[0] == "popular"
    output = capsys.readouterr().out
    lines = [json.loads(line) for line in output.splitlines()]
    (metric,) = [line for line in lines if "ListRefused" in line]
    assert (metric["list"], metric["reason"]) == ("batch", reason)
    (detail,) = [line["detail"] for line in lines if line.get("list") == "batch" and "detail" in line]
    assert words in detail and "jane" not in output and "'42'" not in output


@pytest.mark.parametrize(
    "absent",
    [
        {"serving/batch.json": {**POINTER, "shards": 0}},
        {PART_KEY: None},
        {PART_KEY: lambda request: reply(500, b"")},
    ],
)
def test_a_batch_that_cannot_be_read_is_passed_over(app: Any, lists: Any, absent: Any) -> None:
    lists |= absent
    assert listed(app.handler(recommendations(numResults="2"), CONTEXT))[0] == "popular"


def test_a_batch_that_is_slow_to_read_is_not_waited_for_beyond_the_budget(
    app: Any, lists: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(request: pytest.FixtureRequest) -> Any:
        time.sleep(0.6)
        return reply(200, PART)

    lists["batch/job/lists/0000.json.out"] = slowly
    started = time.monotonic()
    assert listed(app.handler(recommendations(numResults="2"), CONTEXT))[0] == "popular"
    assert time.monotonic() - started < 0.55
    time.sleep(0.5)
    # What came too late for that request serves the next one.
    assert listed(app.handler(recommendations(numResults="2"), CONTEXT))[0] == "batch"


def test_related_items_and_rankings_have_no_batch(app: Any, aws: Any, lists: Any) -> None:
    event = json.loads((EVENTS / "recommend_related.json").read_text())
    assert json.loads(app.handler(event, CONTEXT)["body"])["source"] == "popular"
    assert aws.list_reads == []
