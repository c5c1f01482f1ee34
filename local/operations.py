"""Operations by hand: rollback, restart of a failed run, lists for all users, and a run's report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from contracts import documents, history
from contracts.documents import Unfit
from control import runs
from control.actions import LONGEST_REASON
from control.executions import execution_reason
from control.ledger import UNFINISHED, Ledger, key_of, newest_first, reasons_of
from control.serving import rollback_input
from local.console import Show
from local.project import Problem, Project, RunFailedError
from local.watch import Watcher


def roll_back(
    project: Project,
    outputs: Mapping[str, str],
    show: Show,
    to: str | None,
    percent: int | None,
    reason: str | None,
) -> None:
    """Start a rollback and follow it to its end. Raises RunFailedError with the reason when it failed."""
    try:
        execution_input = rollback_input(reason or "", to, percent)
    except ValueError as error:
        raise Problem(str(error)) from error
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
    known = newest_first(watcher.ledger.of_kind("RUN"))
    if run_id is None and acknowledge is not None:
        raise Problem("--acknowledge needs the name of the run: restart <run> --acknowledge <reason>")
    earlier = run_id or _latest_failed(watcher.ledger, known, show)
    status = {key_of(run): run.get("status") for run in known}.get(earlier)
    if refusal := runs.restart_refusal(earlier, status, is_anew):
        raise Problem(f"{refusal}: see `make status`" if status is None else f"{refusal}; --anew trains again")
    _check_acknowledged(watcher.ledger, earlier, is_anew, acknowledge)
    wanted = runs.next_attempt(earlier, [key_of(run) for run in known]) if is_anew else earlier
    show.heading(f"{'Next attempt' if is_anew else 'Restart'}: {wanted}")
    call = runs.restart_call(outputs, wanted, is_anew, acknowledge)
    arn = watcher.states.start_execution(**call.parameters)["executionArn"]
    outcome = watcher.follow_run(wanted, arn)
    if outcome.status == "DEPLOYED":
        show.good(f"model {wanted} serves")
    elif outcome.status == "UNCHANGED":
        show.good(f"{wanted} changes nothing: {'; '.join(outcome.reasons)}")
    else:
        show.warn(f"{wanted} was rejected: {'; '.join(outcome.reasons)}")


def _latest_failed(ledger: Ledger, known: Sequence[Mapping[str, Any]], show: Show) -> str:
    """The latest run that failed and may be restarted, as `runs.restartable` says. Raises Problem if there is none."""
    serves = str(ledger.serving().get("datasetVersion", ""))
    run_id, passed = runs.restartable(known, ledger.history(), serves)
    if run_id is not None:
        if passed is not None:
            show.line(f"not {passed[1]}: {passed[0]}")
        return run_id
    advice = f": {passed[0]}. {_how_to_acknowledge(passed[1])}" if passed is not None else ""
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
        known = newest_first(Ledger(project, outputs["RunsTableName"]).of_kind("RUN"))
        over = [key_of(run) for run in known if run.get("status") not in UNFINISHED]
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
