"""Files that a Spark job writes again without forgotten people: Parquet and zstd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from contracts.forgotten import digest
from tests.unit.functions.cloud import (
    APPLICATION,
    CONTEXT,
    DATA,
    Cloud,
    job_run,
)
from tests.unit.functions.test_erase import KEY, USER, app, kept_with, read, shop

__all__ = ["app", "shop"]  # fixtures


@pytest.fixture
def emr(app: ModuleType) -> Iterator[Stubber]:
    with Stubber(app.REWRITING.emr) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


FILES: list[dict[str, Any]] = [
    {"path": "2/e.csv.zst", "userColumn": "Kunde"},
    {"path": "3/e.parquet", "userColumn": None},
]


def for_spark(shop: Cloud, emr: Stubber, state: str = "SUCCESS") -> None:
    shop.write(DATA, "raw/2/_drop.json", {"schemaVersion": "1.0", "userColumn": "Kunde"})
    shop.write(DATA, "raw/2/e.csv.zst", f"zstd {USER}".encode())
    shop.write(DATA, "raw/3/e.parquet", f"PAR1 {USER}".encode())
    arn = f"arn:aws:emr-serverless:eu-central-1:123456789012:/applications/{APPLICATION}/jobruns/00f1"
    emr.add_response("start_job_run", {"applicationId": APPLICATION, "jobRunId": "00f1", "arn": arn})
    for found in ("RUNNING", state):
        emr.add_response("get_job_run", job_run(found))


def wanted(shop: Cloud) -> tuple[str, Any]:
    """The key of the job's document, and what it asks for."""
    key = next(e["Key"] for e in shop.s3.list_objects_v2(Bucket=DATA, Prefix="erasures/")["Contents"])
    return key, json.loads(read(shop, DATA, key))


def test_parquet_and_zstd_are_written_again_by_a_spark_job(app: ModuleType, shop: Cloud, emr: Stubber) -> None:
    for_spark(shop, emr)
    assert app.handler({"now": True}, CONTEXT)["status"] == "GOING_ON"
    key, document = wanted(shop)
    assert document["files"] == FILES
    words = app.REWRITING.call(key.removeprefix("erasures/").removesuffix(".json"))["jobDriver"]["sparkSubmit"]
    assert words["entryPointArguments"][:2] == ["--erase", f"s3://{DATA}/{key}"]
    assert app.handler({"now": True}, CONTEXT)["status"] == "GOING_ON"
    for file in FILES:
        shop.write(DATA, f"raw/{file['path']}", b"written again")
    done = [{"path": file["path"], "rows": 3, "removed": 1} for file in FILES]
    shop.write(DATA, key.replace(".json", ".done.json"), {"schemaVersion": "1.0", "files": done})
    answer = app.handler({"now": True}, CONTEXT)
    assert (answer["status"], answer["remaining"], answer["removed"]["files written again"]) == ("ERASED", [], 7)
    # An item may be called as a person is.
    assert set(kept_with(shop, USER)) == {"raw/1/a.csv", "raw/2/b.tsv.gz"}
    receipt = shop.item("FORGOTTEN", shop.item("FORGOTTEN", f"PERSON#{digest(KEY, USER)}")["receipt"])
    assert receipt["removed"]["rows"] == 7


def test_what_the_job_cannot_write_again_is_named_or_deleted_on_demand(
    app: ModuleType, shop: Cloud, emr: Stubber
) -> None:
    why = "raw/3/e.parquet is not sure to have a column of users: write it again without these people, or delete it"
    for request, expected in (({"now": True}, [why]), ({"now": True, "unreadable": "delete"}, [])):
        for_spark(shop, emr)
        app.handler(request, CONTEXT)
        app.handler(request, CONTEXT)
        for entry in shop.s3.list_objects_v2(Bucket=DATA, Prefix="erasures/")["Contents"]:
            done = [
                {"path": "2/e.csv.zst", "rows": 3, "removed": 0},
                {"path": "3/e.parquet", "problem": "is not sure to have a column of users"},
            ]
            shop.write(DATA, entry["Key"].replace(".json", ".done.json"), {"schemaVersion": "1.0", "files": done})
        assert app.handler(request, CONTEXT)["remaining"] == expected
    with pytest.raises(shop.s3.exceptions.NoSuchKey):
        read(shop, DATA, "raw/3/e.parquet")


def test_a_job_that_failed_leaves_its_files_named(app: ModuleType, shop: Cloud, emr: Stubber) -> None:
    for_spark(shop, emr, "FAILED")
    for _ in range(2):
        app.handler({"now": True}, CONTEXT)
    answer = app.handler({"now": True}, CONTEXT)
    assert answer["status"] == "WAITING"
    assert answer["remaining"] == [
        f"raw/{file['path']} could not be written again: the job 00f1 ended as FAILED" for file in FILES
    ]
