"""Remove what is kept of forgotten people, and write a receipt.

Once a day, or when a person asks for it: all objects that may have an id are searched for the ids of all forgotten
people, and so is what the bucket keeps of overwritten ones. A call goes on where the one before ended, also after a
failure. Parquet, zstd and very large files are written again by a Spark job, which the search starts at its end, and
whose receipt a later call takes. What may have an id and must stay, such as the bundle of the model that serves, is
named in the receipt; then a later search looks again. Log lines never contain user ids.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from erase import plan
from erase.plan import InUse, Progress, Request
from erase.rewriting import Rewriting
from erase.search import Search
from shared import environment
from shared.clients import client
from shared.errors import FunctionError
from shared.ledger import Ledger
from shared.objects import Bucket
from shared.observability import count, logger, observed
from shared.records import DatasetStatus

WORK_SECONDS = 420
"""Seconds after which a call ends, with the object that it is at. The largest object takes less than the rest of the
function's time.
"""
SAVE_SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    data_bucket: str
    artifacts_bucket: str
    erase_after_days: int
    emr_application_id: str
    emr_execution_role_arn: str
    preparation_entry_point: str
    preparation_py_files: str
    preparation_log_uri: str
    preparation_timeout_minutes: int
    preparation_parameters: dict[str, Any] = field(default_factory=dict)


SETTINGS = environment.load(Settings)
LEDGER = Ledger(SETTINGS.runs_table)
S3 = client("s3")
BUCKETS = {"data": Bucket(S3, SETTINGS.data_bucket), "artifacts": Bucket(S3, SETTINGS.artifacts_bucket)}
REWRITING = Rewriting(
    client("emr-serverless"),
    BUCKETS["data"],
    SETTINGS.artifacts_bucket,
    SETTINGS.name_prefix,
    SETTINGS.emr_application_id,
    SETTINGS.emr_execution_role_arn,
    SETTINGS.preparation_entry_point,
    SETTINGS.preparation_py_files,
    SETTINGS.preparation_log_uri,
    SETTINGS.preparation_timeout_minutes,
)


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"status", "people", "removed", "remaining"}`; status is NOTHING_TO_DO, GOING_ON (call again), WAITING
    (something remains) or ERASED.
    """
    request = Request.from_event(event)
    in_use = _in_use()
    progress = _progress(request, in_use)
    if progress is None:
        return {"status": "NOTHING_TO_DO", "people": 0, "removed": {}, "remaining": []}
    people = LEDGER.forgotten(until=progress.until)
    search = Search(LEDGER, BUCKETS, people, in_use, progress, request, SETTINGS.preparation_parameters)
    try:
        is_over = _work(search, progress) and REWRITING.settle(progress, request)
        if not is_over:
            LEDGER.save_erasure(**progress.to_item())
    except FunctionError:
        LEDGER.save_erasure(**progress.to_item())
        raise
    status = ("WAITING" if progress.remaining else "ERASED") if is_over else "GOING_ON"
    if is_over:
        LEDGER.write_receipt(
            progress.started_at,
            progress.until,
            progress.remaining,
            status=status,
            number=len(people.people),
            searched=progress.searched,
            removed=progress.removed,
            inUse=_fingerprint(in_use),
        )
        count("ErasureDone" if status == "ERASED" else "ErasureWaits")
    logger.info("search for forgotten people", extra={"status": status, "removed": progress.removed})
    return {
        "status": status,
        "people": len(people.people),
        "removed": progress.removed,
        "remaining": progress.remaining,
    }


def _in_use() -> InUse:
    return InUse.of(
        LEDGER.serving(),
        LEDGER.current_split(),
        LEDGER.unfinished_runs(),
        LEDGER.datasets_in(DatasetStatus.PREPARING),
        LEDGER.newest_claimed(),
    )


def _progress(request: Request, in_use: InUse) -> Progress | None:
    """Return the search that is under way, or a new one; None if there is nobody to look for, or if all that remained
    after the last search is still in use.
    """
    if item := LEDGER.erasure():
        return Progress.from_item(item)
    now = datetime.fromtimestamp(LEDGER.seconds(), UTC)
    due = LEDGER.to_erase(plan.due_before(now, SETTINGS.erase_after_days))
    last = LEDGER.last_receipt() or {}
    is_as_before = last.get("inUse") == _fingerprint(in_use) and due <= last.get("until", "")
    until = LEDGER.newest_tombstone()
    if not until or (not request.now and (not due or is_as_before)):
        return None
    progress = Progress(plan.due_before(now, 0), until)
    LEDGER.save_erasure(**progress.to_item())
    return progress


def _fingerprint(in_use: InUse) -> list[str]:
    return sorted({*in_use.runs, *in_use.versions})


def _work(search: Search, progress: Progress) -> bool:
    """Search until the end (True), or until the time of this call is over (False)."""
    began = saved = time.monotonic()
    while progress.place < len(plan.PLACES):
        bucket, prefix = plan.PLACES[progress.place]
        for version in BUCKETS[bucket].versions(prefix, progress.after):
            now = time.monotonic()
            is_new_key = version.key != progress.after
            if is_new_key and now - saved > SAVE_SECONDS:
                LEDGER.save_erasure(**progress.to_item())
                saved = now
            if is_new_key and now - began > WORK_SECONDS:
                LEDGER.save_erasure(**progress.to_item())
                return False
            search.treat(prefix, version)
            progress.after = version.key
        progress.place, progress.after = progress.place + 1, ""
        LEDGER.save_erasure(**progress.to_item())
    return True
