"""State Register: create one model package per run, also after retries. Returns
`{"modelPackageArn", "approvalStatus", "bundleDigest"}`.

A model that is not to be deployed is registered too, as `Rejected` with the reasons, so the registry has every model.

The group is made with its first package, not by the template: it outlives the stack, and a stack that comes back under
the same NamePrefix goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from contracts.names import SHA256
from contracts.values import shown
from register import request
from shared import environment, names
from shared.artefacts import Pin
from shared.clients import already_exists, calling, client, not_found
from shared.errors import ArtefactMissing, InvalidInput
from shared.jobs import Jobs
from shared.ledger import Ledger
from shared.objects import Bucket, Stored
from shared.observability import append_run, count, logger, observed


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    artifacts_bucket: str
    model_package_group_name: str
    approval: str


SETTINGS = environment.load(Settings)
if SETTINGS.approval not in ("auto", "manual"):
    raise environment.BadEnvironment(f"APPROVAL must be auto or manual, not {SETTINGS.approval!r}")
LEDGER = Ledger(SETTINGS.runs_table)
JOBS = Jobs(LEDGER)
ARTIFACTS = Bucket(client("s3"), SETTINGS.artifacts_bucket)


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Raises ArtefactMissing or ArtefactChanged if the job's archive is not there as it was at the training's end,
    InvalidInput for a state without an evaluation.
    """
    run_id = names.require_run_id(event.get("runId") if isinstance(event, dict) else None)
    version = names.version_of(run_id)
    append_run(run_id=run_id, dataset_version=version)
    evaluation = event.get("evaluation") or {}
    if evaluation.get("verdict") not in ("ACCEPTED", "REJECTED", "UNCHANGED"):
        raise InvalidInput(
            "evaluation.verdict must be ACCEPTED, REJECTED or UNCHANGED: only a model that was judged is registered"
        )
    bundle_digest = evaluation.get("bundleDigest")
    if not isinstance(bundle_digest, str) or not SHA256.fullmatch(bundle_digest):
        raise InvalidInput(f"evaluation.bundleDigest must be 64 lower-case hex digits, not {shown(bundle_digest)}")
    training = event.get("training") or {}
    job_name = training.get("jobName")
    job = JOBS.training_job(str(job_name))
    if job is None or job["TrainingJobStatus"] != "Completed":
        raise InvalidInput(f"training.jobName must name a Completed training job, not {str(job_name)[:80]!r}")
    url = job["ModelArtifacts"]["S3ModelArtifacts"]
    archive = _archive(url)
    Pin.from_state(training, "modelData").require(archive, url)
    model = request.Model(
        run_id=run_id,
        dataset_version=version,
        code_version=evaluation.get("codeVersion") or "unknown",
        job_name=job["TrainingJobName"],
        image=job["AlgorithmSpecification"]["TrainingImage"],
        model_data_url=url,
        model_data_etag=archive.etag,
        model_data_version=archive.version_id,
        bundle_digest=bundle_digest,
        report_uri=evaluation["reportUri"],
        verdict=evaluation["verdict"],
        reasons=tuple(evaluation.get("reasons") or ()),
    )
    arn = _registered(model) or _register(model)
    package = JOBS.model_package(arn)
    status = package["ModelApprovalStatus"]
    LEDGER.decide(
        run_id,
        "registration",
        status,
        [f"registered as {arn}"],
        {"modelPackageArn": arn, "modelDataETag": model.model_data_etag, "bundleDigest": bundle_digest},
    )
    return {"modelPackageArn": arn, "approvalStatus": status, "bundleDigest": bundle_digest}


def _archive(url: str) -> Stored:
    prefix = f"s3://{SETTINGS.artifacts_bucket}/"
    if not url.startswith(prefix):
        raise InvalidInput(f"the model must be below {prefix}, not at {url[:200]!r}")
    key = url.removeprefix(prefix)
    found = ARTIFACTS.head(key, forbidden_is_absent=True)
    if found is None:
        raise ArtefactMissing(f"{key} is missing or unreadable: it cannot be registered")
    return found


def _registered(model: request.Model) -> str | None:
    """Return this model's package if an earlier try created it. The newest packages come first."""
    sagemaker = JOBS.client("sagemaker")
    with calling("sagemaker ListModelPackages"):
        pages = sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=SETTINGS.model_package_group_name, SortBy="CreationTime", SortOrder="Descending"
        )
        for page in _until_absent(pages):
            for summary in page["ModelPackageSummaryList"]:
                arn = summary["ModelPackageArn"]
                if summary.get("ModelPackageDescription") == request.description(model.run_id) and request.describes(
                    JOBS.model_package(arn), model
                ):
                    logger.info("model package already exists", extra={"model_package_arn": arn})
                    return str(arn)
    return None


def _until_absent(pages: Any) -> Iterator[dict[str, Any]]:
    """Yield the pages; none if there is no group yet."""
    try:
        yield from pages
    except ClientError as error:
        if not not_found(error):
            raise


def _create_group() -> None:
    call = request.create_model_package_group(SETTINGS.model_package_group_name, SETTINGS.name_prefix)
    with calling("sagemaker CreateModelPackageGroup"):
        try:
            JOBS.client("sagemaker").create_model_package_group(**call)
        except ClientError as error:
            if not already_exists(error):  # two runs may register at once
                raise


def _register(model: request.Model) -> str:
    call = request.create_model_package(model, SETTINGS.model_package_group_name, SETTINGS.approval)
    sagemaker = JOBS.client("sagemaker")
    with calling("sagemaker CreateModelPackage"):
        try:
            arn = sagemaker.create_model_package(**call)["ModelPackageArn"]
        except ClientError as error:
            if not not_found(error):
                raise
            _create_group()
            arn = sagemaker.create_model_package(**call)["ModelPackageArn"]
    logger.info("model registered", extra={"model_package_arn": arn})
    count("ModelRegistered")
    return str(arn)
