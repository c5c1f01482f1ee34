"""A model that a person took back serves again only if it is named and the reason is acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from shared.errors import MissingResource
from shared.ledger import Ledger
from shared.records import Model, RunStatus
from tests.unit.functions.cloud import (
    CONTEXT,
    EXECUTION,
    JOB,
    MODEL_URL,
    PACKAGE,
    RUN,
    TAGS,
    VERSION,
    Clock,
    Cloud,
    endpoint,
    sample_event,
    training_job,
)

pytestmark = [pytest.mark.slow, pytest.mark.fault("M19")]
BEFORE = "v20261122t000000z-00000000"
ROLLBACK = EXECUTION.replace(f"ncf-retraining:{RUN}", "ncf-rollback:7f")
RESTART = f"{EXECUTION}-restart-1"
WORDS = f"the model of {RUN} was taken back by rollback 7f on 2026-11-23 15:16 UTC: customers complain"
NOT_FOUND = ("describe_training_job", "ValidationException", "Requested resource not found.", 400)


def model(run: str) -> Model:
    return {
        "runId": run,
        "datasetVersion": run.rpartition("-r")[0],
        "modelPackageArn": PACKAGE,
        "modelDataUrl": MODEL_URL.replace(RUN, run),
        "endpointConfigName": f"ncf-{run}",
    }


def replace(book: Ledger, clock: Clock, run: str, by: str, why: str) -> None:
    serving = book.serving()
    clock.now += 60
    replacing = serving["runId"] if serving and by == ROLLBACK else None
    assert book.promote(model(run), by, why, book.lock_deployment("x").fence, replacing)
    book.unlock_deployment("x")


@pytest.fixture
def taken_back(cloud: Cloud, book: Ledger, clock: Clock) -> None:
    """RUN served after a run on older data; a person took it back."""
    replace(book, clock, f"{BEFORE}-r1", EXECUTION, "it passed the gate")
    replace(book, clock, RUN, EXECUTION, "it passed the gate")
    replace(book, clock, f"{BEFORE}-r1", ROLLBACK, "customers complain")
    book.open_run(RUN, VERSION, EXECUTION)
    book.finish_run(RUN, RunStatus.ROLLED_BACK, ["customers complain"])


@pytest.fixture
def app(load: Callable[..., ModuleType], taken_back: None, request: pytest.FixtureRequest) -> ModuleType:
    return load(request.param)


def again(**changed: Any) -> dict[str, Any]:
    return {**sample_event("start_training"), "executionArn": RESTART, **changed}


# StartTraining


@pytest.mark.parametrize("app", ["start_training"], indirect=True)
@pytest.mark.parametrize(
    "changed",
    [{}, {"executionArn": EXECUTION}, {"runId": f"{VERSION}-r2", "executionArn": f"{EXECUTION[:-1]}2", "attempt": 2}],
    ids=["a restart", "a redrive", "another attempt at the same data"],
)
def test_it_is_not_started_again(app: ModuleType, cloud: Cloud, changed: dict[str, Any]) -> None:
    event = again(**changed)
    with pytest.raises(Exception, match=WORDS) as caught:
        app.handler(event, CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"
    assert 'with "acknowledge": "<why it may serve again>" in its input' in str(caught.value)
    assert cloud.item(f"RUN#{RUN}")["status"] == "ROLLED_BACK"
    stage = f"DECISION#restart#{event['executionArn'].rpartition(':')[2]}"
    refused = cloud.item(f"RUN#{event['runId']}", stage)
    assert refused["verdict"] == "REFUSED" and WORDS in refused["reasons"][0]


@pytest.mark.parametrize("app", ["start_training"], indirect=True)
def test_an_acknowledged_restart_goes_on_and_is_remembered_with_the_rollback_that_it_answers(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud
) -> None:
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_response("create_training_job", {"TrainingJobArn": training_job()["TrainingJobArn"]})
    assert app.handler(again(acknowledge="it was the weather"), CONTEXT)["jobName"] == JOB
    remembered = cloud.item(f"RUN#{RUN}", f"DECISION#acknowledgement#{RUN}-restart-1")
    assert (remembered["verdict"], remembered["reasons"]) == ("ACKNOWLEDGED", ["it was the weather"])
    assert remembered["figures"] == {
        "executionArn": RESTART,
        "takenBack": RUN,
        "by": "7f",
        "since": "2026-11-23T15:16:00.000Z",
        "why": "customers complain",
    }
    assert cloud.item(f"RUN#{RUN}", f"DECISION#restart#{RUN}-restart-1")["verdict"] == "RESTARTED"


@pytest.mark.parametrize("app", ["start_training"], indirect=True)
@pytest.mark.parametrize("acknowledge", ["", " ", 7, True, {}, "x" * 501])
def test_an_acknowledgement_that_is_no_reason_is_refused_by_name(app: ModuleType, acknowledge: Any) -> None:
    with pytest.raises(Exception, match="acknowledge must be a reason of 1 to 500 characters, not") as caught:
        app.handler(again(acknowledge=acknowledge), CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"


@pytest.mark.parametrize("app", ["start_training"], indirect=True)
def test_newer_data_need_no_acknowledgement(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    version = "v20261124t000000z-00000000"
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_response("create_training_job", {"TrainingJobArn": training_job()["TrainingJobArn"]})
    event = again(runId=f"{version}-r1", datasetVersion=version, executionArn=EXECUTION.replace(VERSION, version))
    assert app.handler(event, CONTEXT)["jobName"] == f"ncf-{version}-r1"


@pytest.mark.parametrize("app", ["start_training"], indirect=True)
def test_a_model_that_was_taken_back_and_served_again_is_free(
    app: ModuleType, sagemaker: Stubber, book: Ledger, clock: Clock
) -> None:
    replace(book, clock, RUN, ROLLBACK, "it was the weather")
    replace(book, clock, "v20261124t000000z-00000000-r1", EXECUTION, "it passed the gate")
    sagemaker.add_client_error(*NOT_FOUND)
    sagemaker.add_response("create_training_job", {"TrainingJobArn": training_job()["TrainingJobArn"]})
    assert app.handler(again(), CONTEXT)["jobName"] == JOB


# Deploy


def deploy(**changed: Any) -> dict[str, Any]:
    return {**sample_event("deploy"), "executionArn": RESTART, **changed}


@pytest.mark.parametrize("app", ["deploy"], indirect=True)
def test_it_is_not_deployed_again(app: ModuleType, cloud: Cloud) -> None:
    with pytest.raises(Exception, match=WORDS) as caught:
        app.handler(deploy(), CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"
    assert not cloud.item("LOCK", "DEPLOYMENT").get("runId")


@pytest.mark.parametrize("app", ["deploy"], indirect=True)
def test_it_is_not_deployed_when_it_is_taken_back_while_it_waits_for_the_lock(
    app: ModuleType, sagemaker: Stubber, book: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(book, clock, RUN, ROLLBACK, "it was the weather")
    monkeypatch.setattr(app, "_approved_container", lambda event: {})
    monkeypatch.setattr(app, "_require_own", lambda deployment, container: None)
    monkeypatch.setattr(app, "_lock", lambda holder: replace(book, clock, f"{BEFORE}-r1", ROLLBACK, "again"))
    with pytest.raises(Exception, match=f"the model of {RUN} was taken back by rollback 7f .*: again"):
        app.handler(deploy(), CONTEXT)


@pytest.mark.parametrize("app", ["deploy"], indirect=True)
def test_an_acknowledged_deployment_goes_on(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_approved_container", lambda event: {})
    monkeypatch.setattr(app, "_require_own", lambda deployment, container: None)
    sagemaker.add_response("describe_endpoint", endpoint("InService", JOB))
    answers.add_response("send_task_success", {})
    assert app.handler(deploy(acknowledge="it was the weather"), CONTEXT)["action"] == "DONE"


@pytest.mark.parametrize("app", ["deploy"], indirect=True)
def test_an_acknowledgement_holds_for_the_rollbacks_before_it_only(
    app: ModuleType,
    sagemaker: Stubber,
    answers: Stubber,
    book: Ledger,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An execution whose model was deployed, then taken back, is redriven: its input is the same."""
    monkeypatch.setattr(app, "_approved_container", lambda event: {})
    monkeypatch.setattr(app, "_require_own", lambda deployment, container: None)
    sagemaker.add_response("describe_endpoint", endpoint("InService", JOB))
    answers.add_response("send_task_success", {})
    app.handler(deploy(acknowledge="it was the weather"), CONTEXT)
    book.unlock_deployment(RUN)
    replace(book, clock, RUN, EXECUTION, "it passed the gate")
    replace(book, clock, f"{BEFORE}-r1", ROLLBACK, "they complain again")
    with pytest.raises(Exception, match="they complain again"):
        app.handler(deploy(acknowledge="it was the weather"), CONTEXT)


@pytest.mark.parametrize("app", ["deploy"], indirect=True)
def test_a_person_goes_forward_to_it_by_its_name(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_approved_container", lambda event: {})
    monkeypatch.setattr(app, "_require_own", lambda deployment, container: None)
    sagemaker.add_response("describe_endpoint", endpoint("InService", JOB))
    answers.add_response("send_task_success", {})
    rollback = {"machine": "rollback", "from": f"{BEFORE}-r1", "executionArn": ROLLBACK}
    assert app.handler(deploy(**rollback), CONTEXT)["action"] == "DONE"


@pytest.mark.parametrize("app", ["deploy"], indirect=True)
@pytest.mark.parametrize(("judged", "is_fair"), [(f"{BEFORE}-r1", True), (RUN, False), (None, False)])
def test_a_run_that_was_on_its_way_replaces_a_restored_model_only_if_it_was_judged_against_that(
    app: ModuleType,
    cloud: Cloud,
    sagemaker: Stubber,
    answers: Stubber,
    monkeypatch: pytest.MonkeyPatch,
    judged: str | None,
    is_fair: bool,
) -> None:
    """It waited (PARKED, or for its approval) while a newer model served and was taken back."""
    run = "v20261122t120000z-00000000-r1"
    figures = {"channel incumbent": model(judged)["modelDataUrl"]} if judged else {}
    cloud.put(f"RUN#{run}", "DECISION#training", kind="DECISION", figures=figures)
    monkeypatch.setattr(app, "_approved_container", lambda event: {})
    monkeypatch.setattr(app, "_require_own", lambda deployment, container: None)
    event = deploy(runId=run, executionArn=EXECUTION.replace(RUN, run))
    if is_fair:
        sagemaker.add_response("describe_endpoint", endpoint("InService", f"ncf-{run}"))
        answers.add_response("send_task_success", {})
        assert app.handler(event, CONTEXT)["action"] == "DONE"
        return
    with pytest.raises(Exception, match=f"{BEFORE}-r1 serves since a rollback.*start the next attempt") as caught:
        app.handler(event, CONTEXT)
    assert type(caught.value).__name__ == "NotComparable"


@pytest.mark.parametrize("app", ["deploy"], indirect=True)
def test_a_run_that_serves_again_since_a_rollback_is_not_compared_with_itself(
    app: ModuleType,
    cloud: Cloud,
    sagemaker: Stubber,
    answers: Stubber,
    book: Ledger,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replace(book, clock, RUN, ROLLBACK, "it was the weather")
    figures = {"channel incumbent": model(f"{BEFORE}-r1")["modelDataUrl"]}
    cloud.put(f"RUN#{RUN}", "DECISION#training", kind="DECISION", figures=figures)
    monkeypatch.setattr(app, "_approved_container", lambda event: {})
    monkeypatch.setattr(app, "_require_own", lambda deployment, container: None)
    sagemaker.add_response("describe_endpoint", endpoint("InService", JOB))
    answers.add_response("send_task_success", {})
    assert app.handler(deploy(), CONTEXT)["action"] == "DONE"


@pytest.mark.parametrize("app", ["deploy"], indirect=True)
def test_a_late_failure_does_not_bring_it_back(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    """The way back of an earlier try led to the model that has been taken back since; the endpoint is gone."""
    run = "v20261124t000000z-00000000-r1"
    figures = {"endpointConfigName": f"ncf-{run}", "previousEndpointConfigName": JOB}
    cloud.put(f"RUN#{run}", "DECISION#deployment", kind="DECISION", figures=figures)
    gone = "Could not find endpoint"
    sagemaker.add_client_error("describe_endpoint", "ValidationException", gone, 400)
    restored = {"EndpointName": "ncf-recommender", "EndpointConfigName": f"ncf-{BEFORE}-r1", "Tags": TAGS}
    arn = {"EndpointArn": "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/ncf-recommender"}
    sagemaker.add_response("create_endpoint", arn, restored)
    sagemaker.add_response("describe_endpoint", endpoint("Creating", f"ncf-{BEFORE}-r1"))
    event = {**sample_event("deploy_rollback"), "runId": run, "executionArn": EXECUTION.replace(RUN, run)}
    assert app.handler(event, CONTEXT)["action"] == "CREATE"


# ChooseVersion


@pytest.mark.parametrize("app", ["choose_version"], indirect=True)
def test_a_second_rollback_without_a_name_does_not_bring_it_back(app: ModuleType, book: Ledger, clock: Clock) -> None:
    with pytest.raises(MissingResource, match=f'{WORDS}.*name it: "to": "{RUN}"'):
        app.handler({}, CONTEXT)
    assert app.handler({"to": RUN}, CONTEXT)["runId"] == RUN


@pytest.mark.parametrize("app", ["choose_version"], indirect=True)
@pytest.mark.parametrize("event", [{}, {"percent": 20}])
def test_a_rollback_without_a_name_goes_on_to_the_version_before(
    app: ModuleType, book: Ledger, clock: Clock, event: dict[str, Any]
) -> None:
    newest = "v20261124t000000z-00000000-r1"
    replace(book, clock, newest, EXECUTION, "it passed the gate")
    chosen = app.handler(event, CONTEXT)
    assert (chosen["runId"], chosen["from"]) == (f"{BEFORE}-r1", newest)
    newer = "v20261125t000000z-00000000-r1"
    replace(book, clock, newer, EXECUTION, "it passed the gate")
    replace(book, clock, newest, ROLLBACK, "odd lists")
    assert app.handler(event, CONTEXT)["runId"] == f"{BEFORE}-r1"


# Nothing starts it by itself


@pytest.mark.parametrize("app", ["reconcile"], indirect=True)
def test_reconcile_leaves_it_alone(app: ModuleType, cloud: Cloud, book: Ledger) -> None:
    book.claim_newest(VERSION)
    book.claim_dataset(VERSION, RUN)
    cloud.write("ncf-data-123456789012", f"datasets/{VERSION}/manifest.json", {})
    assert set(app.handler(sample_event("reconcile"), CONTEXT).values()) == {0}


@pytest.mark.parametrize("app", ["on_job_finished"], indirect=True)
@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("Training Job", {"TrainingJobName": JOB, "TrainingJobStatus": "Completed"}),
        ("Model Package", {"ModelPackageArn": PACKAGE, "ModelApprovalStatus": "Approved"}),
        ("Endpoint", {"EndpointName": "ncf-recommender", "EndpointStatus": "IN_SERVICE"}),
    ],
)
def test_a_late_event_of_its_job_its_package_or_its_endpoint_starts_nothing(
    app: ModuleType, answers: Stubber, sagemaker: Stubber, kind: str, detail: dict[str, str]
) -> None:
    event = {"source": "aws.sagemaker", "detail-type": f"SageMaker {kind} State Change", "detail": detail}
    assert app.handler(event, CONTEXT) == {"answered": False}
