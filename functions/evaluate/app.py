"""State Evaluate -> `{"accepted", "reasons", "reportUri", "codeVersion"}`; the verdict and its figures go into the
ledger.

Takes `evaluation.json`, `golden.json` and `popular.json` out of the job's output and keeps them under
`runs/<runId>/`.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from evaluate import archive, gate
from evaluate.archive import BrokenArchive
from evaluate.policy import Policy
from shared import environment, events, names
from shared.clients import calling, client, code_of
from shared.errors import ArtefactMissing, InvalidInput, UntrustworthyReport
from shared.ledger import Ledger
from shared.observability import append_run, count, logger, observed

FILES = ("evaluation.json", "golden.json", "popular.json")
POLICY_KEY = "policy/gate.json"
MAXIMUM_ARCHIVE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    artifacts_bucket: str
    gate_policy: dict[str, Any] = field(default_factory=dict)


SETTINGS = environment.load(Settings)
DEFAULT_POLICY = Policy.from_document(SETTINGS.gate_policy)
LEDGER = Ledger(SETTINGS.runs_table)
S3 = client("s3")
EVENTS = client("events")


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Raises ArtefactMissing, UntrustworthyReport or NotComparable when the model cannot be judged: a fault, not a
    rejection.
    """
    run_id = names.require_run_id(event.get("runId") if isinstance(event, dict) else None)
    version = names.version_of(run_id)
    append_run(run_id=run_id, dataset_version=version)
    training = event.get("training") or {}
    _require_model(_key(training.get("modelDataUrl"), "training.modelDataUrl"))
    files = _files(_key(training.get("outputUrl"), "training.outputUrl"))
    report = _report(files["evaluation.json"])

    policy, figures = _policy()
    verdict = gate.judge(report, policy, gate.Run(run_id, version, _incumbent(run_id)))
    for name, content in files.items():
        with calling(f"s3 PutObject runs/{run_id}/{name}"):
            S3.put_object(
                Bucket=SETTINGS.artifacts_bucket,
                Key=f"runs/{run_id}/{name}",
                Body=content,
                ContentType="application/json",
            )
    figures = {**verdict.to_figures(), "policy": figures}
    LEDGER.decide(run_id, "gate", "ACCEPTED" if verdict.accepted else "REJECTED", verdict.reasons, figures)
    events.publish(EVENTS, events.TRAINING_COMPLETED, run_id, version)
    logger.info("model judged", extra={"accepted": verdict.accepted, "reasons": verdict.reasons})
    count("ModelAccepted" if verdict.accepted else "ModelRejected")
    return {
        "accepted": verdict.accepted,
        "reasons": verdict.reasons,
        "reportUri": f"s3://{SETTINGS.artifacts_bucket}/runs/{run_id}/evaluation.json",
        "codeVersion": str(report.get("codeVersion", ""))[:256],
    }


def _incumbent(run_id: str) -> str | None:
    serving = LEDGER.serving()
    if serving and serving["runId"] == run_id:
        # A run that is judged again after it was promoted is measured against the model before it.
        previous = serving.get("previous")
        return previous["runId"] if previous else None
    return serving["runId"] if serving else None


def _key(uri: Any, field_name: str) -> str:
    prefix = f"s3://{SETTINGS.artifacts_bucket}/"
    if not isinstance(uri, str) or not uri.startswith(f"{prefix}training/"):
        raise InvalidInput(f"{field_name} must be below {prefix}training/, not {str(uri)[:200]!r}")
    return uri.removeprefix(prefix)


def _policy() -> tuple[Policy, dict[str, Any]]:
    """The policy that holds now, and what the ledger says of it: where it was found, and its digest.

    `policy/gate.json`, where there is one, in place of the template's parameter: read for each verdict, so that it can
    be changed without a deployment. Raises InvalidInput naming what is wrong with it: a model that cannot be judged as
    the shop wants is not judged at all.
    """
    with calling(f"s3 GetObject {POLICY_KEY}"):
        try:
            content = S3.get_object(Bucket=SETTINGS.artifacts_bucket, Key=POLICY_KEY)["Body"].read()
        except ClientError as error:
            if code_of(error) != "NoSuchKey":
                raise
            return DEFAULT_POLICY, _identity("the template's parameter", SETTINGS.gate_policy)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{POLICY_KEY} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidInput(f"{POLICY_KEY} must be a JSON object, not {type(document).__name__}")
    return Policy.from_document(document), _identity(POLICY_KEY, document)


def _identity(source: str, document: dict[str, Any]) -> dict[str, Any]:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return {"source": source, "sha256": hashlib.sha256(canonical).hexdigest()}


def _require_model(key: str) -> None:
    size = 0
    with calling(f"s3 HeadObject {key}"):
        try:
            size = S3.head_object(Bucket=SETTINGS.artifacts_bucket, Key=key)["ContentLength"]
        except ClientError as error:
            if code_of(error) not in ("404", "403", "NoSuchKey"):
                raise
    if size == 0:
        raise ArtefactMissing(f"{key} is missing, empty or unreadable although the training job is Completed")


def _files(key: str) -> dict[str, bytes]:
    with calling(f"s3 GetObject {key}"):
        try:
            answer = S3.get_object(Bucket=SETTINGS.artifacts_bucket, Key=key)
        except ClientError as error:
            if code_of(error) in ("NoSuchKey", "AccessDenied"):
                raise ArtefactMissing(
                    f"{key} is missing or unreadable although the training job is Completed"
                ) from error
            raise
        if answer["ContentLength"] > MAXIMUM_ARCHIVE_BYTES:
            raise UntrustworthyReport(f"{key} has {answer['ContentLength']} bytes, more than {MAXIMUM_ARCHIVE_BYTES}")
        content = answer["Body"].read()
    try:
        return archive.read(io.BytesIO(content), FILES)
    except BrokenArchive as error:
        raise ArtefactMissing(f"{key}: {error}") from error


def _report(content: bytes) -> dict[str, Any]:
    try:
        report = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UntrustworthyReport(f"evaluation.json is not JSON: {error}") from error
    if not isinstance(report, dict):
        raise UntrustworthyReport(f"evaluation.json must be a JSON object, not {type(report).__name__}")
    return report
