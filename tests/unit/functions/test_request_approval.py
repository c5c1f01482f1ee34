"""One approval request per run; the decision is the answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType

import pytest
from botocore.stub import Stubber

from request_approval import message
from tests.unit.functions.cloud import (
    CONTEXT,
    PACKAGE,
    RUN,
    TOKEN,
    Cloud,
    model_package,
    sample_event,
    success,
)


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud) -> ModuleType:
    cloud.listen()
    return load("request_approval")


def test_asks_once_however_often_it_is_tried(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    for _ in range(2):
        sagemaker.add_response(
            "describe_model_package", model_package("PendingManualApproval"), {"ModelPackageName": PACKAGE}
        )
    assert app.handler(sample_event("request_approval"), CONTEXT) == {"asked": True}
    assert app.handler(sample_event("request_approval"), CONTEXT) == {"asked": False}
    notifications = cloud.notifications()
    assert [note["Subject"] for note in notifications] == [f"Approve the model of run {RUN}?"]
    assert "within 168 hours, this one is rejected" in notifications[0]["Message"]
    assert f"--model-package-arn {PACKAGE} --model-approval-status Approved" in notifications[0]["Message"]
    assert "hit rate at 10 is 0.7123" in notifications[0]["Message"]
    token = cloud.item(f"JOB#APPROVAL#{PACKAGE}", "TOKEN")
    assert (token["taskToken"], token["runId"]) == (TOKEN, RUN)
    assert TOKEN not in json.dumps(notifications)


@pytest.mark.parametrize("status", ["Approved", "Rejected"])
def test_a_verdict_that_is_there_already_is_answered_without_asking(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud, status: str
) -> None:
    sagemaker.add_response("describe_model_package", model_package(status))
    output = {"status": status, "reason": "no reason was given"}
    answers.add_response("send_task_success", {}, success(output))
    assert app.handler(sample_event("request_approval"), CONTEXT) == {"asked": False}
    assert cloud.notifications() == []


def test_the_question_fits_sns() -> None:
    question = message.approval_request("ncf", "r" * 200, PACKAGE, ["ä"], 168)
    assert len(question["Subject"]) <= 100
    assert question["Subject"].isascii()


def test_refuses_a_state_without_a_registration(app: ModuleType) -> None:
    with pytest.raises(Exception, match=r"registration\.modelPackageArn") as caught:
        app.handler({**sample_event("request_approval"), "registration": None}, CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"
