"""The endpoint rests outside its hours, and comes back as it was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from contracts import hours
from rest_endpoint import plan
from rest_endpoint.plan import Action
from shared.environment import BadEnvironment
from tests.unit.functions.cloud import CONTEXT, RUN, TAGS, VERSION, Cloud, endpoint, sample_event
from tests.unit.functions.sagemaker_fake import SageMakerFake

SERVES = f"ncf-{RUN}"
GONE = ("describe_endpoint", "ValidationException", "Could not find endpoint", 400)
DAY, NIGHT, DAWN = (datetime(2026, 11, 23, *clock, tzinfo=UTC) for clock in ((12, 0), (3, 0), (5, 31)))
OFFICE = hours.parse("MON-FRI 06-20")


@pytest.mark.parametrize(
    ("now", "described", "is_resting", "expected"),
    [
        (NIGHT, endpoint("InService", SERVES), False, Action.STOP),
        (NIGHT, endpoint("InService", SERVES), True, Action.STOP),
        (NIGHT, endpoint("InService", "by-hand"), False, Action.NOTHING),
        (NIGHT, endpoint("Updating", SERVES), False, Action.NOTHING),
        (NIGHT, endpoint("Deleting", SERVES), True, Action.NOTHING),
        (NIGHT, endpoint("Failed", SERVES), False, Action.NOTHING),
        (NIGHT, None, True, Action.NOTHING),
        (DAWN, None, True, Action.START),
        (DAWN, endpoint("InService", SERVES), True, Action.FORGET),
        (DAY, None, True, Action.START),
        (DAY, None, False, Action.NOTHING),
        (DAY, endpoint("InService", SERVES), False, Action.NOTHING),
        (DAY, endpoint("Creating", SERVES), True, Action.FORGET),
    ],
)
def test_the_action_at_each_moment(
    now: datetime, described: dict[str, Any] | None, is_resting: bool, expected: Action
) -> None:
    assert plan.action(OFFICE, now, described, SERVES, is_resting) is expected


def test_without_hours_it_never_rests_and_what_rested_comes_back() -> None:
    assert plan.action(hours.ALWAYS, NIGHT, endpoint("InService", SERVES), SERVES, False) is Action.NOTHING
    assert plan.action(hours.ALWAYS, NIGHT, None, SERVES, True) is Action.START


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    known = {"runId": RUN, "datasetVersion": VERSION, "endpointConfigName": SERVES}
    cloud.put("SERVING", "CURRENT", kind="SERVING", **known)
    app = load("rest_endpoint", ENDPOINT_HOURS="MON-FRI 06-20")
    monkeypatch.setattr(app, "HOURS", hours.ALWAYS)
    return app


@pytest.fixture
def closed(app: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "HOURS", hours.Hours(frozenset(), 0, 24))


def rests(cloud: Cloud) -> Any:
    return cloud.item("ENDPOINT", "REST").get("isResting")


def test_it_goes_outside_its_hours_and_the_ledger_says_who_serves(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud, closed: None
) -> None:
    before = cloud.item("SERVING", "CURRENT")
    for _ in range(2):
        sagemaker.add_response("describe_endpoint", endpoint("InService", SERVES))
    sagemaker.add_response("delete_endpoint", {}, {"EndpointName": "ncf-recommender"})
    assert app.handler(sample_event("rest_endpoint"), CONTEXT) == {"outcome": "Resting"}
    assert (rests(cloud), cloud.item("SERVING", "CURRENT")) == (True, before)
    assert cloud.item("LOCK", "DEPLOYMENT")["runId"] is None


@pytest.mark.parametrize("split", [None, f"{SERVES}-s0a1b2c3d"])
def test_it_comes_back_on_the_configuration_that_served(
    app: ModuleType, sagemaker: Stubber, cloud: Cloud, split: str | None
) -> None:
    cloud.put("ENDPOINT", "REST", kind="ENDPOINT", isResting=True)
    if split:
        cloud.put("SERVING", "SPLIT", kind="SPLIT", percent=10, runId=RUN, endpointConfigName=split)
    for _ in range(2):
        sagemaker.add_client_error(*GONE)
    call = {"EndpointName": "ncf-recommender", "EndpointConfigName": split or SERVES, "Tags": TAGS}
    arn = "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/ncf-recommender"
    sagemaker.add_response("create_endpoint", {"EndpointArn": arn}, call)
    assert app.handler({}, CONTEXT) == {"outcome": "Awake"}
    assert rests(cloud) is False and cloud.item("LOCK", "DEPLOYMENT")["runId"] is None


def test_a_deployment_is_waited_for(app: ModuleType, sagemaker: Stubber, cloud: Cloud, closed: None) -> None:
    app.LEDGER.lock_deployment("another-run")
    sagemaker.add_response("describe_endpoint", endpoint("InService", SERVES))
    assert app.handler({}, CONTEXT) == {"outcome": "Busy"}
    assert cloud.item("LOCK", "DEPLOYMENT")["runId"] == "another-run" and rests(cloud) is None


def test_an_endpoint_that_a_person_deleted_stays_deleted(app: ModuleType, sagemaker: Stubber) -> None:
    sagemaker.add_client_error(*GONE)
    assert app.handler({}, CONTEXT) == {"outcome": "Awake"}


def test_before_the_first_model_there_is_nothing_to_rest(load: Callable[..., ModuleType], sagemaker: Stubber) -> None:
    assert load("rest_endpoint").handler({}, CONTEXT) == {"outcome": "Awake"}


def test_a_refusal_gives_the_lock_back(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    cloud.put("ENDPOINT", "REST", kind="ENDPOINT", isResting=True)
    for _ in range(2):
        sagemaker.add_client_error(*GONE)
    sagemaker.add_client_error("create_endpoint", "ResourceLimitExceeded", "the account-level limit is 0", 400)
    with pytest.raises(Exception, match="account-level limit"):
        app.handler({}, CONTEXT)
    assert rests(cloud) is True and cloud.item("LOCK", "DEPLOYMENT")["runId"] is None


def test_hours_that_cannot_be_read_stop_the_start(load: Callable[..., ModuleType]) -> None:
    with pytest.raises(BadEnvironment, match="ENDPOINT_HOURS must be days and hours"):
        load("rest_endpoint", ENDPOINT_HOURS="weekdays")


def situation(cloud: Cloud, aws: SageMakerFake) -> dict[str, Any]:
    """An endpoint that rests, and comes back."""
    cloud.put("SERVING", "CURRENT", kind="SERVING", runId=RUN, datasetVersion=VERSION, endpointConfigName=SERVES)
    cloud.put("ENDPOINT", "REST", kind="ENDPOINT", isResting=True)
    aws.configs[SERVES] = {}
    return {}
