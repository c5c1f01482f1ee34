"""Log lines of the deployed parts, from CloudWatch Logs and from the emulator's log file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from botocore.exceptions import ClientError

from local.console import Show
from local.project import Problem, Project
from local.watch import FileTail

GROUPS = {
    "function": "/aws/lambda/",
    "training": "/aws/sagemaker/TrainingJobs",
    "endpoint": "/aws/sagemaker/Endpoints/",
}
FILES = ("preparation", "emulator")
KINDS = (*GROUPS, *FILES)
POLL_SECONDS = 0.5
LINES_OF_ALL = 10
LINES_OF_ONE = 60
LOOK_BACK = 10_000


@dataclass(frozen=True)
class Line:
    """One log event: `moment` in epoch milliseconds, `source` the group's short name."""

    moment: int
    source: str
    text: str


def groups_of(project: Project, what: str) -> list[str]:
    """The log groups of a kind, or of the function named `what`. Raises Problem if there is no such function."""
    logs = project.client("logs")
    prefix = GROUPS.get(what, GROUPS["function"])
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix)
    names = sorted(group["logGroupName"] for page in pages for group in page["logGroups"])
    if what in GROUPS:
        return names
    wanted = what.replace("_", "").replace("-", "").lower()
    found = [name for name in names if wanted in name.rpartition("/")[2].replace("-", "").replace("_", "").lower()]
    if not found:
        raise Problem(f"unknown part {what!r}: use one of {', '.join(KINDS)}, or the name of a function that has run")
    return found


def lines_of(project: Project, groups: list[str], since: int, seen: set[tuple[str, str]]) -> list[Line]:
    """Events since `since` (epoch milliseconds) that are not in `seen`, ordered by time; adds them to `seen`."""
    logs = project.client("logs")
    found: list[Line] = []
    for group in groups:
        try:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since)
            events = [event for page in pages for event in page["events"]]
        except ClientError:
            continue
        for position, event in enumerate(events):
            key = (group, str(event.get("eventId") or f"{event['logStreamName']}/{event['timestamp']}/{position}"))
            if key not in seen:
                seen.add(key)
                found.append(Line(event["timestamp"], group.rpartition("/")[2], event["message"].rstrip()))
    return sorted(found, key=lambda line: line.moment)


def show_logs(project: Project, show: Show, what: str | None, follow: bool) -> None:
    """Print the latest lines of one kind, or a few of each; with `follow`, continue until Ctrl-C."""
    seen: set[tuple[str, str]] = set()
    started = int(time.time() * 1000)
    kinds = [what] if what else list(KINDS)
    count = LINES_OF_ONE if what else LINES_OF_ALL
    tails = []
    for kind in kinds:
        if not what:
            show.heading(kind)
        if kind in FILES:
            tail = FileTail(log_file(project, kind))
            tails.append(tail)
            texts = list(tail.lines())
        else:
            lines = lines_of(project, groups_of(project, kind), 0, seen)
            texts = [text_of(line) for line in lines if what or not is_bookkeeping(line.text)]
        for text in texts[-count:] or ["(no lines yet)"]:
            show.line(text)
    while follow:
        time.sleep(POLL_SECONDS)
        groups = [group for kind in kinds if kind not in FILES for group in groups_of(project, kind)]
        texts = [text_of(line) for line in lines_of(project, groups, started - LOOK_BACK, seen)]
        for text in [*texts, *(text for tail in tails for text in tail.lines())]:
            show.line(text)


def is_bookkeeping(text: str) -> bool:
    """True for Lambda's own lines about an invocation, and for metrics; left out if only a few lines are shown."""
    return text.startswith(("START RequestId", "END RequestId", "REPORT RequestId", "INIT_START", '{"_aws"'))


def log_file(project: Project, kind: str) -> Path:
    """The log file of a kind without a log group: the emulator's, or that of the newest Spark job."""
    if kind == "emulator":
        return project.emulator_log
    jobs = project.preparation_log("*").parent.glob("*.log")
    return max(jobs, key=lambda path: path.stat().st_mtime, default=project.preparation_log("none"))


def text_of(line: Line) -> str:
    """One log event as text."""
    moment = datetime.fromtimestamp(line.moment / 1000).strftime("%H:%M:%S")
    return f"{moment} {line.source}  {line.text}"
