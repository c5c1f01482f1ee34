"""State PublishBatch: check that the lists are complete and publish them for `recommend`. Returns
`{"runId", "shards", "published"}`.

`runs/<runId>/batch.json` points to the lists of a run; `serving/batch.json` is a copy of the serving run's pointer. A
second call changes nothing. If another model serves now, its lists stay, and `published` is false.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contracts.documents import Unfit
from publish_batch import lists
from shared import batch_lists, environment, names
from shared.clients import client
from shared.errors import ArtefactMissing, InvalidInput
from shared.ledger import Ledger
from shared.objects import Bucket
from shared.observability import append_run, count, logger, observed


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    artifacts_bucket: str


SETTINGS = environment.load(Settings)
LEDGER = Ledger(SETTINGS.runs_table)
ARTIFACTS = Bucket(client("s3"), SETTINGS.artifacts_bucket)


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Raises ArtefactMissing if lists are missing or invalid, InvalidInput for a state without a job."""
    batch = event.get("batch") if isinstance(event, dict) else None
    if not isinstance(batch, dict) or not isinstance(batch.get("jobName"), str):
        raise InvalidInput("batch.jobName must be a string: PublishBatch follows a job")
    run_id = names.require_run_id(batch.get("runId"), "batch.runId")
    append_run(run_id=run_id, dataset_version=names.version_of(run_id))
    prefix = f"batch/{batch['jobName']}"
    inputs, written = ARTIFACTS.sizes(f"{prefix}/input/"), ARTIFACTS.sizes(f"{prefix}/lists/")
    left_out = lists.missing(inputs, written)
    if not inputs or left_out:
        raise ArtefactMissing(
            f"{len(left_out)} of {len(inputs)} parts of {prefix}/ lack lists: {', '.join(left_out[:5]) or 'no input'}"
        )
    first = min(inputs)
    try:
        num_results = lists.num_results(_read(f"{prefix}/input/{first}"))
    except Unfit as error:
        raise ArtefactMissing(f"{prefix}/input/{first}: {error}") from error
    wrong = lists.problem(_read(f"{prefix}/lists/{first}.out"), run_id, len(inputs), num_results)
    if wrong:
        raise ArtefactMissing(f"{prefix}/lists/{first}.out: {wrong}")
    struck = _strike(run_id, f"{prefix}/lists/", written)
    moment = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    pointer = json.dumps(lists.pointer(run_id, f"{prefix}/lists/", len(inputs), num_results, moment)).encode()
    ARTIFACTS.put(f"runs/{run_id}/batch.json", pointer)
    serving = LEDGER.serving()
    serves = serving["runId"] if serving else None
    published = serves == run_id
    if published:
        ARTIFACTS.put("serving/batch.json", pointer)
    words = f"{len(inputs)} parts with {num_results} items per user" + ("" if published else f"; {serves} serves now")
    LEDGER.decide(
        run_id,
        "batch",
        "PUBLISHED" if published else "OVERTAKEN",
        [words],
        {
            "attempt": names.transform_attempt(batch["jobName"]),
            "jobName": batch["jobName"],
            "numResults": num_results,
            "shards": len(inputs),
        },
    )
    details = {"shards": len(inputs), "forgotten_lists": struck}
    logger.info("lists published" if published else "another model serves now", extra=details)
    count("BatchPublished" if published else "BatchOvertaken")
    return {"runId": run_id, "shards": len(inputs), "published": published}


def _strike(run_id: str, prefix: str, written: Iterable[str]) -> int:
    """Remove the lists of people who were forgotten after the run's data were dropped; returns how many."""
    dropped = names.born(names.version_of(run_id))
    people = LEDGER.forgotten(after=dropped.isoformat() if dropped else "")
    if not people.people:
        return 0
    return sum(batch_lists.strike(ARTIFACTS, f"{prefix}{name}", people) for name in written if name.endswith(".out"))


def _read(key: str) -> bytes:
    found = ARTIFACTS.get(key)
    if found is None:
        raise ArtefactMissing(f"{key} is gone")
    return found.content
