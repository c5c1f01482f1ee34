"""The outcome of a job for the task that waits for it."""

from __future__ import annotations

import pytest

from shared import outcomes
from shared.causes import Cause
from shared.outcomes import Outcome

JOB = {
    "TrainingJobName": "ncf-x-r1",
    "OutputDataConfig": {"S3OutputPath": "s3://artifacts/training/"},
    "AlgorithmSpecification": {"TrainingImage": "image@sha256:1"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2},
}


def test_a_completed_training_answers_with_its_artefacts() -> None:
    job = {
        **JOB,
        "TrainingJobStatus": "Completed",
        "ModelArtifacts": {"S3ModelArtifacts": "s3://artifacts/training/ncf-x-r1/output/model.tar.gz"},
    }
    assert outcomes.training(job) == Outcome(
        output={
            "jobName": "ncf-x-r1",
            "modelDataUrl": "s3://artifacts/training/ncf-x-r1/output/model.tar.gz",
            "outputUrl": "s3://artifacts/training/ncf-x-r1/output/output.tar.gz",
            "image": "image@sha256:1",
            "instanceType": "ml.m5.large",
            "instanceCount": 2,
        }
    )


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        (
            {"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: the loss is NaN"},
            "TrainingFailed",
            "the loss is NaN",
        ),
        ({"TrainingJobStatus": "Failed"}, "TrainingFailed", "no reason was given"),
        (
            {"TrainingJobStatus": "Failed", "FailureReason": "CapacityError: Unable to provision"},
            "CapacityUnavailable",
            "Unable to",
        ),
        (
            {"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxRuntimeExceeded"},
            "TrainingFailed",
            "MaxRuntimeExceeded",
        ),
        (
            {"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxWaitTimeExceeded"},
            "TrainingFailed",
            "MaxWaitTimeExceeded",
        ),
        ({"TrainingJobStatus": "Stopped", "SecondaryStatus": "Stopped"}, "TrainingStopped", "by a request"),
    ],
)
def test_a_training_that_did_not_complete_is_never_a_success(state: dict[str, str], error: str, words: str) -> None:
    outcome = outcomes.training({**JOB, **state})
    assert outcome is not None and outcome.output is None
    assert outcome.error == error
    assert words in (outcome.cause or "")


@pytest.mark.parametrize("status", ["InProgress", "Stopping"])
def test_a_training_that_runs_has_no_outcome(status: str) -> None:
    assert outcomes.training({**JOB, "TrainingJobStatus": status}) is None


@pytest.mark.parametrize(
    ("state", "error"), [("SUCCESS", None), ("FAILED", "PreparationFailed"), ("CANCELLED", "PreparationStopped")]
)
def test_the_end_of_a_preparation(state: str, error: str | None) -> None:
    outcome = outcomes.preparation({"jobRunId": "1", "name": "ncf-v", "state": state, "stateDetails": "exit 2"}, "v1")
    assert outcome is not None and outcome.error == error
    if error is None:
        assert outcome.output == {"datasetVersion": "v1", "jobRunId": "1", "alreadyPrepared": False}
    else:
        assert "exit 2" in (outcome.cause or "")


def test_a_preparation_that_took_too_long_names_the_parameter() -> None:
    words = "Job run exceeded its execution timeout of 15 minutes"
    outcome = outcomes.preparation({"jobRunId": "1", "state": "CANCELLED", "stateDetails": words}, "v1")
    assert outcome is not None
    assert (outcome.cause or "").endswith(f"{words}; the parameter PreparationTimeoutMinutes sets the limit")


@pytest.mark.parametrize("state", ["SUBMITTED", "PENDING", "SCHEDULED", "RUNNING", "CANCELLING", "QUEUED"])
def test_a_preparation_under_way_has_no_outcome(state: str) -> None:
    assert outcomes.preparation({"jobRunId": "1", "state": state}, "v1") is None


def test_in_service_on_the_wanted_configuration_is_the_only_success_of_an_endpoint() -> None:
    wanted = outcomes.endpoint({"EndpointStatus": "InService", "EndpointConfigName": "new"}, "e", "new")
    assert wanted == Outcome(output={"endpointName": "e", "endpointConfigName": "new"})


def test_in_service_on_another_configuration_is_a_silent_rollback() -> None:
    outcome = outcomes.endpoint({"EndpointStatus": "InService", "EndpointConfigName": "old"}, "e", "new")
    assert outcome is not None and outcome.error == "EndpointRolledBack"
    assert "InService on old, not on new" in (outcome.cause or "")


@pytest.mark.parametrize(
    ("description", "error"),
    [
        (None, "EndpointFailed"),
        ({"EndpointStatus": "Failed", "EndpointConfigName": "new", "FailureReason": "ping"}, "EndpointFailed"),
        ({"EndpointStatus": "UpdateRollbackFailed", "EndpointConfigName": "new"}, "EndpointUnusable"),
        ({"EndpointStatus": "OutOfService", "EndpointConfigName": "new"}, "EndpointUnusable"),
    ],
)
def test_an_endpoint_that_cannot_serve(description: dict[str, str] | None, error: str) -> None:
    outcome = outcomes.endpoint(description, "e", "new")
    assert outcome is not None and outcome.error == error


@pytest.mark.parametrize("status", ["Creating", "Updating", "RollingBack", "SystemUpdating"])
def test_an_endpoint_under_way_has_no_outcome(status: str) -> None:
    assert outcomes.endpoint({"EndpointStatus": status, "EndpointConfigName": "new"}, "e", "new") is None


def test_a_rejection_by_a_person_is_an_answer_not_a_fault() -> None:
    rejected = outcomes.approval({"ModelApprovalStatus": "Rejected", "ApprovalDescription": "odd lists"})
    assert rejected == Outcome(output={"status": "Rejected", "reason": "odd lists"})
    assert outcomes.approval({"ModelApprovalStatus": "Approved"}) == Outcome(
        output={"status": "Approved", "reason": "no reason was given"}
    )
    assert outcomes.approval({"ModelApprovalStatus": "PendingManualApproval"}) is None


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        (
            {"Error": "E", "Cause": '{"errorMessage": "the words", "errorType": "E", "stackTrace": ["secret"]}'},
            Cause("E", "the words"),
        ),
        ({"Error": "E", "Cause": "plain words"}, Cause("E", "plain words")),
        ({"Error": "States.Timeout"}, Cause("States.Timeout", "States.Timeout: no cause was given")),
        ({"Error": "E", "Cause": "[1]"}, Cause("E", "[1]")),
        (None, Cause("Unknown", "the state machine gave no reason")),
    ],
)
def test_reads_the_true_cause_out_of_a_state_machines_error(output: object, cause: Cause) -> None:
    assert Cause.from_state(output) == cause
