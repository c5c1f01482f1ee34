"""An event triggers a look at the job, whose own status is the answer; a second answer changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from shared.ledger import Token
from shared.records import JobKind
from tests.unit.functions.cloud import (
    APPLICATION,
    ARTIFACTS,
    BATCH,
    CONTEXT,
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
    endpoint,
    job_run,
    model_package,
    sample_event,
    success,
    training_job,
    transform_job,
)

CONFIG = f"ncf-{RUN}"
DONE = {
    "jobName": JOB,
    "modelDataUrl": MODEL_URL,
    "outputUrl": OUTPUT_URL,
    "image": IMAGE,
    "instanceType": "ml.g4dn.xlarge",
    "instanceCount": 1,
}


@pytest.fixture
def app(load: Callable[..., ModuleType]) -> ModuleType:
    return load("on_job_finished")


def hold(app: ModuleType, kind: JobKind, name: str, **more: Any) -> Token:
    token = Token(kind, name, TOKEN, EXECUTION, run_id=RUN, dataset_version=VERSION, **more)
    app.LEDGER.hold_token(token)
    return token


def event(kind: str, **detail: Any) -> dict[str, Any]:
    return {**sample_event("on_job_finished"), "detail-type": kind, "detail": detail}


def failure(error: str, cause: str) -> dict[str, str]:
    return {"taskToken": TOKEN, "error": error, "cause": cause}


def test_answers_its_sample_event_with_the_artefacts(app: ModuleType, sagemaker: Stubber, answers: Stubber) -> None:
    hold(app, JobKind.TRAINING, JOB)
    sagemaker.add_response("describe_training_job", training_job(), {"TrainingJobName": JOB})
    answers.add_response("send_task_success", {}, success(DONE))
    assert app.handler(sample_event("on_job_finished"), CONTEXT) == {"answered": True}
    assert app.LEDGER.token(JobKind.TRAINING, JOB) is None


def pins(app: ModuleType, sagemaker: Stubber, cloud: Cloud, content: bytes) -> dict[str, str]:
    """The pins of an answer, for archives that hold `content` then: ETags by name."""
    for url in (MODEL_URL, OUTPUT_URL):
        cloud.write(ARTIFACTS, url.removeprefix(f"s3://{ARTIFACTS}/"), content)
    token = hold(app, JobKind.TRAINING, JOB)
    sagemaker.add_response("describe_training_job", training_job())
    outcome = app.JOBS.outcome(token)
    assert {name: outcome.output[name] for name in DONE} == DONE
    return {name: pin["etag"] for name, pin in outcome.output.items() if name not in DONE}


@pytest.mark.fault("R06")
def test_the_archives_of_a_training_are_those_of_its_first_answer(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud
) -> None:
    first = pins(app, sagemaker, cloud, b"a")
    assert first == dict.fromkeys(("modelData", "output"), "0cc175b9c0f1b6a831c399e269772661")
    assert pins(app, sagemaker, cloud, b"b") == first
    kept = cloud.item(f"RUN#{RUN}", f"DECISION#pin#output#{JOB}")
    assert (kept["reasons"], kept["figures"]) == ([OUTPUT_URL], {"etag": first["output"], "versionId": None})


@pytest.mark.parametrize(
    ("job", "answer"),
    [
        (transform_job("Completed"), success({"outcome": "Written", "runId": RUN, "jobName": BATCH})),
        (
            transform_job("Failed", FailureReason="CapacityError: no ml.m5.xlarge"),
            failure("CapacityUnavailable", f"transform job {BATCH} failed: CapacityError: no ml.m5.xlarge"),
        ),
        (transform_job("Failed"), failure("TransformFailed", f"transform job {BATCH} failed: no reason was given")),
        (transform_job("Stopped"), failure("TransformStopped", f"transform job {BATCH} was stopped by a request")),
    ],
)
def test_answers_for_the_job_that_writes_lists(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, job: dict[str, Any], answer: dict[str, str]
) -> None:
    hold(app, JobKind.TRANSFORM, BATCH)
    sagemaker.add_response("describe_transform_job", job, {"TransformJobName": BATCH})
    answers.add_response("send_task_success" if "output" in answer else "send_task_failure", {}, answer)
    state_change = event("SageMaker Transform Job State Change", TransformJobName=BATCH, TransformJobStatus="Completed")
    assert app.handler(state_change, CONTEXT) == {"answered": True}


def test_the_second_of_two_events_finds_nobody_waiting(app: ModuleType, sagemaker: Stubber, answers: Stubber) -> None:
    hold(app, JobKind.TRAINING, JOB)
    sagemaker.add_response("describe_training_job", training_job())
    answers.add_response("send_task_success", {}, success(DONE))
    app.handler(sample_event("on_job_finished"), CONTEXT)
    assert app.handler(sample_event("on_job_finished"), CONTEXT) == {"answered": False}


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_an_answer_that_comes_too_late_closes_the_token(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, code: str
) -> None:
    hold(app, JobKind.TRAINING, JOB)
    sagemaker.add_response("describe_training_job", training_job())
    answers.add_client_error("send_task_success", code, "over", 400)
    assert app.handler(sample_event("on_job_finished"), CONTEXT) == {"answered": True}
    assert app.LEDGER.token(JobKind.TRAINING, JOB) is None


def test_an_answer_that_could_not_be_given_keeps_the_token(
    app: ModuleType, sagemaker: Stubber, answers: Stubber
) -> None:
    hold(app, JobKind.TRAINING, JOB)
    sagemaker.add_response("describe_training_job", training_job())
    answers.add_client_error("send_task_success", "InternalServerError", "down", 500)
    with pytest.raises(Exception, match="SendTask") as caught:
        app.handler(sample_event("on_job_finished"), CONTEXT)
    assert type(caught.value).__name__ == "DependencyFailed"
    assert app.LEDGER.token(JobKind.TRAINING, JOB) is not None


def test_the_job_is_believed_and_not_the_event(app: ModuleType, sagemaker: Stubber, answers: Stubber) -> None:
    hold(app, JobKind.TRAINING, JOB)
    sagemaker.add_response("describe_training_job", training_job("InProgress"))
    assert app.handler(sample_event("on_job_finished"), CONTEXT) == {"answered": False}
    assert app.LEDGER.token(JobKind.TRAINING, JOB) is not None


def test_a_failed_training_is_answered_with_sagemakers_reason(
    app: ModuleType, sagemaker: Stubber, answers: Stubber
) -> None:
    hold(app, JobKind.TRAINING, JOB)
    sagemaker.add_response(
        "describe_training_job", training_job("Failed", FailureReason="AlgorithmError: the loss is NaN")
    )
    cause = f"training job {JOB} failed: AlgorithmError: the loss is NaN"
    answers.add_response("send_task_failure", {}, failure("TrainingFailed", cause))
    assert app.handler(sample_event("on_job_finished"), CONTEXT) == {"answered": True}


def test_a_job_of_somebody_else_is_left_alone_without_a_call(app: ModuleType) -> None:
    for other in (
        event("SageMaker Training Job State Change", TrainingJobName="other-job", TrainingJobStatus="Completed"),
        event("SageMaker Endpoint State Change", EndpointName="other", EndpointStatus="IN_SERVICE"),
        event("EMR Serverless Job Run State Change", jobRunId="00f1", applicationId="other", state="SUCCESS"),
    ):
        assert app.handler(other, CONTEXT) == {"answered": False}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (event("Object Created"), "detail-type must be one of"),
        ({**event("Object Created"), "detail-type": {"kind": "x"}}, "detail-type must be one of"),
        (event("SageMaker Training Job State Change"), "detail.TrainingJobName must be a non-empty string"),
        (event("SageMaker Endpoint State Change", EndpointName=7), "detail.EndpointName must be a non-empty string"),
        ({"detail": None}, "an object in detail"),
        ([], "an EventBridge event"),
    ],
)
def test_names_what_is_wrong_with_another_event(app: ModuleType, document: Any, words: str) -> None:
    with pytest.raises(Exception, match=words) as caught:
        app.handler(document, CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"


# Preparation

EMR_EVENT = event("EMR Serverless Job Run State Change", jobRunId="00f1", applicationId=APPLICATION, state="SUCCESS")


def test_a_prepared_dataset_is_answered(app: ModuleType, emr: Stubber, answers: Stubber) -> None:
    hold(app, JobKind.PREPARATION, f"ncf-{VERSION}", job_id="00f1")
    emr.add_response("get_job_run", job_run("SUCCESS"))
    emr.add_response("get_job_run", job_run("SUCCESS"))
    output = {"datasetVersion": VERSION, "jobRunId": "00f1", "alreadyPrepared": False}
    answers.add_response("send_task_success", {}, success(output))
    assert app.handler(EMR_EVENT, CONTEXT) == {"answered": True}


def test_a_failed_preparation_is_answered_with_its_reason(app: ModuleType, emr: Stubber, answers: Stubber) -> None:
    hold(app, JobKind.PREPARATION, f"ncf-{VERSION}", job_id="00f1")
    emr.add_response("get_job_run", job_run("FAILED"))
    emr.add_response("get_job_run", job_run("FAILED"))
    cause = f"preparation job ncf-{VERSION} (00f1) failed: the container exited with status 1"
    answers.add_response("send_task_failure", {}, failure("PreparationFailed", cause))
    assert app.handler(EMR_EVENT, CONTEXT) == {"answered": True}


def test_a_late_event_of_an_earlier_attempt_is_not_taken_for_the_later_one(
    app: ModuleType, emr: Stubber, answers: Stubber
) -> None:
    hold(app, JobKind.PREPARATION, f"ncf-{VERSION}", job_id="00f2")
    emr.add_response("get_job_run", job_run("FAILED", "00f1"))
    assert app.handler(EMR_EVENT, CONTEXT) == {"answered": False}


# Endpoint

ENDPOINT_EVENT = event("SageMaker Endpoint State Change", EndpointName="ncf-recommender", EndpointStatus="IN_SERVICE")


@pytest.mark.parametrize(
    ("description", "call", "expected"),
    [
        (
            endpoint("InService", CONFIG),
            "send_task_success",
            success({"endpointName": "ncf-recommender", "endpointConfigName": CONFIG}),
        ),
        (
            endpoint("InService", "ncf-older"),
            "send_task_failure",
            failure(
                "EndpointRolledBack",
                f"endpoint ncf-recommender is InService on ncf-older, not on {CONFIG}: "
                "SageMaker rolled the update back: no reason was given",
            ),
        ),
        (
            endpoint("Failed", CONFIG, FailureReason="did not pass the ping health check"),
            "send_task_failure",
            failure(
                "EndpointFailed",
                f"endpoint ncf-recommender failed during its update to {CONFIG}: did not pass the ping health check",
            ),
        ),
    ],
)
def test_an_endpoint_is_done_only_on_the_wanted_configuration(
    app: ModuleType,
    sagemaker: Stubber,
    answers: Stubber,
    description: dict[str, Any],
    call: str,
    expected: dict[str, str],
) -> None:
    hold(app, JobKind.ENDPOINT, "ncf-recommender", wanted=CONFIG, job_id=CONFIG)
    sagemaker.add_response("describe_endpoint", description, {"EndpointName": "ncf-recommender"})
    answers.add_response(call, {}, expected)
    assert app.handler(ENDPOINT_EVENT, CONTEXT) == {"answered": True}


def test_an_endpoint_still_updating_is_waited_for(app: ModuleType, sagemaker: Stubber) -> None:
    hold(app, JobKind.ENDPOINT, "ncf-recommender", wanted=CONFIG, job_id=CONFIG)
    sagemaker.add_response("describe_endpoint", endpoint("Updating", "ncf-older"))
    assert app.handler(ENDPOINT_EVENT, CONTEXT) == {"answered": False}


def test_the_state_from_before_the_update_was_accepted_says_nothing(app: ModuleType, sagemaker: Stubber) -> None:
    hold(app, JobKind.ENDPOINT, "ncf-recommender", wanted=CONFIG)
    assert app.handler(ENDPOINT_EVENT, CONTEXT) == {"answered": False}


# Approval


@pytest.mark.parametrize("status", ["Approved", "Rejected"])
def test_a_verdict_of_a_person_is_an_answer(app: ModuleType, sagemaker: Stubber, answers: Stubber, status: str) -> None:
    hold(app, JobKind.APPROVAL, PACKAGE)
    sagemaker.add_response("describe_model_package", model_package(status, ApprovalDescription="I looked at it"))
    answers.add_response("send_task_success", {}, success({"status": status, "reason": "I looked at it"}))
    seen = event("SageMaker Model Package State Change", ModelPackageArn=PACKAGE, ModelApprovalStatus=status)
    assert app.handler(seen, CONTEXT) == {"answered": True}


def test_a_package_that_is_still_pending_is_waited_for(app: ModuleType, sagemaker: Stubber) -> None:
    hold(app, JobKind.APPROVAL, PACKAGE)
    sagemaker.add_response("describe_model_package", model_package("PendingManualApproval"))
    seen = event("SageMaker Model Package State Change", ModelPackageArn=PACKAGE)
    assert app.handler(seen, CONTEXT) == {"answered": False}
