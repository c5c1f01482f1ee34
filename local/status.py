"""Shows the running parts, the serving model, the latest runs with their reasons, open jobs, and dead letters."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from contracts import outcomes
from contracts.outcomes import Window
from contracts.recent_events import window_start
from control.ledger import Ledger, key_of, newest_first, reasons_of, run_rows, when
from local import host, http
from local.console import Show
from local.project import STACK, Project
from local.stack import READY, Stack

RUNS_SHOWN = 5


def show_status(project: Project, show: Show) -> None:
    """Print the status; for a missing part, print the command that starts it."""
    running = host.find(project)
    if running is None or not host.is_healthy(running.port):
        kept = project.state.exists()
        show.line(f"embedded AWS   not running{' (its state is kept)' if kept else ''}: `make up` starts it")
        return
    show.line(f"embedded AWS   {project.endpoint}, pid {running.pid}, state in {project.state}")
    stack = Stack(project)
    status = stack.status
    if status not in READY:
        show.line(f"stack          {STACK}: {status or 'not deployed'}: run `make up`")
        for reason in stack.failures():
            show.line(f"    {reason}")
        return
    outputs = stack.outputs()
    show.line(f"stack          {STACK}: {status}")
    show.line(f"HTTP API       {http.api_url(project, outputs['ApiId'])}")
    show.line(f"endpoint       {outputs['EndpointName']}: {endpoint_line(project, outputs['EndpointName'])}")
    ledger = Ledger(project, outputs["RunsTableName"])
    show.line(f"serving        {serving_line(ledger.serving())}")
    if split := ledger.split():
        since = when(split.get("since"))
        show.line(f"traffic        {split['percent']} % of the requests go to {split['runId']} since {since}")
        for line in trial_lines(ledger.trial(split)):
            show.line(line)
    for line in earned_lines(ledger.outcomes(*last_day(time.time()))):
        show.line(f"earned, 24 h   {line}")
    show.line(f"dead letters   {dead_letters(project, outputs['DeadLetterQueueUrl'])}")
    _show_open_jobs(ledger, show)
    _show_runs(ledger, show)


def endpoint_line(project: Project, name: str) -> str:
    """The endpoint's status and configuration as text, also if there is none yet."""
    try:
        endpoint = project.client("sagemaker").describe_endpoint(EndpointName=name)
    except ClientError as error:
        if "Could not find" in str(error):
            return "none yet: the first model that passes the gate creates it"
        return str(error)
    reason = f": {endpoint['FailureReason']}" if endpoint.get("FailureReason") else ""
    return f"{endpoint['EndpointStatus']} on {endpoint['EndpointConfigName']}{reason}"


def serving_line(record: Mapping[str, Any]) -> str:
    """The serving model as text: since when, its dataset, and the previous model."""
    if not record:
        return "no model yet"
    previous = (record.get("previous") or {}).get("runId")
    before = f" (previously: {previous})" if previous else ""
    return f"{record.get('runId')} since {when(record.get('since'))}, on dataset {record.get('datasetVersion')}{before}"


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


def dead_letters(project: Project, url: str) -> str:
    """The number of messages in the dead-letter queue, as text."""
    found = project.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    count = int(found["Attributes"]["ApproximateNumberOfMessages"])
    return (
        "none" if count == 0 else f"{count}: events that no function could process; see `python -m local logs emulator`"
    )


def _show_open_jobs(ledger: Ledger, show: Show) -> None:
    tokens = ledger.of_kind("TOKEN")
    if not tokens:
        show.line("waiting for    nothing")
    for token in tokens:
        kind, _, name = key_of(token).partition("#")
        show.line(f"waiting for    {kind.lower()} {name} since {when(token.get('updatedAt'))}")


def _show_runs(ledger: Ledger, show: Show) -> None:
    runs = newest_first(ledger.of_kind("RUN"))[:RUNS_SHOWN]
    datasets = [
        record for record in ledger.of_kind("DATASET", 10) if record.get("status") not in ("CLAIMED", "PREPARED")
    ]
    if not runs and not datasets:
        show.line("runs           none yet: `make demo`, or `python -m local run --data PATH`")
        return
    rows = [row[:4] for row in run_rows(runs)]
    if rows:
        show.table(["run", "status", "started", "took"], rows)
    for run in runs:
        if run.get("status") != "DEPLOYED":
            _show_reasons(key_of(run), str(run.get("status")), reasons_of(run), show)
    for record in datasets[:RUNS_SHOWN]:
        _show_reasons(f"dataset {key_of(record)}", str(record.get("status")), reasons_of(record), show)


def _show_reasons(name: str, status: str, reasons: list[str], show: Show) -> None:
    if reasons or name.startswith("dataset"):
        show.line(f"{name} {status}")
        for reason in reasons:
            show.line(f"    {reason}")
