"""A rollback goes back to what served before, and leaves alone what came later."""

from __future__ import annotations

from types import ModuleType

import pytest
from botocore.stub import Stubber

from deploy import request
from tests.unit.functions.cloud import CONTEXT, RUN, VERSION, Cloud, endpoint, sample_event, success
from tests.unit.functions.test_deploy import (
    ALARMS,
    PREVIOUS,
    THIRD,
    WANTED,
    alarms,
    app,
    describe_alarms,
    endpoint_arn,
    serves,
    token_of,
)

__all__ = ["alarms", "app"]  # fixtures


def remember(cloud: Cloud, previous: str | None) -> None:
    figures = {"endpointConfigName": WANTED, "previousEndpointConfigName": previous}
    cloud.put(f"RUN#{RUN}", "DECISION#deployment", figures=figures)


def test_rolls_back_to_the_configuration_that_served_before(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    remember(cloud, PREVIOUS)
    sagemaker.add_response("describe_endpoint", endpoint("InService", WANTED))
    call = request.update_endpoint("ncf-recommender", PREVIOUS, ())
    sagemaker.add_response("update_endpoint", endpoint_arn(), call)
    sagemaker.add_response("describe_endpoint", endpoint("Updating", WANTED, pending=PREVIOUS))
    assert app.handler(sample_event("deploy_rollback"), CONTEXT)["action"] == "UPDATE"
    assert token_of(cloud)["wanted"] == PREVIOUS


@pytest.mark.parametrize(("since", "back"), [("14", THIRD), ("16", PREVIOUS)], ids=["before it", "after it"])
def test_the_way_back_is_that_of_the_deployment_unless_another_model_serves_since(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud, since: str, back: str
) -> None:
    """The endpoint served THIRD, such as a split of traffic, when the deployment of 15:00 began."""
    remember(cloud, THIRD)
    cloud.put(
        "SERVING", "CURRENT", runId=PREVIOUS[4:], datasetVersion=PREVIOUS[4:-3], endpointConfigName=PREVIOUS,
        since=f"2026-11-23T{since}:00:00.000Z",
    )  # fmt: skip
    sagemaker.add_response("describe_endpoint", endpoint("InService", WANTED))
    call = request.update_endpoint("ncf-recommender", back, ())
    sagemaker.add_response("update_endpoint", endpoint_arn(), call)
    sagemaker.add_response("describe_endpoint", endpoint("Updating", WANTED, pending=back))
    assert app.handler(sample_event("deploy_rollback"), CONTEXT)["action"] == "UPDATE"


def test_a_rollback_that_sagemaker_did_itself_is_answered_at_once(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    remember(cloud, PREVIOUS)
    sagemaker.add_response("describe_endpoint", endpoint("InService", PREVIOUS))
    answers.add_response("send_task_success", {}, serves(PREVIOUS, changed=True))
    assert app.handler(sample_event("deploy_rollback"), CONTEXT)["action"] == "DONE"


def test_a_rollback_that_sagemaker_did_itself_names_the_alarms_that_ring(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud, alarms: Stubber
) -> None:
    remember(cloud, PREVIOUS)
    sagemaker.add_response("describe_endpoint", endpoint("InService", PREVIOUS))
    alarms.add_response("describe_alarms", describe_alarms("OK", "ALARM"), {"AlarmNames": list(ALARMS)})
    answers.add_response("send_task_success", {}, serves(PREVIOUS, changed=True, alarms=[ALARMS[1]]))
    assert app.handler(sample_event("deploy_rollback"), CONTEXT)["action"] == "DONE"


def test_a_rollback_is_answered_where_the_alarms_cannot_be_read(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud, alarms: Stubber
) -> None:
    remember(cloud, PREVIOUS)
    sagemaker.add_response("describe_endpoint", endpoint("InService", PREVIOUS))
    alarms.add_client_error("describe_alarms", "AccessDenied")
    answers.add_response("send_task_success", {}, serves(PREVIOUS, changed=True))
    assert app.handler(sample_event("deploy_rollback"), CONTEXT)["action"] == "DONE"


def test_a_first_endpoint_that_failed_is_deleted(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    remember(cloud, None)
    sagemaker.add_response("describe_endpoint", endpoint("Failed", WANTED))
    sagemaker.add_response("delete_endpoint", {})
    output = {"endpointName": "ncf-recommender", "changed": True}
    answers.add_response("send_task_success", {}, success(output))
    assert app.handler(sample_event("deploy_rollback"), CONTEXT)["action"] == "DELETE"


@pytest.mark.parametrize(
    ("code", "words", "name"),
    [
        ("ValidationException", "Could not find endpoint", None),
        ("ValidationException", "Cannot update in-progress endpoint", "DeploymentInProgress"),
        ("AccessDeniedException", "not authorized", "MissingResource"),
    ],
    ids=["gone already", "changes", "forbidden"],
)
def test_a_failed_endpoint_that_is_not_deleted_says_which_cause_it_has(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud, code: str, words: str, name: str | None
) -> None:
    remember(cloud, None)
    sagemaker.add_response("describe_endpoint", endpoint("Failed", WANTED))
    sagemaker.add_client_error("delete_endpoint", code, words, 400)
    if name is None:
        answers.add_response("send_task_success", {}, success({"endpointName": "ncf-recommender", "changed": True}))
        assert app.handler(sample_event("deploy_rollback"), CONTEXT)["action"] == "DELETE"
        return
    with pytest.raises(Exception) as caught:
        app.handler(sample_event("deploy_rollback"), CONTEXT)
    assert type(caught.value).__name__ == name


def test_a_failed_endpoint_is_deleted_before_the_earlier_configuration_comes_back(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    remember(cloud, PREVIOUS)
    sagemaker.add_response("describe_endpoint", endpoint("Failed", WANTED))
    sagemaker.add_response("delete_endpoint", {})
    with pytest.raises(Exception, match=f"is being deleted; {PREVIOUS} waits for it") as caught:
        app.handler(sample_event("deploy_rollback"), CONTEXT)
    assert type(caught.value).__name__ == "DeploymentInProgress"


@pytest.mark.parametrize("promoted", [False, True])
def test_nothing_is_rolled_back_when_nothing_was_changed_or_the_model_was_verified(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud, promoted: bool
) -> None:
    if promoted:
        remember(cloud, PREVIOUS)
        cloud.put("SERVING", "CURRENT", runId=RUN, datasetVersion=VERSION)
    output = {"endpointName": "ncf-recommender", "changed": False}
    answers.add_response("send_task_success", {}, success(output))
    assert app.handler(sample_event("deploy_rollback"), CONTEXT)["action"] == "DONE"


def test_a_rollback_waits_for_the_update_that_is_under_way(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    remember(cloud, PREVIOUS)
    sagemaker.add_response("describe_endpoint", endpoint("Updating", PREVIOUS, pending=WANTED))
    with pytest.raises(Exception, match="is changing") as caught:
        app.handler(sample_event("deploy_rollback"), CONTEXT)
    assert type(caught.value).__name__ == "DeploymentInProgress"


def test_a_rollback_waits_while_another_run_is_being_deployed(app: ModuleType, cloud: Cloud) -> None:
    remember(cloud, PREVIOUS)
    cloud.put("LOCK", "DEPLOYMENT", runId="another", fence=1, leasedUntil=99_999_999_999)
    with pytest.raises(Exception, match="another holds the deployment lock") as caught:
        app.handler(sample_event("deploy_rollback"), CONTEXT)
    assert type(caught.value).__name__ == "DeploymentInProgress"
