"""The server's metrics: one line for each minute with requests, in CloudWatch's embedded metric format.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable

NAMESPACE = "NcfRecommender/Serving"
_UNITS = {
    "Requests": "Count",
    "Refused": "Count",
    "Overloaded": "Count",
    "Failed": "Count",
    "LatencyP50": "Milliseconds",
    "LatencyP99": "Milliseconds",
    "BatchSize": "Count",
    "QueueDepth": "Count",
}
_LEAST_MS, _STEP = 0.01, 1.05
"""Latencies are counted in classes. Each bound is 5 % above the one before, so memory does not grow with requests."""
_CLASSES = 1 / math.log(_STEP)


class Metrics:
    """Counts from any thread; `line()` reports the counts and resets them."""

    def __init__(self, service: str, model_version: str, clock: Callable[[], float] = time.time) -> None:
        self._service, self._model_version, self._clock = service, model_version, clock
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._statuses: dict[int, int] = {}
        self._latencies: dict[int, int] = {}
        self._batches = self._batched = self._deepest = 0

    def arrived(self, depth: int) -> None:
        """A request arrived; `depth` requests are in flight, including this one."""
        self._deepest = max(self._deepest, depth)

    def answered(self, status: int, seconds: float) -> None:
        """A request was answered after `seconds`."""
        place = math.ceil(math.log(seconds * 1000 / _LEAST_MS) * _CLASSES) if seconds * 1000 > _LEAST_MS else 0
        with self._lock:
            self._statuses[status] = self._statuses.get(status, 0) + 1
            if status == 200:
                self._latencies[place] = self._latencies.get(place, 0) + 1

    def computed(self, size: int) -> None:
        """`size` requests were computed together."""
        with self._lock:
            self._batches += 1
            self._batched += size

    def line(self) -> str | None:
        """The metrics since the last line, as JSON; None if no request was answered."""
        with self._lock:
            statuses, latencies = self._statuses, self._latencies
            batches, batched, deepest = self._batches, self._batched, self._deepest
            self._reset()
        if not statuses:
            return None
        values: dict[str, float] = {
            "Requests": sum(statuses.values()),
            "Refused": sum(count for status, count in statuses.items() if 400 <= status < 500),
            "Overloaded": statuses.get(503, 0),
            "Failed": statuses.get(500, 0),
            "QueueDepth": deepest,
        }
        if latencies:
            values |= {"LatencyP50": _percentile(latencies, 0.5), "LatencyP99": _percentile(latencies, 0.99)}
        if batches:
            values["BatchSize"] = round(batched / batches, 2)
        described = [{"Name": name, "Unit": unit} for name, unit in _UNITS.items() if name in values]
        directive = {"Namespace": NAMESPACE, "Dimensions": [["service"]], "Metrics": described}
        about = {"service": self._service, "modelVersion": self._model_version}
        emf = {"Timestamp": int(self._clock() * 1000), "CloudWatchMetrics": [directive]}
        return json.dumps({"_aws": emf, **about, **values})


def _percentile(latencies: dict[int, int], share: float) -> float:
    """The smallest bound of a class, in milliseconds, that at least `share` of the latencies do not exceed."""
    remaining = share * sum(latencies.values())
    for place in sorted(latencies):
        remaining -= latencies[place]
        if remaining <= 1e-9:
            return round(_LEAST_MS * _STEP**place, 3)
    raise AssertionError("the shares of all classes add up to 1")
