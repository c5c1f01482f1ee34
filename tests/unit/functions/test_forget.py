"""A person is forgotten: a tombstone without the id's text, known to the API and the preparation, and no list left."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from contracts.forgotten import Forgotten, digest
from contracts.lists import part_of
from shared.errors import InvalidInput
from shared.ledger import Ledger
from tests.unit.functions.cloud import ARTIFACTS, BATCH, CONTEXT, RUN, Cloud, sample_event

USER = "jané.doe/example org"
EVENT = {"userId": USER, "reason": "asked for it"}
DOCUMENT = "serving/forgotten.json"


def situation(cloud: Cloud, aws: Any) -> dict[str, Any]:
    """A person with a list of a batch; for test_api_faults.py."""
    cloud.put("FORGOTTEN", "KEY", key="5a" * 32)
    with_lists(cloud, sample_event("forget")["userId"])
    return sample_event("forget")


def with_lists(cloud: Cloud, *users: str, parts: int = 2, job: str = BATCH) -> None:
    """The parts of a batch, with lists of these users and of others in each part."""
    for part in range(parts):
        cloud.write(ARTIFACTS, f"batch/{job}/input/{part:04d}.json", {"shard": part, "shards": parts})
        names = [f"other-{part}", *(user for user in users if part_of(user, parts) == part)]
        lists = {"schemaVersion": "1.0", "modelVersion": RUN, "users": {name: [["a", 1.0]] for name in names}}
        cloud.write(ARTIFACTS, f"batch/{job}/lists/{part:04d}.json.out", lists)


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud, naps: list[float]) -> ModuleType:
    cloud.s3.put_bucket_versioning(Bucket=ARTIFACTS, VersioningConfiguration={"Status": "Enabled"})
    return load("forget")


def published(cloud: Cloud) -> Forgotten:
    return Forgotten.from_json(cloud.s3.get_object(Bucket=ARTIFACTS, Key=DOCUMENT)["Body"].read())


def everything_kept(cloud: Cloud) -> str:
    """All versions of all objects in the bucket of artifacts, and all items of the ledger, as one text."""
    texts = [json.dumps(item, default=str, ensure_ascii=False) for item in cloud.table.scan()["Items"]]
    for entry in cloud.s3.list_object_versions(Bucket=ARTIFACTS).get("Versions", []):
        found = cloud.s3.get_object(Bucket=ARTIFACTS, Key=entry["Key"], VersionId=entry["VersionId"])
        texts.append(found["Body"].read().decode("unicode_escape"))
    return "\n".join(texts)


def test_the_tombstone_has_a_hash_a_reason_and_a_time_and_no_text_of_the_id(
    app: ModuleType, cloud: Cloud, log: Callable[[], list[dict[str, Any]]]
) -> None:
    answer = app.handler({**EVENT, "by": "ticket 4711"}, CONTEXT)
    key = cloud.item("FORGOTTEN", "KEY")["key"]
    person = digest(key, USER)
    assert answer == {"person": person, "isNew": True, "lists": 0, "events": 0}
    item = cloud.item("FORGOTTEN", f"PERSON#{person}")
    assert {name: item[name] for name in ("kind", "person", "reason", "by")} == {
        "kind": "FORGOTTEN",
        "person": person,
        "reason": "asked for it",
        "by": "ticket 4711",
    }
    assert item["since"] <= item["inForceSince"]
    assert published(cloud) == Forgotten(key, frozenset({person}))
    assert "jan" not in everything_kept(cloud)
    assert "jan" not in json.dumps(log(), ensure_ascii=False)


def test_the_person_leaves_the_lists_of_every_batch_and_their_earlier_versions(app: ModuleType, cloud: Cloud) -> None:
    with_lists(cloud, USER)
    with_lists(cloud, USER, parts=3, job=f"{BATCH}2")
    assert USER in everything_kept(cloud)
    assert app.handler(EVENT, CONTEXT)["lists"] == 2
    kept = everything_kept(cloud)
    assert "jan" not in kept
    assert all(f"other-{part}" in kept for part in range(3))


def test_a_second_request_changes_nothing(app: ModuleType, cloud: Cloud) -> None:
    first = app.handler(EVENT, CONTEXT)
    before = cloud.item("FORGOTTEN", f"PERSON#{first['person']}")
    assert app.handler({**EVENT, "reason": "again"}, CONTEXT) == {**first, "isNew": False}
    assert cloud.item("FORGOTTEN", f"PERSON#{first['person']}") == before


def test_outer_spaces_are_cut_as_the_preparation_cuts_them(app: ModuleType, cloud: Cloud) -> None:
    first = app.handler(EVENT, CONTEXT)
    assert app.handler({**EVENT, "userId": f" {USER} "}, CONTEXT)["person"] == first["person"]


def test_requests_at_the_same_time_lose_no_tombstone(app: ModuleType, cloud: Cloud, book: Ledger) -> None:
    """The other request writes its tombstone after this one has read the ledger, and its document before this one."""
    put, key = app.ARTIFACTS.put, book.forgetting_key()

    def late(name: str, content: bytes) -> None:
        app.ARTIFACTS.put = put
        other = threading.Thread(target=app.handler, args=({**EVENT, "userId": "other"}, CONTEXT))
        other.start()
        other.join()
        put(name, content)

    app.ARTIFACTS.put = late
    app.handler(EVENT, CONTEXT)
    assert published(cloud).people == {digest(key, USER), digest(key, "other")}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"userId": None}, "userId must be a string, not null"),
        ({"userId": "  "}, "userId must have 1 to 256 characters, not all of them spaces; it has 2"),
        ({"userId": "x" * 257}, "userId must have 1 to 256 characters, not all of them spaces; it has 257"),
        ({"userId": "\ud800"}, "userId must be valid Unicode, without half of a surrogate pair"),
        ({"reason": ""}, "reason must have 1 to 500 characters, not all of them spaces; it has 0"),
        (
            {"reason": f"{USER} asked"},
            "reason must not contain the userId: the ledger keeps reason, and would keep the id",
        ),
        ({"by": USER}, "by must not contain the userId: the ledger keeps by, and would keep the id"),
        ({"user": USER}, "the request has 1 unknown fields; the fields are userId, reason, by"),
    ],
)
def test_a_request_that_cannot_be_used_is_refused_by_its_field_and_without_the_id(
    app: ModuleType, cloud: Cloud, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        app.handler({**EVENT, **changed}, CONTEXT)
    assert str(caught.value) == message
    assert cloud.item("FORGOTTEN", "KEY") == {}


def test_a_damaged_list_is_named_without_an_id(app: ModuleType, cloud: Cloud) -> None:
    with_lists(cloud, USER, parts=1)
    cloud.write(ARTIFACTS, f"batch/{BATCH}/lists/0000.json.out", f'{{"users": {{"{USER}": [], "{USER}": []}}}}')
    with pytest.raises(InvalidInput) as caught:
        app.handler(EVENT, CONTEXT)
    assert str(caught.value) == f"batch/{BATCH}/lists/0000.json.out has a key twice"
