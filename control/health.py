"""Health of a stack: alarms, answers, the endpoint, what waits, the age of the data, and what answers earned."""

from __future__ import annotations

import functools
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from contracts.outcomes import Window, total
from control.at_once import at_once
from control.connection import Clients
from control.ledger import moment, when

ALARMS = (
    "run-failed",
    "dead-letters",
    "endpoint-errors",
    "endpoint-latency",
    "api-errors",
    "endpoint-fallback",
    "gpu-unused",
    "serving-model-age",
    "events-late",
)
"""A stack's alarms, without its NamePrefix."""


def ringing(clients: Clients, prefix: str) -> list[str]:
    """The names of the ringing alarms of the stack with this NamePrefix; those of `ncf-prod` begin with `ncf-`, too."""
    pages = clients.client("cloudwatch").get_paginator("describe_alarms")
    found = pages.paginate(AlarmNamePrefix=f"{prefix}-", StateValue="ALARM")
    names = (str(alarm["AlarmName"]) for page in found for alarm in page.get("MetricAlarms", ()))
    return [name for name in names if name.removeprefix(f"{prefix}-") in ALARMS]


def age(value: Any, now: float) -> str:
    """How long ago a time in the ledger was, in words."""
    then = moment(value)
    if then is None:
        return "unknown"
    hours = max(0.0, now - then) / 3600
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def newest(datasets: Iterable[Mapping[str, Any]]) -> Any:
    """When the newest of the datasets was updated, or None."""
    return max((one.get("updatedAt") for one in datasets), key=lambda at: moment(at) or 0.0, default=None)


def day_before(now: datetime) -> tuple[str, str]:
    """The first and the last window's key of the 24 hours before `now`."""
    return f"{now - timedelta(days=1):%Y-%m-%dT%H:%MZ}", f"{now:%Y-%m-%dT%H:%MZ}"


def earned(windows: Sequence[Window]) -> list[str]:
    """Return the earnings of each model as sentences."""
    counts = total(windows, lambda answers: answers.run_id)
    return [
        f"{run}: {one.impressions} impressions, {one.clicks} clicks, {one.purchases} purchases worth {one.value:g}"
        for run, one in sorted(counts.items())
    ]


@dataclass(frozen=True)
class Answers:
    """The API's answers of the last hour: their number by source, errors of its function, and its p50 and p99 in
    milliseconds (None where there is no metric).
    """

    by_source: Mapping[str, int]
    errors: int
    p50: float | None
    p99: float | None


def answers(clients: Clients, prefix: str, now: datetime) -> Answers:
    """The answers of the hour before `now`, from the metrics of the stack with this NamePrefix."""
    cloudwatch = clients.client("cloudwatch")
    service = {"Name": "service", "Value": prefix}
    pages = cloudwatch.get_paginator("list_metrics").paginate(
        Namespace="NcfRecommender", MetricName="RecommendationServed", Dimensions=[service]
    )
    sources = {
        str(dimension["Value"])
        for page in pages
        for metric in page["Metrics"]
        for dimension in metric["Dimensions"]
        if dimension["Name"] == "source" and service in metric["Dimensions"]
    }
    hour = {"StartTime": now - timedelta(hours=1), "EndTime": now, "Period": 3600}

    def points(namespace: str, metric: str, dimensions: Mapping[str, str], **statistics: Any) -> list[dict[str, Any]]:
        given = [{"Name": name, "Value": value} for name, value in dimensions.items()]
        found = cloudwatch.get_metric_statistics(
            Namespace=namespace, MetricName=metric, Dimensions=given, **hour, **statistics
        )
        return list(found["Datapoints"])

    def number(source: str) -> int:
        of = {"source": source, "service": prefix}
        return sum(int(one["Sum"]) for one in points("NcfRecommender", "RecommendationServed", of, Statistics=["Sum"]))

    function = {"FunctionName": f"{prefix}-recommend"}
    names = sorted(sources)
    errors, times, *numbers = at_once(
        (
            lambda: points("AWS/Lambda", "Errors", function, Statistics=["Sum"]),
            lambda: points("AWS/Lambda", "Duration", function, ExtendedStatistics=["p50", "p99"]),
            *(functools.partial(number, source) for source in names),
        )
    )
    served = dict(zip(names, numbers, strict=True))
    extended = times[-1].get("ExtendedStatistics", {}) if times else {}
    return Answers(
        {source: number for source, number in served.items() if number},
        sum(int(point["Sum"]) for point in errors),
        extended.get("p50"),
        extended.get("p99"),
    )


def endpoint(clients: Clients, name: str, rest: Mapping[str, Any]) -> str:
    """The endpoint's state as a sentence; `rest` is the ledger's record of whether it rests, empty if it never did."""
    try:
        found = clients.client("sagemaker").describe_endpoint(EndpointName=name)
    except ClientError as error:
        if "Could not find" in str(error):
            why = "The endpoint rests outside EndpointHours" if rest.get("isResting") else "There is no endpoint"
            return f"{why}: the API answers with the lists of a batch, or with popular items."
        raise
    reason = f": {found['FailureReason']}" if found.get("FailureReason") else ""
    return f"The endpoint is {found['EndpointStatus']}{reason}."


def dead_letters(clients: Clients, url: str) -> int:
    """The number of events that no function could process."""
    found = clients.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(found["Attributes"]["ApproximateNumberOfMessages"])


def waits(tokens: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return what open jobs wait for, as sentences, each with its run (or an empty text)."""
    return [
        (
            f"{'a person, for' if one.get('jobKind') == 'APPROVAL' else str(one.get('jobKind', 'job')).lower()} "
            f"{str(one.get('jobName', '')).rpartition('/')[2]}, since {when(one.get('updatedAt'))}",
            str(one.get("runId") or ""),
        )
        for one in tokens
    ]


OCCASIONS = {
    "approval": "waits for the approval of a person",
    "decided": "is decided",
    "parked": "waits (parked), and goes on by itself",
    "failure": "failed",
    "deployed": "serves",
    "rejected": "was rejected: the earlier model serves on",
    "unchanged": "gave the model that serves once more",
    "succeeded": "is done",
}
"""What the occasions of notifications mean; the ledger has them with the number or the digest of what happened."""


def sentence_of(notice: Mapping[str, Any], refused: Container[str] = ()) -> tuple[str, str]:
    """A notification of the ledger as a sentence, and the name of what it tells of. `refused`: the versions whose data
    were refused, which is no failure of the preparation.
    """
    kind, _, name = str(notice["pk"]).partition("#")
    occasion = str(notice["sk"]).partition("#")[2]
    if not name:
        return f"{kind.capitalize().replace('_', ' ')} were refused: the earlier ones stay in force", ""
    word, _, which = occasion.partition("-")
    if kind == "DATASET" and word == "failure" and name in refused:
        return f"The data of {name} were refused: Runs has the reasons", name
    words = OCCASIONS.get(word, occasion.replace("_", " "))
    again = f", for the {int(which) + 1}. time" if word == "failure" and which.isdecimal() and int(which) else ""
    return f"{KINDS.get(kind, kind.lower().replace('_', ' '))} {name}".strip() + f" {words}{again}", name


KINDS = {"RUN": "Run", "DATASET": "Preparation", "ROLLBACK": "Rollback", "BATCH": "Batch", "TRIAL": "Trial"}
