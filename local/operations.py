"""Operations by hand: rollback, restart of a failed run, lists for all users, and a run's report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from local.console import Show
from local.ledger import UNFINISHED, Ledger, key_of, newest_first, reasons_of
from local.project import Problem, Project, RunFailedError
from local.watch import Watcher, execution_reason

FAILED = ("FAILED", "ABORTED", "ROLLED_BACK")


def roll_back(
    project: Project,
    outputs: Mapping[str, str],
    show: Show,
    to: str | None,
    percent: int | None,
    reason: str | None,
) -> None:
    """Start a rollback and follow it to its end. Raises RunFailedError with the reason when it failed."""
    execution_input = {
        name: value for name, value in (("to", to), ("percent", percent), ("reason", reason)) if value is not None
    }
    show.heading("Rollback")
    _execute(project, outputs, show, "Rollback", execution_input)
    ledger = Ledger(project, outputs["RunsTableName"])
    serving, split = ledger.serving(), ledger.split()
    if split:
        show.good(
            f"model {split['runId']} answers {split['percent']} % of the requests, {serving.get('runId')} the rest"
        )
        return
    if percent == 0:
        show.good(f"model {serving.get('runId')} answers all requests")
        return
    show.good(f"model {serving.get('runId')} serves again, instead of {(serving.get('previous') or {}).get('runId')}")


def restart(project: Project, outputs: Mapping[str, str], show: Show, run_id: str | None, is_anew: bool) -> None:
    """Restart a run (None: the latest that failed): from the state that failed or, with `is_anew`, as a new attempt on
    the same data. Raises Problem if no run failed, RunFailedError if it fails again.
    """
    watcher = Watcher(project, outputs, show)
    runs = newest_first(watcher.ledger.of_kind("RUN"))
    failed = [key_of(run) for run in runs if run.get("status") in FAILED]
    if run_id is None and not failed:
        raise Problem("no run has failed: there is nothing to restart")
    earlier = run_id or failed[0]
    version, _, attempt = earlier.rpartition("-r")
    status = {key_of(run): run.get("status") for run in runs}.get(earlier)
    if status is None:
        raise Problem(f"there is no run {earlier}: see `make status`")
    if status not in FAILED and not is_anew:
        raise Problem(f"{earlier} is {status}, and only a failed run can be restarted; --anew trains again")
    if is_anew:
        attempts = [key_of(run).rpartition("-r") for run in runs]
        attempt = str(1 + max(int(number) for data, _, number in attempts if data == version))
    wanted = f"{version}-r{attempt}"
    manifest = {"bucket": outputs["DataBucketName"], "key": f"datasets/{version}/manifest.json"}
    execution_input = {"runId": wanted, "datasetVersion": version, "attempt": int(attempt), "manifest": manifest}
    show.heading(f"{'Next attempt' if is_anew else 'Restart'}: {wanted}")
    name = wanted if is_anew else f"{wanted}-restart-{time.time_ns() // 10**9}"
    arn = watcher.states.start_execution(
        stateMachineArn=outputs["RetrainingStateMachineArn"], name=name, input=json.dumps(execution_input)
    )["executionArn"]
    outcome = watcher.follow_run(wanted, arn)
    if outcome.status == "DEPLOYED":
        show.good(f"model {wanted} serves")
    else:
        show.warn(f"{wanted} was rejected: {'; '.join(outcome.reasons)}")


def write_lists(project: Project, outputs: Mapping[str, str], show: Show) -> None:
    """Start a batch and follow it to its end. Raises RunFailedError with the reason when it failed."""
    show.heading("Batch")
    output = _execute(project, outputs, show, "Batch", {})
    batch, publication = output.get("batch") or {}, output.get("publication")
    words = {
        "NothingServes": "no model serves yet: lists need one",
        "AlreadyPublished": f"the lists of {batch.get('runId')} are already written",
        "AlreadyRunning": f"{batch.get('jobName')} is already writing them: see `make status`",
    }
    if publication:
        show.good(f"the lists of {batch.get('runId')} are used when the endpoint does not answer")
        show.line(f"  s3://{outputs['ArtifactsBucketName']}/batch/{batch.get('jobName')}/lists/")
    else:
        show.line(words.get(str(batch.get("outcome")), str(batch.get("outcome"))))


def fetch_report(project: Project, outputs: Mapping[str, str], show: Show, run_id: str | None) -> None:
    """Copy the report of a run (None: the latest finished run) to this machine and print its path. Raises Problem if
    there is none.
    """
    if run_id is None:
        runs = newest_first(Ledger(project, outputs["RunsTableName"]).of_kind("RUN"))
        over = [key_of(run) for run in runs if run.get("status") not in UNFINISHED]
        if not over:
            raise Problem("no run has finished yet: `make demo` starts one")
        run_id = over[0]
    bucket, key = outputs["ArtifactsBucketName"], f"runs/{run_id}/report.html"
    try:
        content = project.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        raise Problem(f"{run_id} has no report: a run gets one when it ends ({key}: {error})") from error
    path = project.state / "reports" / f"{run_id}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    show.line(f"{path}")


def _execute(
    project: Project, outputs: Mapping[str, str], show: Show, machine: str, execution_input: Mapping[str, Any]
) -> dict[str, Any]:
    """Run one execution of `machine`, showing its progress; return its output."""
    watcher = Watcher(project, outputs, show)
    arn = watcher.states.start_execution(
        stateMachineArn=outputs[f"{machine}StateMachineArn"], input=json.dumps(execution_input)
    )["executionArn"]
    execution = watcher.follow_execution(arn)
    if execution["status"] != "SUCCEEDED":
        record = watcher.ledger.item(f"{machine.upper()}#{arn.rpartition(':')[2]}", "STATE")
        raise RunFailedError("; ".join(reasons_of(record) or [execution_reason(execution)]))
    return dict(json.loads(execution.get("output") or "{}"))
