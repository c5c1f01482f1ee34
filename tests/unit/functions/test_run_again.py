"""A run that waits is PARKED and continues; a failed run is restarted at the state that failed."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from shared.ledger import Token
from shared.records import JobKind
from tests.unit.functions.cloud import (
    CONTEXT,
    EXECUTION,
    JOB,
    RUN,
    TOKEN,
    VERSION,
    Cloud,
    endpoint,
    sample_event,
    tags_of_training,
    training_job,
)

pytestmark = pytest.mark.slow  # whole stories through several functions

RESTART = f"{EXECUTION}-restart-1"
STAGE = f"DECISION#restart#{RUN}-restart-1"
NOT_FOUND = ("describe_training_job", "ValidationException", "Requested resource not found.", 400)


def known(cloud: Cloud, status: str, execution: str = EXECUTION, **more: Any) -> None:
    more = {"startedAt": "2026-11-23T15:13:10.000Z", "reasons": ["Evaluate: no"], **more}
    cloud.put(
        f"RUN#{RUN}", kind="RUN", status=status, runId=RUN, datasetVersion=VERSION, executionArn=execution, **more
    )


def state(cloud: Cloud) -> dict[str, Any]:
    return cloud.item(f"RUN#{RUN}")


# Parked


@pytest.fixture
def app(load: Callable[..., ModuleType], request: pytest.FixtureRequest) -> ModuleType:
    return load(request.param)


@pytest.mark.parametrize("app", ["start_training"], indirect=True)
def test_a_run_whose_job_cannot_be_created_for_want_of_capacity_is_parked_and_goes_on(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud
) -> None:
    known(cloud, "RUNNING")
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_client_error("create_training_job", "ResourceLimitExceeded", "0 instances", 400)
    with pytest.raises(Exception, match="0 instances") as caught:
        app.handler(sample_event("start_training"), CONTEXT)
    assert type(caught.value).__name__ == "CapacityUnavailable"
    parked = state(cloud)
    assert parked["status"] == "PARKED"
    assert parked["reasons"] == ["sagemaker CreateTrainingJob: ResourceLimitExceeded: 0 instances"]
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_response("create_training_job", {"TrainingJobArn": training_job()["TrainingJobArn"]})
    assert app.handler(sample_event("start_training"), CONTEXT)["jobName"] == JOB
    assert state(cloud)["status"] == "RUNNING"


@pytest.mark.parametrize("app", ["on_job_finished"], indirect=True)
def test_a_run_whose_job_found_no_capacity_is_parked(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    known(cloud, "RUNNING")
    app.LEDGER.hold_token(Token(JobKind.TRAINING, JOB, TOKEN, EXECUTION, run_id=RUN, dataset_version=VERSION))
    sagemaker.add_response("describe_training_job", training_job("Failed", FailureReason="CapacityError: no g4dn"))
    answers.add_response("send_task_failure", {})
    app.handler(sample_event("on_job_finished"), CONTEXT)
    parked = state(cloud)
    assert (parked["status"], parked["reasons"]) == ("PARKED", [f"training job {JOB} failed: CapacityError: no g4dn"])


@pytest.mark.parametrize("app", ["start_training"], indirect=True)
def test_a_parked_run_trains_under_a_new_name(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    known(cloud, "PARKED")
    sagemaker.add_response("describe_training_job", training_job("Failed", FailureReason="CapacityError: no g4dn"))
    sagemaker.add_response("create_training_job", {"TrainingJobArn": training_job()["TrainingJobArn"]})
    assert app.handler(sample_event("start_training"), CONTEXT)["jobName"] == f"{JOB}-t2"
    assert (state(cloud)["status"], state(cloud)["trainingAttempt"]) == ("RUNNING", 2)


@pytest.mark.parametrize("app", ["deploy"], indirect=True)
@pytest.mark.fault("P04")
def test_a_run_that_waits_for_the_endpoint_is_parked_until_it_is_its_turn(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(cloud, "RUNNING")
    monkeypatch.setattr(app, "_approved_container", lambda event: {})
    monkeypatch.setattr(app, "_require_own", lambda deployment, container: None)
    sagemaker.add_response("describe_endpoint", endpoint("SystemUpdating", "ncf-older"))
    with pytest.raises(Exception, match="is changing"):
        app.handler(sample_event("deploy"), CONTEXT)
    assert state(cloud)["status"] == "PARKED"
    assert "is changing" in state(cloud)["reasons"][0]
    sagemaker.add_response("describe_endpoint", endpoint("InService", f"ncf-{RUN}"))
    answers.add_response("send_task_success", {})
    app.handler(sample_event("deploy"), CONTEXT)
    assert (state(cloud)["status"], state(cloud)["reasons"]) == ("RUNNING", [])


@pytest.mark.parametrize("app", ["reconcile"], indirect=True)
@pytest.mark.parametrize("status", ["DEPLOYED", "REJECTED", "FAILED", "ABORTED"])
def test_what_is_over_is_never_parked(app: ModuleType, cloud: Cloud, status: str) -> None:
    known(cloud, status)
    assert app.LEDGER.park_run(RUN, "late") is False
    assert app.LEDGER.unpark_run(RUN) is False
    assert app.LEDGER.park_run("v20260101t000000z-00000000-r1", "unknown") is False
    assert state(cloud)["status"] == status


# Restarted


def again(**changed: Any) -> dict[str, Any]:
    return {**sample_event("start_training"), "executionArn": RESTART, **changed}


@pytest.mark.parametrize("app", ["start_training"], indirect=True)
@pytest.mark.parametrize("status", ["FAILED", "ABORTED", "ROLLED_BACK"])
def test_a_restart_takes_the_training_that_is_done(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud, status: str
) -> None:
    known(cloud, status, error="InvalidInput", endedAt="2026-11-23T15:20:00.000Z")
    sagemaker.add_response("describe_training_job", training_job())
    sagemaker.add_response("list_tags", tags_of_training())
    sagemaker.add_response("describe_training_job", training_job())
    answers.add_response("send_task_success", {})
    assert app.handler(again(), CONTEXT)["jobName"] == JOB
    found = state(cloud)
    assert (found["status"], found["executionArn"]) == ("RUNNING", RESTART)
    # The recorded end is cleared.
    assert (found["reasons"], found["error"], found["endedAt"]) == ([], None, None)
    assert found["startedAt"] == "2026-11-23T15:13:10.000Z"
    remembered = cloud.item(f"RUN#{RUN}", STAGE)
    assert (remembered["verdict"], remembered["reasons"]) == ("RESTARTED", ["Evaluate: no"])
    assert remembered["figures"] == {
        "executionArn": RESTART,
        "earlierExecutionArn": EXECUTION,
        "earlierStatus": status,
    }


@pytest.mark.parametrize("app", ["start_training"], indirect=True)
def test_a_restart_after_a_failed_training_trains_again(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    known(cloud, "FAILED")
    sagemaker.add_response("describe_training_job", training_job("Failed", FailureReason="AlgorithmError: NaN"))
    sagemaker.add_response("create_training_job", {"TrainingJobArn": training_job()["TrainingJobArn"]})
    assert app.handler(again(), CONTEXT)["jobName"] == f"{JOB}-t2"


@pytest.mark.parametrize("app", ["start_training"], indirect=True)
@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("RUNNING", f"it is RUNNING as {EXECUTION}"),
        ("PARKED", f"it is PARKED as {EXECUTION}"),
        ("DEPLOYED", "it ended as DEPLOYED; start the next attempt"),
        ("REJECTED", "it ended as REJECTED; start the next attempt"),
    ],
)
@pytest.mark.fault("M11")
def test_a_run_that_goes_on_or_ended_well_is_not_restarted(
    app: ModuleType, cloud: Cloud, status: str, words: str
) -> None:
    known(cloud, status)
    with pytest.raises(Exception, match=f"run {RUN} cannot be started: ") as caught:
        app.handler(again(), CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"
    assert words in str(caught.value)
    assert (state(cloud)["status"], state(cloud)["executionArn"]) == (status, EXECUTION)
    assert (cloud.item(f"RUN#{RUN}", STAGE)["verdict"], cloud.item(f"RUN#{RUN}", STAGE)["reasons"]) == (
        "REFUSED", [words],
    )  # fmt: skip


@pytest.mark.fault("M11")
@pytest.mark.parametrize("app", ["start_training"], indirect=True)
def test_the_next_attempt_is_a_run_of_its_own_from_its_beginning(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud
) -> None:
    known(cloud, "REJECTED")
    run = f"{VERSION}-r2"
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_response("create_training_job", {"TrainingJobArn": training_job()["TrainingJobArn"]})
    execution = EXECUTION.replace(RUN, run)
    assert app.handler(again(runId=run, executionArn=execution), CONTEXT)["jobName"] == f"ncf-{run}"
    second = cloud.item(f"RUN#{run}")
    assert (second["status"], second["executionArn"]) == ("RUNNING", execution)
    assert second["startedAt"] > "2026"
    assert state(cloud)["status"] == "REJECTED"


def failed(execution: str, **changed: Any) -> dict[str, Any]:
    return {**sample_event("handle_failure"), "executionArn": execution, **changed}


@pytest.mark.parametrize("app", ["handle_failure"], indirect=True)
def test_the_failure_of_a_restart_that_was_refused_does_not_end_the_run_that_goes_on(
    app: ModuleType, cloud: Cloud
) -> None:
    cloud.listen()
    known(cloud, "RUNNING")
    cloud.put("LOCK", "DEPLOYMENT", runId=RUN, fence=1, leasedUntil=99_999_999_999)
    app.LEDGER.hold_token(Token(JobKind.TRAINING, JOB, TOKEN, EXECUTION, run_id=RUN, dataset_version=VERSION))
    assert app.handler(failed(RESTART), CONTEXT) == {"status": "ABORTED", "notified": False}
    assert state(cloud)["status"] == "RUNNING"
    assert cloud.item("LOCK", "DEPLOYMENT")["runId"] == RUN
    assert app.LEDGER.token(JobKind.TRAINING, JOB) is not None
    assert cloud.notifications() == []


@pytest.mark.fault("M06")
@pytest.mark.parametrize("app", ["handle_failure"], indirect=True)
@pytest.mark.parametrize(("ended_as", "status"), [("ABORTED", "ABORTED"), ("TIMED_OUT", "FAILED")])
def test_a_restart_that_is_stopped_from_outside_ends_its_run(
    app: ModuleType, cloud: Cloud, ended_as: str, status: str
) -> None:
    """Only the event on its end tells of it, and its name is not the run's."""
    cloud.listen()
    known(cloud, "RUNNING", RESTART)
    event = sample_event("handle_failure_status_change")
    event["detail"] |= {"executionArn": RESTART, "name": RESTART.rpartition(":")[2], "status": ended_as}
    assert app.handler(event, CONTEXT)["status"] == status
    assert state(cloud)["status"] == status
    assert [item["pk"] for item in cloud.table.scan()["Items"] if item["pk"].startswith("DATASET#")] == []


@pytest.mark.parametrize("app", ["handle_failure"], indirect=True)
def test_a_restart_that_fails_too_is_told_once_more(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    cloud.listen()
    known(cloud, "RUNNING")
    assert app.handler(failed(EXECUTION), CONTEXT) == {"status": "FAILED", "notified": True}
    known(cloud, "RUNNING", RESTART)
    for notified in (True, False):
        assert app.handler(failed(RESTART), CONTEXT) == {"status": "FAILED", "notified": notified}
    notifications = cloud.notifications()
    assert [note["Subject"] for note in notifications] == [f"Run {RUN}: failed"] * 2
    assert "restart the run" in notifications[0]["Message"]
