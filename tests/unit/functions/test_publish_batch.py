"""Lists are published when they are complete, belong to this run's model, and that model serves."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from shared.errors import ArtefactMissing, InvalidInput
from tests.unit.functions.cloud import ARTIFACTS, BATCH, CONTEXT, RUN, VERSION, Cloud, sample_event


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
    from recommend.ranking import Lists

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
    ],
)
def test_lists_of_something_else_are_refused(
    app: ModuleType, cloud: Cloud, changed: dict[str, Any], words: str
) -> None:
    cloud.write(ARTIFACTS, f"batch/{BATCH}/lists/0000.json.out", answer(0, **changed))
    with pytest.raises(ArtefactMissing, match=words):
        app.handler(sample_event("publish_batch"), CONTEXT)
    assert pointer(cloud) is None


@pytest.mark.parametrize("batch", [None, {}, {"jobName": 3}, {"jobName": BATCH}, {"jobName": "x", "runId": RUN}])
def test_a_state_without_a_job_is_refused(app: ModuleType, cloud: Cloud, batch: Any) -> None:
    with pytest.raises((InvalidInput, ArtefactMissing)):
        app.handler({"batch": batch}, CONTEXT)
    assert pointer(cloud) is None
