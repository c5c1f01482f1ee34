"""Lists are published when they are complete, belong to this run's model, and that model serves."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from contracts.forgotten import digest
from shared.errors import ArtefactMissing, InvalidInput
from shared.ledger import Ledger
from tests.unit.functions.cloud import ARTIFACTS, BATCH, CONTEXT, RUN, VERSION, Clock, Cloud, sample_event


def answer(shard: int, **changed: Any) -> dict[str, Any]:
    return {
        "schemaVersion": "1.0",
        "modelVersion": RUN,
        "shard": shard,
        "shards": 2,
        "users": {f"user-{shard}": [["a", 1.0]]},
        "itemCategories": {},
        **changed,
    }


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud) -> ModuleType:
    cloud.put("SERVING", "CURRENT", kind="SERVING", runId=RUN, datasetVersion=VERSION)
    for shard in range(2):
        part_request = {"shard": shard, "shards": 2, "numResults": 50}
        cloud.write(ARTIFACTS, f"batch/{BATCH}/input/{shard:04d}.json", part_request)
        cloud.write(ARTIFACTS, f"batch/{BATCH}/lists/{shard:04d}.json.out", answer(shard))
    return load("publish_batch")


def pointer(cloud: Cloud, key: str = "serving/batch.json") -> dict[str, Any] | None:
    try:
        return dict(json.loads(cloud.s3.get_object(Bucket=ARTIFACTS, Key=key)["Body"].read()))
    except cloud.s3.exceptions.NoSuchKey:
        return None


def test_whole_lists_are_pointed_to(app: ModuleType, cloud: Cloud) -> None:
    assert app.handler(sample_event("publish_batch"), CONTEXT) == {"runId": RUN, "shards": 2, "published": True}
    found = pointer(cloud)
    assert found is not None
    assert found == pointer(cloud, f"runs/{RUN}/batch.json")
    assert {name: found[name] for name in ("runId", "prefix", "shards", "numResults")} == {
        "runId": RUN,
        "prefix": f"batch/{BATCH}/lists/",
        "shards": 2,
        "numResults": 50,
    }
    decision = cloud.item(f"RUN#{RUN}", "DECISION#batch")
    assert (decision["verdict"], decision["reasons"]) == ("PUBLISHED", ["2 parts with 50 items per user"])
    assert decision["figures"] == {"attempt": 1, "jobName": BATCH, "numResults": 50, "shards": 2}


def test_the_pointer_is_one_that_recommend_reads(app: ModuleType, cloud: Cloud) -> None:
    from recommend.stored_lists import Lists

    app.handler(sample_event("publish_batch"), CONTEXT)
    assert Lists.from_json(json.dumps(pointer(cloud)).encode()) == Lists(f"batch/{BATCH}/lists/", 2, 50)


def test_when_another_model_serves_by_now_its_lists_stay(app: ModuleType, cloud: Cloud) -> None:
    cloud.put("SERVING", "CURRENT", kind="SERVING", runId="newer", datasetVersion=VERSION)
    cloud.write(ARTIFACTS, "serving/batch.json", {"runId": "newer"})
    assert app.handler(sample_event("publish_batch"), CONTEXT)["published"] is False
    assert pointer(cloud) == {"runId": "newer"}
    assert (pointer(cloud, f"runs/{RUN}/batch.json") or {})["runId"] == RUN
    assert cloud.item(f"RUN#{RUN}", "DECISION#batch")["verdict"] == "OVERTAKEN"


@pytest.mark.parametrize("content", [None, b""], ids=["missing", "empty"])
def test_a_part_without_lists_is_named_and_nothing_is_pointed_to(
    app: ModuleType, cloud: Cloud, content: bytes | None
) -> None:
    cloud.s3.delete_object(Bucket=ARTIFACTS, Key=f"batch/{BATCH}/lists/0001.json.out")
    if content is not None:
        cloud.write(ARTIFACTS, f"batch/{BATCH}/lists/0001.json.out", content)
    with pytest.raises(ArtefactMissing, match=r"1 of 2 parts .* lack lists: 0001\.json"):
        app.handler(sample_event("publish_batch"), CONTEXT)
    assert pointer(cloud) is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"modelVersion": "another"}, "modelVersion must be"),
        ({"shards": 3}, "shards must be 2, not '3'"),
        ({"users": []}, "users must be an object"),
        ({"users": {"a": {"1": 0.9}}}, "the list of user 1 of 1: the list must be a list, not an object"),
        ({"users": {"a": [[1, 0.9]]}}, "the list\\[0\\]\\[0\\] must be a string, not a number"),
        ({"users": {"a": [["1"]]}}, "the list\\[0\\]\\[1\\] must be a finite number, not null"),
        ({"users": {"a": [["1", 10**400]]}}, "must be a finite number, not a number beyond the range of a double"),
        ({"users": {"a": [], "b": [["1", 1], ["1", 1]]}}, "the list of user 2 of 2: item 2 is in the list twice"),
        ({"users": {"a": [["1", 1], ["2", 2]]}}, "the score of item 2 is above that of the item before it"),
        ({"users": {"a": [[str(item), 1] for item in range(51)]}}, "51 items, more than 50"),
    ],
)
def test_lists_of_something_else_are_refused(
    app: ModuleType, cloud: Cloud, changed: dict[str, Any], words: str
) -> None:
    cloud.write(ARTIFACTS, f"batch/{BATCH}/lists/0000.json.out", answer(0, **changed))
    with pytest.raises(ArtefactMissing, match=words):
        app.handler(sample_event("publish_batch"), CONTEXT)
    assert pointer(cloud) is None


@pytest.mark.parametrize("part", [b'{"jane": 1, "jane": 2}', b'{"users": {"jane": [], "jane": []}}'])
def test_a_key_that_is_there_twice_is_refused_and_no_user_named(app: ModuleType, cloud: Cloud, part: bytes) -> None:
    cloud.write(ARTIFACTS, f"batch/{BATCH}/lists/0000.json.out", part)
    with pytest.raises(ArtefactMissing, match=r"0000\.json\.out: the part has a key twice$"):
        app.handler(sample_event("publish_batch"), CONTEXT)


@pytest.mark.parametrize(
    "part_request", [b"{", [], {}, {"numResults": "50"}, {"numResults": 0}, {"numResults": 10**400}]
)
def test_a_request_that_does_not_say_how_many_items_is_named(app: ModuleType, cloud: Cloud, part_request: Any) -> None:
    cloud.write(ARTIFACTS, f"batch/{BATCH}/input/0000.json", part_request)
    with pytest.raises(ArtefactMissing, match=r"input/0000\.json: the request"):
        app.handler(sample_event("publish_batch"), CONTEXT)
    assert pointer(cloud) is None


@pytest.mark.parametrize("batch", [None, {}, {"jobName": 3}, {"jobName": BATCH}, {"jobName": "x", "runId": RUN}])
def test_a_state_without_a_job_is_refused(app: ModuleType, cloud: Cloud, batch: Any) -> None:
    with pytest.raises((InvalidInput, ArtefactMissing)):
        app.handler({"batch": batch}, CONTEXT)
    assert pointer(cloud) is None


def test_people_who_were_forgotten_since_the_data_were_dropped_are_in_no_list(
    app: ModuleType, cloud: Cloud, book: Ledger
) -> None:
    person = digest(book.forgetting_key(), "user-1")
    book.forget(person, "asked for it", None)
    app.handler(sample_event("publish_batch"), CONTEXT)
    lists = [cloud.s3.get_object(Bucket=ARTIFACTS, Key=f"batch/{BATCH}/lists/000{n}.json.out") for n in (0, 1)]
    assert [json.loads(part["Body"].read())["users"] for part in lists] == [{"user-0": [["a", 1.0]]}, {}]


def test_the_parts_are_not_read_for_people_whom_the_data_no_longer_have(
    app: ModuleType, cloud: Cloud, book: Ledger, clock: Clock
) -> None:
    clock.now = 1_700_000_000.0  # 2023: the data were dropped in 2026
    person = digest(book.forgetting_key(), "user-1")
    book.forget(person, "asked for it", None)
    book.in_force(person)
    app.handler(sample_event("publish_batch"), CONTEXT)
    part = cloud.s3.get_object(Bucket=ARTIFACTS, Key=f"batch/{BATCH}/lists/0001.json.out")["Body"].read()
    assert "user-1" in json.loads(part)["users"]
