"""Versions that no run needs are deleted; those that serve, served lately, or are being deployed stay."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from collect_versions import plan
from tests.unit.functions.cloud import CONTEXT, MODEL_URL, PACKAGE, RUN, Cloud, endpoint, sample_event

NOW = datetime(2026, 11, 25, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=9)


def version(day: int) -> str:
    return f"v202611{day:02d}t000000z-00000000"


def config(day: int) -> str:
    return f"ncf-{version(day)}-r1"


def model(day: int) -> Any:
    return {
        "runId": f"{version(day)}-r1",
        "datasetVersion": version(day),
        "modelPackageArn": PACKAGE,
        "modelDataUrl": MODEL_URL,
        "endpointConfigName": config(day),
    }


@pytest.mark.fault("P16")
def test_the_newest_that_served_stay_and_all_that_is_in_use() -> None:
    serving: Any = {**model(3), "previous": model(9)}
    running: Any = [{"runId": RUN}]
    endpoints = [endpoint("Updating", config(1), pending=config(2)), endpoint("InService", "made-by-hand")]
    keep = plan.kept("ncf", 2, [model(day) for day in range(1, 10)], serving, running, endpoints, model(5))
    assert keep == {
        config(8), config(9),  # the newest two
        config(3),  # serves
        config(1), config(2), "made-by-hand",  # in use
        f"ncf-{RUN}",  # under way
        config(5),  # has a share of the traffic
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "created", "is_old"),
    [
        (config(1), LONG_AGO, True),
        (config(2), LONG_AGO, False),
        (config(1), NOW - timedelta(hours=23), False),
        (f"ncf-dev-{version(1)}-r1", LONG_AGO, False),
        (f"{config(1)}-by-hand", LONG_AGO, False),
        (f"{config(1)}-s0a1b2c3d", LONG_AGO, True),
        ("ncf-vase", LONG_AGO, False),
    ],
    ids=["old", "kept", "young", "of another stack", "made by hand", "of a split", "another thing"],
)
def test_only_what_is_ours_and_old_goes(name: str, created: datetime, is_old: bool) -> None:
    assert plan.old("ncf", [(name, created)], {config(2)}, NOW) == ([name] if is_old else [])


@pytest.fixture
def app(load: Callable[..., ModuleType]) -> ModuleType:
    app = load("collect_versions")
    for day in range(1, 5):
        app.LEDGER.promote(model(day), "arn", "it passed the gate", 1)
    return app


def lists(sagemaker: Stubber) -> None:
    arn = "arn:aws:sagemaker:eu-central-1:123456789012"
    entries = [
        {
            "EndpointConfigName": config(day),
            "EndpointConfigArn": f"{arn}:endpoint-config/{config(day)}",
            "CreationTime": LONG_AGO,
        }
        for day in range(1, 5)
    ]
    sagemaker.add_response("list_endpoint_configs", {"EndpointConfigs": entries}, {"NameContains": "ncf-v"})
    found = {
        "EndpointName": "ncf-recommender",
        "EndpointArn": f"{arn}:endpoint/ncf-recommender",
        "CreationTime": LONG_AGO,
        "LastModifiedTime": LONG_AGO,
        "EndpointStatus": "InService",
    }
    others = [{**found, "EndpointName": "other-ncf-thing"}]
    sagemaker.add_response("list_endpoints", {"Endpoints": [found, *others]}, {"NameContains": "ncf-"})
    sagemaker.add_response("describe_endpoint", endpoint("InService", config(4)), {"EndpointName": "ncf-recommender"})


def test_old_versions_go_with_their_models_and_twice_is_once(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    lists(sagemaker)
    sagemaker.add_response("delete_model", {}, {"ModelName": config(1)})
    sagemaker.add_response("delete_endpoint_config", {}, {"EndpointConfigName": config(1)})
    # An earlier try came as far as the model.
    sagemaker.add_client_error("delete_model", "ValidationException", "Could not find model", 400)
    sagemaker.add_response("delete_endpoint_config", {}, {"EndpointConfigName": config(2)})
    assert app.handler(sample_event("collect_versions"), CONTEXT) == {"deleted": 2, "kept": 2, "logs": 0}


def test_one_that_cannot_be_deleted_hides_no_other_and_is_told(app: ModuleType, sagemaker: Stubber) -> None:
    lists(sagemaker)
    sagemaker.add_client_error("delete_model", "ThrottlingException", "Rate exceeded", 400)
    sagemaker.add_response("delete_model", {}, {"ModelName": config(2)})
    sagemaker.add_response("delete_endpoint_config", {}, {"EndpointConfigName": config(2)})
    with pytest.raises(Exception, match=f"1 versions or log groups are left for the next run: {config(1)}") as caught:
        app.handler(sample_event("collect_versions"), CONTEXT)
    assert type(caught.value).__name__ == "DependencyFailed"


@pytest.mark.fault("P16")
def test_nothing_of_a_run_that_is_under_way_goes(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    for day in (1, 2):
        cloud.put(f"RUN#{version(day)}-r1", kind="RUN", status="RUNNING", runId=f"{version(day)}-r1")
    lists(sagemaker)
    assert app.handler({}, CONTEXT) == {"deleted": 0, "kept": 4, "logs": 0}


def stream(name: str, days: float, **more: int) -> dict[str, Any]:
    moment = int((NOW - timedelta(days=days)).timestamp() * 1000)
    return {"logStreamName": name, "creationTime": moment, **more}


def test_only_old_logs_of_this_stacks_jobs_go() -> None:
    late = int((NOW - timedelta(days=1)).timestamp() * 1000)
    old = [f"{config(1)}/algo-1-1767225600", f"{config(1)}-t2/algo-2-1767225600", f"{config(2)}-b1/i-0abc"]
    streams = [
        *(stream(name, 8) for name in old),
        stream(f"{config(3)}/algo-1-1", 6),
        stream(f"{config(4)}/algo-1-1", 8, lastEventTimestamp=late),
        stream(f"{config(5)}/algo-1-1", 8, lastIngestionTime=late),
        stream(f"ncf-dev-{version(1)}-r1/algo-1-1", 8),
        stream(f"ncf-vase-{version(1)}-r1/algo-1-1", 8),
        stream("ncf-v2-by-hand/algo-1-1", 8),
    ]
    assert plan.old_streams("ncf", streams, 7, NOW) == sorted(old)


def test_the_logs_of_jobs_are_kept_as_long_as_the_stacks_own(
    app: ModuleType, sagemaker: Stubber, stub: Callable[[Any], Stubber]
) -> None:
    lists(sagemaker)
    for day in (1, 2):
        sagemaker.add_response("delete_model", {}, {"ModelName": config(day)})
        sagemaker.add_response("delete_endpoint_config", {}, {"EndpointConfigName": config(day)})
    logs, name = stub(app.JOBS.client("logs")), f"{config(1)}/algo-1-1"
    training = app.LOG_GROUPS[0]
    asked = {"logGroupName": training, "logStreamNamePrefix": "ncf-v"}
    logs.add_response("describe_log_streams", {"logStreams": [{"logStreamName": name, "creationTime": 1}]}, asked)
    logs.add_response("delete_log_stream", {}, {"logGroupName": training, "logStreamName": name})
    logs.add_client_error("describe_log_streams", "ResourceNotFoundException", "no such group", 400)
    assert app.handler(sample_event("collect_versions"), CONTEXT)["logs"] == 1
