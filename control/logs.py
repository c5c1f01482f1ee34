"""Log lines of the functions, training jobs and Spark jobs of an execution: always a bounded number."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from contracts import lines
from contracts.lines import Epoch
from control import progress
from control.connection import Clients
from control.executions import read_json

TRAINING_LOG_GROUP = "/aws/sagemaker/TrainingJobs"
MOST_LINES = 200
"""Lines of a function that are shown."""
MOST_PAGES = 5
SLACK_SECONDS = 60
"""A function's lines may come so long after its state was left."""
MOST_SPARK_BYTES = 4 * 1024 * 1024
"""Bytes of a Spark log that are unpacked."""


@dataclass
class LogTail:
    """New lines of the streams of a CloudWatch log group whose names begin with `prefix`."""

    client: Any
    group: str
    prefix: str
    _tokens: dict[str, str] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """The lines since the last call; none if the group does not exist."""
        try:
            streams = self.client.describe_log_streams(logGroupName=self.group, logStreamNamePrefix=self.prefix)
        except ClientError:
            return
        for stream in streams["logStreams"]:
            name = stream["logStreamName"]
            while True:
                given = {"nextToken": self._tokens[name]} if name in self._tokens else {}
                page = self.client.get_log_events(
                    logGroupName=self.group, logStreamName=name, startFromHead=True, **given
                )
                self._tokens[name] = page["nextForwardToken"]
                yield from (event["message"] for event in page["events"])
                if not page["events"] or page["nextForwardToken"] == given.get("nextToken"):
                    break


class Epochs:
    """The epochs of a training job, read on from its log stream at each call. An epoch that was trained twice (the job
    went on from its checkpoint) counts as the later one.
    """

    def __init__(self, clients: Clients, job_name: str) -> None:
        self.job_name = job_name
        self._tail = LogTail(clients.client("logs"), TRAINING_LOG_GROUP, f"{job_name}/")
        self._found: dict[int, Epoch] = {}

    def read(self) -> list[Epoch]:
        """All epochs until now, in order."""
        for line in self._tail.lines():
            if (epoch := lines.epoch_in(line)) is not None:
                self._found[epoch.epoch] = epoch
        return [self._found[number] for number in sorted(self._found)]


@dataclass(frozen=True)
class Line:
    """A line of a function's log: `moment` in epoch seconds, `level` such as WARNING, and the other fields."""

    moment: float
    level: str
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def function_lines(clients: Clients, function: str, about: str, since: float, until: float | None) -> list[Line]:
    """The lines of a function that name `about` (a run, a dataset version), from `since` to a little after `until`
    (None: now), the first MOST_LINES. Without `about` they are all lines of that time. Lines that do not name it are of
    other runs, or of the platform.
    """
    query: dict[str, Any] = {
        "logGroupName": f"/aws/lambda/{function}",
        "startTime": int(since * 1000) - 1000,
        "limit": MOST_LINES,
    }
    if about:
        query["filterPattern"] = f'"{about}"'
    if until is not None:
        query["endTime"] = int((until + SLACK_SECONDS) * 1000)
    found: list[Line] = []
    for _ in range(MOST_PAGES):
        try:
            page = clients.client("logs").filter_log_events(**query)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return found  # the function has not run yet
            raise
        read = (line_of(event["timestamp"] / 1000, event["message"]) for event in page["events"])
        found += (line for line in read if _is_about(line, about))
        if "nextToken" not in page or len(found) >= MOST_LINES:
            break
        query["nextToken"] = page["nextToken"]
    return found[:MOST_LINES]


def _is_about(line: Line, about: str) -> bool:
    """False for a line of another run or dataset version that only mentions it, as its parent for example."""
    named = [line.fields[name] for name in ("run_id", "dataset_version") if line.fields.get(name)]
    return not named or not about or about in named


_NOISE = ("timestamp", "service", "cold_start", "location", "xray_trace_id", "level", "message")


def line_of(moment: float, message: str) -> Line:
    """A line as a person reads it: the message of a structured line, with the fields that are not the platform's."""
    told = read_json(message.strip())
    if not isinstance(told, Mapping) or "message" not in told:
        return Line(moment, "", message.strip())
    fields = {name: value for name, value in told.items() if name not in _NOISE and not name.startswith("function_")}
    return Line(moment, str(told.get("level", "")), str(told["message"]), fields)


class SparkSteps:
    """The steps and warnings of a Spark job, read on at each call: from its CloudWatch log while it runs, where it has
    one, else from its log in S3, which EMR writes when the job ends.
    """

    def __init__(self, clients: Clients, bucket: str, job: Mapping[str, Any]) -> None:
        self.clients, self.bucket, self.job_id = clients, bucket, str(job["jobRunId"])
        self.application = str(job["applicationId"])
        overrides = job.get("configurationOverrides") or {}
        live = (overrides.get("monitoringConfiguration") or {}).get("cloudWatchLoggingConfiguration") or {}
        group, prefix = live.get("logGroupName"), live.get("logStreamNamePrefix")
        self.is_live = bool(live.get("enabled") and group and prefix)
        self._tail = LogTail(clients.client("logs"), str(group), f"{prefix}/") if self.is_live else None
        self._found: list[str] = []

    def read(self, is_over: bool) -> list[str]:
        """All steps until now, in order, MOST_LINES at most."""
        if self._tail is not None and len(self._found) < MOST_LINES:
            self._found += steps_in(self._tail.lines())
        if not self._found and is_over:
            self._found += spark_lines(self.clients, self.bucket, self.application, self.job_id)
        return self._found[:MOST_LINES]


def spark_lines(clients: Clients, bucket: str, application: str, job: str) -> list[str]:
    """The steps and warnings of a Spark job, from its log in S3. EMR writes it there when the job ends; none before."""
    key = f"logs/emr/applications/{application}/jobs/{job}/SPARK_DRIVER/stdout.gz"
    try:
        packed = clients.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read(MOST_SPARK_BYTES)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return []
        raise
    return list(steps_in(_unpacked(packed).splitlines()))


def steps_in(log: Iterable[str]) -> Iterator[str]:
    """The lines of a preparation that a person reads: its steps, what it united, its warnings and its refusal."""
    for line in log:
        if step := progress.step_in(line):
            yield step
        elif line.startswith((lines.UNITED, lines.WARNING, lines.REFUSED, lines.FAILED)):
            yield line


def _unpacked(packed: bytes) -> str:
    unpacking = zlib.decompressobj(wbits=31)
    try:
        return unpacking.decompress(packed, MOST_SPARK_BYTES).decode("utf-8", errors="replace")
    except zlib.error:
        return ""
