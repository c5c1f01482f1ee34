"""The function on_data_ready: one run for a dataset version, however often and in whatever order events arrive."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import boto3
import pytest

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
from tests.unit.functions.test_on_data_ready import CONTENT, KEY, NEWER, OLDER, manifest_of

FORGED = "v20991231t235959z-0000dead"


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


@pytest.mark.fault("D04")
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


@pytest.mark.fault("D04")
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


@pytest.mark.fault("D07")
def test_versions_out_of_order_start_the_newer_one_only(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType]
) -> None:
    app = load("on_data_ready")
    for version, outcome in ((VERSION, "STARTED"), (OLDER, "STALE"), (NEWER, "STARTED"), (OLDER, "DUPLICATE")):
        upload(cloud, version)
        assert app.handler(event_for(version), CONTEXT)["outcome"] == outcome
    assert sorted(executions(machine)) == [RUN, f"{NEWER}-r1"]


@pytest.mark.parametrize("status", ["REJECTED", "UNCHANGED", "FAILED", "ABORTED", "ROLLED_BACK"])
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


@pytest.mark.parametrize("status", ["REJECTED", "UNCHANGED", "FAILED", "ABORTED", "ROLLED_BACK"])
@pytest.mark.fault("M17")
def test_a_stale_version_is_trained_on_once_the_newer_run_has_ended_without_a_deployment(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType], status: str
) -> None:
    """The newer version is announced first, so the older one is stale while that one's run goes on."""
    app = load("on_data_ready")
    for version in (VERSION, OLDER):
        upload(cloud, version)
    assert app.handler(event_for(VERSION), CONTEXT)["outcome"] == "STARTED"
    answer = app.handler(event_for(OLDER), CONTEXT)
    assert answer["outcome"] == "STALE"
    assert answer["reasons"] == [
        f"{OLDER} is older than {VERSION}, which was claimed before; if that is not deployed, reconcile announces "
        f"{OLDER} again"
    ]
    assert app.handler(event_for(OLDER), CONTEXT)["outcome"] == "DUPLICATE"
    cloud.put(f"RUN#{RUN}", "STATE", kind="RUN", runId=RUN, datasetVersion=VERSION, status=status)
    assert app.handler(event_for(OLDER), CONTEXT)["outcome"] == "STARTED"
    assert cloud.item(f"DATASET#{OLDER}")["status"] == "CLAIMED"
    assert app.handler(event_for(OLDER), CONTEXT)["outcome"] == "DUPLICATE"
    assert sorted(executions(machine)) == [f"{OLDER}-r1", RUN]


@pytest.mark.fault("M17")
def test_a_stale_version_that_was_damaged_since_is_quarantined(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType]
) -> None:
    upload(cloud, without="items")
    cloud.put(f"DATASET#{VERSION}", kind="DATASET", status="STALE", datasetVersion=VERSION)
    assert load("on_data_ready").handler(sample_event("on_data_ready"), CONTEXT)["outcome"] == "QUARANTINED"
    assert cloud.item(f"DATASET#{VERSION}")["status"] == "QUARANTINED"


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
    counts["read"] = counts["interactions"] = counts["train"] + counts["test"]
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
@pytest.mark.fault("D01")
def test_too_little_data_is_quarantined(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType], rows: dict[str, int], words: str
) -> None:
    upload(cloud, document=with_rows(**rows))
    answer = load("on_data_ready").handler(sample_event("on_data_ready"), CONTEXT)
    assert answer["outcome"] == "QUARANTINED"
    assert any(words in reason for reason in answer["reasons"])
    assert executions(machine) == []


@pytest.mark.parametrize(
    ("rows", "reasons"),
    [
        ({"users": 4}, ["counts.users is 3, fewer than the 4 of its parent"]),
        ({"items": 5}, ["counts.items is 4, fewer than the 5 of its parent"]),
        ({"users": 9, "items": 9}, ["counts.users is 3, fewer than the 9", "counts.items is 4, fewer than the 9"]),
    ],
)
@pytest.mark.fault("E15")
def test_fewer_users_or_items_than_the_parent_are_quarantined(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType], rows: dict[str, int], reasons: list[str]
) -> None:
    upload(cloud, OLDER, with_rows(**rows))
    upload(cloud, document={**manifest_of(), "parentVersion": OLDER})
    answer = load("on_data_ready").handler(sample_event("on_data_ready"), CONTEXT)
    assert answer["outcome"] == "QUARANTINED"
    for reason, words in zip(answer["reasons"], reasons, strict=True):
        assert reason.startswith(words)
        assert reason.endswith(f"of its parent {OLDER}, whose indices it continues: prepare the data again")
    assert executions(machine) == []


@pytest.mark.parametrize("parent", ["there", "gone", "not JSON", "without counts", "no integers"])
def test_a_parent_with_no_more_users_or_that_cannot_be_read_hinders_nothing(
    cloud: Cloud, machine: Any, load: Callable[..., ModuleType], parent: str
) -> None:
    """A parent may be cleaned away; what was wrong with its manifest was said when it came."""
    key = f"datasets/{OLDER}/manifest.json"
    upload(cloud, document={**manifest_of(), "parentVersion": OLDER})
    counts = {"users": 99, "items": 99}
    if parent == "there":
        upload(cloud, OLDER)
    elif parent == "not JSON":
        cloud.write(DATA, key, b'{"counts": {"users": 99, "items": 99}')  # no end
    elif parent == "without counts":
        cloud.write(DATA, key, {"counts": [counts]})
    elif parent == "no integers":
        cloud.write(DATA, key, {"counts": {name: f"{count}" for name, count in counts.items()}})
    assert load("on_data_ready").handler(sample_event("on_data_ready"), CONTEXT)["outcome"] == "STARTED"


@pytest.mark.fault("D03")
def test_a_file_that_the_bucket_lacks_is_named(cloud: Cloud, machine: Any, load: Callable[..., ModuleType]) -> None:
    upload(cloud, without="items")
    answer = load("on_data_ready").handler(sample_event("on_data_ready"), CONTEXT)
    assert answer["reasons"] == ["items/part-00000.parquet is in the manifest but not in the bucket"]
    assert executions(machine) == []


@pytest.mark.fault("D03")
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
