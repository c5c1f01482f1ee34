"""What a person asks for by hand: a run's page, going back to an earlier model, and writing lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from local.console import Show
from local.ledger import Ledger, key_of, newest_first, reasons_of
from local.project import Problem, Project, RunFailedError
from local.watch import Watcher, execution_reason


def roll_back(project: Project, outputs: Mapping[str, str], show: Show, to: str | None, reason: str | None) -> None:
    """Start a rollback and follow it to its end. Raises RunFailedError with the reason when it failed."""
    asked = {name: value for name, value in (("to", to), ("reason", reason)) if value is not None}
    show.heading("Rollback")
    _execute(project, outputs, show, "Rollback", asked)
    serving = Ledger(project, outputs["RunsTableName"]).serving()
    show.good(f"model {serving.get('runId')} serves again, instead of {(serving.get('previous') or {}).get('runId')}")


def write_lists(project: Project, outputs: Mapping[str, str], show: Show) -> None:
    """Start a batch and follow it to its end. Raises RunFailedError with the reason when it failed."""
    show.heading("Batch")
    output = _execute(project, outputs, show, "Batch", {})
    batch, publication = output.get("batch") or {}, output.get("publication")
    words = {
        "NothingServes": "no model serves yet, so there is none to write lists with",
        "AlreadyPublished": f"the lists of {batch.get('runId')} stand already",
        "AlreadyRunning": f"{batch.get('jobName')} writes them already: see `make status`",
    }
    if publication:
        show.good(f"the lists of {batch.get('runId')} stand in when the endpoint does not answer")
        show.line(f"  s3://{outputs['ArtifactsBucketName']}/batch/{batch.get('jobName')}/lists/")
    else:
        show.line(words.get(str(batch.get("outcome")), str(batch.get("outcome"))))


def fetch_report(project: Project, outputs: Mapping[str, str], show: Show, run_id: str | None) -> None:
    """Copy the page of a run (None: of the latest that is over) to this machine and say where it is. Raises Problem
    when there is none.
    """
    if run_id is None:
        runs = newest_first(Ledger(project, outputs["RunsTableName"]).of_kind("RUN"))
        over = [key_of(run) for run in runs if run.get("status") != "RUNNING"]
        if not over:
            raise Problem("no run is over yet: `make demo` makes one")
        run_id = over[0]
    bucket, key = outputs["ArtifactsBucketName"], f"runs/{run_id}/report.html"
    try:
        content = project.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        raise Problem(f"{run_id} has no report: a run gets one when it is over ({key}: {error})") from error
    path = project.state / "reports" / f"{run_id}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    show.line(f"{path}")


def _execute(
    project: Project, outputs: Mapping[str, str], show: Show, machine: str, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """The output of one execution of `machine`, shown as it goes."""
    watcher = Watcher(project, outputs, show)
    arn = watcher.states.start_execution(stateMachineArn=outputs[f"{machine}StateMachineArn"], input=json.dumps(asked))[
        "executionArn"
    ]
    execution = watcher.follow_execution(arn)
    if execution["status"] != "SUCCEEDED":
        record = watcher.ledger.item(f"{machine.upper()}#{arn.rpartition(':')[2]}", "STATE")
        raise RunFailedError("; ".join(reasons_of(record) or [execution_reason(execution)]))
    return dict(json.loads(execution.get("output") or "{}"))
