"""State StartBatch (task token): start a Batch Transform job over the known users with the serving model.
`on_job_finished` answers the token when the job has ended.

The answer is `{"outcome": "Written", "runId", "jobName"}`, or at once `{"outcome": "NothingServes"}`,
`{"outcome": "AlreadyPublished", "runId"}` or `{"outcome": "AlreadyRunning", "runId", "jobName"}`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from contracts import documents
from contracts.documents import Unfit
from contracts.values import is_integer, shown
from shared import consoles, environment, events, likeness, names
from shared.clients import already_exists, calling, client
from shared.errors import DependencyFailed, InvalidInput, MissingResource
from shared.jobs import Jobs
from shared.ledger import Ledger, Token
from shared.objects import Bucket
from shared.observability import append_run, logger, observed
from shared.outcomes import Outcome
from shared.records import JobKind
from start_batch import plan


@dataclass(frozen=True, kw_only=True)
class Settings(environment.Common):
    """Environment of this function."""

    data_bucket: str
    artifacts_bucket: str
    batch_instance_type: str
    batch_num_results: int
    batch_instance_count: int = 1
    kms_key_arn: str = ""


WRITERS = 10
"""Objects that are written at the same time, as many as a client has connections: 100,000 within the time limit."""
SETTINGS = environment.load(Settings)
LEDGER = Ledger(SETTINGS.runs_table)
JOBS = Jobs(LEDGER)
S3 = client("s3")
DATA, ARTIFACTS = Bucket(S3, SETTINGS.data_bucket), Bucket(S3, SETTINGS.artifacts_bucket)


@observed
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Returns `{"outcome", "jobName", "console"}`; the state machine reads the token's answer, not this."""
    events.require_task(event, "batch")
    serving = LEDGER.serving()
    if serving is None:
        return _nothing_to_do(event, {"outcome": "NothingServes"})
    run_id = serving["runId"]
    append_run(run_id=run_id, dataset_version=names.version_of(run_id))
    if _is_published(run_id):
        return _nothing_to_do(event, {"outcome": "AlreadyPublished", "runId": run_id})

    decided = LEDGER.decision(run_id, "batch")
    figures = decided["figures"] if decided else {}
    attempt = int(figures.get("attempt", 1))
    name = names.transform_job(SETTINGS.name_prefix, run_id, attempt)
    job = JOBS.transform_job(name)
    waiting = LEDGER.token(JobKind.TRANSFORM, name)
    is_awaited = waiting is not None and waiting.execution_arn != event["executionArn"]
    if is_awaited and job is not None and job["TransformJobStatus"] in ("InProgress", "Stopping"):
        return _nothing_to_do(event, {"outcome": "AlreadyRunning", "runId": run_id, "jobName": name})
    wanted = SETTINGS.batch_num_results
    following = plan.following(attempt, job, figures.get("numResults", wanted) == wanted)
    if following != attempt:
        name, job = names.transform_job(SETTINGS.name_prefix, run_id, following), None
    call = plan.create_transform_job(
        name,
        names.model(SETTINGS.name_prefix, run_id),
        SETTINGS.artifacts_bucket,
        SETTINGS.batch_instance_type,
        SETTINGS.batch_instance_count,
        SETTINGS.kms_key_arn,
        name_prefix=SETTINGS.name_prefix,
    )
    if job is not None:
        _require_own(run_id, call, job, following)
    _remember(run_id, "STARTED", f"transform job {name}", following)
    token = Token(
        kind=JobKind.TRANSFORM,
        name=name,
        task_token=event["taskToken"],
        execution_arn=event["executionArn"],
        run_id=run_id,
        dataset_version=names.version_of(run_id),
    )
    LEDGER.hold_token(token)
    if job is None and not _create(call, run_id):
        job = JOBS.transform_job(name)
        if job is None:
            raise DependencyFailed(f"transform job {name} exists, and is not described yet")
        try:
            _require_own(run_id, call, job, following)
        except InvalidInput:
            LEDGER.release_token(token)
            raise
    JOBS.settle(token)
    page = consoles.sagemaker(token.kind, name, token.execution_arn)
    return {"outcome": "Started", "jobName": name, "console": page}


def _require_own(run_id: str, call: dict[str, Any], job: dict[str, Any], attempt: int) -> None:
    """Raise InvalidInput unless the job that has the batch's name is the one that it would create. The next batch's job
    then has another name.
    """
    phrases = likeness.differences(likeness.transform(call), likeness.transform(job))
    if not phrases:
        return
    remedy = f"Start the batch again: its job is {names.transform_job(SETTINGS.name_prefix, run_id, attempt + 1)}"
    refusal = likeness.sentence(f"transform job {call['TransformJobName']}", phrases, remedy)
    _remember(run_id, "REFUSED", refusal, attempt + 1)
    raise InvalidInput(refusal)


def _remember(run_id: str, verdict: str, reason: str, attempt: int) -> None:
    name = names.transform_job(SETTINGS.name_prefix, run_id, attempt)
    figures = {"attempt": attempt, "jobName": name, "numResults": SETTINGS.batch_num_results}
    LEDGER.decide(run_id, "batch", verdict, [reason], figures)


def _nothing_to_do(event: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    logger.info("nothing to write", extra=answer)
    # The token was not stored in the ledger, so it is built here.
    token = Token(JobKind.TRANSFORM, "none", event["taskToken"], event["executionArn"])
    JOBS.answer(token, Outcome(output=answer))
    return {"outcome": answer["outcome"]}


def _is_published(run_id: str) -> bool:
    found = ARTIFACTS.get("serving/batch.json")
    try:
        pointer = documents.read_object(found.content, "serving/batch.json") if found else {}
    except Unfit:
        return False
    return pointer.get("runId") == run_id and pointer.get("numResults") == SETTINGS.batch_num_results


def _create(call: dict[str, Any], run_id: str) -> bool:
    """Write the questions and create the job. False if its name is taken."""
    name = call["TransformJobName"]
    number = plan.shards(_users(names.version_of(run_id)), SETTINGS.batch_num_results)
    questions = plan.inputs(number, SETTINGS.batch_num_results)
    with ThreadPoolExecutor(WRITERS) as pool:
        list(
            pool.map(
                lambda question: ARTIFACTS.put(f"batch/{name}/input/{question[0]}", question[1]), questions.items()
            )
        )
    with calling("sagemaker CreateTransformJob"):
        try:
            JOBS.client("sagemaker").create_transform_job(**call)
        except ClientError as error:
            if not already_exists(error):
                raise
            logger.info("transform job already exists", extra={"job_name": name})
            return False
    logger.info("transform job started", extra={"job_name": name, "shards": number})
    return True


def _users(version: str) -> int:
    key = f"datasets/{version}/manifest.json"
    found = DATA.get(key)
    if found is None:
        raise MissingResource(f"{key} is gone: it says how many users there are")
    try:
        counts = documents.read_object(found.content, key).get("counts")
    except Unfit as error:
        raise InvalidInput(str(error)) from error
    users = counts.get("users") if isinstance(counts, dict) else None
    if not is_integer(users, 1):
        raise InvalidInput(f"{key}: counts.users must be an integer of at least 1, not {shown(users)}")
    return users
