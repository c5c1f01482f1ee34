"""The next pass finds changes whose event was lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from reconcile import backlog
from shared.ledger import Token
from shared.records import JobKind
from tests.unit.functions.cloud import (
    CONTEXT,
    DATA,
    EXECUTION,
    IMAGE,
    JOB,
    MODEL_URL,
    OUTPUT_URL,
    PACKAGE,
    RUN,
    TOKEN,
    VERSION,
    Cloud,
    model_package,
    sample_event,
    success,
    training_job,
)

NOTHING = {"settled": 0, "released": 0, "announced": 0, "failed": 0, "abandoned": 0, "expired": 0, "parked": 0}
NOW = datetime(2026, 11, 23, 16, 0, tzinfo=UTC)
# Hours, since the tests may run long after this module is read.
LATER = datetime.now(UTC) + timedelta(hours=6)


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud) -> ModuleType:
    cloud.listen()
    return load("reconcile")


@pytest.fixture
def states(app: ModuleType, stub: Callable[[Any], Stubber]) -> Stubber:
    return stub(app.STATES)


@pytest.fixture
def functions(app: ModuleType, stub: Callable[[Any], Stubber]) -> Stubber:
    return stub(app.LAMBDA)


@pytest.fixture
def later(app: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes from now, so that everything a test has written is overdue."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return LATER

    monkeypatch.setattr(app, "datetime", Later)


def execution(status: str, arn: str = EXECUTION) -> dict[str, Any]:
    return {
        "executionArn": arn,
        "stateMachineArn": "arn:aws:states:eu-central-1:123456789012:stateMachine:ncf-retraining",
        "name": arn.rpartition(":")[2],
        "status": status,
        "startDate": datetime(2026, 11, 23, 15, 13, tzinfo=UTC),
        "input": json.dumps({"runId": RUN}),
    }


def hold(app: ModuleType, name: str = JOB, **more: Any) -> None:
    app.LEDGER.hold_token(Token(JobKind.TRAINING, name, TOKEN, EXECUTION, run_id=RUN, **more))


def invoked(functions: Stubber, name: str, payload: dict[str, Any]) -> None:
    call = {"FunctionName": name, "InvocationType": "Event", "Payload": json.dumps(payload).encode()}
    functions.add_response("invoke", {"StatusCode": 202}, call)


def test_with_nothing_overdue_nothing_is_done(app: ModuleType, cloud: Cloud) -> None:
    assert app.handler(sample_event("reconcile"), CONTEXT) == NOTHING


def test_a_parked_run_is_told_once_for_each_reason(app: ModuleType, cloud: Cloud, states: Stubber) -> None:
    def waits_for(reason: str) -> int:
        cloud.put(
            f"RUN#{RUN}",
            kind="RUN",
            status="PARKED",
            runId=RUN,
            datasetVersion=VERSION,
            executionArn=EXECUTION,
            reasons=[reason],
            updatedAt=LATER.isoformat(),
        )
        return int(app.handler(sample_event("reconcile"), CONTEXT)["parked"])

    assert [waits_for("no ml.g4dn.xlarge"), waits_for("no ml.g4dn.xlarge"), waits_for("an alarm rings")] == [1, 0, 1]
    first, second = cloud.notifications()
    assert first["Subject"] == f"Run {RUN}: waits"
    assert ("- no ml.g4dn.xlarge" in first["Message"], "- an alarm rings" in second["Message"]) == (True, True)


def test_a_job_whose_event_was_lost_is_answered(app: ModuleType, sagemaker: Stubber, answers: Stubber) -> None:
    hold(app)
    sagemaker.add_response("describe_training_job", training_job("Completed"))
    output = {
        "jobName": JOB,
        "modelDataUrl": MODEL_URL,
        "outputUrl": OUTPUT_URL,
        "image": IMAGE,
        "instanceType": "ml.g4dn.xlarge",
        "instanceCount": 1,
    }
    answers.add_response("send_task_success", {}, success(output))
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "settled": 1}
    assert app.LEDGER.token(JobKind.TRAINING, JOB) is None


def test_a_job_that_runs_is_left_alone(app: ModuleType, sagemaker: Stubber, states: Stubber) -> None:
    hold(app)
    sagemaker.add_response("describe_training_job", training_job("InProgress"))
    states.add_response("describe_execution", execution("RUNNING"), {"executionArn": EXECUTION})
    assert app.handler(sample_event("reconcile"), CONTEXT) == NOTHING
    assert app.LEDGER.token(JobKind.TRAINING, JOB) is not None


def test_a_token_of_an_execution_that_succeeded_is_closed(app: ModuleType, sagemaker: Stubber, states: Stubber) -> None:
    hold(app)
    sagemaker.add_response("describe_training_job", training_job("InProgress"))
    states.add_response("describe_execution", execution("SUCCEEDED"))
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "released": 1}
    assert app.LEDGER.token(JobKind.TRAINING, JOB) is None


def test_a_token_of_an_execution_that_never_was_is_closed(app: ModuleType, sagemaker: Stubber, states: Stubber) -> None:
    hold(app)
    sagemaker.add_response("describe_training_job", training_job("InProgress"))
    states.add_client_error("describe_execution", "ExecutionDoesNotExist", "no", 400)
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "released": 1}


@pytest.mark.fault("M07")
def test_a_failed_execution_with_an_orphan_job_is_handed_over_once(
    app: ModuleType, sagemaker: Stubber, states: Stubber, functions: Stubber, cloud: Cloud
) -> None:
    hold(app)
    cloud.put(f"RUN#{RUN}", kind="RUN", status="RUNNING", datasetVersion=VERSION, executionArn=EXECUTION)
    cloud.table.update_item(
        Key={"pk": f"RUN#{RUN}", "sk": "STATE"},
        UpdateExpression="SET updatedAt = :then",
        ExpressionAttributeValues={":then": "2020-01-01T00:00:00.000Z"},
    )
    sagemaker.add_response("describe_training_job", training_job("InProgress"))
    for _ in range(2):
        states.add_response("describe_execution", execution("TIMED_OUT"))
    invoked(functions, "ncf-handle-failure", backlog.execution_status_change(execution("TIMED_OUT")))
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "failed": 1}
    assert app.LEDGER.token(JobKind.TRAINING, JOB) is not None, "handle_failure needs it to find the orphan"


def test_an_orphan_job_alone_hands_its_failed_execution_over(
    app: ModuleType, sagemaker: Stubber, states: Stubber, functions: Stubber
) -> None:
    hold(app)
    sagemaker.add_response("describe_training_job", training_job("InProgress"))
    states.add_response("describe_execution", execution("FAILED"))
    invoked(functions, "ncf-handle-failure", backlog.execution_status_change(execution("FAILED")))
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "failed": 1}


@pytest.mark.parametrize(("status", "failed"), [("FAILED", 1), ("RUNNING", 0), ("SUCCEEDED", 0)])
def test_a_run_without_a_job_is_handed_over_if_its_execution_failed(
    app: ModuleType, states: Stubber, functions: Stubber, cloud: Cloud, later: None, status: str, failed: int
) -> None:
    cloud.put(f"RUN#{RUN}", kind="RUN", status="RUNNING", datasetVersion=VERSION, executionArn=EXECUTION)
    states.add_response("describe_execution", execution(status))
    if failed:
        invoked(functions, "ncf-handle-failure", backlog.execution_status_change(execution(status)))
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "failed": failed}


def test_a_run_whose_execution_never_began_is_announced_again(
    app: ModuleType, states: Stubber, functions: Stubber, cloud: Cloud, later: None
) -> None:
    cloud.put(f"RUN#{RUN}", kind="RUN", status="RUNNING", datasetVersion=VERSION, executionArn=EXECUTION)
    states.add_client_error("describe_execution", "ExecutionDoesNotExist", "no", 400)
    event = backlog.object_created(DATA, f"datasets/{VERSION}/manifest.json", 0, LATER)
    invoked(functions, "ncf-on-data-ready", event)
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "announced": 1}


def test_a_preparation_that_ended_unnoticed_is_handed_over(
    app: ModuleType, states: Stubber, functions: Stubber, cloud: Cloud, later: None
) -> None:
    arn = sample_event("start_preparation")["executionArn"]
    cloud.put(f"DATASET#{VERSION}", kind="DATASET", status="PREPARING", executionArn=arn)
    states.add_response("describe_execution", execution("ABORTED", arn), {"executionArn": arn})
    invoked(functions, "ncf-handle-failure", backlog.execution_status_change(execution("ABORTED", arn)))
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "failed": 1}


@pytest.mark.parametrize("execution_arn", [None, EXECUTION])
def test_a_preparation_that_has_just_begun_or_names_no_execution_is_left_alone(
    app: ModuleType, cloud: Cloud, execution_arn: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = datetime.now(UTC).isoformat() if execution_arn else "2020-01-01T00:00:00.000Z"
    cloud.put(f"DATASET#{VERSION}", kind="DATASET", status="PREPARING", executionArn=execution_arn, updatedAt=begun)
    monkeypatch.setattr(app, "_execution", lambda arn: pytest.fail(f"{arn} was looked for"))
    assert app.handler(sample_event("reconcile"), CONTEXT) == NOTHING


@pytest.mark.fault("D08")
def test_a_manifest_whose_event_was_lost_is_announced(
    app: ModuleType, functions: Stubber, cloud: Cloud, later: None
) -> None:
    cloud.write(DATA, f"datasets/{VERSION}/manifest.json", {})
    event = backlog.object_created(DATA, f"datasets/{VERSION}/manifest.json", 0, LATER)
    invoked(functions, "ncf-on-data-ready", event)
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "announced": 1}


def test_a_fresh_manifest_is_left_to_its_event(app: ModuleType, functions: Stubber, cloud: Cloud) -> None:
    cloud.write(DATA, f"datasets/{VERSION}/manifest.json", {})
    assert app.handler(sample_event("reconcile"), CONTEXT) == NOTHING


@pytest.mark.parametrize("status", ["CLAIMED", "QUARANTINED"])
def test_a_manifest_that_was_decided_on_is_left_alone(
    app: ModuleType, functions: Stubber, cloud: Cloud, later: None, status: str
) -> None:
    cloud.write(DATA, f"datasets/{VERSION}/manifest.json", {})
    cloud.put(f"DATASET#{VERSION}", kind="DATASET", status=status)
    cloud.put(f"RUN#{RUN}", kind="RUN", status="DEPLOYED")
    assert app.handler(sample_event("reconcile"), CONTEXT) == NOTHING


def test_versions_older_than_the_newest_claimed_are_not_looked_at(
    app: ModuleType, functions: Stubber, cloud: Cloud, later: None
) -> None:
    cloud.write(DATA, "datasets/v20200101t000000z-00000000/manifest.json", {})
    cloud.write(DATA, "datasets/notes/readme.txt", b"no version")
    cloud.put("DATASET", "NEWEST_CLAIMED", datasetVersion=VERSION)
    assert app.handler(sample_event("reconcile"), CONTEXT) == NOTHING


@pytest.mark.fault("M18")
def test_behind_a_forged_newest_version_others_are_still_found(
    app: ModuleType, functions: Stubber, cloud: Cloud, later: None
) -> None:
    cloud.put("DATASET", "NEWEST_CLAIMED", datasetVersion="v20991231t235959z-0000dead")
    cloud.write(DATA, f"datasets/{VERSION}/manifest.json", {})
    event = backlog.object_created(DATA, f"datasets/{VERSION}/manifest.json", 0, LATER)
    invoked(functions, "ncf-on-data-ready", event)
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "announced": 1}


@pytest.mark.fault("M18")
def test_a_folder_whose_name_tells_no_time_hinders_no_other(app: ModuleType, functions: Stubber, cloud: Cloud) -> None:
    cloud.write(DATA, "datasets/v20251399t999999z-00000000/train/part-00000.parquet", b"x")
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "abandoned": 1}


OLD, OLDEST = "v20261122t000000z-00000000", "v20261121t000000z-00000000"


def stale_behind(cloud: Cloud, status: str | None) -> None:
    """Two versions that are stale because of a third one, whose run is `status` (None: it is being claimed)."""
    cloud.put("DATASET", "NEWEST_CLAIMED", datasetVersion=VERSION)
    cloud.put(f"DATASET#{VERSION}", kind="DATASET", status="CLAIMED", datasetVersion=VERSION, runId=RUN)
    if status is not None:
        run = {"runId": RUN, "datasetVersion": VERSION, "executionArn": EXECUTION, "updatedAt": "2099-01-01T00:00:00Z"}
        cloud.put(f"RUN#{RUN}", kind="RUN", status=status, **run)
    for version in (OLD, OLDEST):
        cloud.write(DATA, f"datasets/{version}/manifest.json", {})
        cloud.put(f"DATASET#{version}", kind="DATASET", status="STALE", datasetVersion=version)


@pytest.mark.parametrize("status", ["REJECTED", "UNCHANGED", "FAILED", "ABORTED", "ROLLED_BACK"])
@pytest.mark.fault("M17")
def test_the_newest_stale_version_is_announced_again_when_the_newer_run_was_not_deployed(
    app: ModuleType, functions: Stubber, cloud: Cloud, later: None, status: str
) -> None:
    stale_behind(cloud, status)
    cloud.put("SERVING", "CURRENT", runId=f"{OLDEST}-r1", datasetVersion=OLDEST, since="2026-11-21T00:00:00Z")
    event = backlog.object_created(DATA, f"datasets/{OLD}/manifest.json", 0, LATER)
    invoked(functions, "ncf-on-data-ready", event)
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "announced": 1}


@pytest.mark.fault("M17")
def test_after_its_own_run_the_stale_version_before_it_is_announced(
    app: ModuleType, functions: Stubber, cloud: Cloud, later: None
) -> None:
    stale_behind(cloud, "REJECTED")
    cloud.put(f"RUN#{OLD}-r1", kind="RUN", status="REJECTED", datasetVersion=OLD)
    event = backlog.object_created(DATA, f"datasets/{OLDEST}/manifest.json", 0, LATER)
    invoked(functions, "ncf-on-data-ready", event)
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "announced": 1}


@pytest.mark.parametrize("status", ["RUNNING", "PARKED", "DEPLOYED", None])
def test_a_stale_version_waits_while_the_newer_one_holds_the_place(
    app: ModuleType, functions: Stubber, cloud: Cloud, status: str | None
) -> None:
    stale_behind(cloud, status)
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "parked": int(status == "PARKED")}


def test_a_stale_version_older_than_the_serving_one_or_gone_stays(
    app: ModuleType, functions: Stubber, cloud: Cloud, later: None
) -> None:
    stale_behind(cloud, "REJECTED")
    cloud.put("SERVING", "CURRENT", runId=f"{OLD}-r1", datasetVersion=OLD, since="2026-11-22T00:00:00Z")
    assert app.handler(sample_event("reconcile"), CONTEXT) == NOTHING
    cloud.put("SERVING", "CURRENT", runId=f"{OLDEST}-r1", datasetVersion=OLDEST, since="2026-11-21T00:00:00Z")
    cloud.s3.delete_object(Bucket=DATA, Key=f"datasets/{OLD}/manifest.json")
    assert app.handler(sample_event("reconcile"), CONTEXT) == NOTHING


@pytest.mark.fault("M18")
def test_a_version_that_a_forged_newest_one_made_stale_is_announced_again(
    app: ModuleType, functions: Stubber, cloud: Cloud, later: None
) -> None:
    cloud.put("DATASET", "NEWEST_CLAIMED", datasetVersion="v20991231t235959z-0000dead")
    cloud.write(DATA, f"datasets/{OLD}/manifest.json", {})
    cloud.put(f"DATASET#{OLD}", kind="DATASET", status="STALE", datasetVersion=OLD)
    event = backlog.object_created(DATA, f"datasets/{OLD}/manifest.json", 0, LATER)
    invoked(functions, "ncf-on-data-ready", event)
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "announced": 1}


@pytest.mark.parametrize("key", ["datasets/draft/manifest.json", f"datasets/{VERSION}/manifest.json.part"])
def test_what_is_no_manifest_of_a_version_is_not_announced(
    app: ModuleType, functions: Stubber, cloud: Cloud, later: None, key: str
) -> None:
    cloud.write(DATA, key, {})
    assert app.handler(sample_event("reconcile"), CONTEXT)["announced"] == 0


@pytest.mark.fault("D02")
def test_parts_without_a_manifest_are_warned_of_after_a_day(
    app: ModuleType, functions: Stubber, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.write(DATA, "datasets/v20200101t000000z-00000000/train/part-00000.parquet", b"x")
    fresh = datetime.now(UTC).strftime("v%Y%m%dt%H%M%Sz-00000000")
    cloud.write(DATA, f"datasets/{fresh}/train/part-00000.parquet", b"x")
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "abandoned": 1}
    assert '"DatasetWithoutManifest"' in capsys.readouterr().out


def test_one_bad_entry_does_not_hide_the_others(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, states: Stubber
) -> None:
    hold(app, "a-job-that-cannot-be-described")
    hold(app)
    sagemaker.add_client_error("describe_training_job", "ThrottlingException", "slow down", 400)
    sagemaker.add_response("describe_training_job", training_job("Completed"))
    answers.add_response("send_task_success", {})
    with pytest.raises(
        Exception, match=r"1 entries failed and are left for the next pass: token: .*ThrottlingException"
    ) as caught:
        app.handler(sample_event("reconcile"), CONTEXT)
    assert type(caught.value).__name__ == "DependencyFailed"
    assert len(app.LEDGER.open_tokens()) == 1


def test_the_age_of_the_serving_model_is_measured(
    app: ModuleType, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    since = (datetime.now(UTC) - timedelta(hours=30)).isoformat().replace("+00:00", "Z")
    cloud.put("SERVING", "CURRENT", runId=RUN, datasetVersion=VERSION, since=since)
    app.handler(sample_event("reconcile"), CONTEXT)
    blobs = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    blob = next(blob for blob in blobs if "ServingModelAgeHours" in blob)
    assert blob["ServingModelAgeHours"] == [pytest.approx(30, abs=0.1)]
    assert blob["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]


# A question that nobody answers


def hold_question(
    app: ModuleType, cloud: Cloud, asked_at: datetime, kind: JobKind = JobKind.APPROVAL, name: str = PACKAGE
) -> None:
    app.LEDGER.hold_token(Token(kind, name, TOKEN, EXECUTION, run_id=RUN, dataset_version=VERSION))
    cloud.table.update_item(
        Key={"pk": f"JOB#{kind}#{name}", "sk": "TOKEN"},
        UpdateExpression="SET updatedAt = :asked_at",
        ExpressionAttributeValues={":asked_at": asked_at.isoformat().replace("+00:00", "Z")},
    )


def test_a_model_that_nobody_decides_on_in_time_is_rejected_in_the_registry_and_in_the_run(
    app: ModuleType, sagemaker: Stubber, states: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    hold_question(app, cloud, datetime.now(UTC) - timedelta(hours=169))
    words = "no decision within 168 h"
    sagemaker.add_response("describe_model_package", model_package("PendingManualApproval"))
    states.add_response("describe_execution", execution("RUNNING"))
    rejected = {"ModelPackageArn": PACKAGE, "ModelApprovalStatus": "Rejected", "ApprovalDescription": words}
    sagemaker.add_response("update_model_package", {"ModelPackageArn": PACKAGE}, rejected)
    sagemaker.add_response("describe_model_package", model_package("Rejected", ApprovalDescription=words))
    answers.add_response("send_task_success", {}, success({"status": "Rejected", "reason": words}))
    assert app.handler(sample_event("reconcile"), CONTEXT) == {**NOTHING, "expired": 1}
    assert app.LEDGER.token(JobKind.APPROVAL, PACKAGE) is None


def test_a_person_has_until_the_deadline(app: ModuleType, sagemaker: Stubber, states: Stubber, cloud: Cloud) -> None:
    hold_question(app, cloud, datetime.now(UTC) - timedelta(hours=167))
    sagemaker.add_response("describe_model_package", model_package("PendingManualApproval"))
    states.add_response("describe_execution", execution("RUNNING"))
    assert app.handler(sample_event("reconcile"), CONTEXT) == NOTHING
    assert app.LEDGER.token(JobKind.APPROVAL, PACKAGE) is not None


def test_the_deadline_is_that_of_questions_alone(
    app: ModuleType, sagemaker: Stubber, states: Stubber, cloud: Cloud
) -> None:
    hold_question(app, cloud, datetime.now(UTC) - timedelta(hours=169), JobKind.TRAINING, JOB)
    sagemaker.add_response("describe_training_job", training_job("InProgress"))
    states.add_response("describe_execution", execution("RUNNING"))
    assert app.handler(sample_event("reconcile"), CONTEXT) == NOTHING
