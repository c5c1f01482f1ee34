"""A person whom the shop has forgotten is answered as a stranger, also by an environment that is warm."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from contracts.forgotten import digest
from tests.unit.functions.recommending import (
    DOWN,
    app,
    aws,
    call,
    clock,
    cold_start,
    emitted,
    personalized,
    rankings,
    recommendations,
    reply,
)

__all__ = ["app", "aws", "clock", "cold_start"]  # fixtures

KEY = "5a" * 32
JANE = digest(KEY, "jane")
TOMBSTONES = {"schemaVersion": "1.0", "key": KEY, "people": [JANE]}
PART = {
    "schemaVersion": "1.0",
    "modelVersion": "run-2",
    "users": {"jane": [["3", 0.5], ["2", 0.4]]},
    "itemCategories": {},
}


def known(request: Any) -> Any:
    """An endpoint that knows nobody but jane and joe."""
    if json.loads(request.body).get("userId") in ("jane", "joe"):
        return personalized(request)
    answer = json.loads(personalized(request).content)
    return reply(200, {**answer, "source": "popular"})


@pytest.fixture
def forgotten(aws: Any) -> Any:
    aws.endpoint = known
    aws.forgotten = lambda request: reply(200, TOMBSTONES)
    return aws


@pytest.mark.parametrize("event", [recommendations("jane"), rankings({"userId": "jane", "inputList": ["9", "1"]})])
def test_a_forgotten_person_gets_what_a_stranger_gets(app: Any, forgotten: Any, event: Any) -> None:
    status, body = call(app, event)
    assert (status, body["source"]) == (200, "popular")
    call(app, event)
    assert forgotten.invocations[-1]["userId"] == JANE  # after the first look the id is not even sent
    assert len(forgotten.invocations) == 3


def test_others_are_answered_as_before_with_one_request(app: Any, forgotten: Any) -> None:
    assert call(app, recommendations("joe"))[1]["source"] == "personalized"
    assert [sent["userId"] for sent in forgotten.invocations] == ["joe"]


def test_a_warm_environment_knows_within_ten_seconds(app: Any, aws: Any, clock: Any) -> None:
    aws.endpoint = known
    assert call(app, recommendations("jane"))[1]["source"] == "personalized"
    aws.forgotten = lambda request: reply(200, TOMBSTONES)
    clock.now += 10
    assert call(app, recommendations("jane"))[1]["source"] == "popular"


def test_the_list_of_a_batch_is_not_shown_to_a_forgotten_person(app: Any, aws: Any, clock: Any) -> None:
    aws.endpoint = DOWN
    pointer = {"schemaVersion": "1.0", "runId": "run-2", "prefix": "batch/b/", "shards": 1, "numResults": 2}
    aws.lists = {"serving/batch.json": pointer, "batch/b/0000.json.out": PART}
    assert call(app, recommendations("jane", numResults="2"))[1]["source"] == "batch"
    aws.forgotten = lambda request: reply(200, TOMBSTONES)
    clock.now += 10
    assert call(app, recommendations("jane", numResults="2"))[1]["source"] == "popular"


def test_a_request_of_a_busy_environment_does_not_wait_for_the_tombstones(app: Any, aws: Any, clock: Any) -> None:
    call(app, recommendations("joe"))
    arrived = threading.Event()

    def slow(request: Any) -> Any:
        assert arrived.wait(5)
        return reply(200, TOMBSTONES)

    aws.endpoint, aws.forgotten = known, slow
    clock.now += 6
    assert call(app, recommendations("jane"))[1]["source"] == "personalized"  # the read is under way
    arrived.set()
    app.people._reading.result(5)
    assert call(app, recommendations("jane"))[1]["source"] == "popular"


def test_a_read_that_takes_too_long_costs_no_more_than_the_budget(app: Any, aws: Any) -> None:
    arrived = threading.Event()

    def stuck(request: Any) -> Any:
        assert arrived.wait(5)
        return reply(200, TOMBSTONES)

    aws.forgotten = stuck
    assert call(app, recommendations("joe"))[0] == 200
    arrived.set()


@pytest.mark.parametrize(
    "broken",
    [
        lambda request: reply(200, b"{"),
        lambda request: reply(200, {"people": []}),
        lambda request: reply(403, b""),
        DOWN,
    ],
)
def test_tombstones_that_cannot_be_read_leave_those_that_were(
    app: Any, forgotten: Any, clock: Any, capsys: pytest.CaptureFixture[str], broken: Any
) -> None:
    call(app, recommendations("jane"))
    forgotten.forgotten = broken
    clock.now += 61
    assert call(app, recommendations("jane"))[1]["source"] == "popular"
    printed = capsys.readouterr().out
    assert "ForgottenUnreadable" in printed
    assert "jane" not in printed
    assert emitted(capsys) == []
