"""A manifest is checked, and starts one run for any number of deliveries."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import boto3
import jsonschema
import pytest

from contracts import schemas
from contracts.documents import Unfit
from on_data_ready import announcement, manifest
from shared.errors import InvalidInput
from tests.unit.functions.cloud import (
    ACCOUNT,
    CONTEXT,
    DATA,
    EXECUTION,
    MACHINE,
    RUN,
    VERSION,
    Cloud,
    sample_event,
)

KEY = f"datasets/{VERSION}/manifest.json"
ROWS = {"train": 8, "test": 3, "users": 3, "items": 4, "popularity": 4}
CONTENT = {folder: f"{folder} of six hand-written rows".encode() for folder in ROWS}
OLDER, NEWER = "v20261122t000000z-00000000", "v20261124t000000z-00000000"
FORGED = "v20991231t235959z-0000dead"


def manifest_of(version: str = VERSION) -> dict[str, Any]:
    files = [
        {"path": f"{folder}/part-00000.parquet", "size": len(CONTENT[folder]), "sha256": "ab" * 32, "rows": rows}
        for folder, rows in ROWS.items()
    ]
    counts = {"read": 12, "interactions": 11, "train": 8, "test": 3, "users": 3, "items": 4}
    rest = dict.fromkeys(("quarantined", "duplicates", "belowSupport", "coldTestItems"), 0)
    return {
        "schemaVersion": "1.0",
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


def upload(cloud: Cloud, version: str = VERSION, document: Any = None, without: str = "") -> None:
    for folder, content in CONTENT.items():
        if folder != without:
            cloud.write(DATA, f"datasets/{version}/{folder}/part-00000.parquet", content)
    cloud.write(DATA, f"datasets/{version}/manifest.json", document or manifest_of(version))


def event_for(version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(sample_event("on_data_ready")).replace(VERSION, version))
    return found


@pytest.fixture
def machine(cloud: Cloud) -> Any:
    """The retraining state machine: it starts and waits for ever."""
    states = boto3.client("stepfunctions")
    definition = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}
    role = f"arn:aws:iam::{ACCOUNT}:role/ncf-retraining"
    made = states.create_state_machine(name="ncf-retraining", definition=json.dumps(definition), roleArn=role)
    assert made["stateMachineArn"] == MACHINE
    return states


def executions(machine: Any) -> list[str]:
    return [execution["name"] for execution in machine.list_executions(stateMachineArn=MACHINE)["executions"]]


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
        ("counts.interactions", 12, "counts.interactions is 12, but train + test is 11"),
        ("counts.read", 10, "counts.read is 10, but interactions + quarantined + otherEvents + duplicates + "
         "belowSupport is 11"),
        ("counts.duplicates", 2, "counts.read is 12, but interactions + quarantined + otherEvents + duplicates + "
         "belowSupport is 13"),
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


def test_names_all_faults_of_a_manifest_together() -> None:
    document = {**manifest_of(), "schemaVersion": 1, "counts": {}}
    with pytest.raises(Unfit) as caught:
        manifest.parse(document, VERSION)
    assert len(caught.value.reasons) == 1 + len(schemas.load("manifest")["properties"]["counts"]["required"])


# The handler


def test_starts_the_run_of_its_sample_event(cloud: Cloud, machine: Any, load: Callable[..., ModuleType]) -> None:
    upload(cloud)
    answer = load("on_data_ready").handler(sample_event("on_data_ready"), CONTEXT)
    assert answer == {"outcome": "STARTED", "datasetVersion": VERSION, "runId": RUN}
    assert executions(machine) == [RUN]
    execution = machine.describe_execution(executionArn=EXECUTION)
    assert json.loads(execution["input"]) == {
        "runId": RUN,
        "datasetVersion": VERSION,
        "attempt": 1,
        "manifest": {"bucket": DATA, "key": KEY},
    }
    assert cloud.item(f"DATASET#{VERSION}")["status"] == "CLAIMED"
    run = cloud.item(f"RUN#{RUN}")
    assert (run["status"], run["executionArn"]) == ("RUNNING", EXECUTION)


def test_the_same_event_again_starts_nothing_while_the_run_is_open(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType]
) -> None:
    upload(cloud)
    app = load("on_data_ready")
    app.handler(sample_event("on_data_ready"), CONTEXT)
    assert app.handler(sample_event("on_data_ready"), CONTEXT)["outcome"] == "DUPLICATE"
    assert executions(machine) == [RUN]


@pytest.mark.fault("M12")
def test_the_same_event_again_starts_nothing_after_the_run_is_over(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType]
) -> None:
    upload(cloud)
    app = load("on_data_ready")
    app.handler(sample_event("on_data_ready"), CONTEXT)
    machine.stop_execution(executionArn=EXECUTION)
    cloud.put(f"RUN#{RUN}", kind="RUN", status="DEPLOYED", executionArn=EXECUTION)
    assert app.handler(sample_event("on_data_ready"), CONTEXT)["outcome"] == "DUPLICATE"
    assert executions(machine) == [RUN]
    assert cloud.item(f"RUN#{RUN}")["status"] == "DEPLOYED"


def test_of_five_simultaneous_events_one_starts_the_run(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType]
) -> None:
    upload(cloud)
    app = load("on_data_ready")
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: app.handler(sample_event("on_data_ready"), CONTEXT), range(5)))
    assert sorted(answer["outcome"] for answer in answers).count("DUPLICATE") >= 4
    assert executions(machine) == [RUN]


def test_a_crash_between_claim_and_start_is_healed_by_the_next_delivery(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(cloud)
    app = load("on_data_ready")
    with monkeypatch.context() as crash:
        crash.setattr(app.LEDGER, "open_run", lambda *args: (_ for _ in ()).throw(MemoryError("killed")))
        with pytest.raises(MemoryError):
            app.handler(sample_event("on_data_ready"), CONTEXT)
    assert cloud.item(f"DATASET#{VERSION}")["status"] == "CLAIMED"
    assert executions(machine) == []
    app.handler(sample_event("on_data_ready"), CONTEXT)
    assert executions(machine) == [RUN]
    assert cloud.item(f"RUN#{RUN}")["status"] == "RUNNING"


def test_an_older_version_than_the_serving_one_is_stale(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType]
) -> None:
    upload(cloud, OLDER)
    cloud.put("SERVING", "CURRENT", runId=RUN, datasetVersion=VERSION)
    answer = load("on_data_ready").handler(event_for(OLDER), CONTEXT)
    assert answer["outcome"] == "STALE"
    assert answer["reasons"] == [f"{OLDER} is older than {VERSION}, which serves"]
    assert cloud.item(f"DATASET#{OLDER}")["status"] == "STALE"
    assert executions(machine) == []


def test_versions_out_of_order_start_the_newer_one_only(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType]
) -> None:
    app = load("on_data_ready")
    for version, outcome in ((VERSION, "STARTED"), (OLDER, "STALE"), (NEWER, "STARTED"), (OLDER, "DUPLICATE")):
        upload(cloud, version)
        assert app.handler(event_for(version), CONTEXT)["outcome"] == outcome
    assert sorted(executions(machine)) == [RUN, f"{NEWER}-r1"]


@pytest.mark.parametrize("status", ["FAILED", "ABORTED", "ROLLED_BACK"])
def test_an_older_version_is_not_stale_when_the_newer_run_ended_without_verdict(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType], status: str
) -> None:
    app = load("on_data_ready")
    for version in (VERSION, OLDER):
        upload(cloud, version)
    assert app.handler(event_for(VERSION), CONTEXT)["outcome"] == "STARTED"
    cloud.put(f"RUN#{RUN}", "STATE", kind="RUN", runId=RUN, datasetVersion=VERSION, status=status)
    assert app.handler(event_for(OLDER), CONTEXT)["outcome"] == "STARTED"


@pytest.mark.parametrize("status", ["REJECTED", "UNCHANGED"])
@pytest.mark.fault("M17")
def test_a_version_that_was_not_deployed_does_not_hold_the_place_of_the_newest(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType], status: str
) -> None:
    app = load("on_data_ready")
    for version in (VERSION, OLDER):
        upload(cloud, version)
    assert app.handler(event_for(VERSION), CONTEXT)["outcome"] == "STARTED"
    cloud.put(f"RUN#{RUN}", "STATE", kind="RUN", runId=RUN, datasetVersion=VERSION, status=status)
    assert app.handler(event_for(OLDER), CONTEXT)["outcome"] == "STARTED"


@pytest.mark.parametrize("status", ["QUARANTINED", "STALE", "REFUSED", "FAILED", "ABORTED"])
@pytest.mark.fault("M17")
def test_a_version_without_a_run_does_not_hold_the_place_of_the_newest(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType], status: str
) -> None:
    upload(cloud)
    cloud.put("DATASET", "NEWEST_CLAIMED", datasetVersion=NEWER)
    cloud.put(f"DATASET#{NEWER}", kind="DATASET", status=status, datasetVersion=NEWER)
    assert load("on_data_ready").handler(sample_event("on_data_ready"), CONTEXT)["outcome"] == "STARTED"


@pytest.mark.parametrize(("status", "outcome"), [("RUNNING", "STALE"), ("PARKED", "STALE"), ("DEPLOYED", "STALE")])
def test_a_version_that_is_on_its_way_or_was_deployed_holds_it(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType], status: str, outcome: str
) -> None:
    upload(cloud)
    cloud.put("DATASET", "NEWEST_CLAIMED", datasetVersion=NEWER)
    cloud.put(f"DATASET#{NEWER}", kind="DATASET", status="CLAIMED", datasetVersion=NEWER, runId=f"{NEWER}-r1")
    cloud.put(f"RUN#{NEWER}-r1", kind="RUN", runId=f"{NEWER}-r1", datasetVersion=NEWER, status=status)
    assert load("on_data_ready").handler(sample_event("on_data_ready"), CONTEXT)["outcome"] == outcome


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (FORGED, f"{FORGED} is 26698 days ahead of the time, 2026-11-26 00:00 UTC: correct the clock or the name"),
        ("v20261126t001501z-00000000", "v20261126t001501z-00000000 is 15 minutes ahead of the time"),
        ("v20250230t000000z-00000000", "v20250230t000000z-00000000 names no time, which is yyyymmdd, t, hhmmss"),
        ("v20251399t996199z-00000000", "names no time"),
    ],
)
@pytest.mark.fault("M18")
def test_a_version_whose_time_cannot_be_right_is_refused_and_blocks_nothing(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType], version: str, words: str
) -> None:
    app = load("on_data_ready")
    for one in (version, VERSION):
        upload(cloud, one)
    answer = app.handler(event_for(version), CONTEXT)
    assert answer["outcome"] == "QUARANTINED"
    [reason] = answer["reasons"]
    assert words in reason and "drop the data again" in reason
    assert cloud.item("DATASET", "NEWEST_CLAIMED") == {}
    assert app.handler(sample_event("on_data_ready"), CONTEXT)["outcome"] == "STARTED"
    assert executions(machine) == [RUN]


def test_a_clock_may_be_a_quarter_of_an_hour_ahead(cloud: Cloud, machine: Any, load: Callable[..., ModuleType]) -> None:
    upload(cloud, "v20261126t001500z-00000000")
    assert load("on_data_ready").handler(event_for("v20261126t001500z-00000000"), CONTEXT)["outcome"] == "STARTED"


@pytest.mark.fault("M18")
def test_a_forged_version_that_was_claimed_before_holds_nothing(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType]
) -> None:
    upload(cloud)
    cloud.put("DATASET", "NEWEST_CLAIMED", datasetVersion=FORGED)
    cloud.put(f"DATASET#{FORGED}", kind="DATASET", status="CLAIMED", datasetVersion=FORGED, runId=f"{FORGED}-r1")
    cloud.put(f"RUN#{FORGED}-r1", kind="RUN", status="REJECTED")
    assert load("on_data_ready").handler(sample_event("on_data_ready"), CONTEXT)["outcome"] == "STARTED"
    assert cloud.item("DATASET", "NEWEST_CLAIMED")["datasetVersion"] == VERSION


@pytest.mark.fault("M12")
def test_a_run_that_is_over_is_not_started_again_when_its_name_is_free_again(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType]
) -> None:
    """Step Functions forgets an execution 90 days after its end."""
    upload(cloud)
    cloud.put(f"DATASET#{VERSION}", kind="DATASET", status="CLAIMED", datasetVersion=VERSION, runId=RUN)
    cloud.put(f"RUN#{RUN}", kind="RUN", status="ROLLED_BACK", runId=RUN, executionArn=EXECUTION)
    assert load("on_data_ready").handler(sample_event("on_data_ready"), CONTEXT)["outcome"] == "DUPLICATE"
    assert executions(machine) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"counts": {**manifest_of()["counts"], "train": 7}}, "the files of train/ have 8 rows, counts.train says 7"),
        ({"files": []}, "files must be a list of at least 5 entries"),
        ({"datasetVersion": NEWER}, "as in the key"),
    ],
)
def test_a_manifest_that_breaks_the_contract_is_quarantined_with_its_reasons(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType], change: dict[str, Any], words: str
) -> None:
    upload(cloud, document={**manifest_of(), **change})
    answer = load("on_data_ready").handler(sample_event("on_data_ready"), CONTEXT)
    assert answer["outcome"] == "QUARANTINED"
    state = cloud.item(f"DATASET#{VERSION}")
    assert state["status"] == "QUARANTINED"
    assert any(words in reason for reason in state["reasons"])
    assert executions(machine) == []


def with_rows(**rows: int) -> dict[str, Any]:
    document = manifest_of()
    for file in document["files"]:
        folder = file["path"].partition("/")[0]
        file["rows"] = rows.get(folder, file["rows"])
    counts = document["counts"]
    counts |= {name: count for name, count in rows.items() if name in counts}
    counts["interactions"] = counts["train"] + counts["test"]
    return document


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"train": 0}, "counts.train must be an integer of at least 1, not 0"),
        ({"test": 1}, "1 test users, below the minimum of 2"),
        ({"users": 1}, "counts.users must be an integer of at least 2, not 1"),
        ({"items": 1}, "counts.items must be an integer of at least 2, not 1"),
    ],
)
def test_too_little_data_is_quarantined(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType], rows: dict[str, int], words: str
) -> None:
    upload(cloud, document=with_rows(**rows))
    answer = load("on_data_ready").handler(sample_event("on_data_ready"), CONTEXT)
    assert answer["outcome"] == "QUARANTINED"
    assert any(words in reason for reason in answer["reasons"])
    assert executions(machine) == []


def test_a_file_that_the_bucket_lacks_is_named(cloud: Cloud, machine: Any, load: Callable[..., ModuleType]) -> None:
    upload(cloud, without="items")
    answer = load("on_data_ready").handler(sample_event("on_data_ready"), CONTEXT)
    assert answer["reasons"] == ["items/part-00000.parquet is in the manifest but not in the bucket"]
    assert executions(machine) == []


def test_a_file_of_another_size_is_named_and_mended_data_is_taken(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType]
) -> None:
    app = load("on_data_ready")
    upload(cloud)
    cloud.write(DATA, f"datasets/{VERSION}/train/part-00000.parquet", b"cut")
    answer = app.handler(sample_event("on_data_ready"), CONTEXT)
    size = len(CONTENT["train"])
    assert answer["reasons"] == [f"train/part-00000.parquet has 3 bytes in the bucket, {size} in the manifest"]
    upload(cloud)
    assert app.handler(sample_event("on_data_ready"), CONTEXT)["outcome"] == "STARTED"


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is not JSON"), (b"{", "is not JSON"), (b"\xff\xfe", "is not UTF-8"), (b"[" * 100_000, "nested too deeply")],
)
def test_a_manifest_that_is_no_json_is_quarantined(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType], content: bytes, words: str
) -> None:
    cloud.write(DATA, KEY, content)
    answer = load("on_data_ready").handler(sample_event("on_data_ready"), CONTEXT)
    assert answer["outcome"] == "QUARANTINED"
    assert words in answer["reasons"][0]


def test_a_manifest_that_is_gone_is_delivered_again(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType]
) -> None:
    with pytest.raises(Exception, match=r"manifest\.json is gone") as caught:
        load("on_data_ready").handler(sample_event("on_data_ready"), CONTEXT)
    assert type(caught.value).__name__ == "MissingResource"
    assert cloud.item(f"DATASET#{VERSION}") == {}


@pytest.mark.fault("M14")
def test_a_throttled_ledger_stops_the_run_before_it_starts(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType], stub: Callable[[Any], Any]
) -> None:
    upload(cloud)
    app = load("on_data_ready")
    stub(app.LEDGER._table.meta.client).add_client_error(
        "get_item", "ProvisionedThroughputExceededException", "slow", 400
    )
    with pytest.raises(Exception, match="ProvisionedThroughputExceeded") as caught:
        app.handler(sample_event("on_data_ready"), CONTEXT)
    assert type(caught.value).__name__ == "DependencyFailed"
    assert executions(machine) == []
