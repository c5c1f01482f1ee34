"""State Evaluate: judge the model and record the verdict with its figures in the ledger. Returns
`{"verdict", "reasons", "reportUri", "codeVersion", "bundleDigest"}`; `verdict` is ACCEPTED, REJECTED or UNCHANGED.

Invoked with `{"draft": <policy>, "runIds": […]}` it judges the kept reports of these runs by a draft policy, records
nothing, and returns `{"runs": [{"runId", "verdict", "reasons", "recorded"}]}`.

Copies `evaluation.json`, `golden.json` and `popular.json` from the job's output to `runs/<runId>/`. Both archives of
the job must be the pinned ones. The model's is not read here: `bundleDigest` is what the report says, and the server
refuses a bundle with another digest.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from typing import Any

from contracts import documents
from contracts.documents import Unfit
from contracts.values import is_number, shown
from evaluate import archive, gate
from evaluate.archive import BrokenArchive
from evaluate.policy import Policy
from shared import environment, events, names
from shared.artefacts import Pin
from shared.clients import client
from shared.errors import ArtefactMissing, InvalidInput, NotComparable, UntrustworthyReport
from shared.ledger import Ledger
from shared.objects import Bucket
from shared.observability import append_run, count, logger, observed

FILES = ("evaluation.json", "golden.json", "popular.json")
POLICY_KEY = "policy/gate.json"
MOST_WHAT_IF = 20
"""Maximum number of runs that a draft policy judges at once."""
MAXIMUM_ARCHIVE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    artifacts_bucket: str
    gate_policy: dict[str, Any] = field(default_factory=dict)


SETTINGS = environment.load(Settings)
DEFAULT_POLICY = Policy.from_document(SETTINGS.gate_policy)
LEDGER = Ledger(SETTINGS.runs_table)
ARTIFACTS = Bucket(client("s3"), SETTINGS.artifacts_bucket)
EVENTS = client("events")


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Raises ArtefactMissing, ArtefactChanged, UntrustworthyReport or NotComparable if the model cannot be judged; the
    run then fails, and the model is not rejected.
    """
    if isinstance(event, dict) and "draft" in event:
        return {"runs": _what_if(event)}
    run_id = names.require_run_id(event.get("runId") if isinstance(event, dict) else None)
    version = names.version_of(run_id)
    append_run(run_id=run_id, dataset_version=version)
    training = event.get("training") or {}
    _require_model(training)
    files = _files(training)
    report = _report(files["evaluation.json"])

    policy, figures = _policy()
    verdict = gate.judge(report, policy, _run(run_id, version, training))
    for name, content in files.items():
        ARTIFACTS.put(f"runs/{run_id}/{name}", content)
    kept = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    figures = {**verdict.to_figures(), "policy": figures, "files": kept}
    LEDGER.decide(run_id, "gate", verdict.outcome, verdict.reasons, figures)
    events.publish(EVENTS, SETTINGS.name_prefix, events.TRAINING_COMPLETED, run_id, version)
    logger.info("model judged", extra={"verdict": verdict.outcome, "reasons": verdict.reasons})
    count(f"Model{verdict.outcome.capitalize()}")
    if verdict.gpu:
        count("GpuUnused")
    return {
        "verdict": verdict.outcome,
        "reasons": verdict.reasons,
        "reportUri": f"s3://{SETTINGS.artifacts_bucket}/runs/{run_id}/evaluation.json",
        "codeVersion": str(report.get("codeVersion", ""))[:256],
        "bundleDigest": report["bundleDigest"],
    }


def _what_if(event: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the draft policy would have said about each run. Raises InvalidInput naming what is wrong with it."""
    draft, run_ids = event["draft"], event.get("runIds")
    if not isinstance(draft, dict):
        raise InvalidInput(f"draft must be an object, not {shown(draft)}")
    if not isinstance(run_ids, list) or not 1 <= len(run_ids) <= MOST_WHAT_IF:
        raise InvalidInput(f"runIds must be a list of 1 to {MOST_WHAT_IF} run ids")
    policy = Policy.from_document(draft, "the draft policy")
    return [_judged_again(names.require_run_id(run_id, "runIds"), policy) for run_id in run_ids]


def _judged_again(run_id: str, policy: Policy) -> dict[str, Any]:
    decision = LEDGER.decision(run_id, "gate")
    answer: dict[str, Any] = {"runId": run_id, "recorded": decision["verdict"] if decision else None}
    key = f"runs/{run_id}/{gate.REPORT}"
    found = ARTIFACTS.get(key, MAXIMUM_ARCHIVE_BYTES)
    if found is None:
        return {**answer, "verdict": None, "reasons": [f"{key} is missing: the run was not judged"]}
    try:
        report = _report(found.content)
        measured = report.get("incumbent")
        incumbent = measured.get("runId") if isinstance(measured, dict) else None
        before = _judged(names.require_run_id(incumbent)) if incumbent else (None, None)
        verdict = gate.judge(report, policy, gate.Run(run_id, names.version_of(run_id), incumbent, *before))
    except (UntrustworthyReport, NotComparable, InvalidInput) as error:
        return {**answer, "verdict": None, "reasons": [str(error)]}
    return {**answer, "verdict": verdict.outcome, "reasons": verdict.reasons}


def _run(run_id: str, version: str, training: dict[str, Any]) -> gate.Run:
    incumbent = _incumbent(run_id)
    judged = _judged(incumbent) if incumbent else (None, None)
    machines = training.get("instanceType"), training.get("instanceCount")
    return gate.Run(run_id, version, incumbent, *judged, *machines)


def _judged(run_id: str) -> tuple[float | None, str | None]:
    """Return the NDCG of a run's model at its own evaluation, and the protocol of that; None if its report is gone or
    lacks them.
    """
    found = ARTIFACTS.get(f"runs/{run_id}/{gate.REPORT}", MAXIMUM_ARCHIVE_BYTES)
    try:
        report = documents.read_object(found.content, gate.REPORT) if found else {}
        ndcg, split = report["candidate"]["full"]["ndcg"], report.get("protocol", {}).get("split")
    except (Unfit, KeyError, TypeError, AttributeError):
        return None, None
    return float(ndcg) if is_number(ndcg) else None, split


def _incumbent(run_id: str) -> str | None:
    serving = LEDGER.serving()
    if serving and serving["runId"] == run_id:
        # A run that is judged again after its promotion is compared with the model before it.
        previous = serving.get("previous")
        return previous["runId"] if previous else None
    return serving["runId"] if serving else None


def _key(uri: Any, field_name: str) -> str:
    prefix = f"s3://{SETTINGS.artifacts_bucket}/"
    if not isinstance(uri, str) or not uri.startswith(f"{prefix}training/"):
        raise InvalidInput(f"{field_name} must be below {prefix}training/, not {str(uri)[:200]!r}")
    return uri.removeprefix(prefix)


def _policy() -> tuple[Policy, dict[str, Any]]:
    """Return the current policy, and its source and digest for the ledger.

    `policy/gate.json`, if it exists, replaces the template's parameter. It is read for each verdict, so it can be
    changed without a deployment. Raises InvalidInput naming each fault of an invalid policy.
    """
    found = ARTIFACTS.get(POLICY_KEY)
    if found is None:
        return DEFAULT_POLICY, _identity("the template's parameter", SETTINGS.gate_policy)
    try:
        document = documents.read_object(found.content, POLICY_KEY, has_schema=True)
    except Unfit as error:
        raise InvalidInput(str(error)) from error
    return Policy.from_document(document, POLICY_KEY), _identity(POLICY_KEY, document)


def _identity(source: str, document: dict[str, Any]) -> dict[str, Any]:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return {"source": source, "sha256": hashlib.sha256(canonical).hexdigest()}


def _require_model(training: dict[str, Any]) -> None:
    key = _key(training.get("modelDataUrl"), "training.modelDataUrl")
    found = ARTIFACTS.head(key, forbidden_is_absent=True)
    if found is None or found.size == 0:
        raise ArtefactMissing(f"{key} is missing, empty or unreadable although the training job is Completed")
    Pin.from_state(training, "modelData").require(found, key)


def _files(training: dict[str, Any]) -> dict[str, bytes]:
    key = _key(training.get("outputUrl"), "training.outputUrl")
    found = ARTIFACTS.get(key, MAXIMUM_ARCHIVE_BYTES, forbidden_is_absent=True)
    if found is None:
        raise ArtefactMissing(f"{key} is missing or unreadable although the training job is Completed")
    Pin.from_state(training, "output").require(found, key)
    if found.size > MAXIMUM_ARCHIVE_BYTES:
        raise UntrustworthyReport(f"{key} has {found.size} bytes, more than {MAXIMUM_ARCHIVE_BYTES}")
    try:
        return archive.read(io.BytesIO(found.content), FILES)
    except BrokenArchive as error:
        raise ArtefactMissing(f"{key}: {error}") from error


def _report(content: bytes) -> dict[str, Any]:
    try:
        return documents.read_object(content, gate.REPORT, has_schema=True)
    except Unfit as error:
        raise UntrustworthyReport(str(error)) from error
