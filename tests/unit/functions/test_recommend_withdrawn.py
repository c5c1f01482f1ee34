"""Items that the newest data withdraw, in the answers of a model that does not know it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from contracts.documents import Unfit
from contracts.withdrawn import MOST, Withdrawn, as_json
from tests.unit.functions.recommending import DOWN, app, aws, call, clock, cold_start, recommendations, related, reply
from tests.unit.functions.test_recommend_batch import PART, POINTER
from tests.unit.functions.test_recommend_fields import with_fields

__all__ = ["app", "aws", "clock", "cold_start"]  # fixtures


def withdraw(aws: Any, *items: str) -> None:
    content = as_json("v20261128t151300z-1a2b3c4d", items).encode()
    aws.withdrawn = lambda request: reply(200, content)


def read(app: Any) -> frozenset[str]:
    """Wait for the reading that a request began, as the next request would find it."""
    reading = app.withdrawal._document._reading
    if reading is not None:
        reading.result(timeout=10)
    found: frozenset[str] = app.withdrawal.items()
    return found


def listed(answer: Any) -> tuple[str, list[str]]:
    status, body = answer
    assert status == 200
    return body["source"], [entry["itemId"] for entry in body["itemList"]]


def test_they_are_left_out_on_every_rung(app: Any, aws: Any) -> None:
    withdraw(aws, "9", "5", "0")
    call(app, recommendations())
    assert read(app) == {"9", "5", "0"}
    assert listed(call(app, recommendations(numResults="3"))) == ("personalized", ["8", "7"])
    aws.endpoint = with_fields
    assert listed(call(app, related("7"))) == ("related", ["1", "2", "3"])
    aws.endpoint = DOWN
    aws.lists = {"serving/batch.json": POINTER, "batch/job/lists/0000.json.out": PART}
    assert listed(call(app, recommendations(numResults="2"))) == ("batch", ["6", "4"])
    assert listed(call(app, related("7"))) == ("popular", ["8"])
    assert listed(call(app, recommendations("44"))) == ("popular", ["7", "8"])


def test_a_list_of_which_nothing_is_left_is_replaced_by_the_next_rung(app: Any, aws: Any) -> None:
    withdraw(aws, *map(str, range(1, 9)))
    call(app, recommendations())
    read(app)
    assert listed(call(app, recommendations(numResults="1"))) == ("personalized", ["9"])
    withdraw(aws, "9")
    app.withdrawal._document._document._next_read = 0.0
    call(app, recommendations())
    assert read(app) == {"9"}
    assert listed(call(app, recommendations(numResults="1"))) == ("popular", ["7"])


def test_no_request_waits_for_them_and_the_last_known_ones_count(app: Any, aws: Any, clock: Any) -> None:
    withdraw(aws, "9")
    call(app, recommendations())
    assert read(app) == {"9"}
    clock.now += 61

    def slow(request: Any) -> Any:
        time.sleep(0.3)
        return reply(503, b"")

    aws.withdrawn = slow
    began = time.monotonic()
    assert listed(call(app, recommendations(numResults="2"))) == ("personalized", ["8"])
    assert time.monotonic() - began < 0.3
    assert read(app) == {"9"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schemaVersion": "2.0"}, "schemaVersion must be 1.0"),
        ({"datasetVersion": None}, "datasetVersion must be a string"),
        ({"items": "9"}, "items must be a list of at most 10000 ids"),
        ({"items": [9]}, "items must be a list of at most 10000 ids"),
    ],
)
def test_a_broken_document_withdraws_nothing(app: Any, aws: Any, change: Any, words: str) -> None:
    content = json.dumps({"schemaVersion": "1.0", "datasetVersion": "v", "items": ["9"], **change}).encode()
    with pytest.raises(Unfit, match=words):
        Withdrawn.from_json(content)
    aws.withdrawn = lambda request: reply(200, content)
    call(app, recommendations())
    assert read(app) == frozenset()


def test_the_document_has_a_limit() -> None:
    found = Withdrawn.from_json(as_json("v", [str(item) for item in range(MOST + 5)]).encode())
    assert len(found.items) == MOST and str(MOST) not in found.items
