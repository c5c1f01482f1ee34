"""A manifest is checked, and starts one run for any number of deliveries."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jsonschema
import pytest

from contracts import schemas
from contracts.documents import Unfit
from on_data_ready import announcement, manifest
from shared.errors import InvalidInput
from tests.unit.functions.cloud import (
    CONTEXT,
    DATA,
    VERSION,
    sample_event,
)

KEY = f"datasets/{VERSION}/manifest.json"
ROWS = {"train": 8, "test": 3, "users": 3, "items": 4, "popularity": 4}
CONTENT = {folder: f"{folder} of six hand-written rows".encode() for folder in ROWS}
OLDER, NEWER = "v20261122t000000z-00000000", "v20261124t000000z-00000000"


def manifest_of(version: str = VERSION) -> dict[str, Any]:
    files = [
        {"path": f"{folder}/part-00000.parquet", "size": len(CONTENT[folder]), "sha256": "ab" * 32, "rows": rows}
        for folder, rows in ROWS.items()
    ]
    counts = {"read": 11, "interactions": 11, "train": 8, "test": 3, "users": 3, "items": 4}
    rest = dict.fromkeys(("quarantined", "duplicates", "belowSupport", "coldTestItems"), 0)
    return {
        "schemaVersion": "1.2",
        "datasetVersion": version,
        "parentVersion": None,
        "codeVersion": "ab" * 32,
        "source": f"s3://{DATA}/raw/today/",
        "files": files,
        "counts": {**counts, **rest},
        "parameters": {
            "format": "csv",
            "items": None,
            "userColumn": "user_id",
            "itemColumn": "item_id",
            "timestampColumn": "timestamp",
            "eventTypeColumn": "event_type",
            "weightColumn": "weight",
            "eventTypes": [],
            "minimumUserInteractions": 2,
            "minimumItemInteractions": 1,
            "maximumBadShare": 0.001,
        },
        "timeSpan": {"first": 1, "last": 2},
    }


def changed(path: str, value: Any) -> dict[str, Any]:
    """The manifest with one value changed (`...` deletes it); `path` is dotted, list positions are numbers."""
    document = copy.deepcopy(manifest_of())
    place: Any = document
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


def test_the_manifest_of_these_tests_is_of_the_kind_that_preparation_writes() -> None:
    schema = schemas.load("manifest")
    jsonschema.Draft202012Validator(schema).validate(manifest_of())


# The announcement


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("source", "ours.s3", "must be aws.s3 'Object Created', not 'ours.s3'"),
        ("detail-type", "Object Deleted", "not 'aws.s3' 'Object Deleted'"),
        ("detail.bucket.name", "another-shops", f"detail.bucket.name must be {DATA}, not 'another-shops'"),
        ("detail.bucket", None, "detail.bucket.name must be a string"),
        (
            "detail.object.key",
            f"elsewhere/{VERSION}/manifest.json",
            "detail.object.key must be datasets/<version>/manifest.json",
        ),
        ("detail.object.key", f"datasets/{VERSION}/extra/manifest.json", "detail.object.key"),
        ("detail.object.key", f"datasets/../{VERSION}/manifest.json", "detail.object.key"),
        ("detail.object.key", f"datasets/{VERSION}/manifest.json\n", "detail.object.key"),
        ("detail.object.key", "datasets/v1; rm -rf/manifest.json", "detail.object.key"),
        ("detail.object.key", 7, "detail.object.key must be a string, not 7"),
        ("detail", "text", "an object in detail"),
    ],
)
@pytest.mark.fault("D10")
def test_refuses_an_event_that_is_not_about_our_datasets(path: str, value: Any, words: str) -> None:
    event = sample_event("on_data_ready")
    place: Any = event
    *steps, last = path.split(".")
    for step in steps:
        place = place[step]
    place[last] = value
    with pytest.raises(InvalidInput) as caught:
        announcement.from_event(event, DATA)
    assert words in str(caught.value)


@pytest.mark.fault("D10")
def test_a_refused_event_is_counted_and_makes_no_call(
    load: Callable[..., ModuleType], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = load("on_data_ready")

    def no_call(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("an AWS call was made")

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", no_call)
    event = sample_event("on_data_ready")
    event["detail"]["bucket"]["name"] = "another-shops"
    assert app.handler(event, CONTEXT)["outcome"] == "REFUSED"
    assert '"EventRefused"' in capsys.readouterr().out


# The manifest


def test_takes_a_manifest_that_keeps_the_contract() -> None:
    parsed = manifest.parse(manifest_of(), VERSION)
    assert parsed.counts["train"] == 8
    assert parsed.files[0].path == "train/part-00000.parquet"


def test_takes_a_later_minor_version_and_fields_it_does_not_know() -> None:
    assert manifest.parse({**manifest_of(), "schemaVersion": "1.7", "extra": {}}, VERSION).dataset_version == VERSION


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("schemaVersion", "2.0", "schemaVersion must be 1.x, not '2.0'"),
        ("schemaVersion", ..., "schemaVersion is missing; it must be 1.x"),
        ("datasetVersion", OLDER, f"datasetVersion must be {VERSION}, as in the key, not '{OLDER}'"),
        (
            "parentVersion",
            "first",
            "parentVersion must be a dataset version such as",
        ),
        ("counts", None, "counts must be an object, not None"),
        ("counts.train", "8", "counts.train must be an integer of at least 1, not '8'"),
        ("counts.train", True, "counts.train must be an integer of at least 1, not True"),
        ("counts.train", -1, "counts.train must be an integer of at least 1, not -1"),
        ("counts.train", ..., "counts.train is missing; it must be an integer of at least 1"),
        ("counts.train", 9, "the files of train/ have 8 rows, counts.train says 9"),
        (
            "counts.train",
            8.0,
            "counts.train must be an integer from 0 to 9007199254740991, without a fraction, not 8.0",
        ),
        ("files.0.rows", 8.0, "files[0].rows must be an integer from 0 to"),
        ("timeSpan.first", 3, "timeSpan.first is 3, later than timeSpan.last, 2"),
        ("counts.interactions", 12, "counts.interactions is 12, but train + test + repeats is 11"),
        ("counts.read", 10, "belowSupport + interactions is 11"),
        ("counts.read", 12, "counts.read is 12, but quarantined + forgotten + otherEvents + superseded"),
        ("counts.duplicates", 2, "belowSupport + interactions is 13"),
        ("counts.read", 10**400, "counts.read must be an integer of at least 1, not a number beyond the range"),
        ("files", [], "files must be a list of at least 5 entries, not []"),
        ("files.0", "train", "files[0] must be an object, not 'train'"),
        ("files.0.path", "../raw/x", "files[0].path must be a Parquet file such as train/part-00000.parquet"),
        ("files.0.path", "/train/x", "files[0].path must be a Parquet file such as train/part-00000.parquet"),
        ("files.0.path", "train/../x", "files[0].path must be a Parquet file such as train/part-00000.parquet"),
        ("files.1.path", "train/part-00000.parquet", "files must hold a file of test/"),
        ("files.0.sha256", "xyz", "files[0].sha256 must be 64 lower-case hex digits, not 'xyz'"),
        ("files.0.size", 1.5, "files[0].size must be an integer of at least 1, not 1.5"),
        ("files.1", ..., "files must hold a file of test/"),
    ],
)  # fmt: skip
def test_names_the_field_of_a_manifest_that_breaks_the_contract(path: str, value: Any, words: str) -> None:
    with pytest.raises(Unfit) as caught:
        manifest.parse(changed(path, value), VERSION)
    assert any(words in reason for reason in caught.value.reasons), caught.value.reasons


@pytest.mark.parametrize("document", [None, [], "text", 7])
def test_refuses_a_manifest_that_is_no_object(document: Any) -> None:
    with pytest.raises(Unfit, match="must be a JSON object"):
        manifest.parse(document, VERSION)


@pytest.mark.fault("D03")
def test_names_all_faults_of_a_manifest_together() -> None:
    document = {**manifest_of(), "schemaVersion": 1, "counts": {}}
    with pytest.raises(Unfit) as caught:
        manifest.parse(document, VERSION)
    assert len(caught.value.reasons) == 1 + len(schemas.load("manifest")["properties"]["counts"]["required"])
