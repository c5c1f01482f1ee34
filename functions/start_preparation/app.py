"""State StartPreparation (task token): start an EMR Serverless job run. `on_job_finished` answers the token when the
job run has ended.

Answers the token at once with `{"datasetVersion", "alreadyPrepared": true, "status"}` if the version exists or another
execution prepares it: a drop that is announced twice is prepared once.

The history of an append is chosen here, once for its version, and written down: a retry reads the same drops.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from contracts import limits, unions
from contracts.names import DROP_FILE
from shared import consoles, environment, events, names
from shared.clients import calling, client
from shared.errors import InvalidInput
from shared.jobs import Jobs
from shared.ledger import Ledger, Token
from shared.objects import Bucket
from shared.observability import append_run, count, logger, observed
from shared.outcomes import Outcome
from shared.records import Dataset, DatasetStatus, JobKind
from start_preparation import plan, request, union


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    data_bucket: str
    artifacts_bucket: str
    emr_application_id: str
    emr_execution_role_arn: str
    preparation_entry_point: str
    preparation_py_files: str
    preparation_code_version: str
    preparation_log_uri: str
    preparation_log_group: str
    preparation_timeout_minutes: int
    preparation_source: str = ""
    preparation_parameters: dict[str, Any] = field(default_factory=dict)


SETTINGS = environment.load(Settings)
LEDGER = Ledger(SETTINGS.runs_table)
DATA = Bucket(client("s3"), SETTINGS.data_bucket)
JOBS = Jobs(LEDGER, SETTINGS.emr_application_id)
READERS = 8


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"datasetVersion", "started", "jobRunId", "logs"}`; the state machine reads the token's answer."""
    events.require_task(event, "preparation")
    preparation = plan.from_event(
        event, SETTINGS.data_bucket, SETTINGS.preparation_source, SETTINGS.preparation_parameters, _read
    )
    names.require_past(preparation.version, LEDGER.seconds())
    execution_arn = event["executionArn"]
    append_run(dataset_version=preparation.version)
    token = Token(
        kind=JobKind.PREPARATION,
        name=names.preparation_job(SETTINGS.name_prefix, preparation.version),
        task_token=event["taskToken"],
        execution_arn=execution_arn,
        dataset_version=preparation.version,
    )

    state = LEDGER.dataset(preparation.version)
    attempt = plan.attempt_of(state, execution_arn)
    parent = _parent(state, preparation.version, attempt)
    begun = attempt is not None and LEDGER.begin_dataset(
        preparation.version, execution_arn, attempt, preparation.source, parent
    )
    if attempt is None or not begun:
        state = LEDGER.dataset(preparation.version)
        status = state["status"] if state else DatasetStatus.PREPARING
        logger.info("dataset version is prepared already, or by another execution", extra={"status": status})
        count("PreparationDuplicate")
        JOBS.answer(
            token,
            Outcome(
                output={
                    "datasetVersion": preparation.version,
                    "alreadyPrepared": True,
                    "status": status,
                }
            ),
        )
        return {"datasetVersion": preparation.version, "started": False}

    LEDGER.hold_token(token)
    preparation = _united(preparation)
    call = request.start_job_run(
        preparation,
        attempt=attempt,
        parent_version=parent,
        name_prefix=SETTINGS.name_prefix,
        data_bucket=SETTINGS.data_bucket,
        artifacts_bucket=SETTINGS.artifacts_bucket,
        application_id=SETTINGS.emr_application_id,
        execution_role_arn=SETTINGS.emr_execution_role_arn,
        entry_point=SETTINGS.preparation_entry_point,
        py_files=SETTINGS.preparation_py_files,
        code_version=SETTINGS.preparation_code_version,
        log_uri=SETTINGS.preparation_log_uri,
        log_group=SETTINGS.preparation_log_group,
        timeout_minutes=SETTINGS.preparation_timeout_minutes,
    )
    with calling("emr-serverless StartJobRun"):
        job_run_id = JOBS.client("emr-serverless").start_job_run(**call)["jobRunId"]
    logger.info(
        "preparation job started", extra={"job_run_id": job_run_id, "attempt": attempt, "parent_version": parent}
    )
    LEDGER.name_job(token.kind, token.name, token.task_token, job_run_id)
    named = LEDGER.token(token.kind, token.name)
    if named is not None:
        JOBS.settle(named)
    logs = consoles.spark_logs(
        SETTINGS.preparation_log_uri, SETTINGS.emr_application_id, job_run_id, token.execution_arn
    )
    return {"datasetVersion": preparation.version, "started": True, "jobRunId": job_run_id, "logs": logs}


def _united(preparation: plan.Preparation) -> plan.Preparation:
    """Choose which drops the version is made of, once for all its attempts, and write them down."""
    outside = SETTINGS.preparation_source
    if preparation.drop is None and preparation.source != outside:
        return preparation
    key = unions.key_of(preparation.version)
    written = DATA.get(key)
    if written is not None:
        found = unions.from_json(written.content, key)
    else:
        defaults = plan.default_values(SETTINGS.preparation_parameters)
        found = union.unite(
            union.closed_drops(DATA.written("raw/")),
            _own(preparation),
            union.moment_of(preparation.version),
            defaults,
            _said_by,
            union.part("", {}, defaults, source=outside) if outside and preparation.drop else None,
        )
        DATA.put(key, json.dumps(found.to_document(preparation.version), ensure_ascii=False).encode())
        logger.info("drops chosen", extra={"drops": len(found.parts), "union_warnings": found.warnings})
    return replace(preparation, is_union=preparation.is_append or len(found.parts) > 1)


def _own(preparation: plan.Preparation) -> unions.Part:
    read = {name: value for name, value in preparation.parameters.items() if name in unions.READING}
    kind = unions.APPEND if preparation.is_append else unions.FULL
    if preparation.drop is None:
        return unions.Part("", kind, read, preparation.source)
    return unions.Part(preparation.drop, kind, read)


def _said_by(drops: Sequence[str]) -> list[dict[str, Any] | InvalidInput]:
    def read(drop: str) -> dict[str, Any] | InvalidInput:
        key = f"raw/{drop}/{DROP_FILE}"
        try:
            return plan.said_by(_read(key), key)
        except InvalidInput as error:
            return error

    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(read, drops))


def _read(key: str) -> bytes | None:
    found = DATA.get(key, limits.DROP_BYTES + 1)
    return found.content if found else None


def _parent(state: Dataset | None, version: str, attempt: int | None) -> str | None:
    # EMR Serverless refuses a client token with a different request, so the parent is chosen once per attempt.
    if state is not None and "parentVersion" in state and attempt == state.get("attempt"):
        return state["parentVersion"]
    newest = LEDGER.newest_claimed()
    return newest if newest is not None and newest < version else None
