"""Operations by hand: rollback, restart of a failed run, lists for all users, and a run's report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from contracts import documents, history
from contracts.documents import Unfit
from contracts.history import TakenBack
from control.executions import execution_reason
from control.ledger import UNFINISHED, Ledger, key_of, newest_first, reasons_of
from local.console import Show
from local.project import Problem, Project, RunFailedError
from local.watch import Watcher

FAILED = ("FAILED", "ABORTED", "ROLLED_BACK")
LONGEST_REASON = 500
"""Maximum characters of an acknowledgement in an execution's input."""


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


def restart(
    project: Project,
    outputs: Mapping[str, str],
    show: Show,
    run_id: str | None,
    is_anew: bool,
    acknowledge: str | None = None,
) -> None:
    """Restart a run (None: the latest that failed and may be restarted): from the state that failed or, with `is_anew`,
    as a new attempt on the same data. A run whose model, or another one of its data, a person took back is named, with
    the reason why it may serve again (`acknowledge`).

    Raises Problem if there is no such run or the reason is missing, RunFailedError if it fails again.
    """
    watcher = Watcher(project, outputs, show)
    runs = newest_first(watcher.ledger.of_kind("RUN"))
    if run_id is None and acknowledge is not None:
        raise Problem("--acknowledge needs the name of the run: restart <run> --acknowledge <reason>")
    earlier = run_id or _latest_failed(watcher.ledger, runs, show)
    version, _, attempt = earlier.rpartition("-r")
    status = {key_of(run): run.get("status") for run in runs}.get(earlier)
    if status is None:
        raise Problem(f"there is no run {earlier}: see `make status`")
    if status not in FAILED and not is_anew:
        raise Problem(f"{earlier} is {status}, and only a failed run can be restarted; --anew trains again")
    _check_acknowledged(watcher.ledger, earlier, is_anew, acknowledge)
    if is_anew:
        attempts = [key_of(run).rpartition("-r") for run in runs]
        attempt = str(1 + max(int(number) for data, _, number in attempts if data == version))
    wanted = f"{version}-r{attempt}"
    manifest = {"bucket": outputs["DataBucketName"], "key": f"datasets/{version}/manifest.json"}
    execution_input = {"runId": wanted, "datasetVersion": version, "attempt": int(attempt), "manifest": manifest}
    execution_input |= {} if acknowledge is None else {"acknowledge": acknowledge}
    show.heading(f"{'Next attempt' if is_anew else 'Restart'}: {wanted}")
    name = wanted if is_anew else f"{wanted}-restart-{time.time_ns() // 10**9}"
    arn = watcher.states.start_execution(
        stateMachineArn=outputs["RetrainingStateMachineArn"], name=name, input=json.dumps(execution_input)
    )["executionArn"]
    outcome = watcher.follow_run(wanted, arn)
    if outcome.status == "DEPLOYED":
        show.good(f"model {wanted} serves")
    elif outcome.status == "UNCHANGED":
        show.good(f"{wanted} changes nothing: {'; '.join(outcome.reasons)}")
    else:
        show.warn(f"{wanted} was rejected: {'; '.join(outcome.reasons)}")


def _latest_failed(ledger: Ledger, runs: Sequence[Mapping[str, Any]], show: Show) -> str:
    """The latest run that failed, whose data are not older than the serving model's, and of whose data nobody took a
    model back. Raises Problem if there is none.
    """
    items, serves = ledger.history(), str(ledger.serving().get("datasetVersion", ""))
    taken_back: tuple[TakenBack, str] | None = None
    for run_id in (key_of(run) for run in runs if run.get("status") in FAILED):
        version = run_id.rpartition("-r")[0]
        taken = history.taken_back_of(items, version)
        if taken is None and version >= serves:
            if taken_back is not None:
                show.line(f"not {taken_back[1]}: {taken_back[0]}")
            return run_id
        if taken is not None and taken_back is None:
            taken_back = taken, run_id
    advice = f": {taken_back[0]}. {_how_to_acknowledge(taken_back[1])}" if taken_back is not None else ""
    raise Problem(f"no run has failed that may be restarted{advice}")


def _check_acknowledged(ledger: Ledger, run_id: str, is_anew: bool, acknowledge: str | None) -> None:
    if acknowledge is not None and not (acknowledge.strip() and len(acknowledge) <= LONGEST_REASON):
        raise Problem(f"--acknowledge must be a reason of 1 to {LONGEST_REASON} characters")
    taken = history.taken_back_of(ledger.history(), run_id.rpartition("-r")[0])
    if taken is None and acknowledge is not None:
        raise Problem(f"nobody took back a model of the data of {run_id}: leave --acknowledge out")
    if taken is not None and acknowledge is None:
        raise Problem(f"{taken}. {_how_to_acknowledge(run_id, is_anew)}")


def _how_to_acknowledge(run_id: str, is_anew: bool = False) -> str:
    command = f".venv/bin/python -m local restart {'--anew ' if is_anew else ''}{run_id}"
    return f'To deploy it all the same: {command} --acknowledge "<why it may serve again>"'


def write_lists(project: Project, outputs: Mapping[str, str], show: Show) -> None:
    """Start a batch and follow it to its end. Raises RunFailedError with the reason when it failed."""
    show.heading("Batch")
    batch, publication = _execute(project, outputs, show, "Batch", {}, ("batch", "publication")).values()
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


def fetch_report(project: Project, outputs: Mapping[str, str], run_id: str | None) -> Path:
    """Copy the report of a run (None: the latest finished run) to this machine; return its path. Raises Problem if
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
    return path


def _execute(
    project: Project,
    outputs: Mapping[str, str],
    show: Show,
    machine: str,
    execution_input: Mapping[str, Any],
    parts: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """Run one execution of `machine`, showing its progress; return these parts of its output, empty where it has none.

    Raises RunFailedError if it fails, or if its output is not JSON or a part no object.
    """
    watcher = Watcher(project, outputs, show)
    arn = watcher.states.start_execution(
        stateMachineArn=outputs[f"{machine}StateMachineArn"], input=json.dumps(execution_input)
    )["executionArn"]
    execution = watcher.follow_execution(arn)
    if execution["status"] != "SUCCEEDED":
        record = watcher.ledger.item(f"{machine.upper()}#{arn.rpartition(':')[2]}", "STATE")
        raise RunFailedError("; ".join(reasons_of(record) or [execution_reason(execution)]))
    called = f"the output of {machine}"
    try:
        output = documents.read_object(execution.get("output") or "{}", called)
        return {name: documents.require_object(output.get(name) or {}, f"{called}: {name}") for name in parts}
    except Unfit as error:
        raise RunFailedError(str(error)) from error
