"""Job runs: their operations and records. What runs is ``running_job``."""

from __future__ import annotations

import logging
import shutil

from laptop_aws import registry
from laptop_aws.emr_serverless import applications, spark
from laptop_aws.emr_serverless.running_job import TERMINAL, Ended, RunningJob, kept_java, running
from laptop_aws.emr_serverless.store import arn, new_id, not_found, store
from laptop_aws.service_model import ServiceError, page, validation_error
from laptop_aws.store import Record, now, public, scope

logger = logging.getLogger("emulator")

DEFAULT_TIMEOUT_MINUTES = 720
DEFAULT_PAGE = 50
INTERRUPTED = "Job failed, because the embedded AWS ended while it ran."
_SUMMARY = (
    "applicationId",
    "name",
    "mode",
    "arn",
    "createdBy",
    "createdAt",
    "updatedAt",
    "executionRole",
    "state",
    "stateDetails",
    "releaseLabel",
)


# ---- operations ------------------------------------------------------------------------------------------------------


def start(request: Record) -> Record:
    application_id = request["applicationId"]
    wanted = {name: value for name, value in request.items() if name != "clientToken"}
    with store.lock:
        application = applications.find(application_id)
        if made_before := _made_before(application_id, request["clientToken"], wanted):
            return made_before
    submission = _submission(request)
    applications.use(application_id)
    with store.lock:
        if made_before := _made_before(application_id, request["clientToken"], wanted):
            return made_before
        identifier, moment = new_id(), now()
        job_run = {
            "applicationId": application_id,
            "jobRunId": identifier,
            "name": request.get("name"),
            "arn": arn(f"{application_id}/jobruns/{identifier}"),
            "createdBy": f"arn:aws:iam::{scope()[0]}:root",
            "createdAt": moment,
            "updatedAt": moment,
            "executionRole": request["executionRoleArn"],
            "state": "SUBMITTED",
            "stateDetails": "",
            "releaseLabel": application["releaseLabel"],
            "configurationOverrides": request.get("configurationOverrides"),
            "jobDriver": request["jobDriver"],
            "tags": request.get("tags", {}),
            "executionTimeoutMinutes": request.get("executionTimeoutMinutes", DEFAULT_TIMEOUT_MINUTES),
            "mode": request.get("mode", "BATCH"),
            "retryPolicy": request.get("retryPolicy"),
            "attempt": 1,
            "attemptCreatedAt": moment,
            "attemptUpdatedAt": moment,
            "_clientToken": request["clientToken"],
            "_request": wanted,
        }
        store.tables().job_runs[_key(application_id, identifier)] = job_run
        run = running[identifier] = RunningJob(job_run, submission, application.get("runtimeConfiguration", []))
    registry.in_background(run.run, name=f"job-run-{identifier}")
    return _started(job_run)


def _made_before(application_id: str, token: str, wanted: Record) -> Record | None:
    for job_run in store.tables().job_runs.values():
        if job_run["applicationId"] == application_id and job_run["_clientToken"] == token:
            if job_run["_request"] != wanted:
                raise ServiceError("ConflictException", "The client token was used before with other parameters", 409)
            return _started(job_run)
    return None


def _started(job_run: Record) -> Record:
    return {name: job_run[name] for name in ("applicationId", "jobRunId", "arn")}


def _submission(request: Record) -> spark.Submission:
    driver = request.get("jobDriver", {}).get("sparkSubmit")
    if driver is None:
        raise validation_error("jobDriver must have sparkSubmit: the embedded AWS runs Spark jobs only")
    if not driver["entryPoint"].startswith("s3://") or not driver["entryPoint"].endswith(".py"):
        raise validation_error(f"entryPoint must be a Python file in S3 (s3://….py), not {driver['entryPoint']!r}")
    try:
        return spark.Submission.parse(driver.get("sparkSubmitParameters", ""))
    except spark.UnknownParameters as error:
        raise validation_error(str(error)) from None


def get(request: Record) -> Record:
    with store.lock:
        return {"jobRun": public(_find(request))}


def cancel(request: Record) -> Record:
    with store.lock:
        job_run = _find(request)
        if job_run["state"] in TERMINAL:
            raise validation_error(
                f"Job run {job_run['jobRunId']} is in terminal state {job_run['state']} and cannot be cancelled"
            )
        run = running.get(job_run["jobRunId"])
    if run is not None:
        run.cancel("Job run was cancelled by the user")
    return {"applicationId": job_run["applicationId"], "jobRunId": job_run["jobRunId"]}


def list_runs(request: Record) -> Record:
    with store.lock:
        applications.find(request["applicationId"])
        wanted = request.get("states") or []
        rows = [
            row
            for row in store.tables().job_runs.values()
            if row["applicationId"] == request["applicationId"]
            and (not wanted or row["state"] in wanted)
            and request.get("mode") in (None, row["mode"])
            and request.get("createdAtAfter", float("-inf"))
            < row["createdAt"]
            < request.get("createdAtBefore", float("inf"))
        ]
        rows.sort(key=lambda row: (row["createdAt"], row["jobRunId"]), reverse=True)
        chosen, token = page(
            rows, request.get("nextToken"), request.get("maxResults", DEFAULT_PAGE), lambda row: str(row["jobRunId"])
        )
        summaries = [
            {"id": row["jobRunId"], "type": "Spark"}
            | {name: row[name] for name in _SUMMARY if row.get(name) is not None}
            for row in chosen
        ]
    return {"jobRuns": summaries} | ({"nextToken": token} if token else {})


def _key(application_id: str, identifier: str) -> str:
    return f"{application_id}/{identifier}"


def _find(request: Record) -> Record:
    applications.find(request["applicationId"])
    job_run = store.tables().job_runs.get(_key(request["applicationId"], request["jobRunId"]))
    if job_run is None:
        raise not_found("JobRun", request["jobRunId"])
    return job_run


# ---- the host's life -------------------------------------------------------------------------------------------------


def fail_interrupted() -> None:
    """Marks the job runs that ran when the host ended as FAILED, and sends their events."""
    from ministack.core.responses import request_scope

    for account, region in store.scopes():
        with request_scope(account, region):
            with store.lock:
                interrupted = [
                    row
                    for row in store.tables().job_runs.values()
                    if row["state"] not in TERMINAL and row["jobRunId"] not in running
                ]
            for job_run in interrupted:
                run = RunningJob(job_run, spark.Submission(), [])
                run.finish(Ended("FAILED", INTERRUPTED))
                shutil.rmtree(run._work, ignore_errors=True)


def close() -> None:
    """Ends all processes when the host ends; the job runs' records stay unchanged."""
    with store.lock:
        runs = list(running.values())
    for run in runs:
        run.abandon()
    kept_java.close()
