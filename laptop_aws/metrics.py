"""Publishes the CloudWatch metrics of the emulated services, and evaluates their alarms at once.

On AWS an alarm is evaluated every period; ministack evaluates alarms only when PutMetricData is
called. ``put`` evaluates after each datum, ``watch_alarms`` every few seconds, and ``embedded`` takes metrics in the
embedded format (EMF) out of log lines, as CloudWatch Logs does.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

logger = logging.getLogger("emulator")

ALARM_INTERVAL_SECONDS = 2.0
KEPT_SECONDS = 3 * 3600
QUEUE_DEPTH = "ApproximateNumberOfMessagesVisible"


def put(cloudwatch: Any, namespace: str, name: str, value: float, unit: str, dimensions: Mapping[str, str]) -> None:
    """Records one datum in the caller's account and region, then evaluates the alarms."""
    cloudwatch.record_metric(namespace, name, float(value), unit, dict(dimensions))
    cloudwatch._evaluate_all_alarms()


def embedded(lines: Iterable[str]) -> int:
    """Records the metrics of every EMF document among ``lines``; returns the number of data."""
    from ministack.services import cloudwatch

    count = 0
    for line in lines:
        if not line.startswith("{") or '"_aws"' not in line:
            continue
        try:
            document = json.loads(line)
            directives = document["_aws"]["CloudWatchMetrics"]
        except (ValueError, KeyError, TypeError):
            continue
        for directive in directives:
            count += _record(cloudwatch, document, directive)
    if count:
        cloudwatch._evaluate_all_alarms()
    return count


def _record(cloudwatch: Any, document: dict[str, Any], directive: dict[str, Any]) -> int:
    count = 0
    for metric in directive.get("Metrics", []):
        value = document.get(metric.get("Name"))
        values = value if isinstance(value, list) else [value]
        for names in directive.get("Dimensions") or [[]]:
            dimensions = {name: str(document[name]) for name in names if name in document}
            for number in values:
                if isinstance(number, (int, float)) and not isinstance(number, bool):
                    cloudwatch.record_metric(
                        directive["Namespace"], metric["Name"], float(number), metric.get("Unit", "None"), dimensions
                    )
                    count += 1
    return count


def watch_alarms() -> None:
    """Evaluates the alarms of every account and region until the host ends, and deletes data older than KEPT_SECONDS.

    Conformance: ``test_an_alarm_goes_off_for_its_own_dimensions_and_calms_down``.
    """
    from ministack.core.responses import request_scope
    from ministack.services import cloudwatch

    while True:
        time.sleep(ALARM_INTERVAL_SECONDS)
        _forget_old(cloudwatch)
        for account, region in {(key[0], key[1]) for key in list(cloudwatch._alarms._data)}:
            with request_scope(account, region):
                try:
                    _measure_watched_queues(cloudwatch)
                    cloudwatch._evaluate_all_alarms()
                except Exception:
                    logger.exception("alarms of %s in %s were not evaluated", account, region)


def _forget_old(cloudwatch: Any) -> None:
    limit = time.time() - KEPT_SECONDS
    for points in list(cloudwatch._metrics._data.values()):
        if points and points[0]["Timestamp"] < limit:
            points[:] = [point for point in points if point["Timestamp"] >= limit]


def _measure_watched_queues(cloudwatch: Any) -> None:
    """``AWS/SQS`` depth of the queues that an alarm watches; AWS publishes it for all."""
    from ministack.services import sqs

    for alarm in cloudwatch._alarms.values():
        if alarm.get("Namespace") != "AWS/SQS" or alarm.get("MetricName") != QUEUE_DEPTH:
            continue
        for dimension in alarm.get("Dimensions") or []:
            url = sqs._queue_name_to_url.get(dimension.get("Value"))
            if dimension.get("Name") == "QueueName" and url:
                answer = sqs._act_get_queue_attributes({"QueueUrl": url, "AttributeNames": ["All"]}, url)
                depth = float(answer["Attributes"]["ApproximateNumberOfMessages"])
                cloudwatch.record_metric("AWS/SQS", QUEUE_DEPTH, depth, "Count", {"QueueName": dimension["Value"]})
