"""The outcome of a run or a preparation that did not fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from contracts import withdrawn
from contracts.withdrawn import Withdrawn
from record_outcome import outcome
from tests.unit.functions.cloud import CONTEXT, EXECUTION, RUN, VERSION, Cloud, sample_event


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud) -> ModuleType:
    cloud.listen()
    cloud.put(f"RUN#{RUN}", kind="RUN", status="RUNNING", runId=RUN, executionArn=EXECUTION)
    cloud.put(f"DATASET#{VERSION}", kind="DATASET", status="CLAIMED", runId=RUN)
    cloud.put("LOCK", "DEPLOYMENT", runId=RUN, fence=1, leasedUntil=99_999_999_999)
    return load("record_outcome")


def event(kind: str, **more: Any) -> dict[str, Any]:
    return {**sample_event("record_outcome"), "outcome": kind, **more}


def test_a_deployed_model_ends_the_run_of_its_sample_event(app: ModuleType, cloud: Cloud) -> None:
    assert app.handler(sample_event("record_outcome"), CONTEXT) == {"status": "DEPLOYED"}
    assert cloud.item(f"RUN#{RUN}")["status"] == "DEPLOYED"
    assert cloud.item("LOCK", "DEPLOYMENT")["runId"] is None
    assert [kind for kind, _ in cloud.events()] == ["ModelDeployed"]
    assert [note["Subject"] for note in cloud.notifications()] == [f"Run {RUN}: its model serves"]


def test_told_twice_it_notifies_once(app: ModuleType, cloud: Cloud) -> None:
    app.handler(sample_event("record_outcome"), CONTEXT)
    app.handler(sample_event("record_outcome"), CONTEXT)
    assert len(cloud.notifications()) == 1
    assert cloud.item(f"RUN#{RUN}")["status"] == "DEPLOYED"


def test_a_rejection_carries_the_reasons_of_the_gate(app: ModuleType, cloud: Cloud) -> None:
    reasons = ["hit rate at 10 is 0.4100, below the floor of 0.55"]
    app.handler(event("REJECTED", evaluation={"verdict": "REJECTED", "reasons": reasons}), CONTEXT)
    run = cloud.item(f"RUN#{RUN}")
    assert (run["status"], run["reasons"]) == ("REJECTED", reasons)
    detail = {"schemaVersion": "1.0", "namePrefix": "ncf", "runId": RUN, "datasetVersion": VERSION, "reasons": reasons}
    assert cloud.events() == [("ModelRejected", detail)]
    assert reasons[0] in cloud.notifications()[0]["Message"]
    assert cloud.item(f"DATASET#{VERSION}")["status"] == "CLAIMED"


def test_a_model_equal_to_the_serving_one_changes_nothing(app: ModuleType, cloud: Cloud) -> None:
    reasons = ["the model equals the serving model in every figure: it is not deployed"]
    answer = app.handler(event("UNCHANGED", evaluation={"verdict": "UNCHANGED", "reasons": reasons}), CONTEXT)
    assert answer == {"status": "UNCHANGED"}
    run = cloud.item(f"RUN#{RUN}")
    assert (run["status"], run["reasons"]) == ("UNCHANGED", reasons)
    assert cloud.events()[0][0] == "ModelUnchanged"
    assert "its model equals the serving one" in cloud.notifications()[0]["Subject"]


def test_a_no_of_a_person_is_a_rejection_with_their_words(app: ModuleType, cloud: Cloud) -> None:
    app.handler(event("REJECTED", approval={"status": "Rejected", "reason": "odd lists"}), CONTEXT)
    assert cloud.item(f"RUN#{RUN}")["reasons"] == ["the model was not approved: odd lists"]


def test_a_stale_run_is_a_rejection_and_its_data_are_stale(app: ModuleType, cloud: Cloud) -> None:
    cause = json.dumps({"errorMessage": f"{VERSION} is older than v2, which serves", "errorType": "StaleVersion"})
    app.handler(event("REJECTED", error={"Error": "StaleVersion", "Cause": cause}), CONTEXT)
    assert cloud.item(f"RUN#{RUN}")["reasons"] == [f"{VERSION} is older than v2, which serves"]
    assert cloud.item(f"DATASET#{VERSION}")["status"] == "STALE"


def test_a_redriven_run_may_end_well_after_all(app: ModuleType, cloud: Cloud) -> None:
    cloud.put(f"RUN#{RUN}", kind="RUN", status="FAILED", runId=RUN)
    app.handler(sample_event("record_outcome"), CONTEXT)
    assert cloud.item(f"RUN#{RUN}")["status"] == "DEPLOYED"


PREPARED = {"preparation": {"datasetVersion": VERSION}}


def test_a_prepared_version_is_told_of(app: ModuleType, cloud: Cloud) -> None:
    cloud.put(f"DATASET#{VERSION}", kind="DATASET", status="PREPARING")
    assert app.handler(event("PREPARED", **PREPARED), CONTEXT) == {"status": "PREPARED"}
    assert cloud.item(f"DATASET#{VERSION}")["status"] == "PREPARED"
    detail = {"schemaVersion": "1.0", "namePrefix": "ncf", "runId": None, "datasetVersion": VERSION}
    assert cloud.events() == [("DatasetPrepared", detail)]
    assert cloud.notifications() == []


def test_the_newest_data_tell_recommend_which_items_are_withdrawn(app: ModuleType, cloud: Cloud) -> None:
    older, newer = (f"v{year}0102t030405z-0a1b2c3d" for year in (2020, 2040))

    def prepare(version: str, *items: str) -> list[str]:
        if items:
            app.DATA.put(f"datasets/{version}/withdrawn.json", withdrawn.as_json(version, items).encode())
        cloud.put(f"DATASET#{version}", kind="DATASET", status="PREPARING")
        app.handler(event("PREPARED", preparation={"datasetVersion": version}), CONTEXT)
        kept = app.ARTIFACTS.get("serving/withdrawn.json")
        return sorted(Withdrawn.from_json(kept.content).items) if kept else []

    assert prepare(VERSION) == []
    assert prepare(VERSION, "a", "b") == ["a", "b"]
    assert prepare(older, "c") == ["a", "b"]
    assert prepare(newer, "d") == ["d"]
    app.ARTIFACTS.put("serving/withdrawn.json", b"{broken")
    assert prepare(VERSION, "e") == ["e"]


@pytest.mark.parametrize("status", ["CLAIMED", "STALE", "QUARANTINED"])
def test_a_manifest_that_was_faster_is_not_set_back(app: ModuleType, cloud: Cloud, status: str) -> None:
    cloud.put(f"DATASET#{VERSION}", kind="DATASET", status=status)
    app.handler(event("PREPARED", **PREPARED), CONTEXT)
    assert cloud.item(f"DATASET#{VERSION}")["status"] == status


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "outcome must be one of DEPLOYED, REJECTED, UNCHANGED, PREPARED, RESTORED"),
        ({"outcome": "WON"}, "outcome must be one of DEPLOYED, REJECTED, UNCHANGED, PREPARED, RESTORED"),
        ({"outcome": "PREPARED"}, "preparation.datasetVersion must be a dataset version"),
        ({"outcome": "DEPLOYED", "runId": "x"}, "runId must be a run id"),
    ],
)
def test_names_what_is_wrong_with_a_state_without_an_outcome(document: Any, words: str) -> None:
    with pytest.raises(Exception) as caught:
        outcome.from_event(document)
    assert type(caught.value).__name__ == "InvalidInput"
    assert words in str(caught.value)


def test_a_bus_that_refuses_is_tried_again(app: ModuleType, stub: Callable[[Any], Any]) -> None:
    refused = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure", "ErrorMessage": "down"}]}
    stub(app.EVENTS).add_response("put_events", refused)
    with pytest.raises(Exception, match="PutEvents ModelDeployed: InternalFailure") as caught:
        app.handler(sample_event("record_outcome"), CONTEXT)
    assert type(caught.value).__name__ == "DependencyFailed"


@pytest.mark.fault("M19")
def test_a_late_record_of_a_deployment_changes_nothing_after_the_model_was_taken_back(
    app: ModuleType, cloud: Cloud
) -> None:
    """An execution was aborted after Verify, a person took its model back, and the execution was redriven."""
    cloud.put(f"RUN#{RUN}", kind="RUN", status="ROLLED_BACK", runId=RUN, reasons=["customers complain"])
    app.handler(sample_event("record_outcome"), CONTEXT)
    assert (cloud.item(f"RUN#{RUN}")["status"], cloud.item(f"RUN#{RUN}")["reasons"]) == (
        "ROLLED_BACK", ["customers complain"],
    )  # fmt: skip
    assert (cloud.events(), cloud.notifications()) == ([], [])


def test_a_rollback_is_recorded_with_both_runs_and_gives_its_lock_back(app: ModuleType, cloud: Cloud) -> None:
    newer = "v20261124t000000z-00000000-r1"
    cloud.put(f"RUN#{newer}", kind="RUN", status="DEPLOYED", runId=newer, endedAt="2026-11-24T00:10:00+00:00")
    cloud.put(f"RUN#{RUN}", kind="RUN", status="DEPLOYED", runId=RUN, reasons=["it was better"])
    cloud.put("LOCK", "DEPLOYMENT", runId="7f", fence=1, leasedUntil=99_999_999_999)
    outcome_input = {"outcome": "RESTORED", "runId": RUN, "from": newer, "reason": "odd lists"}
    payload = {**outcome_input, "executionArn": "arn:aws:states:eu-central-1:123456789012:execution:ncf-rollback:7f"}
    for _ in range(2):
        assert app.handler(payload, CONTEXT) == {"status": "RESTORED"}
    words = f"{RUN} serves again, instead of {newer}: odd lists"
    replaced = cloud.item(f"RUN#{newer}")
    assert (replaced["status"], replaced["reasons"]) == ("ROLLED_BACK", [words])
    assert replaced["endedAt"] == "2026-11-24T00:10:00+00:00", "the run itself took no longer"
    assert cloud.item(f"RUN#{RUN}")["reasons"] == ["it was better"]
    assert cloud.item("ROLLBACK#7f")["status"] == "RESTORED"
    assert cloud.item("LOCK", "DEPLOYMENT")["runId"] is None
    assert {kind for kind, _ in cloud.events()} == {"ModelDeployed"}
    [note] = cloud.notifications()
    assert note["Subject"].startswith(f"Run {RUN}: its model serves again")
    assert "odd lists" in note["Message"]
