"""EventBridge "Object Created" of a manifest: start exactly one retraining execution for that dataset version.

`outcome` is STARTED, DUPLICATE, STALE, QUARANTINED (the last two with their reasons in the ledger) or REFUSED (the
event is not about our datasets; no AWS call is made). A stale version is looked at anew by each event: it is stale only
as long as the newer one holds the place. After a crash at any point, the next delivery of the event
completes the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from contracts import documents
from contracts.documents import Unfit
from on_data_ready import announcement, manifest, request
from on_data_ready.announcement import Announcement
from shared import environment, names
from shared.clients import calling, client, code_of
from shared.errors import InvalidInput, MissingResource
from shared.ledger import Ledger
from shared.objects import Bucket
from shared.observability import append_run, count, logger, observed
from shared.records import UNFINISHED, DatasetStatus

MAXIMUM_MANIFEST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    data_bucket: str
    retraining_state_machine_arn: str
    minimum_test_users: int


SETTINGS = environment.load(Settings)
LEDGER = Ledger(SETTINGS.runs_table)
DATA = Bucket(client("s3"), SETTINGS.data_bucket)
STATES = client("stepfunctions")


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"outcome", "datasetVersion"?, "runId"?, "reasons"?}`. Raises DependencyFailed or MissingResource to be
    retried.
    """
    try:
        announced = announcement.from_event(event, SETTINGS.data_bucket)
    except InvalidInput as error:
        # A retry would not help: the event is counted and dropped instead of going to the dead-letter queue.
        logger.warning("event refused", extra={"reason": str(error)})
        count("EventRefused")
        return {"outcome": "REFUSED", "reasons": [str(error)]}
    version = announced.version
    append_run(dataset_version=version)

    fault = names.time_fault(version, LEDGER.seconds())
    if fault is not None:
        return _set_aside(version, DatasetStatus.QUARANTINED, [fault])
    state = LEDGER.dataset(version)
    if state is None or state["status"] != DatasetStatus.CLAIMED:
        faults = _faults(announced)
        if faults:
            return _set_aside(version, DatasetStatus.QUARANTINED, faults)
        staleness = _staleness(version)
        if staleness:
            return _set_aside(version, DatasetStatus.STALE, [staleness])
    return _start(announced, was_stale=state is not None and state["status"] == DatasetStatus.STALE)


def _faults(announced: Announcement) -> list[str]:
    """Return the reasons why the dataset cannot be used; empty if it can."""
    try:
        described = manifest.parse(_read_manifest(announced), announced.version)
    except Unfit as error:
        return error.reasons
    faults = manifest.shortcomings(described, SETTINGS.minimum_test_users)
    if described.parent_version is not None:
        faults += manifest.lost(described, _read_parent(described.parent_version))
    # Names and sizes only: the training job checks each file's sha256 when it reads it.
    return faults + manifest.missing_from(described, DATA.sizes(announced.key.removesuffix("manifest.json")))


def _read_manifest(announced: Announcement) -> Any:
    found = DATA.get(announced.key, MAXIMUM_MANIFEST_BYTES)
    if found is None:
        raise MissingResource(f"{announced.key} is gone")
    if found.size > MAXIMUM_MANIFEST_BYTES:
        raise Unfit(f"{manifest.CALLED} has {found.size} bytes, more than {MAXIMUM_MANIFEST_BYTES}")
    return documents.read_object(found.content, manifest.CALLED, has_schema=True)


def _read_parent(version: str) -> dict[str, Any]:
    """Return the parent's manifest; empty if it is gone or cannot be read, which is no fault of the child."""
    found = DATA.get(f"datasets/{version}/{manifest.CALLED}", MAXIMUM_MANIFEST_BYTES)
    try:
        return documents.read_object(found.content, manifest.CALLED) if found else {}
    except Unfit:
        return {}


def _staleness(version: str) -> str | None:
    serving = LEDGER.serving()
    if serving and serving["datasetVersion"] > version:
        return f"{version} is older than {serving['datasetVersion']}, which serves"
    newest = LEDGER.claim_newest(version)
    if newest <= version or not LEDGER.holds_place(newest):
        return None
    return (
        f"{version} is older than {newest}, which was claimed before; if that is not deployed, reconcile announces "
        f"{version} again"
    )


def _set_aside(version: str, status: DatasetStatus, reasons: list[str]) -> dict[str, Any]:
    if not LEDGER.mark_dataset(version, status, reasons, unless=(DatasetStatus.CLAIMED, status)):
        logger.info("dataset version already has a decision", extra={"reasons": reasons})
        return {"outcome": "DUPLICATE", "datasetVersion": version}
    logger.warning("dataset version not used", extra={"status": status, "reasons": reasons})
    count("DatasetStale" if status == DatasetStatus.STALE else "DatasetQuarantined")
    return {"outcome": status, "datasetVersion": version, "reasons": reasons}


def _start(announced: Announcement, was_stale: bool) -> dict[str, Any]:
    call = request.start_execution(announced, SETTINGS.retraining_state_machine_arn)
    run_id = call["name"]
    append_run(run_id=run_id)
    won = LEDGER.claim_dataset(announced.version, run_id, was_stale)
    state = None if won else LEDGER.dataset(announced.version)
    if not won and (state is None or state["status"] != DatasetStatus.CLAIMED):
        return {"outcome": "DUPLICATE", "datasetVersion": announced.version}
    run = LEDGER.run(run_id)
    if run is not None and run["status"] not in UNFINISHED:
        # Step Functions forgets an execution's name 90 days after its end, and would start it again.
        return {"outcome": "DUPLICATE", "datasetVersion": announced.version, "runId": run_id}
    # The loser of the claim continues too: if the winner crashed here, no other call would start the run. Starting it
    # twice is harmless.
    LEDGER.open_run(run_id, announced.version, names.execution_arn(SETTINGS.retraining_state_machine_arn, run_id))
    with calling("states StartExecution"):
        try:
            STATES.start_execution(**call)
        except ClientError as error:
            if code_of(error) != "ExecutionAlreadyExists":
                raise
            won = False
    logger.info("run started" if won else "run already started")
    count("RunStarted" if won else "RunDuplicate")
    return {"outcome": "STARTED" if won else "DUPLICATE", "datasetVersion": announced.version, "runId": run_id}
