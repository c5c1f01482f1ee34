"""A model serves only when its endpoint answers as its bundle says."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from shared.errors import GoldenRequestMismatch, InvalidInput
from tests.unit.functions.cloud import (
    ARTIFACTS,
    CONTEXT,
    DIGEST,
    MODEL_URL,
    PACKAGE,
    RUN,
    VERSION,
    Cloud,
    endpoint,
    model_package,
    sample_event,
)
from verify import golden

WANTED = f"ncf-{RUN}"
POPULAR = {"schemaVersion": "1.0", "runId": RUN, "datasetVersion": VERSION, "itemList": [{"itemId": "a", "score": 9.0}]}


def answer(*items: tuple[str, float], source: str = "personalized") -> dict[str, Any]:
    return {
        "userId": "42",
        "itemList": [{"itemId": item, "score": score} for item, score in items],
        "source": source,
        "modelVersion": RUN,
        "unknownItems": 0,
    }


KNOWN = {"request": {"userId": "42", "numResults": 3}, "response": answer(("a", 0.9), ("b", 0.5), ("c", 0.1))}
STRANGER = {"request": {"userId": "nobody"}, "response": answer(("a", 9.0), ("b", 3.0), source="popular")}


def differing(**changes: Any) -> dict[str, Any]:
    document = copy.deepcopy(KNOWN["response"])
    for path, value in changes.items():
        if path == "items":
            document["itemList"] = [{"itemId": item, "score": score} for item, score in value]
        else:
            document[path] = value
    return document


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        [],
        [1],
        [{"request": {}}],
        [{"request": {}, "response": {}}],
        [KNOWN] * 101,
        [{"request": {}, "response": {"itemList": ["a"]}}],
        [{"request": {}, "response": {"itemList": [{"itemId": ["a"], "score": 1}]}}],
        [{"request": {}, "response": {"itemList": [{"itemId": 7, "score": 1}]}}],
        [{"request": {}, "response": {"itemList": [{"itemId": "a", "score": "1"}]}}],
        [{"request": {}, "response": {"itemList": [{"itemId": "a", "score": 10**400}]}}],
        [{"request": {}, "response": answer(("a", 0.9), ("a", 0.8))}],
        [{"request": {}, "response": answer(("a", 0.8), ("b", 0.9))}],
    ],
)
def test_without_golden_requests_nothing_is_proved(document: Any) -> None:
    with pytest.raises(GoldenRequestMismatch):
        golden.parse(json.dumps(document).encode())


OTHER = {"request": {"userId": "43", "numResults": 3}, "response": {**answer(("b", 0.8), ("a", 0.4)), "userId": "43"}}


def test_two_users_must_not_get_one_list() -> None:
    examples = golden.parse(json.dumps([KNOWN, STRANGER, OTHER]).encode())
    own = [example.response for example in examples]
    assert golden.sameness(examples, own) is None
    alike = [*own[:2], {**OTHER["response"], "itemList": KNOWN["response"]["itemList"]}]
    assert golden.sameness(examples, alike) == "2 users get the same list"
    # A list of candidates has its items by request, and strangers all get the popular ones.
    ranking = {"request": {"userId": "44", "candidates": ["a"]}, "response": KNOWN["response"]}
    examples = golden.parse(json.dumps([KNOWN, STRANGER, ranking]).encode())
    assert golden.sameness(examples, [KNOWN["response"]] * 3) is None


@pytest.mark.fault("A06")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schemaVersion": "2.0"}, "popular.json must have schemaVersion 1.0 and an itemList that is not empty"),
        ({"itemList": {"a": 1}}, "popular.json must have schemaVersion 1.0 and an itemList that is not empty"),
        ({"itemList": ["a"]}, "popular.json: itemList[0] must be an object with itemId and score, not a string"),
        ({"itemList": [{"itemId": 7, "score": 9}]}, "popular.json: itemList[0].itemId must be a string, not a number"),
        ({"itemList": [{"itemId": "a", "score": 9, "categories": {"Drama": 1}}]},
         "popular.json: itemList[0].categories must be a list of strings"),
        ({"itemList": [{"itemId": "a", "score": 10**400}]},
         "popular.json: itemList[0].score must be a number within the range of a double, not a larger one"),
        ({"itemList": [{"itemId": "a", "score": 9}] * 2}, "popular.json: item 2 is in the list twice"),
    ],
)  # fmt: skip
def test_a_broken_popularity_list_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        golden.popular(json.dumps({**POPULAR, **changes}).encode(), "popular.json")
    assert str(caught.value) == words
    content = json.dumps(POPULAR).encode()
    assert golden.popular(content, "popular.json") == content


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a": 1, "a": 2}', b"\xff", b""])
def test_an_answer_that_is_not_json_is_none(content: bytes) -> None:
    assert golden.read_answer(content) is None


# The handler


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud) -> ModuleType:
    cloud.write(ARTIFACTS, f"runs/{RUN}/golden.json", [KNOWN, STRANGER])
    cloud.write(ARTIFACTS, f"runs/{RUN}/popular.json", POPULAR)
    return load("verify")


@pytest.fixture
def runtime(app: ModuleType, stub: Callable[[Any], Stubber]) -> Stubber:
    return stub(app.RUNTIME)


def describes(sagemaker: Stubber, status: str = "InService", config: str = WANTED) -> None:
    sagemaker.add_response("describe_endpoint", endpoint(status, config), {"EndpointName": "ncf-recommender"})


def answers(runtime: Stubber, request: dict[str, Any], response: Any, attributes: str | None = None) -> None:
    content = response if isinstance(response, bytes) else json.dumps(response).encode()
    call = {
        "EndpointName": "ncf-recommender",
        "ContentType": "application/json",
        "Accept": "application/json",
        "Body": json.dumps(request),
    }
    body = {"Body": StreamingBody(io.BytesIO(content), len(content))}
    runtime.add_response("invoke_endpoint", body | ({"CustomAttributes": attributes} if attributes else {}), call)


def is_well(sagemaker: Stubber, runtime: Stubber, status: str = "Approved") -> None:
    """The endpoint serves the model and answers as recorded; its package has that status."""
    describes(sagemaker)
    answers(runtime, KNOWN["request"], KNOWN["response"])
    answers(runtime, STRANGER["request"], STRANGER["response"])
    sagemaker.add_response("describe_model_package", model_package(status), {"ModelPackageName": PACKAGE})


def test_a_model_that_answers_as_recorded_is_promoted(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud
) -> None:
    is_well(sagemaker, runtime)
    assert app.handler(sample_event("verify"), CONTEXT) == {"verified": True, "requests": 2}
    serving = cloud.item("SERVING", "CURRENT")
    assert {name: serving[name] for name in ("runId", "datasetVersion", "modelPackageArn", "modelDataUrl")} == {
        "runId": RUN,
        "datasetVersion": VERSION,
        "modelPackageArn": PACKAGE,
        "modelDataUrl": MODEL_URL,
    }
    assert serving["endpointConfigName"] == WANTED
    assert serving["bundleDigest"] == DIGEST
    popular = cloud.s3.get_object(Bucket=ARTIFACTS, Key="serving/popular.json")["Body"].read()
    assert json.loads(popular) == POPULAR


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "it passed the gate"),
        (
            {"acknowledge": "it was the weather", "reason": "odd lists"},
            "it passed the gate; its data were acknowledged: it was the weather",
        ),
    ],
)
def test_the_serving_record_says_why_a_retrained_model_serves(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud, given: dict[str, Any], why: str
) -> None:
    is_well(sagemaker, runtime)
    app.handler({**sample_event("verify"), **given}, CONTEXT)
    assert cloud.item("SERVING", "CURRENT")["why"] == why


@pytest.mark.parametrize("status", ["Rejected", "PendingManualApproval"])
@pytest.mark.fault("R07")
def test_a_model_whose_approval_was_taken_back_meanwhile_is_not_promoted(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud, status: str
) -> None:
    is_well(sagemaker, runtime, status)
    with pytest.raises(Exception, match=f"{PACKAGE} is {status}, no longer Approved") as caught:
        app.handler(sample_event("verify"), CONTEXT)
    assert type(caught.value).__name__ == "ModelNotApproved"
    assert cloud.item("SERVING", "CURRENT") == {}


@pytest.mark.parametrize("response", [differing(items=[("b", 0.9), ("a", 0.5), ("c", 0.1)]), b"<html>", b"null"])
@pytest.mark.fault("P14")
def test_a_model_that_answers_otherwise_is_not_promoted(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud, response: Any
) -> None:
    describes(sagemaker)
    answers(runtime, KNOWN["request"], response)
    with pytest.raises(Exception, match="golden request 1 of 2") as caught:
        app.handler(sample_event("verify"), CONTEXT)
    assert type(caught.value).__name__ == "GoldenRequestMismatch"
    assert "42" not in str(caught.value).replace("20261123t151300z", ""), "user ids stay out of messages"
    assert cloud.item("SERVING", "CURRENT") == {}
    assert cloud.s3.list_objects_v2(Bucket=ARTIFACTS, Prefix="serving/")["KeyCount"] == 0


@pytest.mark.fault("E13")
def test_a_model_with_one_list_for_everybody_is_not_promoted(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud
) -> None:
    alike = {**OTHER, "response": {**KNOWN["response"], "userId": "43"}}
    cloud.write(ARTIFACTS, f"runs/{RUN}/golden.json", [KNOWN, alike])
    describes(sagemaker)
    for example in (KNOWN, alike):
        answers(runtime, example["request"], example["response"])
    with pytest.raises(Exception, match="golden request 1 to 2: 2 users get the same list") as caught:
        app.handler(sample_event("verify"), CONTEXT)
    assert type(caught.value).__name__ == "GoldenRequestMismatch"
    assert cloud.item("SERVING", "CURRENT") == {}


@pytest.mark.parametrize(
    ("code", "status", "name"),
    [
        ("ModelError", 424, "GoldenRequestMismatch"),
        ("ModelNotReadyException", 429, "DependencyFailed"),
        ("ServiceUnavailable", 503, "DependencyFailed"),
        ("InternalFailure", 500, "DependencyFailed"),
        ("ValidationError", 400, "InvalidInput"),
    ],
)
def test_an_endpoint_that_does_not_answer_says_which_cause_it_has(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud, code: str, status: int, name: str
) -> None:
    describes(sagemaker)
    runtime.add_client_error("invoke_endpoint", code, "no", status)
    with pytest.raises(Exception) as caught:
        app.handler(sample_event("verify"), CONTEXT)
    assert type(caught.value).__name__ == name
    assert cloud.item("SERVING", "CURRENT") == {}


@pytest.mark.parametrize(("status", "config"), [("InService", "ncf-older"), ("Updating", WANTED), ("Failed", WANTED)])
@pytest.mark.fault("P11")
def test_in_service_and_the_wanted_configuration_are_both_needed(
    app: ModuleType, sagemaker: Stubber, status: str, config: str
) -> None:
    describes(sagemaker, status, config)
    with pytest.raises(Exception, match=f"is {status} on {config}, not InService on {WANTED}") as caught:
        app.handler(sample_event("verify"), CONTEXT)
    assert type(caught.value).__name__ == "EndpointRolledBack"


def test_an_endpoint_that_is_gone_verifies_nothing(app: ModuleType, sagemaker: Stubber) -> None:
    sagemaker.add_client_error("describe_endpoint", "ValidationException", "Could not find endpoint", 400)
    with pytest.raises(Exception, match=f"is gone on None, not InService on {WANTED}") as caught:
        app.handler(sample_event("verify"), CONTEXT)
    assert type(caught.value).__name__ == "EndpointRolledBack"


@pytest.mark.parametrize(
    "changed",
    [
        {"registration": None},
        {"registration": {}},
        {"registration": {"modelPackageArn": 7}},
        {"training": None},
        {"training": {"modelDataUrl": ["s3://a"]}},
    ],
)
def test_an_input_without_the_models_package_or_archive_publishes_nothing(
    app: ModuleType, cloud: Cloud, changed: dict[str, Any]
) -> None:
    with pytest.raises(Exception, match=r"modelPackageArn and training\.modelDataUrl must be strings") as caught:
        app.handler({**sample_event("verify"), **changed}, CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"
    assert cloud.s3.list_objects_v2(Bucket=ARTIFACTS, Prefix="serving/")["KeyCount"] == 0


def test_newer_data_that_serves_meanwhile_is_not_replaced(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud
) -> None:
    newer = "v20261124t000000z-00000000"
    cloud.put("SERVING", "CURRENT", runId=f"{newer}-r1", datasetVersion=newer)
    is_well(sagemaker, runtime)
    with pytest.raises(Exception, match=f"{newer}-r1 serves now") as caught:
        app.handler(sample_event("verify"), CONTEXT)
    assert type(caught.value).__name__ == "StaleVersion"
    assert cloud.item("SERVING", "CURRENT")["runId"] == f"{newer}-r1"


def test_missing_golden_requests_are_a_fault(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    cloud.s3.delete_object(Bucket=ARTIFACTS, Key=f"runs/{RUN}/golden.json")
    describes(sagemaker)
    with pytest.raises(Exception, match=r"golden\.json is missing") as caught:
        app.handler(sample_event("verify"), CONTEXT)
    assert type(caught.value).__name__ == "ArtefactMissing"


def test_files_of_a_run_from_before_their_digests_were_recorded_are_taken(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud
) -> None:
    cloud.put(f"RUN#{RUN}", "DECISION#gate", kind="DECISION", verdict="ACCEPTED", reasons=[], figures={"checks": []})
    is_well(sagemaker, runtime)
    assert app.handler(sample_event("verify"), CONTEXT)["verified"]


@pytest.mark.fault("A06")
def test_a_broken_popularity_list_never_serves(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud
) -> None:
    broken = {"itemId": "a", "score": 9.0, "categories": {"Drama": 1}}
    cloud.write(ARTIFACTS, f"runs/{RUN}/popular.json", {**POPULAR, "itemList": [broken]})
    is_well(sagemaker, runtime)
    with pytest.raises(Exception, match=r"popular\.json: itemList\[0\]\.categories must be a list") as caught:
        app.handler(sample_event("verify"), CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"
    assert cloud.item("SERVING", "CURRENT") == {}
    assert cloud.s3.list_objects_v2(Bucket=ARTIFACTS, Prefix="serving/")["KeyCount"] == 0


@pytest.mark.fault("R08")
def test_a_lock_that_another_has_taken_stops_the_promotion(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud
) -> None:
    cloud.put("LOCK", "DEPLOYMENT", kind="LOCK", runId="another", fence=1, leasedUntil=99_999_999_999)
    is_well(sagemaker, runtime)
    with pytest.raises(Exception, match="another took the deployment lock") as caught:
        app.handler(sample_event("verify"), CONTEXT)
    assert type(caught.value).__name__ == "DeploymentLost"
    assert cloud.item("SERVING", "CURRENT") == {}
    assert cloud.s3.list_objects_v2(Bucket=ARTIFACTS, Prefix="serving/")["KeyCount"] == 0


@pytest.mark.fault("R08")
def test_who_is_slower_than_its_lease_promotes_nothing_over_a_later_deployment(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud
) -> None:
    """A rollback to older data takes the lock between the check of the lock and the promotion."""
    older = {"runId": "v20261001t000000z-00000000-r1", "datasetVersion": "v20261001t000000z-00000000"}
    cloud.put("SERVING", "CURRENT", kind="SERVING", fence=2, **older)
    is_well(sagemaker, runtime)
    with pytest.raises(Exception, match="serves since a deployment later than that of") as caught:
        app.handler(sample_event("verify"), CONTEXT)
    assert type(caught.value).__name__ == "DeploymentLost"
    assert cloud.item("SERVING", "CURRENT")["runId"] == older["runId"]


# A rollback, and what moves with the endpoint

NEWER = "v20261124t000000z-00000000"
LISTS = {"schemaVersion": "1.0", "runId": RUN, "prefix": "batch/x/lists/", "shards": 2, "numResults": 50}


def lists_in_place(cloud: Cloud) -> Any:
    return json.loads(cloud.s3.get_object(Bucket=ARTIFACTS, Key="serving/batch.json")["Body"].read())


def rollback_of(newer: str) -> dict[str, Any]:
    serving_item = {
        "machine": "rollback",
        "from": f"{newer}-r1",
        "reason": "odd lists",
        "executionArn": "arn:x:ncf-rollback:7f",
    }
    return {**sample_event("verify"), **serving_item}


@pytest.mark.parametrize("has_lists", [True, False])
def test_a_rollback_moves_popular_items_and_lists_with_the_endpoint(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud, has_lists: bool
) -> None:
    cloud.put("SERVING", "CURRENT", kind="SERVING", runId=f"{NEWER}-r1", datasetVersion=NEWER)
    cloud.write(ARTIFACTS, "serving/batch.json", {**LISTS, "runId": f"{NEWER}-r1"})
    if has_lists:
        cloud.write(ARTIFACTS, f"runs/{RUN}/batch.json", LISTS)
    is_well(sagemaker, runtime)
    app.handler(rollback_of(NEWER), CONTEXT)
    serving = cloud.item("SERVING", "CURRENT")
    assert (serving["runId"], serving["why"]) == (RUN, "odd lists")
    assert cloud.item("LOCK", "DEPLOYMENT")["runId"] == "7f"
    popular = cloud.s3.get_object(Bucket=ARTIFACTS, Key="serving/popular.json")["Body"].read()
    assert json.loads(popular) == POPULAR
    none = {"schemaVersion": "1.0", "runId": RUN, "shards": 0}
    assert lists_in_place(cloud) == (LISTS if has_lists else none)


def test_a_rollback_without_a_reason_says_so(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud
) -> None:
    cloud.put("SERVING", "CURRENT", kind="SERVING", runId=f"{NEWER}-r1", datasetVersion=NEWER)
    is_well(sagemaker, runtime)
    app.handler({**rollback_of(NEWER), "reason": None}, CONTEXT)
    assert cloud.item("SERVING", "CURRENT")["why"] == "no reason was given"


def test_until_a_new_model_has_lists_those_of_the_one_before_stand_in(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud
) -> None:
    cloud.write(ARTIFACTS, "serving/batch.json", {**LISTS, "runId": "older"})
    is_well(sagemaker, runtime)
    app.handler(sample_event("verify"), CONTEXT)
    assert lists_in_place(cloud)["runId"] == "older"


@pytest.mark.parametrize("serves", ["newest", None])
def test_a_rollback_does_not_replace_what_was_deployed_meanwhile(
    app: ModuleType, sagemaker: Stubber, runtime: Stubber, cloud: Cloud, serves: str | None
) -> None:
    if serves:
        cloud.put("SERVING", "CURRENT", kind="SERVING", runId=serves, datasetVersion=NEWER)
    is_well(sagemaker, runtime)
    with pytest.raises(Exception, match=f"{serves} serves now") as caught:
        app.handler(rollback_of(NEWER), CONTEXT)
    assert type(caught.value).__name__ == "StaleVersion"
    assert cloud.item("SERVING", "CURRENT").get("runId") == serves


@pytest.mark.parametrize(
    ("attributes", "instance_type", "is_told"),
    [
        ("device=cpu", "ml.g4dn.xlarge", True),
        ("device=cpu", "ml.m5.large", False),
        ("device=cuda", None, False),
        (None, None, False),
    ],
)
def test_an_endpoint_that_pays_for_a_gpu_and_uses_its_cpu_is_told(
    app: ModuleType,
    sagemaker: Stubber,
    runtime: Stubber,
    cloud: Cloud,
    capsys: pytest.CaptureFixture[str],
    attributes: str | None,
    instance_type: str | None,
    is_told: bool,
) -> None:
    describes(sagemaker)
    for example in (KNOWN, STRANGER):
        answers(runtime, example["request"], example["response"], attributes)
    sagemaker.add_response("describe_model_package", model_package("Approved"), {"ModelPackageName": PACKAGE})
    if instance_type:
        config = {
            "EndpointConfigName": WANTED,
            "EndpointConfigArn": f"arn:aws:sagemaker:eu-central-1:123456789012:endpoint-config/{WANTED}",
            "CreationTime": 0,
            "ProductionVariants": [{"VariantName": "AllTraffic", "InstanceType": instance_type}],
        }
        sagemaker.add_response("describe_endpoint_config", config, {"EndpointConfigName": WANTED})
    assert app.handler(sample_event("verify"), CONTEXT)["verified"]
    decision = cloud.item(f"RUN#{RUN}", "DECISION#device")
    words = "the endpoint asked for ml.g4dn.xlarge, a GPU machine, and ran on its CPU: CUDA finds no device"
    assert decision.get("reasons", [""])[0].startswith(words) is is_told
    assert ('"GpuUnused":[1.0]' in capsys.readouterr().out) is is_told
