"""Log lines of the deployed parts, from CloudWatch Logs and from the emulator's log file."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from contracts import documents
from contracts.documents import Unfit
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
COMMON = ("level", "location", "message", "timestamp", "service", "cold_start", "function_name", "function_memory_size",
          "function_arn", "function_request_id", "xray_trace_id", "exception", "exception_name", "stack_trace",
          "dataset_version")  # fmt: skip
"""Fields of a function's line that are the same on each, or are shown otherwise."""
LONGEST_MESSAGE, LONGEST_FIELD = 2000, 160


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


def show_logs(project: Project, show: Show, what: str | None, follow: bool, is_json: bool = False) -> None:
    """Print the latest lines of one kind, or a few of each; with `follow`, continue until Ctrl-C. With `is_json`, the
    lines are as they were written.
    """
    words = (lambda line: line.text) if is_json else text_of
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
            texts = [words(line) for line in lines if (is_json and what) or not is_bookkeeping(line.text)]
        for text in texts[-count:] or ["(no lines yet)"]:
            show.line(text)
    while follow:
        time.sleep(POLL_SECONDS)
        groups = [group for kind in kinds if kind not in FILES for group in groups_of(project, kind)]
        found = lines_of(project, groups, started - LOOK_BACK, seen)
        texts = [words(line) for line in found if is_json or not is_bookkeeping(line.text)]
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
    """One log event as a person reads it: time, level, source, message, and the fields that say more.

    A line of a function is a JSON object; any other line is shown as it is.
    """
    clock = datetime.fromtimestamp(line.moment / 1000).strftime("%H:%M:%S")
    try:
        record = documents.read_object(line.text, "the line") if line.text.startswith("{") else {}
    except Unfit:
        record = {}
    if "message" not in record:
        return f"{clock}       {line.source}  {line.text}"
    fields = [f"{name}={_short(value)}" for name, value in record.items() if name not in COMMON and value is not None]
    text = f"{clock} {record.get('level', 'INFO'):<5} {line.source}  {_short(record['message'], LONGEST_MESSAGE)}"
    return "  ".join([text, *fields]) + "".join(f"\n    {row}" for row in _trace(record))


def _short(value: Any, longest: int = LONGEST_FIELD) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _trace(record: dict[str, Any]) -> list[str]:
    """The lines of an exception's trace, which are the reason why one reads logs."""
    trace = record.get("exception")
    return trace.splitlines() if isinstance(trace, str) else []
