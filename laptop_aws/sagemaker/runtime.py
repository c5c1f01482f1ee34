"""SageMaker Runtime: ``POST /endpoints/{name}/invocations`` forwarded to the container, with AWS's limits, headers and
errors."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any

import urllib3

from laptop_aws import registry
from laptop_aws.sagemaker import endpoints
from laptop_aws.sagemaker.containers import log_group
from laptop_aws.service_model import ServiceError
from laptop_aws.store import scope

LONGEST_BODY = 6 * 1024 * 1024
TIMEOUT_SECONDS = 60.0
CONNECT_SECONDS = 2.0
METRIC_SECONDS = 2.0
MOST_LATENCIES = 20
_PATH = re.compile(r"^/endpoints/([^/]+)/invocations$")
_PASSED_ON = (
    "content-type",
    "accept",
    "x-amzn-sagemaker-custom-attributes",
    "x-amzn-sagemaker-inference-id",
    "x-amzn-sagemaker-session-id",
)
_MODEL_TIMEOUT = (
    "Your invocation timed out while waiting for a response from container primary. "
    "Review the latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
)


def endpoint_of(path: str) -> str | None:
    """The endpoint named in a request's path, or None if the path is not an invocation."""
    match = _PATH.match(path)
    return match[1] if match else None


def invoke(name: str, headers: dict[str, str], body: bytes) -> registry.Response:
    """Forwards one request; blocks up to TIMEOUT_SECONDS. Raises ServiceError."""
    if len(body) > LONGEST_BODY:
        raise ServiceError("413", "Request Entity Too Large", 413)
    account, _ = scope()
    wanted = headers.get("x-amzn-sagemaker-target-variant")
    try:
        container = endpoints.serving_container(name, wanted)
    except KeyError:
        raise ServiceError(
            "ValidationError", f"Variant {wanted} not found for Endpoint {name} of account {account}."
        ) from None
    if container is None:
        raise ServiceError("ValidationError", f"Endpoint {name} of account {account} not found.")
    started = time.monotonic()
    with container.in_use() as pool:
        if pool is None:
            if endpoints.serving_container(name, wanted) is not container:  # traffic has just been shifted
                return invoke(name, headers, body)
            raise ServiceError(
                "ServiceUnavailable", "The service is temporarily unavailable: the container is being replaced.", 503
            )
        try:
            answer = pool.urlopen(
                "POST",
                "/invocations",
                body=body,
                headers={key: headers[key] for key in _PASSED_ON if key in headers},
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=TIMEOUT_SECONDS),
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.TimeoutError:
            _metrics.record(name, container.name, 500, time.monotonic() - started)
            raise _model_error(name, 0, _MODEL_TIMEOUT, "server") from None
        except (urllib3.exceptions.HTTPError, OSError):
            _metrics.record(name, container.name, 500, time.monotonic() - started)
            text = "The container closed the connection without an answer."
            raise _model_error(name, 0, text, "server") from None
    _metrics.record(name, container.name, answer.status, time.monotonic() - started)
    if not 200 <= answer.status < 300:
        text = answer.data.decode("utf-8", "replace")
        raise _model_error(name, answer.status, text, "client" if answer.status < 500 else "server")
    # Lower-case names: ministack replaces "Content-Type" with the protocol's; this value is the container's.
    passed = {
        "content-type": answer.headers.get("Content-Type", "application/octet-stream"),
        "x-amzn-invoked-production-variant": container.name,
    }
    if attributes := answer.headers.get("X-Amzn-SageMaker-Custom-Attributes"):
        passed["x-amzn-sagemaker-custom-attributes"] = attributes
    return 200, passed, answer.data


def _model_error(name: str, status: int, text: str, side: str) -> ServiceError:
    account, region = scope()
    group = log_group(name)
    message = (
        f'Received {side} error ({status}) from primary with message "{text[:2048]}". See '
        f"https://{region}.console.aws.amazon.com/cloudwatch/home"
        f"?region={region}#logEventViewer:group={group} in account {account} for more information."
    )
    return ServiceError(
        "ModelError",
        message,
        424,
        OriginalStatusCode=status,
        OriginalMessage=text[:2048],
        LogStreamArn=f"arn:aws:logs:{region}:{account}:log-group:{group}",
    )


def error_response(error: ServiceError) -> registry.Response:
    """The error in the runtime's REST protocol."""
    headers = {"content-type": "application/json"}
    if error.code != "413":
        headers["x-amzn-errortype"] = error.code
    return error.status, headers, json.dumps({"Message": error.message} | error.members).encode()


class _Metrics:
    """The endpoint's CloudWatch metrics (``AWS/SageMaker``), published in batches, so that an invocation does not wait
    for the evaluation of alarms."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[tuple[tuple[str, str], str, str], dict[str, Any]] = {}

    def record(self, endpoint: str, variant: str, status: int, seconds: float) -> None:
        with self._lock:
            first = not self._waiting
            counts = self._waiting.setdefault((scope(), endpoint, variant), {"n": 0, "4": 0, "5": 0, "latencies": []})
            counts["n"] += 1
            if status >= 400:
                counts["4" if status < 500 else "5"] += 1
            if len(counts["latencies"]) < MOST_LATENCIES:
                counts["latencies"].append(seconds * 1e6)
        if first:
            registry.in_background(self._publish_later, name="endpoint-metrics")

    def _publish_later(self) -> None:
        time.sleep(METRIC_SECONDS)
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for (_, endpoint, variant), counts in waiting.items():
            dimensions = {"EndpointName": endpoint, "VariantName": variant}
            for name, number in (
                ("Invocations", counts["n"]),
                ("Invocation4XXErrors", counts["4"]),
                ("Invocation5XXErrors", counts["5"]),
            ):
                registry.put_metric_data("AWS/SageMaker", name, number, "Count", dimensions)
            for microseconds in counts["latencies"]:
                registry.put_metric_data("AWS/SageMaker", "ModelLatency", microseconds, "Microseconds", dimensions)


_metrics = _Metrics()
