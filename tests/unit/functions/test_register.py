"""One model package per run, also after retries."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from register import request
from tests.unit.functions.cloud import (
    ARTIFACTS,
    CONTEXT,
    DIGEST,
    IMAGE,
    JOB,
    MODEL_URL,
    PACKAGE,
    RUN,
    TAGS,
    VERSION,
    Cloud,
    model_package,
    sample_event,
    training_job,
)

NO_JOB = ("ValidationException", "Requested resource not found.", 400)
ETAG = "0cc175b9c0f1b6a831c399e269772661"
METADATA = {
    "runId": RUN,
    "datasetVersion": VERSION,
    "codeVersion": "5f" * 32,
    "trainingJobName": JOB,
    "image": IMAGE,
    "modelDataETag": ETAG,
    "bundleDigest": DIGEST,
    "verdict": "accepted",
    "reasons": "hit rate at 10 is 0.7123 not below the floor of 0.15 / "
    "NDCG at 10 is 0.4321 better than popularity s 0.2467",
}
CALL = {
    "ModelPackageGroupName": "ncf-recommender",
    "ModelPackageDescription": f"run {RUN}",
    "ClientToken": RUN,
    "ModelApprovalStatus": "Approved",
    "InferenceSpecification": {
        "Containers": [{"Image": IMAGE, "ModelDataUrl": MODEL_URL}],
        "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    },
    "ModelMetrics": {
        "ModelQuality": {
            "Statistics": {"ContentType": "application/json", "S3Uri": f"s3://{ARTIFACTS}/runs/{RUN}/evaluation.json"}
        }
    },
    "CustomerMetadataProperties": METADATA,
}


def package(status: str = "Approved", run: str = RUN) -> dict[str, Any]:
    return model_package(
        status,
        InferenceSpecification=CALL["InferenceSpecification"],
        CustomerMetadataProperties={**METADATA, "runId": run},
    )


def listed(*descriptions: str, more: bool = False) -> dict[str, Any]:
    summaries = [
        {
            "ModelPackageArn": PACKAGE,
            "CreationTime": 0,
            "ModelPackageStatus": "Completed",
            "ModelPackageDescription": words,
        }
        for words in descriptions
    ]
    return {"ModelPackageSummaryList": summaries, **({"NextToken": "more"} if more else {})}


@pytest.fixture
def app(load: Callable[..., ModuleType], cloud: Cloud) -> ModuleType:
    cloud.write(ARTIFACTS, MODEL_URL.removeprefix(f"s3://{ARTIFACTS}/"), b"a")
    return load("register")


@pytest.fixture
def sagemaker(sagemaker: Stubber) -> Stubber:
    sagemaker.add_response("describe_training_job", training_job(), {"TrainingJobName": JOB})
    return sagemaker


@pytest.mark.fault("R02")
def test_the_client_token_is_the_run_id_and_fits() -> None:
    assert (
        request.create_model_package(
            request.Model(
                RUN,
                VERSION,
                "5f" * 32,
                JOB,
                IMAGE,
                MODEL_URL,
                ETAG,
                f"s3://{ARTIFACTS}/runs/{RUN}/evaluation.json",
                DIGEST,
                reasons=tuple(sample_event("register")["evaluation"]["reasons"]),
            ),
            "ncf-recommender",
            "auto",
        )
        == CALL
    )
    assert len(RUN) <= 36


def test_registers_the_model_of_its_sample_event(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    sagemaker.add_response("list_model_packages", listed("run another"))
    sagemaker.add_response("create_model_package", {"ModelPackageArn": PACKAGE}, CALL)
    sagemaker.add_response("describe_model_package", package())
    answer = app.handler(sample_event("register"), CONTEXT)
    assert answer == {"modelPackageArn": PACKAGE, "approvalStatus": "Approved", "bundleDigest": DIGEST}
    assert cloud.item(f"RUN#{RUN}", "DECISION#registration")["figures"]["modelDataETag"] == ETAG


@pytest.mark.fault("R02")
def test_a_retry_finds_the_package_that_an_earlier_try_made(app: ModuleType, sagemaker: Stubber) -> None:
    sagemaker.add_response("list_model_packages", listed("run another", more=True))
    sagemaker.add_response("list_model_packages", listed(f"run {RUN}"))
    sagemaker.add_response("describe_model_package", package("PendingManualApproval"))
    sagemaker.add_response("describe_model_package", package("PendingManualApproval"))
    answer = app.handler(sample_event("register"), CONTEXT)
    assert answer == {"modelPackageArn": PACKAGE, "approvalStatus": "PendingManualApproval", "bundleDigest": DIGEST}


def test_a_description_alone_does_not_make_a_package_ours(app: ModuleType, sagemaker: Stubber) -> None:
    sagemaker.add_response("list_model_packages", listed(f"run {RUN}"))
    sagemaker.add_response("describe_model_package", package(run="somebody-elses"))
    sagemaker.add_response("create_model_package", {"ModelPackageArn": PACKAGE}, CALL)
    sagemaker.add_response("describe_model_package", package())
    assert app.handler(sample_event("register"), CONTEXT)["approvalStatus"] == "Approved"


def test_manual_approval_registers_as_pending(
    load: Callable[..., ModuleType], cloud: Cloud, stub: Callable[[Any], Stubber]
) -> None:
    cloud.write(ARTIFACTS, MODEL_URL.removeprefix(f"s3://{ARTIFACTS}/"), b"a")
    app = load("register", APPROVAL="manual")
    sagemaker = stub(app.JOBS.client("sagemaker"))
    sagemaker.add_response("describe_training_job", training_job())
    sagemaker.add_response("list_model_packages", listed())
    expected = {**CALL, "ModelApprovalStatus": "PendingManualApproval"}
    sagemaker.add_response("create_model_package", {"ModelPackageArn": PACKAGE}, expected)
    sagemaker.add_response("describe_model_package", package("PendingManualApproval"))
    assert app.handler(sample_event("register"), CONTEXT)["approvalStatus"] == "PendingManualApproval"


@pytest.mark.parametrize(
    ("code", "name"), [("ResourceLimitExceeded", "CapacityUnavailable"), ("ConflictException", "DependencyFailed")]
)
@pytest.mark.fault("R03", "R04")
def test_a_registry_that_refuses_says_which_cause_it_has(
    app: ModuleType, sagemaker: Stubber, code: str, name: str
) -> None:
    sagemaker.add_response("list_model_packages", listed())
    sagemaker.add_client_error("create_model_package", code, "no", 400)
    with pytest.raises(Exception, match=code) as caught:
        app.handler(sample_event("register"), CONTEXT)
    assert type(caught.value).__name__ == name


def test_a_model_whose_archive_is_gone_is_not_registered(app: ModuleType, sagemaker: Stubber, cloud: Cloud) -> None:
    cloud.s3.delete_object(Bucket=ARTIFACTS, Key=MODEL_URL.removeprefix(f"s3://{ARTIFACTS}/"))
    with pytest.raises(Exception, match="missing or unreadable") as caught:
        app.handler(sample_event("register"), CONTEXT)
    assert type(caught.value).__name__ == "ArtefactMissing"


@pytest.mark.parametrize("verdict", [None, "accepted", True])
def test_only_a_model_that_was_judged_is_registered(app: ModuleType, verdict: Any) -> None:
    event = sample_event("register")
    event["evaluation"]["verdict"] = verdict
    with pytest.raises(Exception, match=r"evaluation\.verdict must be ACCEPTED, REJECTED or UNCHANGED"):
        app.handler(event, CONTEXT)


@pytest.mark.parametrize("without", ["evaluation", "training"])
def test_a_state_without_a_judgement_or_a_training_registers_nothing(
    app: ModuleType, stub: Callable[[Any], Stubber], without: str
) -> None:
    event = sample_event("register")
    del event[without]
    if without == "training":
        stub(app.JOBS.client("sagemaker")).add_client_error("describe_training_job", *NO_JOB)
    with pytest.raises(Exception, match=rf"{without}\.(verdict|jobName) must") as caught:
        app.handler(event, CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"


@pytest.mark.parametrize("status", [None, "InProgress", "Failed", "Stopped"])
def test_only_the_model_of_a_completed_training_is_registered(
    app: ModuleType, stub: Callable[[Any], Stubber], status: str | None
) -> None:
    sagemaker = stub(app.JOBS.client("sagemaker"))
    if status is None:
        sagemaker.add_client_error("describe_training_job", *NO_JOB)
    else:
        sagemaker.add_response("describe_training_job", training_job(status))
    with pytest.raises(Exception, match=f"training.jobName must name a Completed training job, not '{JOB}'") as caught:
        app.handler(sample_event("register"), CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"


def test_an_archive_outside_the_stacks_bucket_is_not_registered(
    app: ModuleType, stub: Callable[[Any], Stubber]
) -> None:
    elsewhere = {"S3ModelArtifacts": "s3://elsewhere/training/model.tar.gz"}
    stub(app.JOBS.client("sagemaker")).add_response(
        "describe_training_job", {**training_job(), "ModelArtifacts": elsewhere}
    )
    with pytest.raises(Exception, match=f"must be below s3://{ARTIFACTS}/, not at 's3://elsewhere/") as caught:
        app.handler(sample_event("register"), CONTEXT)
    assert type(caught.value).__name__ == "InvalidInput"


def test_what_the_evaluation_does_not_say_is_registered_as_unknown(app: ModuleType, sagemaker: Stubber) -> None:
    event = sample_event("register")
    event["evaluation"] |= {"codeVersion": "", "reasons": None}
    sagemaker.add_response("list_model_packages", listed())
    told = {**METADATA, "codeVersion": "unknown", "reasons": "none"}
    call = {**CALL, "CustomerMetadataProperties": told}
    sagemaker.add_response("create_model_package", {"ModelPackageArn": PACKAGE}, call)
    sagemaker.add_response("describe_model_package", package())
    app.handler(event, CONTEXT)


@pytest.mark.parametrize("digest", [None, "", DIGEST.upper(), 7])
def test_a_state_without_the_digest_of_the_bundle_registers_nothing(app: ModuleType, digest: Any) -> None:
    event = sample_event("register")
    event["evaluation"]["bundleDigest"] = digest
    with pytest.raises(Exception, match=r"evaluation\.bundleDigest must be 64 lower-case hex digits"):
        app.handler(event, CONTEXT)


@pytest.mark.parametrize(
    "other",
    [{"bundleDigest": "0" * 64}, {"modelDataETag": "another"}, {"trainingJobName": "another"}, {"Image": "another"}],
)
def test_a_package_of_the_run_with_another_model_is_not_ours(
    app: ModuleType, sagemaker: Stubber, other: dict[str, str]
) -> None:
    found = package()
    if "Image" in other:
        found["InferenceSpecification"] = {"Containers": [{"Image": IMAGE, "ModelDataUrl": MODEL_URL, **other}]}
    else:
        found["CustomerMetadataProperties"] |= other
    sagemaker.add_response("list_model_packages", listed(f"run {RUN}"))
    sagemaker.add_response("describe_model_package", found)
    sagemaker.add_response("create_model_package", {"ModelPackageArn": PACKAGE}, CALL)
    sagemaker.add_response("describe_model_package", package())
    app.handler(sample_event("register"), CONTEXT)


def test_a_package_of_the_run_with_a_second_container_is_not_ours(app: ModuleType, sagemaker: Stubber) -> None:
    found = package()
    found["InferenceSpecification"] = {"Containers": [{"Image": IMAGE, "ModelDataUrl": MODEL_URL}] * 2}
    sagemaker.add_response("list_model_packages", listed(f"run {RUN}"))
    sagemaker.add_response("describe_model_package", found)
    sagemaker.add_response("create_model_package", {"ModelPackageArn": PACKAGE}, CALL)
    sagemaker.add_response("describe_model_package", package())
    app.handler(sample_event("register"), CONTEXT)


@pytest.mark.parametrize(("approval", "verdict"), [("auto", "REJECTED"), ("manual", "REJECTED"), ("auto", "UNCHANGED")])
def test_a_model_that_is_not_to_be_deployed_is_registered_as_rejected_with_its_reasons(
    load: Callable[..., ModuleType], cloud: Cloud, stub: Callable[[Any], Stubber], approval: str, verdict: str
) -> None:
    cloud.write(ARTIFACTS, MODEL_URL.removeprefix(f"s3://{ARTIFACTS}/"), b"a")
    app = load("register", APPROVAL=approval)
    event = sample_event("register")
    event["evaluation"] |= {
        "verdict": verdict,
        "reasons": ["NDCG at 10 is 0.05, below the floor of 0.08 (95 %)", "ü" * 300],
    }
    metadata = {**METADATA, "verdict": verdict.lower()}
    metadata["reasons"] = f"NDCG at 10 is 0.05 below the floor of 0.08 95 / {'ü' * 300}"[:256]
    sagemaker = stub(app.JOBS.client("sagemaker"))
    sagemaker.add_response("describe_training_job", training_job())
    sagemaker.add_response("list_model_packages", listed())
    expected = {**CALL, "ModelApprovalStatus": "Rejected", "CustomerMetadataProperties": metadata}
    sagemaker.add_response("create_model_package", {"ModelPackageArn": PACKAGE}, expected)
    sagemaker.add_response("describe_model_package", package("Rejected"))
    assert app.handler(event, CONTEXT)["approvalStatus"] == "Rejected"
    assert cloud.item(f"RUN#{RUN}", "DECISION#registration")["verdict"] == "Rejected"


def test_a_stopped_job_is_not_registered(app: ModuleType, stub: Callable[[Any], Stubber]) -> None:
    stub(app.JOBS.client("sagemaker")).add_response("describe_training_job", training_job("Stopped"))
    with pytest.raises(Exception, match="must name a Completed training job"):
        app.handler(sample_event("register"), CONTEXT)


def test_another_word_for_approval_stops_start_up(load: Callable[..., ModuleType]) -> None:
    with pytest.raises(Exception, match="APPROVAL must be auto or manual, not 'maybe'"):
        load("register", APPROVAL="maybe")


NO_GROUP = ("ValidationException", "Model Package Group ncf-recommender does not exist.", 400)
GROUP = {"ModelPackageGroupArn": "arn:aws:sagemaker:eu-central-1:123456789012:model-package-group/ncf-recommender"}


@pytest.mark.parametrize("is_made_meanwhile", [False, True])
def test_the_first_package_of_a_stack_makes_its_group(
    app: ModuleType, sagemaker: Stubber, is_made_meanwhile: bool
) -> None:
    sagemaker.add_client_error("list_model_packages", *NO_GROUP)
    sagemaker.add_client_error("create_model_package", *NO_GROUP)
    if is_made_meanwhile:
        words = "Model Package Group already exists: arn"
        sagemaker.add_client_error("create_model_package_group", "ValidationException", words, 400)
    else:
        group = {
            "ModelPackageGroupName": "ncf-recommender",
            "ModelPackageGroupDescription": "Every model that was judged, with its metrics",
            "Tags": TAGS,
        }
        sagemaker.add_response("create_model_package_group", GROUP, group)
    sagemaker.add_response("create_model_package", {"ModelPackageArn": PACKAGE}, CALL)
    sagemaker.add_response("describe_model_package", package())
    assert app.handler(sample_event("register"), CONTEXT)["modelPackageArn"] == PACKAGE


def test_a_refusal_that_is_not_of_a_missing_group_makes_none(app: ModuleType, sagemaker: Stubber) -> None:
    sagemaker.add_client_error("list_model_packages", "AccessDeniedException", "not allowed", 400)
    with pytest.raises(Exception, match="not allowed"):
        app.handler(sample_event("register"), CONTEXT)
