"""A traffic split: each model is verified by its own golden requests, and the serving model does not change."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from contracts.trials import Trial
from deploy import request
from shared import names
from shared.deployment import Deployment
from shared.errors import InvalidInput
from tests.unit.functions.cloud import (
    ARTIFACTS,
    CONTEXT,
    DIGEST,
    IMAGE,
    MODEL_URL,
    RUN,
    Cloud,
    described,
    endpoint,
    model_package,
    sample_event,
)
from tests.unit.functions.test_verify import KNOWN, POPULAR

SERVING_RUN = "v20261124t000000z-00000000-r1"
SPLIT = names.split("ncf", SERVING_RUN, RUN, 10)
EXECUTION = "arn:aws:states:eu-central-1:123456789012:execution:ncf-rollback:7f"


def trial(cloud: Cloud) -> Trial:
    return Trial.from_json(cloud.objects(ARTIFACTS)["serving/trial.json"])


def event_for(name: str, **changed: Any) -> dict[str, Any]:
    event = {"machine": "rollback", "from": SERVING_RUN, "executionArn": EXECUTION, "percent": 10, "reason": "a trial"}
    return {**sample_event(name), **event, **changed}


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud, request: pytest.FixtureRequest) -> ModuleType:
    cloud.put(
        "SERVING",
        "CURRENT",
        kind="SERVING",
        runId=SERVING_RUN,
        datasetVersion=SERVING_RUN[:-3],
        since="2026-11-24T00:00:00.000Z",
    )
    cloud.write(ARTIFACTS, MODEL_URL.removeprefix(f"s3://{ARTIFACTS}/"), b"a")
    return load(request.param)


def test_the_configuration_has_both_models_by_their_shares() -> None:
    call = request.create_split_config("ncf", SERVING_RUN, RUN, 10, request.Fleet("ml.g4dn.xlarge", 2))
    shown = [
        (one["VariantName"], one["ModelName"], one["InitialVariantWeight"], one["InitialInstanceCount"])
        for one in call["ProductionVariants"]
    ]
    assert shown == [("AllTraffic", f"ncf-{SERVING_RUN}", 90.0, 2), ("Other", f"ncf-{RUN}", 10.0, 2)]
    assert call["EndpointConfigName"] == SPLIT


def test_its_name_is_of_its_two_runs_and_the_share_and_fits() -> None:
    other = {names.split("ncf", SERVING_RUN, RUN, 11), names.split("ncf", RUN, SERVING_RUN, 10)}
    assert SPLIT.startswith(f"ncf-{SERVING_RUN}-s") and SPLIT not in other
    longest = names.split("p" * 20, SERVING_RUN[:-3] + "-r99", RUN, 99)
    assert len(longest) <= 63


@pytest.mark.parametrize("app", ["deploy"], indirect=True)
def test_the_endpoint_goes_to_the_split_and_remembers_the_way_back(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud
) -> None:
    container = {"Image": IMAGE, "ModelDataUrl": MODEL_URL}
    known = {"runId": RUN, "modelDataETag": "0cc175b9c0f1b6a831c399e269772661", "bundleDigest": DIGEST}
    package = model_package(
        "Approved", InferenceSpecification={"Containers": [container]}, CustomerMetadataProperties=known
    )
    config = request.create_split_config("ncf", SERVING_RUN, RUN, 10, app.FLEET)
    sagemaker.add_response("describe_model_package", package)
    sagemaker.add_response("describe_endpoint", endpoint("InService", f"ncf-{SERVING_RUN}"))
    sagemaker.add_client_error("create_model", "ValidationException", "Cannot create already existing model", 400)
    model = request.create_model("ncf", RUN, request.container(container, DIGEST), "arn:aws:iam::1:role/earlier")
    sagemaker.add_response(
        "describe_model", {**described(model), "ModelArn": "arn:aws:sagemaker:::model/m", "CreationTime": 0}
    )
    arn = "arn:aws:sagemaker:eu-central-1:123456789012:endpoint"
    sagemaker.add_response("create_endpoint_config", {"EndpointConfigArn": f"{arn}-config/{SPLIT}"}, config)
    update = request.update_endpoint("ncf-recommender", SPLIT, ())
    sagemaker.add_response("update_endpoint", {"EndpointArn": f"{arn}/ncf-recommender"}, update)
    sagemaker.add_response("describe_endpoint", endpoint("Updating", f"ncf-{SERVING_RUN}", pending=SPLIT))
    assert app.handler(event_for("deploy"), CONTEXT)["action"] == "UPDATE"
    figures = cloud.item(f"RUN#{RUN}", "DECISION#deployment#7f")["figures"]
    assert figures == {"endpointConfigName": SPLIT, "previousEndpointConfigName": f"ncf-{SERVING_RUN}"}


@pytest.mark.parametrize("app", ["deploy"], indirect=True)
@pytest.mark.parametrize("known", [SPLIT, "ncf-another-split"])
def test_a_split_that_is_rolled_back_is_none_any_more(
    app: ModuleType, sagemaker: Stubber, answers: Stubber, cloud: Cloud, known: str
) -> None:
    assert app.LEDGER.share_traffic(RUN, 10, known, EXECUTION, "a trial", 1)
    document = Trial(trial_id="7f", all_traffic=SERVING_RUN, other=RUN, share=0.1)
    cloud.write(ARTIFACTS, "serving/trial.json", document.to_json())
    figures = {"endpointConfigName": SPLIT, "previousEndpointConfigName": f"ncf-{SERVING_RUN}"}
    cloud.put(f"RUN#{RUN}", "DECISION#deployment#7f", kind="DECISION", verdict="UPDATE", reasons=[], figures=figures)
    sagemaker.add_response("describe_endpoint", endpoint("InService", SPLIT))
    arn = "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/ncf-recommender"
    back = request.update_endpoint("ncf-recommender", f"ncf-{SERVING_RUN}", ())
    sagemaker.add_response("update_endpoint", {"EndpointArn": arn}, back)
    sagemaker.add_response("describe_endpoint", endpoint("Updating", SPLIT, pending=f"ncf-{SERVING_RUN}"))
    app.handler(event_for("deploy", action="rollback"), CONTEXT)
    assert (app.LEDGER.current_split() is None) == (known == SPLIT) == bool(trial(cloud).ended_at)


@pytest.mark.parametrize(
    ("changed", "config", "is_split"),
    [
        ({}, SPLIT, True),
        ({"percent": None}, f"ncf-{RUN}", False),
        ({"percent": 0}, f"ncf-{RUN}", False),
        ({"percent": 100}, f"ncf-{RUN}", False),
        ({"machine": "retraining"}, f"ncf-{RUN}", False),  # whatever its input has
    ],
)
def test_only_a_rollback_by_a_part_is_a_split(changed: dict[str, Any], config: str, is_split: bool) -> None:
    wanted = Deployment.from_event(event_for("deploy", **changed))
    assert (wanted.config("ncf"), wanted.is_split) == (config, is_split)


@pytest.mark.parametrize("percent", ["10", 1.5, True])
def test_a_share_that_is_no_integer_is_refused(percent: Any) -> None:
    with pytest.raises(InvalidInput, match="percent must be an integer"):
        Deployment.from_event(event_for("deploy", percent=percent))


# Verified


def answer_of(run: str) -> dict[str, Any]:
    return {**KNOWN["response"], "modelVersion": run}


@pytest.fixture
def runtime(app: ModuleType, cloud: Cloud, stub: Callable[[Any], Stubber]) -> Stubber:
    for run in (RUN, SERVING_RUN):
        examples = [{"request": KNOWN["request"], "response": answer_of(run)}]
        cloud.write(ARTIFACTS, f"runs/{run}/golden.json", examples)
        cloud.write(ARTIFACTS, f"runs/{run}/popular.json", {**POPULAR, "runId": run})
    cloud.write(ARTIFACTS, "serving/popular.json", {**POPULAR, "runId": SERVING_RUN})
    return stub(app.RUNTIME)


def answers_as(runtime: Stubber, run: str, variant: str | None) -> None:
    content = json.dumps(answer_of(run)).encode()
    call = {
        "EndpointName": "ncf-recommender",
        "ContentType": "application/json",
        "Accept": "application/json",
        "Body": json.dumps(KNOWN["request"]),
        **({"TargetVariant": variant} if variant else {}),
    }
    runtime.add_response("invoke_endpoint", {"Body": StreamingBody(io.BytesIO(content), len(content))}, call)


@pytest.mark.parametrize("app", ["verify"], indirect=True)
def test_each_model_answers_for_itself_and_the_one_that_serves_stays(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud
) -> None:
    sagemaker.add_response("describe_endpoint", endpoint("InService", SPLIT))
    answers_as(runtime, RUN, "Other")
    answers_as(runtime, SERVING_RUN, "AllTraffic")
    sagemaker.add_response("describe_model_package", model_package("Approved"))
    assert app.handler(event_for("verify"), CONTEXT) == {"verified": True, "requests": 2}
    split = app.LEDGER.current_split()
    assert (split["runId"], split["percent"], split["why"], split["by"]) == (RUN, 10, "a trial", EXECUTION)
    assert cloud.item("SERVING", "CURRENT")["runId"] == SERVING_RUN
    popular = cloud.s3.get_object(Bucket=ARTIFACTS, Key="serving/popular.json")["Body"].read()
    assert json.loads(popular)["runId"] == SERVING_RUN
    assert trial(cloud) == Trial(trial_id="7f", all_traffic=SERVING_RUN, other=RUN, share=0.1)


@pytest.mark.parametrize("app", ["verify"], indirect=True)
def test_a_share_that_has_moved_stays_when_the_split_is_verified_again(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud
) -> None:
    moved = Trial(trial_id="7f", all_traffic=SERVING_RUN, other=RUN, share=0.3)
    cloud.write(ARTIFACTS, "serving/trial.json", moved.to_json())
    sagemaker.add_response("describe_endpoint", endpoint("InService", SPLIT))
    answers_as(runtime, RUN, "Other")
    answers_as(runtime, SERVING_RUN, "AllTraffic")
    sagemaker.add_response("describe_model_package", model_package("Approved"))
    app.handler(event_for("verify"), CONTEXT)
    assert trial(cloud) == moved


@pytest.mark.parametrize("app", ["verify"], indirect=True)
def test_a_variant_that_answers_as_the_other_is_no_split(app: ModuleType, sagemaker: Stubber, runtime: Stubber) -> None:
    sagemaker.add_response("describe_endpoint", endpoint("InService", SPLIT))
    answers_as(runtime, SERVING_RUN, "Other")
    with pytest.raises(Exception, match=f"modelVersion is '{SERVING_RUN}', not '{RUN}'") as caught:
        app.handler(event_for("verify"), CONTEXT)
    assert type(caught.value).__name__ == "GoldenRequestMismatch"
    assert app.LEDGER.current_split() is None


@pytest.mark.parametrize("app", ["verify"], indirect=True)
@pytest.mark.parametrize("serves", ["newest", None])
def test_what_came_to_serve_meanwhile_is_not_split(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud, serves: str | None
) -> None:
    cloud.table.delete_item(Key={"pk": "SERVING", "sk": "CURRENT"})
    if serves:
        cloud.put("SERVING", "CURRENT", kind="SERVING", runId=serves, datasetVersion="v2027")
    sagemaker.add_response("describe_endpoint", endpoint("InService", SPLIT))
    answers_as(runtime, RUN, "Other")
    answers_as(runtime, SERVING_RUN, "AllTraffic")
    sagemaker.add_response("describe_model_package", model_package("Approved"))
    with pytest.raises(Exception, match=f"{serves} serves now, not {SERVING_RUN}") as caught:
        app.handler(event_for("verify"), CONTEXT)
    assert type(caught.value).__name__ == "StaleVersion"
    assert app.LEDGER.current_split() is None


@pytest.mark.parametrize("app", ["verify"], indirect=True)
def test_a_split_by_a_later_deployment_is_not_written_over(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud
) -> None:
    cloud.put("SERVING", "CURRENT", kind="SERVING", runId=SERVING_RUN, datasetVersion="v2026")
    cloud.put("SERVING", "SPLIT", kind="SPLIT", runId="later", percent=5, fence=2)
    sagemaker.add_response("describe_endpoint", endpoint("InService", SPLIT))
    answers_as(runtime, RUN, "Other")
    answers_as(runtime, SERVING_RUN, "AllTraffic")
    sagemaker.add_response("describe_model_package", model_package("Approved"))
    with pytest.raises(Exception, match="changed who serves") as caught:
        app.handler(event_for("verify"), CONTEXT)
    assert type(caught.value).__name__ == "DeploymentLost"
    assert cloud.item("SERVING", "SPLIT")["runId"] == "later"


@pytest.mark.parametrize("app", ["verify"], indirect=True)
@pytest.mark.parametrize("ends_by", ["taking it back", "a new model"])
def test_a_split_ends_when_one_model_answers_all(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud, ends_by: str
) -> None:
    assert app.LEDGER.share_traffic("v20261101t000000z-00000000-r1", 10, "ncf-x", EXECUTION, "a trial", 1)
    begun = Trial(trial_id="7f", all_traffic=SERVING_RUN, other="v20261101t000000z-00000000-r1", share=0.1)
    cloud.write(ARTIFACTS, "serving/trial.json", begun.to_json())
    run = SERVING_RUN if ends_by == "taking it back" else f"{SERVING_RUN[:-3]}-r2"
    cloud.write(ARTIFACTS, f"runs/{run}/golden.json", [{"request": KNOWN["request"], "response": answer_of(run)}])
    cloud.write(ARTIFACTS, f"runs/{run}/popular.json", {**POPULAR, "runId": run})
    cloud.write(ARTIFACTS, "serving/batch.json", {"runId": "older"})
    sagemaker.add_response("describe_endpoint", endpoint("InService", f"ncf-{run}"))
    answers_as(runtime, run, None)
    sagemaker.add_response("describe_model_package", model_package("Approved"))
    if ends_by == "taking it back":
        event = event_for("verify", runId=run, percent=0)
    else:
        event = {**sample_event("verify"), "runId": run, "datasetVersion": run[:-3]}
    app.handler(event, CONTEXT)
    assert app.LEDGER.current_split() is None
    assert trial(cloud).ended_at.endswith("Z") and trial(cloud).trial_id == "7f"
    assert cloud.item("SERVING", "CURRENT")["runId"] == run
    # Lists that stood in before stand in on: no model was taken back.
    lists = cloud.s3.get_object(Bucket=ARTIFACTS, Key="serving/batch.json")["Body"].read()
    assert json.loads(lists)["runId"] == "older"


# Recorded


@pytest.mark.parametrize("app", ["record_outcome"], indirect=True)
@pytest.mark.parametrize(
    ("percent", "words", "subject"),
    [
        (
            10,
            f"{RUN} answers 10 % of the requests, and {SERVING_RUN} the rest: a trial",
            "answers 10 % of the requests",
        ),
        (0, f"{RUN} answers all requests: a trial", "answers 100 % of the requests"),
    ],
)
def test_a_split_is_recorded_and_ends_no_run(
    app: ModuleType, cloud: Cloud, percent: int, words: str, subject: str
) -> None:
    cloud.listen()
    for run in (RUN, SERVING_RUN):
        cloud.put(f"RUN#{run}", kind="RUN", status="DEPLOYED", runId=run)
    cloud.put("LOCK", "DEPLOYMENT", runId="7f", fence=1, leasedUntil=99_999_999_999)
    event = {"outcome": "RESTORED", "runId": RUN, "from": SERVING_RUN, "reason": "a trial", "percent": percent}
    for _ in range(2):
        assert app.handler({**event, "executionArn": EXECUTION}, CONTEXT) == {"status": "SPLIT"}
    assert [cloud.item(f"RUN#{run}")["status"] for run in (RUN, SERVING_RUN)] == ["DEPLOYED"] * 2
    done = cloud.item("ROLLBACK#7f")
    assert (done["status"], done["reasons"]) == ("SPLIT", [words])
    assert cloud.item("LOCK", "DEPLOYMENT")["runId"] is None
    assert cloud.events() == []
    [note] = cloud.notifications()
    assert subject in note["Subject"]
