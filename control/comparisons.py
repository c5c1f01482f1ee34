"""Runs side by side: what was trained, on what, how it went, and what it cost. Whatever is missing is named."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from contracts import lines
from contracts.lines import Epoch
from contracts.values import is_number
from control import evaluations
from control.at_once import at_once
from control.connection import Clients, Connection
from control.evaluations import Evidence, document
from control.ledger import moment
from control.prices import Price, price_of
from control.runs import parameters_of

MOST_RUNS = 8
MOST_PAGES = 10
"""Maximum number of pages of a log stream that are read."""
MOST_STREAMS = 4
"""Maximum number of log streams of a job that are read: one an instance."""
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
OWN = ("run_id", "dataset_version", "code_version", "incumbent_digest")
"""Hyperparameters that name a run and set nothing of its model."""
FIGURES = {
    "fullNdcg": "NDCG among all items",
    "fullHitRate": "hit rate among all items",
    "sampledNdcg": "NDCG among sampled items",
    "sampledHitRate": "hit rate among sampled items",
    "coverage": "coverage",
    "largestExposure": "largest exposure",
}


@dataclass(frozen=True)
class Side:
    """One run of a comparison; each part is empty if it does not exist."""

    found: Evidence
    manifest: Mapping[str, Any] = field(default_factory=dict)
    job: Mapping[str, Any] = field(default_factory=dict)
    epochs: tuple[Epoch, ...] = ()
    price: Price = field(default_factory=Price)

    @property
    def run_id(self) -> str:
        return self.found.run_id

    @property
    def missing(self) -> list[str]:
        """Missing parts of this run, in words."""
        parts = {
            "its manifest": self.manifest,
            "its training job": self.job,
            "epochs in its training log": self.epochs,
            "its evaluation": self.found.report,
            "a verdict of the gate": self.found.decision,
        }
        return [words for words, part in parts.items() if not part]


def side(connection: Connection, run_id: str) -> Side:
    """Read one run. Raises NotJudged if the ledger does not have it."""
    found = evaluations.evidence(connection, run_id)
    version = str(found.run.get("datasetVersion") or found.run_id.rpartition("-r")[0])
    attempt = int(found.run.get("trainingAttempt") or 1)
    name = f"{connection.name_prefix}-{found.run_id}" + (f"-t{attempt}" if attempt > 1 else "")
    manifest, job, epochs, parameters = at_once(
        (
            lambda: document(connection, "DataBucketName", f"datasets/{version}/manifest.json"),
            lambda: _job(connection, name),
            lambda: training_epochs(connection, name),
            lambda: parameters_of(connection),
        )
    )
    kind = str((job.get("ResourceConfig") or {}).get("InstanceType", ""))
    return Side(found, manifest, job, epochs, price_of(kind, parameters))


def sides(connection: Connection, run_ids: Sequence[str]) -> list[Side | Exception]:
    """Read some runs at once; in place of one that cannot be read, the error."""

    def tried(run_id: str) -> Side | Exception:
        try:
            return side(connection, run_id)
        except Exception as error:  # of AWS or of the ledger: the other runs are shown all the same
            return error

    return at_once(functools.partial(tried, run_id) for run_id in run_ids)


def epochs(log: Iterable[str]) -> tuple[Epoch, ...]:
    """The epochs in a training log, in order; of one that was trained twice, the later."""
    found = {epoch.epoch: epoch for line in log if (epoch := lines.epoch_in(line))}
    return tuple(found[number] for number in sorted(found))


def figure_rows(sides: Sequence[Side]) -> list[dict[str, Any]]:
    """A row a figure, with the value of each run by its id."""
    own = [next(iter(evaluations.metric_rows(one.found.report)), {}) for one in sides]
    rows: list[dict[str, Any]] = [
        {"what": "verdict"} | {one.run_id: evaluations.verdict_of(one.found)[0] for one in sides}
    ]
    rows += [
        {"what": words} | {one.run_id: row.get(name) for one, row in zip(sides, own, strict=True)}
        for name, words in FIGURES.items()
    ]
    rows.append({"what": "run, s"} | {one.run_id: _seconds(one.found.run) for one in sides})
    rows.append({"what": "training billed, s"} | {one.run_id: one.job.get("BillableTimeInSeconds") for one in sides})
    rows.append({"what": "training cost, USD"} | {one.run_id: cost(one) for one in sides})
    return rows


def cost(one: Side) -> float | None:
    """US dollars of the training job; None without a price or a job."""
    billed = one.job.get("BillableTimeInSeconds")
    if not one.price.per_hour or not is_number(billed):
        return None
    machines = int((one.job.get("ResourceConfig") or {}).get("InstanceCount", 1))
    return one.price.per_hour * machines * float(billed) / 3600


def hyperparameter_rows(sides: Sequence[Side]) -> list[dict[str, Any]]:
    """The hyperparameters that differ, those that a search changed among them; None where the default holds."""
    return _differing([_hyperparameters(one) for one in sides], sides)


def data_rows(sides: Sequence[Side]) -> list[dict[str, Any]]:
    """Data of the manifests where they differ: counts, activity, event mix as shares; then the drift that
    each evaluation measured against its own incumbent.
    """
    rows = _differing([_data(one.manifest) for one in sides], sides)
    for name in ("itemShift", "eventShift"):
        values = {one.run_id: (one.found.report.get("data") or {}).get(name) for one in sides}
        if any(value is not None for value in values.values()):
            rows.append({"what": f"{evaluations.DATA[name]} against its incumbent", **values})
    return rows


def _data(manifest: Mapping[str, Any]) -> dict[str, Any]:
    counts = manifest.get("counts") or {}
    found = {f"counts: {name}": value for name, value in counts.items()}
    if counts.get("users") and is_number(counts.get("interactions")):
        found["interactions per user"] = counts["interactions"] / counts["users"]
    found |= {f"figures: {name}": value for name, value in (manifest.get("figures") or {}).items()}
    events = manifest.get("eventTypes") or {}
    total = sum(events.values())
    return found | {f"share of the event {name}": value / total for name, value in events.items() if total}


def _hyperparameters(one: Side) -> dict[str, Any]:
    given = {name: value for name, value in (one.job.get("HyperParameters") or {}).items() if name not in OWN}
    return given | ((one.found.report.get("search") or {}).get("parameters") or {})


def _differing(tables: Sequence[Mapping[str, Any]], sides: Sequence[Side]) -> list[dict[str, Any]]:
    names = dict.fromkeys(name for table in tables for name in table)
    return [
        {"what": name} | {one.run_id: table.get(name) for one, table in zip(sides, tables, strict=True)}
        for name in names
        if len({repr(table.get(name)) for table in tables}) > 1
    ]


def _seconds(run: Mapping[str, Any]) -> float | None:
    first, last = moment(run.get("startedAt")), moment(run.get("endedAt"))
    return None if first is None or last is None else round(last - first, 1)


def _job(connection: Connection, name: str) -> dict[str, Any]:
    try:
        return dict(connection.client("sagemaker").describe_training_job(TrainingJobName=name))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ValidationException", "ResourceNotFound"):
            return {}
        raise


def training_epochs(clients: Clients, job: str) -> tuple[Epoch, ...]:
    """The epochs in the log of a training job; () without a log. Reads MOST_STREAMS streams and MOST_PAGES pages of
    each at most.

    Reads stream by stream: the embedded AWS ignores the prefix in FilterLogEvents and returns other jobs' lines too.
    """
    logs = clients.client("logs")
    found: list[str] = []
    try:
        streams = logs.describe_log_streams(logGroupName=LOG_GROUP, logStreamNamePrefix=f"{job}/")["logStreams"]
        names = [one["logStreamName"] for one in streams if one["logStreamName"].startswith(f"{job}/")]
        for name in names[:MOST_STREAMS]:
            found += _lines(logs, name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
    return epochs(found)


def _lines(logs: Any, stream: str) -> list[str]:
    call: dict[str, Any] = {"logGroupName": LOG_GROUP, "logStreamName": stream, "startFromHead": True}
    found: list[str] = []
    for _ in range(MOST_PAGES):
        page = logs.get_log_events(**call)
        found += [event["message"] for event in page["events"]]
        if page["nextForwardToken"] == call.get("nextToken"):
            break
        call["nextToken"] = page["nextForwardToken"]
    return found
