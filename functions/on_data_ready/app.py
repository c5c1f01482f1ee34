"""EventBridge "Object Created" of a manifest -> the retraining execution of that dataset version, exactly one.

The answer's `outcome` is STARTED, DUPLICATE, STALE, QUARANTINED (each in the ledger with its reasons) or REFUSED (an
event that is not about our datasets: counted, no AWS call made). A crash at any point is healed by the next delivery
of the event.
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
from shared.records import CAME_TO_NOTHING, DatasetStatus

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
    """Returns `{"outcome", "datasetVersion"?, "runId"?, "reasons"?}`. Raises DependencyFailed or MissingResource to
    be delivered again.
    """
    try:
        announced = announcement.from_event(event, SETTINGS.data_bucket)
    except InvalidInput as error:
        # Delivering it again would not make it ours: it is counted and dropped, not retried into the dead-letter queue.
        logger.warning("event refused", extra={"reason": str(error)})
        count("EventRefused")
        return {"outcome": "REFUSED", "reasons": [str(error)]}
    version = announced.version
    append_run(dataset_version=version)

    state = LEDGER.dataset(version)
    if state is None or state["status"] != DatasetStatus.CLAIMED:
        faults = _faults(announced)
        if faults:
            return _set_aside(version, DatasetStatus.QUARANTINED, faults)
        staleness = _staleness(version)
        if staleness:
            return _set_aside(version, DatasetStatus.STALE, [staleness])
    return _start(announced)


def _faults(announced: Announcement) -> list[str]:
    """Why the dataset cannot be used; empty when it can."""
    try:
        described = manifest.parse(_read_manifest(announced), announced.version)
    except Unfit as error:
        return error.reasons
    faults = manifest.shortcomings(described, SETTINGS.minimum_test_users)
    # Names and sizes only: training reads every byte anyway, and checks each file's sha256 as it does.
    return faults + manifest.missing_from(described, DATA.sizes(announced.key.removesuffix("manifest.json")))


def _read_manifest(announced: Announcement) -> Any:
    found = DATA.get(announced.key, MAXIMUM_MANIFEST_BYTES)
    if found is None:
        raise MissingResource(f"{announced.key} is gone")
    if found.size > MAXIMUM_MANIFEST_BYTES:
        raise Unfit(f"{manifest.CALLED} has {found.size} bytes, more than {MAXIMUM_MANIFEST_BYTES}")
    return documents.read_object(found.content, manifest.CALLED, has_schema=True)


def _staleness(version: str) -> str | None:
    serving = LEDGER.serving()
    if serving and serving["datasetVersion"] > version:
        return f"{version} is older than {serving['datasetVersion']}, which serves"
    newest = LEDGER.claim_newest(version)
    if newest <= version or _came_to_nothing(newest):
        return None
    return f"{version} is older than {newest}, which was claimed before"


def _came_to_nothing(version: str) -> bool:
    """Whether the run of `version` ended without a verdict on its data: then older data is the newest that there is."""
    state = LEDGER.dataset(version)
    run_id = state.get("runId") if state else None
    run = LEDGER.run(run_id) if run_id else None
    return run is not None and run["status"] in CAME_TO_NOTHING


def _set_aside(version: str, status: DatasetStatus, reasons: list[str]) -> dict[str, Any]:
    if not LEDGER.mark_dataset(version, status, reasons, unless=(DatasetStatus.CLAIMED, DatasetStatus.STALE)):
        logger.info("dataset version was decided before", extra={"reasons": reasons})
        return {"outcome": "DUPLICATE", "datasetVersion": version}
    logger.warning("dataset version set aside", extra={"status": status, "reasons": reasons})
    count("DatasetStale" if status == DatasetStatus.STALE else "DatasetQuarantined")
    return {"outcome": status, "datasetVersion": version, "reasons": reasons}


def _start(announced: Announcement) -> dict[str, Any]:
    call = request.start_execution(announced, SETTINGS.retraining_state_machine_arn)
    run_id = call["name"]
    append_run(run_id=run_id)
    won = LEDGER.claim_dataset(announced.version, run_id)
    state = None if won else LEDGER.dataset(announced.version)
    if not won and (state is None or state["status"] != DatasetStatus.CLAIMED):
        return {"outcome": "DUPLICATE", "datasetVersion": announced.version}
    # Whoever lost the claim goes on too: had the winner died here, nobody else would start the run, and starting it
    # twice is no harm.
    LEDGER.open_run(run_id, announced.version, names.execution_arn(SETTINGS.retraining_state_machine_arn, run_id))
    with calling("states StartExecution"):
        try:
            STATES.start_execution(**call)
        except ClientError as error:
            if code_of(error) != "ExecutionAlreadyExists":
                raise
            won = False
    logger.info("run started" if won else "run was started before")
    count("RunStarted" if won else "RunDuplicate")
    return {"outcome": "STARTED" if won else "DUPLICATE", "datasetVersion": announced.version, "runId": run_id}
