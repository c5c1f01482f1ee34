"""Requests per second of the function `events`, warm, and the time of its start.

The answers of DynamoDB and Firehose are inserted where the requests would be sent, so all work of the function is
done, but no network is measured.
"""

import contextlib
import importlib
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from botocore.awsrequest import AWSResponse
from rich.table import Table

from benchmarks.recommend import FUNCTIONS, TIMED, Content

ROUNDS, REQUESTS, STARTS = 5, 300, 5
ENVIRONMENT = {
    "ARTIFACTS_BUCKET": "ncf-artifacts",
    "EVENTS_TABLE": "ncf-events",
    "EVENTS_STREAM": "ncf-events",
    "EVENTS_KEPT_DAYS": "14",
    "URL_SUFFIX": "amazonaws.com",
    "STACK_ID": "arn:aws:cloudformation:us-east-1:000000000000:stack/ncf/6f1b0c2e",
    "POWERTOOLS_SERVICE_NAME": "ncf",
    "POWERTOOLS_METRICS_NAMESPACE": "NcfRecommender",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
}
CLIENTS = "import boto3; [boto3.client(name) for name in ('s3', 'dynamodb', 'firehose')]"
CONTEXT = SimpleNamespace(
    aws_request_id="r", function_name="f", memory_limit_in_mb=256, invoked_function_arn="arn", function_version="1"
)


def table() -> Table:
    """Return a table of medians of the processor's time, which other work on the machine does not change."""
    result = Table(title=f"The function events, median of {ROUNDS} rounds of {REQUESTS} requests, processor time")
    for heading in ("a request with", "ms a request", "requests/s", "events/s"):
        result.add_column(heading, justify="left" if heading.startswith("a") else "right")
    for what, number, seconds in _requests():
        result.add_row(what, f"{seconds * 1000:.2f}", f"{1 / seconds:,.0f}", f"{number / seconds:,.0f}")
    clients, function = (_start(statement) for statement in (CLIENTS, "import events.app"))
    result.caption = f"import: {function:.0f} ms, of which boto3 and its three clients {clients:.0f} ms (elapsed)"
    return result


def _start(statement: str) -> float:
    def once() -> float:
        done = subprocess.run(
            [sys.executable, "-c", TIMED.format(statement)],
            cwd=FUNCTIONS, env=os.environ | ENVIRONMENT, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return float(done.stdout) * 1000

    return statistics.median(once() for _ in range(STARTS))


def _requests() -> Iterator[tuple[str, int, float]]:
    os.environ.update(ENVIRONMENT)
    # Imported here, because its settings are read from the environment at import.
    app: Any = importlib.import_module("events.app")
    sent: list[dict[str, Any]] = []
    for service in (app.TABLE._dynamodb, app.FIREHOSE):
        service.session.send = lambda request: _answered({"RecordId": "1", "Items": sent})
    app._BUCKET.session.send = lambda request: _answered({}, 404)
    for what, number, named, session in (
        ("1 event of a user", 1, {"userId": "42"}, 0),
        ("1 event of a visitor", 1, {"sessionId": "s1"}, 0),
        ("5 events of a user in a session", 5, {"userId": "42", "sessionId": "s1"}, 0),
        ("25 events of a user in a session", 25, {"userId": "42", "sessionId": "s1"}, 0),
        ("1 event that logs in a session of 100", 1, {"userId": "42", "sessionId": "s1"}, 100),
    ):
        sent[:] = [_item(place) for place in range(session)]
        yield what, number, statistics.median(_seconds(app, named, number) for _ in range(ROUNDS))


def _seconds(app: Any, named: dict[str, str], number: int) -> float:
    now = time.time()
    listed = [
        {"eventId": f"e{event}", "eventType": "click", "itemId": str(event), "sentAt": now} for event in range(number)
    ]
    body = json.dumps(named | {"eventList": listed})
    event = {"headers": {"content-type": "application/json"}, "body": body}
    with contextlib.redirect_stdout(io.StringIO()):  # the metrics of each request
        began = time.process_time()
        for _ in range(REQUESTS):
            if app.handler(event, CONTEXT)["statusCode"] != 200:
                raise RuntimeError("the function does not accept the events")
        return (time.process_time() - began) / REQUESTS


def _item(place: int) -> dict[str, dict[str, str]]:
    text = {"pk": "S#s1", "sk": f"{place:032x}", "item": str(place), "type": "click"}
    return {name: {"S": value} for name, value in text.items()} | {"at": {"N": f"{place}"}, "expiresAt": {"N": "1"}}


def _answered(answer: dict[str, Any], status: int = 200) -> AWSResponse:
    content = json.dumps(answer).encode()
    headers = {"content-type": "application/x-amz-json-1.0", "content-length": str(len(content))}
    return AWSResponse("https://aws", status, headers, Content(content))
