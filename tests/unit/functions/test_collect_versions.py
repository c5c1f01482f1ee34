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
    assert app.handler(sample_event("collect_versions"), CONTEXT) == {"deleted": 2, "kept": 2}


def test_one_that_cannot_be_deleted_hides_no_other_and_is_told(app: ModuleType, sagemaker: Stubber) -> None:
    lists(sagemaker)
    sagemaker.add_client_error("delete_model", "ThrottlingException", "Rate exceeded", 400)
    sagemaker.add_response("delete_model", {}, {"ModelName": config(2)})
    sagemaker.add_response("delete_endpoint_config", {}, {"EndpointConfigName": config(2)})
    with pytest.raises(
        Exception, match=f"1 versions could not be deleted and are left for the next run: {config(1)}"
    ) as caught:
        app.handler(sample_event("collect_versions"), CONTEXT)
    assert type(caught.value).__name__ == "DependencyFailed"


@pytest.mark.fault("P16")
def test_nothing_of_a_run_that_is_under_way_goes(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    for day in (1, 2):
        cloud.put(f"RUN#{version(day)}-r1", kind="RUN", status="RUNNING", runId=f"{version(day)}-r1")
    lists(sagemaker)
    assert app.handler({}, CONTEXT) == {"deleted": 0, "kept": 4}
