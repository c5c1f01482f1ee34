"""Each failure ends the run once: orphans stopped, lock released, true reason in the ledger, one notification."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from handle_failure import failure, refusal
from shared import names
from shared.errors import InvalidInput
from shared.ledger import Token
from shared.records import JobKind, RunStatus
from tests.unit.functions.cloud import (
    APPLICATION,
    BATCH,
    CONTEXT,
    DATA,
    EXECUTION,
    JOB,
    RUN,
    TOKEN,
    VERSION,
    Cloud,
    job_run,
    sample_event,
    training_job,
    transform_job,
)

PREVIOUS = "ncf-v20261122t000000z-00000000-r1"
PREPARATION_EVENT: dict[str, Any] = {
    **{name: sample_event("start_preparation")[name] for name in ("trigger", "executionArn", "startTime")},
    "machine": "preparation",
    "error": {"Error": "PreparationFailed", "Cause": "preparation job failed: exit status 2"},
    "failedState": "StartPreparation",
    "redriveCount": 0,
}
PREPARED_VERSION = names.preparation_version("", "", PREPARATION_EVENT["trigger"])
PREPARATION_EXECUTION = PREPARATION_EVENT["executionArn"]


def error(name: str, message: str) -> dict[str, str]:
    return {"Error": name, "Cause": json.dumps({"errorMessage": message, "errorType": name})}


def failure_event(**changed: Any) -> dict[str, Any]:
    """The sample event of HandleFailure, with some values changed."""
    return {**sample_event("handle_failure"), **changed}


def ended(status: str, **changed: Any) -> dict[str, Any]:
    """The execution's own event."""
    event = sample_event("handle_failure_status_change")
    event["detail"] |= {"status": status, **changed}
    return event


# What the failure is


def test_the_cause_behind_the_state_machines_error_is_the_reason() -> None:
    found = failure.from_event(
        failure_event(error=error("GoldenRequestMismatch", "item 0 is 'b', not 'a'"), failedState="Verify")
    )
    assert (found.error, found.reasons, found.status) == (
        "GoldenRequestMismatch",
        ("Verify: item 0 is 'b', not 'a'",),
        "FAILED",
    )
    assert found.first_hand


def test_a_rollback_that_put_a_configuration_back_makes_it_rolled_back() -> None:
    found = failure.from_event(failure_event(rollback={"endpointName": "e", "endpointConfigName": PREVIOUS}))
    assert found.status == "ROLLED_BACK"
    assert found.reasons[-1] == f"the endpoint serves {PREVIOUS} again"


@pytest.mark.parametrize(
    "rollback", [{"endpointName": "e", "changed": False}, {"endpointName": "e", "changed": True}, None]
)
def test_a_rollback_that_put_nothing_back_leaves_it_failed(rollback: Any) -> None:
    assert failure.from_event(failure_event(rollback=rollback)).status == "FAILED"


@pytest.mark.fault("M07")
def test_the_alarm_for_which_sagemaker_took_the_endpoint_back_is_named() -> None:
    rollback = {"endpointName": "e", "endpointConfigName": PREVIOUS, "changed": True, "alarms": ["ncf-endpoint-errors"]}
    found = failure.from_event(failure_event(rollback=rollback))
    assert found.reasons[-1] == "in state ALARM after the rollback: ncf-endpoint-errors"
    assert "ncf-endpoint-errors" in failure.notice(found, found.status, list(found.reasons), "ncf")["Message"]


def test_a_rollback_that_failed_too_is_told() -> None:
    found = failure.from_event(failure_event(rollbackError=error("EndpointUnusable", "a person must look")))
    assert found.status == "FAILED"
    assert found.reasons[-1] == "the rollback failed too: a person must look"


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "ABORTED"])
def test_an_executions_own_event_names_the_run(status: str) -> None:
    found = failure.from_event(ended(status))
    assert (found.run_id, found.dataset_version, found.execution_arn) == (RUN, VERSION, EXECUTION)
    assert found.status == ("ABORTED" if status == "ABORTED" else "FAILED")
    assert not found.first_hand


@pytest.mark.parametrize(
    "given", ["[" * 100_000, "{", "[1]", '{"runId": "x", "runId": "y"}', "", None, {"runId": "x"}, 7]
)
def test_an_input_that_cannot_be_read_hides_no_end(given: Any) -> None:
    assert failure.from_event(ended("TIMED_OUT", input=given)).run_id == RUN


@pytest.mark.parametrize("cause", ["[" * 30_000, '{"errorMessage": "\\ud800"}', "\ud800", '{"errorMessage": ["x"]}'])
def test_a_cause_that_cannot_be_read_is_told_as_it_is(cause: str) -> None:
    (reason,) = failure.from_event(failure_event(error={"Error": "E", "Cause": cause}, failedState="S")).reasons
    assert reason.startswith("S: ") and reason.encode()


def test_a_start_that_no_calendar_has_names_no_version() -> None:
    arn = PREPARATION_EXECUTION
    with pytest.raises(InvalidInput, match="the time of the trigger must be ISO 8601, not '1e\\+300'"):
        failure.from_event(ended("TIMED_OUT", executionArn=arn, name="x", input="{}", startDate=1e300))


def test_a_preparations_event_derives_the_version_as_start_preparation_does() -> None:
    arn = PREPARATION_EXECUTION
    by_hand = ended("TIMED_OUT", executionArn=arn, name="x", input="{}", startDate=1795446782512)
    assert failure.from_event(by_hand).dataset_version == names.preparation_version(
        arn, "2026-11-23T15:13:02.512Z", None
    )
    dropped = ended(
        "TIMED_OUT", executionArn=arn, name="x", input=json.dumps({"trigger": PREPARATION_EVENT["trigger"]})
    )
    assert failure.from_event(dropped).dataset_version == PREPARED_VERSION
    assert failure.from_event(PREPARATION_EVENT).dataset_version == PREPARED_VERSION


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ([], "the input of HandleFailure or an execution status change"),
        ({}, "machine must be one of retraining, preparation, batch"),
        (failure_event(executionArn=None), "executionArn a non-empty string"),
        (failure_event(runId="x"), "runId must be a run id"),
        (ended("SUCCEEDED"), "detail.status must be one of FAILED, TIMED_OUT, ABORTED"),
    ],
)
def test_names_what_is_wrong_with_an_event_that_is_no_failure(event: Any, words: str) -> None:
    with pytest.raises(Exception) as caught:
        failure.from_event(event)
    assert type(caught.value).__name__ == "InvalidInput"
    assert words in str(caught.value)


def test_the_notice_fits_sns_and_says_what_to_do() -> None:
    found = failure.from_event(failure_event())
    note = failure.notice(found, RunStatus.FAILED, list(found.reasons), "ncf")
    assert len(note["Subject"]) <= 100 and note["Subject"].isascii()
    assert "the loss is not finite in epoch 3" in note["Message"]
    # A redrive goes on in the Fail state, where the execution has ended: it is no advice.
    assert "drop the data again" in note["Message"] and "redrive" not in note["Message"]
    assert f"#/v2/executions/details/{found.execution_arn}" in note["Message"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"status": "refused", "reasons": ["column x is missing"]}', ["column x is missing"]),
        (b'{"status": "refused"}', ["the data was refused; no reason was given"]),
        (b'{"status": "accepted", "reasons": []}', []),
        (b"[]", []),
        (b"cut", []),
    ],
)
def test_reads_the_preparations_own_word(content: bytes, expected: list[str]) -> None:
    assert refusal.reasons(content) == expected


# The handler


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud) -> ModuleType:
    cloud.listen()
    cloud.put(f"RUN#{RUN}", kind="RUN", status="RUNNING", runId=RUN, executionArn=EXECUTION)
    cloud.put("LOCK", "DEPLOYMENT", runId=RUN, fence=1, leasedUntil=99_999_999_999)
    return load("handle_failure")


def hold(app: ModuleType, kind: JobKind, name: str, **more: Any) -> None:
    app.LEDGER.hold_token(Token(kind, name, TOKEN, **{"execution_arn": EXECUTION, "run_id": RUN, **more}))


def test_the_sample_failure_ends_the_run_with_its_reason_and_one_notification(app: ModuleType, cloud: Cloud) -> None:
    assert app.handler(sample_event("handle_failure"), CONTEXT) == {"status": "FAILED", "notified": True}
    run = cloud.item(f"RUN#{RUN}")
    assert (run["status"], run["error"]) == ("FAILED", "TrainingFailed")
    assert run["reasons"] == [
        f"StartTraining: training job ncf-{RUN} failed: AlgorithmError: the loss is not finite in epoch 3"
    ]
    assert cloud.item("LOCK", "DEPLOYMENT")["runId"] is None
    assert [kind for kind, _ in cloud.events()] == ["RunFailed"]
    notes = cloud.notifications()
    assert [note["Subject"] for note in notes] == [f"Run {RUN}: failed"]
    assert "the loss is not finite in epoch 3" in notes[0]["Message"]


def test_the_executions_own_event_afterwards_adds_nothing(app: ModuleType, cloud: Cloud) -> None:
    app.handler(sample_event("handle_failure"), CONTEXT)
    cloud.notifications()
    answer = app.handler(ended("FAILED", error="RunFailed", cause="The run failed."), CONTEXT)
    assert answer == {"status": "FAILED", "notified": False}
    assert cloud.notifications() == []
    assert cloud.item(f"RUN#{RUN}")["error"] == "TrainingFailed"


def test_both_voices_at_once_notify_once(app: ModuleType, cloud: Cloud) -> None:
    told_twice = [sample_event("handle_failure"), ended("FAILED", error="RunFailed")] * 2
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda event: app.handler(event, CONTEXT), told_twice))
    assert [answer["notified"] for answer in answers].count(True) == 1
    assert len(cloud.notifications()) == 1


@pytest.mark.fault("M03", "M06")
def test_a_timed_out_execution_is_ended_by_its_event_alone_and_its_job_stopped(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud
) -> None:
    hold(app, JobKind.TRAINING, JOB)
    sagemaker.add_response("describe_training_job", training_job("InProgress"), {"TrainingJobName": JOB})
    sagemaker.add_response("stop_training_job", {}, {"TrainingJobName": JOB})
    answer = app.handler(sample_event("handle_failure_status_change"), CONTEXT)
    assert answer == {"status": "FAILED", "notified": True}
    assert app.LEDGER.token(JobKind.TRAINING, JOB) is None
    run = cloud.item(f"RUN#{RUN}")
    assert (run["status"], run["error"]) == ("FAILED", "States.Timeout")
    assert cloud.item("LOCK", "DEPLOYMENT")["runId"] is None


def test_an_orphan_is_found_even_when_the_index_lags_behind(
    app: ModuleType, sagemaker: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(app, JobKind.TRAINING, JOB)
    monkeypatch.setattr(app.LEDGER, "open_tokens", list)
    sagemaker.add_response("describe_training_job", training_job("InProgress"))
    sagemaker.add_response("stop_training_job", {})
    app.handler(sample_event("handle_failure_status_change"), CONTEXT)
    assert app.LEDGER.token(JobKind.TRAINING, JOB) is None


def test_a_job_that_ended_between_the_look_and_the_stop_is_no_fault(app: ModuleType, sagemaker: Stubber) -> None:
    hold(app, JobKind.TRAINING, JOB)
    sagemaker.add_response("describe_training_job", training_job("InProgress"))
    words = "The request was rejected because the training job is in status Completed."
    sagemaker.add_client_error("stop_training_job", "ValidationException", words, 400)
    assert app.handler(sample_event("handle_failure"), CONTEXT)["status"] == "FAILED"


def test_the_jobs_and_the_lock_of_other_runs_are_left_alone(app: ModuleType, cloud: Cloud) -> None:
    hold(app, JobKind.ENDPOINT, "ncf-recommender", execution_arn="another", run_id="another")
    cloud.put("LOCK", "DEPLOYMENT", runId="another", fence=1, leasedUntil=99_999_999_999)
    app.handler(sample_event("handle_failure"), CONTEXT)
    assert app.LEDGER.token(JobKind.ENDPOINT, "ncf-recommender") is not None
    assert cloud.item("LOCK", "DEPLOYMENT")["runId"] == "another"


@pytest.mark.parametrize(
    "event",
    [
        ended("ABORTED"),
        failure_event(error={"Error": "TrainingStopped", "Cause": "training job was stopped by a request"}),
    ],
)
@pytest.mark.fault("M06")
def test_what_a_person_stopped_is_aborted_and_wakes_nobody(
    app: ModuleType, cloud: Cloud, event: dict[str, Any]
) -> None:
    assert app.handler(event, CONTEXT) == {"status": "ABORTED", "notified": False}
    assert cloud.item(f"RUN#{RUN}")["status"] == "ABORTED"
    assert cloud.notifications() == []
    assert app.handler(ended("FAILED", error="RunFailed"), CONTEXT) == {"status": "ABORTED", "notified": False}


def test_a_rolled_back_deployment_is_recorded_as_such(app: ModuleType, cloud: Cloud) -> None:
    event = failure_event(
        error=error("GoldenRequestMismatch", "golden request 1 of 3: item 0 is 'b', not 'a'"),
        failedState="Verify",
        rollback={"endpointName": "ncf-recommender", "endpointConfigName": PREVIOUS},
    )
    assert app.handler(event, CONTEXT)["status"] == "ROLLED_BACK"
    assert cloud.item(f"RUN#{RUN}")["error"] == "GoldenRequestMismatch"
    assert [note["Subject"] for note in cloud.notifications()] == [f"Run {RUN}: rolled back"]


def test_a_model_that_serves_is_not_called_failed_for_what_came_after(app: ModuleType, cloud: Cloud) -> None:
    cloud.put("SERVING", "CURRENT", runId=RUN, datasetVersion=VERSION)
    answer = app.handler(
        failure_event(error=error("DependencyFailed", "sns Publish"), failedState="RecordDeployed"), CONTEXT
    )
    assert answer == {"status": "DEPLOYED", "notified": True}
    assert cloud.item(f"RUN#{RUN}")["reasons"][-1] == "the model was verified and serves; a later step failed"


def test_a_redriven_run_that_fails_again_notifies_again(app: ModuleType, cloud: Cloud) -> None:
    app.handler(sample_event("handle_failure"), CONTEXT)
    cloud.put(f"RUN#{RUN}", kind="RUN", status="RUNNING", runId=RUN)
    again = failure_event(error=error("UntrustworthyReport", "19 test users"), redriveCount=1)
    assert app.handler(again, CONTEXT) == {"status": "FAILED", "notified": True}
    assert cloud.item(f"RUN#{RUN}")["error"] == "UntrustworthyReport"
    assert len(cloud.notifications()) == 2


@pytest.mark.fault("M08")
def test_a_notification_that_fails_hides_nothing_and_is_tried_again(
    app: ModuleType, cloud: Cloud, stub: Callable[[Any], Stubber]
) -> None:
    sns = stub(app.SNS)
    sns.add_client_error("publish", "InternalError", "down", 500)
    with pytest.raises(Exception, match="sns Publish") as caught:
        app.handler(sample_event("handle_failure"), CONTEXT)
    assert type(caught.value).__name__ == "DependencyFailed"
    assert cloud.item(f"RUN#{RUN}")["error"] == "TrainingFailed"
    sns.deactivate()
    assert app.handler(sample_event("handle_failure"), CONTEXT)["notified"] is True
    assert len(cloud.notifications()) == 1


# Preparation


def test_refused_data_is_recorded_with_the_preparations_own_reasons(app: ModuleType, cloud: Cloud) -> None:
    cloud.put(f"DATASET#{PREPARED_VERSION}", kind="DATASET", status="PREPARING", executionArn=PREPARATION_EXECUTION)
    reasons = ["column 'timestamp' is missing; the file has user_id, item_id, time"]
    document = {"schemaVersion": "1.0", "datasetVersion": PREPARED_VERSION, "status": "refused", "reasons": reasons}
    cloud.write(DATA, f"quarantine/{PREPARED_VERSION}/report.json", document)
    assert app.handler(PREPARATION_EVENT, CONTEXT) == {"status": "REFUSED", "notified": True}
    state = cloud.item(f"DATASET#{PREPARED_VERSION}")
    assert (state["status"], state["reasons"]) == ("REFUSED", reasons)
    assert reasons[0] in cloud.notifications()[0]["Message"]
    arn = PREPARATION_EXECUTION
    later = ended("FAILED", executionArn=arn, name="x", input=json.dumps({"trigger": PREPARATION_EVENT["trigger"]}))
    assert app.handler(later, CONTEXT) == {"status": "REFUSED", "notified": False}


def test_a_failed_preparation_without_a_report_is_failed(app: ModuleType, cloud: Cloud) -> None:
    cloud.put(f"DATASET#{PREPARED_VERSION}", kind="DATASET", status="PREPARING", executionArn=PREPARATION_EXECUTION)
    assert app.handler(PREPARATION_EVENT, CONTEXT) == {"status": "FAILED", "notified": True}
    assert "exit status 2" in cloud.item(f"DATASET#{PREPARED_VERSION}")["reasons"][0]


def test_an_input_that_could_not_be_used_still_leaves_a_record(app: ModuleType, cloud: Cloud) -> None:
    event = {**PREPARATION_EVENT, "error": error("InvalidInput", "parameters.output is not known")}
    assert app.handler(event, CONTEXT) == {"status": "FAILED", "notified": True}
    assert "parameters.output is not known" in cloud.item(f"DATASET#{PREPARED_VERSION}")["reasons"][0]


def test_a_preparation_that_ran_out_of_time_is_cancelled(app: ModuleType, emr: Stubber, cloud: Cloud) -> None:
    cloud.put(f"DATASET#{PREPARED_VERSION}", kind="DATASET", status="PREPARING", executionArn=PREPARATION_EXECUTION)
    more = {"execution_arn": PREPARATION_EXECUTION, "run_id": None, "job_id": "00f1"}
    hold(app, JobKind.PREPARATION, f"ncf-{PREPARED_VERSION}", **more)
    emr.add_response("get_job_run", job_run("RUNNING"))
    answer = {"applicationId": APPLICATION, "jobRunId": "00f1"}
    emr.add_response("cancel_job_run", answer, answer)
    event = {**PREPARATION_EVENT, "error": {"Error": "States.Timeout"}}
    assert app.handler(event, CONTEXT)["status"] == "FAILED"
    assert app.LEDGER.token(JobKind.PREPARATION, f"ncf-{PREPARED_VERSION}") is None


def test_a_second_execution_of_the_same_drop_does_not_speak_for_the_version(app: ModuleType, cloud: Cloud) -> None:
    cloud.put(f"DATASET#{PREPARED_VERSION}", kind="DATASET", status="PREPARING", executionArn="the-first")
    app.handler(PREPARATION_EVENT, CONTEXT)
    assert cloud.item(f"DATASET#{PREPARED_VERSION}")["status"] == "PREPARING"
    assert cloud.notifications() == []


def test_no_line_of_the_log_has_the_token(
    app: ModuleType, sagemaker: Stubber, log: Callable[[], list[dict[str, Any]]]
) -> None:
    hold(app, JobKind.TRAINING, JOB)
    sagemaker.add_response("describe_training_job", training_job("InProgress"))
    sagemaker.add_response("stop_training_job", {})
    app.handler(sample_event("handle_failure_status_change"), CONTEXT)
    assert {line.get("run_id") for line in log()} == {RUN}
    assert TOKEN not in json.dumps(log())


# A batch

BATCH_EXECUTION = EXECUTION.replace(f"ncf-retraining:{RUN}", "ncf-batch:7f3c")


def test_a_failed_batch_has_its_reason_in_the_ledger_and_leaves_the_run_alone(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud
) -> None:
    hold(app, JobKind.TRANSFORM, BATCH, execution_arn=BATCH_EXECUTION)
    sagemaker.add_response("describe_transform_job", transform_job("InProgress"))
    sagemaker.add_response("stop_transform_job", {}, {"TransformJobName": BATCH})
    event = {
        "machine": "batch",
        "executionArn": BATCH_EXECUTION,
        "failedState": "StartBatch",
        "error": error("States.Timeout", "nobody answered"),
    }
    assert app.handler(event, CONTEXT) == {"status": "FAILED", "notified": True}
    record = cloud.item("BATCH#7f3c")
    assert (record["status"], record["error"], record["reasons"]) == (
        "FAILED", "States.Timeout", ["StartBatch: nobody answered"],
    )  # fmt: skip
    assert cloud.item(f"RUN#{RUN}")["status"] == "RUNNING"
    assert cloud.item("LOCK", "DEPLOYMENT")["runId"] == RUN, "the lock is a run's"
    assert app.LEDGER.token(JobKind.TRANSFORM, BATCH) is None
    assert cloud.events() == []
    [note] = cloud.notifications()
    assert note["Subject"] == "Batch 7f3c: failed"
    assert "start the batch again" in note["Message"]


def test_a_batch_that_was_aborted_wakes_nobody(app: ModuleType, cloud: Cloud) -> None:
    event = {**sample_event("handle_failure_status_change")}
    event["detail"] = {**event["detail"], "executionArn": BATCH_EXECUTION, "status": "ABORTED", "input": "{}"}
    assert app.handler(event, CONTEXT) == {"status": "ABORTED", "notified": False}
    assert cloud.item("BATCH#7f3c")["status"] == "ABORTED"
    assert cloud.notifications() == []


def test_a_failed_rollback_gives_its_lock_back_and_no_runs_end_is_changed(app: ModuleType, cloud: Cloud) -> None:
    cloud.put("LOCK", "DEPLOYMENT", runId="7f3c", fence=1, leasedUntil=99_999_999_999)
    event = {
        "machine": "rollback",
        "executionArn": BATCH_EXECUTION.replace("-batch", "-rollback"),
        "failedState": "Verify",
        "error": error("GoldenRequestMismatch", "golden request 1 of 3: item 0 is 'b', not 'a'"),
        "rollback": {"endpointName": "ncf-recommender", "endpointConfigName": PREVIOUS},
    }
    assert app.handler(event, CONTEXT) == {"status": "FAILED", "notified": True}
    record = cloud.item("ROLLBACK#7f3c")
    assert (record["status"], record["error"]) == ("FAILED", "GoldenRequestMismatch")
    assert record["reasons"][-1] == f"the endpoint serves {PREVIOUS} again"
    assert cloud.item("LOCK", "DEPLOYMENT")["runId"] is None
    assert cloud.item(f"RUN#{RUN}")["status"] == "RUNNING"
    assert cloud.notifications()[0]["Subject"] == "Rollback 7f3c: failed"
