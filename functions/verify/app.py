"""State Verify of a retraining or a rollback: check that the endpoint is InService on the wanted configuration and
answers every golden request. Returns `{"verified", "requests"}`.

Then the model's popularity list and its batch lists, if any, are published for the API, and the ledger records that the
model serves, unless a model trained on newer data does. With split traffic each model answers its own golden requests,
lists and record stay with the serving model, and a trial of both begins; it ends with the split.

An endpoint that answers on the CPU of a machine with a GPU is told (log, metric GpuUnused, decision `device`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError

from contracts.devices import device_in
from contracts.golden import difference
from shared import acknowledgement, environment, gpus, names
from shared.clients import calling, client, code_of, message_of
from shared.deployment import Deployment
from shared.errors import (
    ArtefactChanged,
    ArtefactMissing,
    DeploymentLost,
    EndpointRolledBack,
    GoldenRequestMismatch,
    InvalidInput,
    ModelNotApproved,
    StaleVersion,
)
from shared.jobs import Jobs
from shared.ledger import Ledger
from shared.objects import Bucket
from shared.observability import append_run, count, logger, observed
from shared.records import Model
from shared.serving_record import Lock
from shared.trials import TrialDocument, of_split
from verify import golden


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    endpoint_name: str
    artifacts_bucket: str


SETTINGS = environment.load(Settings)
LEDGER = Ledger(SETTINGS.runs_table)
JOBS = Jobs(LEDGER)
ARTIFACTS = Bucket(client("s3"), SETTINGS.artifacts_bucket)
TRIAL = TrialDocument(ARTIFACTS)
RUNTIME = client("sagemaker-runtime", Config(read_timeout=60))
ON_CPU = (
    "CUDA finds no device (look at EndpointInferenceAmiVersion), or the CPU is the faster one for this catalogue (the "
    'server\'s log line "device" says which); EndpointInstanceType may be a CPU type'
)


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Raises EndpointRolledBack, GoldenRequestMismatch, ArtefactChanged, ModelNotApproved, StaleVersion or
    DeploymentLost; the state machine then restores the earlier configuration. Raises InvalidInput for an input without
    the model's package and archive, before anything is published.
    """
    deployment = Deployment.from_event(event)
    run_id = deployment.run_id
    append_run(run_id=run_id, dataset_version=names.version_of(run_id))
    model = _model(deployment, event)
    _require_in_service(deployment.config(SETTINGS.name_prefix))
    requests, device = _require_golden(run_id, names.OTHER_VARIANT if deployment.is_split else None)
    if deployment.is_split and deployment.replacing:
        requests += _require_golden(deployment.replacing, names.VARIANT)[0]
    _require_approved(model["modelPackageArn"])
    lock = LEDGER.lock_deployment(deployment.holder)  # a redriven execution has released it
    if lock.holder != deployment.holder:
        raise DeploymentLost(f"{lock.holder} took the deployment lock because the lease of {deployment.holder} ended")
    if deployment.is_split:
        _split(deployment, event, lock)
    else:
        # The lists come before the promotion, so that a crash after it leaves nothing undone.
        ARTIFACTS.put("serving/popular.json", golden.popular(_kept(run_id, "popular.json"), "popular.json"))
        _publish_batch(run_id, is_back=deployment.replacing not in (None, run_id))
        _promote(deployment, model, event, lock)
        LEDGER.end_split()
        TRIAL.end(LEDGER.seconds())
    _tell_device(run_id, deployment.config(SETTINGS.name_prefix), device)
    logger.info("model serves", extra={"requests": requests, "percent": deployment.percent})
    count("TrafficSplit" if deployment.is_split else "ModelPromoted")
    return {"verified": True, "requests": requests}


def _require_golden(run_id: str, variant: str | None) -> tuple[int, str | None]:
    """Check all golden requests of the run on the endpoint (on `variant`, if there are two). Returns their number, and
    the device of the last answer.
    """
    examples = golden.parse(_kept(run_id, "golden.json"))
    answers, device = [], None
    for position, example in enumerate(examples):
        answer, device = _ask(example.request, variant)
        answers.append(answer)
        expected = {**example.response, "modelVersion": run_id}
        _refuse(difference(expected, answers[-1]), f"{position + 1} of {len(examples)}")
    _refuse(golden.sameness(examples, answers), f"1 to {len(examples)}")
    return len(examples), device


def _tell_device(run_id: str, config: str, device: str | None) -> None:
    if device != "cpu":
        return
    with calling("sagemaker DescribeEndpointConfig"):
        found = JOBS.client("sagemaker").describe_endpoint_config(EndpointConfigName=config)
    sentence = gpus.unused("the endpoint", found["ProductionVariants"][0].get("InstanceType"), device, ON_CPU)
    if sentence:
        logger.warning(sentence)
        LEDGER.decide(run_id, "device", "WARNED", [sentence], {"device": device})
        count("GpuUnused")


def _require_approved(arn: str) -> None:
    """Raise ModelNotApproved if a person has withdrawn the approval since the deployment began."""
    status = JOBS.model_package(arn).get("ModelApprovalStatus")
    if status != "Approved":
        raise ModelNotApproved(f"{arn} is {status}, no longer Approved")


def _refuse(found: str | None, which: str) -> None:
    if found:
        count("GoldenRequestMismatch")
        raise GoldenRequestMismatch(f"golden request {which}: {found}")


def _require_in_service(wanted: str) -> None:
    endpoint = JOBS.endpoint(SETTINGS.endpoint_name)
    status = endpoint["EndpointStatus"] if endpoint else "gone"
    serves = endpoint["EndpointConfigName"] if endpoint else None
    if status != "InService" or serves != wanted:
        raise EndpointRolledBack(
            f"endpoint {SETTINGS.endpoint_name} is {status} on {serves}, not InService on {wanted}"
        )


def _kept(run_id: str, name: str) -> bytes:
    key = f"runs/{run_id}/{name}"
    found = ARTIFACTS.get(key, forbidden_is_absent=True)
    if found is None:
        raise ArtefactMissing(f"{key} is missing or unreadable: the model cannot be verified")
    judged = LEDGER.decision(run_id, "gate")
    digest = judged["figures"].get("files", {}).get(name) if judged else None  # none for runs judged before it was kept
    if digest is not None and hashlib.sha256(found.content).hexdigest() != digest:
        raise ArtefactChanged(f"{key} was changed after the gate had read it: the model cannot be verified")
    return found.content


def _ask(request: dict[str, Any], variant: str | None) -> tuple[Any, str | None]:
    with calling("sagemaker-runtime InvokeEndpoint"):
        try:
            answer = RUNTIME.invoke_endpoint(
                EndpointName=SETTINGS.endpoint_name,
                ContentType="application/json",
                Accept="application/json",
                Body=json.dumps(request),
                **({"TargetVariant": variant} if variant else {}),
            )
        except ClientError as error:
            if code_of(error) == "ModelError":
                raise GoldenRequestMismatch(f"the model refused a golden request: {message_of(error)[:300]}") from error
            raise
        content = answer["Body"].read()
    return golden.read_answer(content), device_in(answer.get("CustomAttributes"))


def _publish_batch(run_id: str, is_back: bool) -> None:
    """Publish the lists of this run's batch. Without any, the earlier model's lists stay in use until there are some;
    in a rollback (`is_back`) they are withdrawn.
    """
    try:
        ARTIFACTS.put("serving/batch.json", _kept(run_id, "batch.json"))
    except ArtefactMissing:
        if is_back:
            none = {"schemaVersion": "1.0", "runId": run_id, "shards": 0}
            ARTIFACTS.put("serving/batch.json", json.dumps(none).encode())


def _split(deployment: Deployment, event: dict[str, Any], lock: Lock) -> None:
    serves = _serves()
    if serves != deployment.replacing:
        raise StaleVersion(f"{serves} serves now, not {deployment.replacing}")
    config, by = deployment.config(SETTINGS.name_prefix), str(event.get("executionArn"))
    if not LEDGER.share_traffic(
        deployment.run_id, int(deployment.percent or 0), config, by, _reason(event), lock.fence
    ):
        raise DeploymentLost(f"a deployment later than that of {lock.holder} changed who serves")
    trial = of_split(LEDGER.serving(), LEDGER.current_split())
    if trial is not None:
        TRIAL.begin(trial)


def _serves() -> str | None:
    serving = LEDGER.serving()
    return serving["runId"] if serving else None


def _reason(event: dict[str, Any]) -> str:
    return str(event.get("reason") or "no reason was given")


def _model(deployment: Deployment, event: dict[str, Any]) -> Model:
    registration = event.get("registration") or {}
    package, url = registration.get("modelPackageArn"), (event.get("training") or {}).get("modelDataUrl")
    if not isinstance(package, str) or not isinstance(url, str):
        raise InvalidInput("registration.modelPackageArn and training.modelDataUrl must be strings")
    return {
        "runId": deployment.run_id,
        "datasetVersion": names.version_of(deployment.run_id),
        "modelPackageArn": package,
        "modelDataUrl": url,
        "endpointConfigName": deployment.config(SETTINGS.name_prefix),
        "bundleDigest": registration.get("bundleDigest"),
    }


def _promote(deployment: Deployment, model: Model, event: dict[str, Any], lock: Lock) -> None:
    why = _reason(event) if deployment.replacing else acknowledgement.why(event)
    if not LEDGER.promote(model, str(event.get("executionArn")), why, lock.fence, deployment.replacing):
        serving = LEDGER.serving()
        if serving and serving.get("fence", 0) > lock.fence:
            raise DeploymentLost(f"{serving['runId']} serves since a deployment later than that of {lock.holder}")
        raise StaleVersion(
            f"{serving['runId'] if serving else None} serves now; {deployment.run_id} may not replace it"
        )
