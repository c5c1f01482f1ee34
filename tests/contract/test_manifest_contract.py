"""The schemas of the preparation's output accept the contract's examples, and refuse misleading documents."""

import copy
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from contracts import schemas

TABLES = ("items", "popularity", "test", "train", "users")

MANIFEST = {
    "schemaVersion": "1.2",
    "datasetVersion": "v20261123t151300z-1a2b3c4d",
    "parentVersion": None,
    "codeVersion": "c0de",
    "source": "s3://data/raw/d1",
    "files": [{"path": f"{t}/part-00000.parquet", "size": 9, "sha256": "0" * 64, "rows": 3} for t in TABLES],
    "counts": {
        "read": 6, "interactions": 6, "train": 4, "test": 2, "users": 2, "items": 3, "quarantined": 0,
        "otherEvents": 0, "duplicates": 0, "belowSupport": 0, "coldTestItems": 0,
        "testUsers": 2, "newTestUsers": 0, "tiedTestUsers": 1, "repeats": 0,
    },
    "parameters": {
        "format": "csv+parquet", "items": None, "userColumn": "user_id", "itemColumn": "item_id",
        "timestampColumn": "timestamp", "eventTypeColumn": "event_type", "weightColumn": "weight",
        "eventTypes": ["buy"], "minimumUserInteractions": 2, "minimumItemInteractions": 1, "maximumBadShare": 0.001,
        "split": "global-time", "testShare": 0.1, "testDays": None,
    },
    "split": {"protocol": "global-time", "moment": 1_700_000_000, "seed": 42},
    "timeSpan": {"first": 0, "last": 4102444799},
}  # fmt: skip
REPORT = {
    "schemaVersion": "1.0",
    "datasetVersion": "v20261123t151300z-1a2b3c4d",
    "status": "refused",
    "reasons": ["column 'timestamp' is missing; the file has user_id, item_id, time"],
    "warnings": [],
    "counts": {"read": 0, "quarantined": 0},
    "rows": {},
}


def validator(name: str) -> Any:
    schema = schemas.load(name)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def changed(document: Any, path: Any, value: Any) -> Any:
    copied = copy.deepcopy(document)
    *way, last = path.split(".")
    place = copied
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[int(last) if last.isdigit() else last] = value
    return copied


def test_accepts_a_manifest_and_a_report() -> None:
    assert validator("manifest").is_valid(MANIFEST)
    assert validator("quarantine").is_valid(REPORT)
    assert validator("quarantine").is_valid(REPORT | {"status": "accepted", "reasons": []})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schemaVersion", "2.0"),
        ("datasetVersion", "latest"),
        ("parentVersion", ""),
        ("files.0.path", "../items/part-00000.parquet"),
        ("files.0.path", "items/part-0.parquet"),
        ("files.0.path", "train/part-00001.parquet"),
        ("files.0.sha256", "0" * 63),
        ("files.0.size", 0),
        ("files.0.rows", -1),
        ("counts.users", 1),
        ("counts.test", 0),
        ("counts.train", "4"),
        ("counts.unheard", 1),
        ("timeSpan.first", -1),
        ("parameters.maximumBadShare", 2),
        ("parameters.testShare", 0),
        ("parameters.testDays", 0.5),
        ("split.protocol", "random"),
        ("split.moment", -1),
        ("split", {"protocol": "leave-last-out"}),
        ("writtenAt", "2026-11-23T15:13:00Z"),
    ],
)
def test_refuses_a_manifest_that_would_mislead(path: Any, value: Any) -> None:
    assert not validator("manifest").is_valid(changed(MANIFEST, path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [("status", "accepted"), ("reasons", []), ("status", "maybe"), ("rows", {"x": 0}), ("counts.read", -1)],
)
def test_refuses_a_report_that_would_mislead(path: Any, value: Any) -> None:
    assert not validator("quarantine").is_valid(changed(REPORT, path, value))
