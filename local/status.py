"""Shows the running parts, the serving model, what runs or waits and why, the latest runs, refusals, dead letters."""

from __future__ import annotations

import json
import time
from collections.abc import Container, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from contracts import outcomes
from contracts.outcomes import Window
from contracts.recent_events import window_start
from control import durations, pauses
from control.ledger import REFUSED, Ledger, key_of, moment, newest_first, reasons_of, when
from local import host, http
from local.console import Show
from local.project import STACK, Project
from local.stack import READY, Stack

RUNS_SHOWN = 5
REFUSALS_SHOWN = 3
LOCAL = ".venv/bin/python -m local"


def show_status(project: Project, show: Show, is_json: bool = False) -> None:
    """Print the status as text or as one JSON object; for a missing part, the command that starts it."""
    found = facts(project)
    if is_json:
        print(json.dumps(found, indent=1))
        return
    for line in lines_of(found):
        show.line(line)
    if found.get("runs"):
        show.table(["run", "status", "started", "took", "waited"], [_row(run) for run in found["runs"]])
    for refusal in found.get("refusals", []):
        show.line(f"{refusal['name']} {refusal['status']}")
        show.sentences(refusal["reasons"])


def facts(project: Project) -> dict[str, Any]:
    """The status as JSON; a part that is not running is null, and what it would hold is left out."""
    running = host.find(project)
    if running is None or not host.is_healthy(running.port):
        return {"embeddedAws": None, "state": str(project.state) if project.state.exists() else None}
    found: dict[str, Any] = {
        "embeddedAws": {"url": project.endpoint, "pid": running.pid},
        "state": str(project.state),
    }
    stack = Stack(project)
    status = stack.status
    if status not in READY:
        return found | {"stack": {"name": STACK, "status": status or None, "failures": stack.failures()}}
    outputs = stack.outputs()
    ledger = Ledger(project, outputs["RunsTableName"])
    paused = pauses.retraining(project.connection, ledger)
    split, parameters, serving = ledger.split(), stack.parameters(), ledger.serving()
    runs = newest_first(ledger.of_kind("RUN"))
    return found | {
        "stack": {"name": STACK, "status": status},
        "api": http.api_url(project, outputs["ApiId"]),
        "endpoint": {
            "name": outputs["EndpointName"],
            "status": endpoint_line(project, outputs["EndpointName"], ledger.item("ENDPOINT", "REST"), bool(serving)),
        },
        "serving": serving or None,
        "restorable": sorted(key_of(champion) for champion in ledger.of_kind("CHAMPION")),
        "split": split or None,
        "trial": ledger.trial(split) if split else None,
        "earned": earned_lines(ledger.outcomes(*last_day(time.time()))),
        "deadLetters": dead_letters(project, outputs["DeadLetterQueueUrl"]),
        "retraining": {"isPaused": paused.is_paused, "since": paused.since, "who": paused.who, "why": paused.why},
        "waiting": [job(token, parameters) for token in ledger.of_kind("TOKEN")],
        "parked": [
            {"runId": key_of(run), "since": run.get("updatedAt"), "reasons": reasons_of(run)}
            for run in runs
            if run.get("status") == "PARKED"
        ],
        "runs": [_timed(project, run) for run in runs[:RUNS_SHOWN]],
        "refusals": refusals(runs, ledger.of_kind("DATASET")),
    }


def lines_of(found: Mapping[str, Any]) -> list[str]:
    """The status as text, without the tables of runs and refusals."""
    if found["embeddedAws"] is None:
        kept = " (its state is kept)" if found["state"] else ""
        return [f"embedded AWS   not running{kept}: `make up` starts it"]
    lines = [
        f"embedded AWS   {found['embeddedAws']['url']}, pid {found['embeddedAws']['pid']}, state in {found['state']}"
    ]
    stack = found["stack"]
    if stack["status"] not in READY:
        lines.append(f"stack          {stack['name']}: {stack['status'] or 'not deployed'}: run `make up`")
        return lines + [f"    {reason}" for reason in stack["failures"]]
    lines += [
        f"stack          {stack['name']}: {stack['status']}",
        f"HTTP API       {found['api']}",
        f"endpoint       {found['endpoint']['name']}: {found['endpoint']['status']}",
        *serving_lines(found["serving"] or {}, found["restorable"]),
    ]
    if split := found["split"]:
        since = when(split.get("since"))
        lines.append(f"traffic        {split['percent']} % of the requests go to {split['runId']} since {since}")
        lines += trial_lines(found["trial"])
    lines += [f"earned, 24 h   {line}" for line in found["earned"]]
    lines.append(f"dead letters   {dead_letters_line(found['deadLetters'])}")
    lines += paused_lines(found["retraining"])
    lines += waiting_lines(found["waiting"], found["parked"])
    if not found["runs"] and not found["refusals"]:
        lines.append(f"runs           none yet: `make demo`, or `{LOCAL} run --data PATH`")
    return lines


def endpoint_line(project: Project, name: str, rest: Mapping[str, Any], serves: bool) -> str:
    """The endpoint's status and configuration as text, also if there is none yet, or if it rests (`rest`: the ledger's
    record of that, empty if it never did), or is gone while a model serves by the ledger (`serves`).
    """
    try:
        endpoint = project.client("sagemaker").describe_endpoint(EndpointName=name)
    except ClientError as error:
        if "Could not find" in str(error):
            if rest.get("isResting"):
                return "rests outside EndpointHours: the API answers with the lists of a batch, or with popular items"
            if serves:
                return "gone: create it again (docs/on-call.md#endpoint-fallback)"
            return "none yet: the first model that passes the gate creates it"
        return str(error)
    reason = f": {endpoint['FailureReason']}" if endpoint.get("FailureReason") else ""
    return f"{endpoint['EndpointStatus']} on {endpoint['EndpointConfigName']}{reason}"


def serving_lines(record: Mapping[str, Any], restorable: Container[str]) -> list[str]:
    """The serving model as text: since when, its dataset, and the previous model. `restorable`: the runs whose models
    are kept.
    """
    if not record:
        return ["serving        no model yet"]
    lines = [f"serving        {record.get('runId')} since {when(record.get('since'))}"]
    lines.append(f"               trained on dataset {record.get('datasetVersion')}")
    if previous := (record.get("previous") or {}).get("runId"):
        gone = "" if previous in restorable else ", which is not kept any more"
        lines.append(f"               before it: {previous}{gone}")
    return lines


def last_day(now: float) -> tuple[str, str]:
    """The starts of the first and the last window of the last 24 hours; `now` in epoch seconds."""
    return window_start(int(now - 24 * 3600) * 1000), window_start(int(now) * 1000)


def earned_lines(windows: Sequence[Window]) -> list[str]:
    """Outcomes of the recommendations of each model as text, the newest model first."""
    counts = outcomes.total(windows, lambda answers: answers.run_id)
    return [
        f"{run_id}: shown {one.impressions:,}, chosen {one.clicks:,} ({one.rate:.2%}), bought {one.purchases:,}, "
        f"value {one.value:,.2f}"
        for run_id, one in sorted(counts.items(), reverse=True)
    ]


def trial_lines(trial: Mapping[str, Any]) -> list[str]:
    """The trial of the two models as text: share, click rates, their difference with its interval, and the time left;
    nothing before the first look.
    """
    figures = trial.get("figures") or {}
    if not figures:
        return []
    state = trial.get("verdict") or f"{figures['daysLeft']:.1f} days left"
    lines = [f"trial          {trial['trialId']}: {trial['share']:.0%} of the people get {trial['other']}; {state}"]
    for side in ("AllTraffic", "Other"):
        shown, clicks = figures["impressions"][side], figures["clicks"][side]
        rate = f" ({clicks / shown:.2%})" if shown else ""
        lines.append(f"    {side:<10} {clicks} clicks of {shown} answers{rate}")
    if "difference" in figures:
        interval = f"{figures['low']:+.1%} to {figures['high']:+.1%}"
        lines.append(f"    Other has {figures['difference']:+.1%} clicks, always-valid interval {interval}")
    return lines


def dead_letters(project: Project, url: str) -> int:
    """The number of messages in the dead-letter queue."""
    found = project.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(found["Attributes"]["ApproximateNumberOfMessages"])


def dead_letters_line(count: int) -> str:
    """The number of dead letters as text, with what to do."""
    return (
        "none" if count == 0 else f"{count}: events that no function could process; `{LOCAL} logs emulator` shows why"
    )


def paused_lines(retraining: Mapping[str, Any]) -> list[str]:
    """That new data start no training, with who paused it and why; nothing if they do."""
    if not retraining["isPaused"]:
        return []
    by = f" since {when(retraining['since'])}, by {retraining['who']}" if retraining["since"] else ""
    why = f": {retraining['why']}" if retraining["why"] else ""
    return [f"retraining     paused{by}{why}; new data start nothing until `{LOCAL} resume`"]


def job(token: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the job that a state machine waits for, from its open token, and for how many hours at most (None: AWS
    decides)."""
    kind = str(token.get("jobKind", ""))
    hours = int(parameters.get("ApprovalDeadlineHours", 0)) if kind == "APPROVAL" else None
    return {
        "kind": kind,
        "name": str(token.get("jobName", "")),
        "runId": token.get("runId"),
        "since": token.get("updatedAt"),
        "hours": hours,
    }


def waiting_lines(waiting: Sequence[Mapping[str, Any]], parked: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the jobs that are waited for as text, and the parked runs with their reasons."""
    lines = []
    for one in waiting:
        since = when(one["since"])
        if one["kind"] == "APPROVAL":
            start, hours = moment(one["since"]), one["hours"]
            until = f", until {when(start + hours * 3600)}" if start is not None and hours else ""
            lines.append(f"waiting for    a person since {since}{until}: approve {one['runId']}, or reject it")
            lines.append(f"    {LOCAL} approve {one['runId']}")
        else:
            lines.append(f"waiting for    {one['kind'].lower()} {one['name']} since {since}")
    for run in parked:
        lines.append(f"parked         {run['runId']} since {when(run['since'])}; it goes on by itself")
        lines += [f"    {reason}" for reason in run["reasons"]]
    return lines or ["waiting for    nothing"]


def refusals(runs: Sequence[Mapping[str, Any]], datasets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The last runs that did not end with a new model, and the last drops whose data were refused, each with its
    reasons; the newest first of each.
    """
    ended = [run for run in runs if run.get("status") not in ("DEPLOYED", "RUNNING", "PARKED")]
    refused = [record for record in datasets if record.get("status") in (*REFUSED, "FAILED", "ABORTED", "STALE")]
    found = [_refusal("run", run) for run in ended[:REFUSALS_SHOWN]]
    return found + [_refusal("dataset", record) for record in refused[:REFUSALS_SHOWN]]


def _refusal(kind: str, record: Mapping[str, Any]) -> dict[str, Any]:
    source = record.get("source")
    return {
        "kind": kind,
        "name": f"{kind} {key_of(record)}" + (f" ({source})" if source and kind == "dataset" else ""),
        "status": str(record.get("status")),
        "reasons": reasons_of(record) or ["no reason given"],
    }


def _timed(project: Project, run: Mapping[str, Any]) -> dict[str, Any]:
    """A run with the seconds that it worked, and those that it waited for a person or was parked."""
    started, ended = moment(run.get("startedAt")), moment(run.get("endedAt"))
    until = ended if ended is not None else time.time()
    seconds = None if started is None else max(0.0, until - started)
    waited = _waited(project, str(run.get("executionArn", "")), until) if seconds is not None else 0.0
    return {
        "runId": key_of(run),
        "status": str(run.get("status", "?")),
        "startedAt": run.get("startedAt"),
        "endedAt": run.get("endedAt"),
        "tookSeconds": None if seconds is None else round(max(0.0, seconds - waited), 1),
        "waitedSeconds": round(waited, 1),
    }


def _waited(project: Project, arn: str, until: float) -> float:
    """Seconds that an execution waited; 0 if its history is not kept any more."""
    try:
        pages = (
            project.client("stepfunctions")
            .get_paginator("get_execution_history")
            .paginate(executionArn=arn, maxResults=1000)
        )
        return durations.waited([event for page in pages for event in page["events"]], until)
    except ClientError:
        return 0.0


def _row(run: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    waited = run["waitedSeconds"]
    return (
        run["runId"],
        run["status"],
        when(run["startedAt"]),
        durations.in_words(run["tookSeconds"]),
        durations.in_words(waited) if waited >= 1 else "",
    )
