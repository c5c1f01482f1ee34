"""Time of the function `recommend`, for its start and for one request.

It is compared with botocore's client, and with only the signing and sending of the function. The answers of the
endpoint and of the table of recent events are inserted where the requests would be sent, so all the work is done, but
no network is measured.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
from botocore.awsrequest import AWSResponse
from rich.table import Table

PROJECT_ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = PROJECT_ROOT / "functions"
STARTS, REQUESTS = 9, 2_000
ENVIRONMENT = {
    "ENDPOINT_NAME": "ncf-recommender",
    "ARTIFACTS_BUCKET": "ncf-artifacts",
    "POWERTOOLS_SERVICE_NAME": "ncf",
    "POWERTOOLS_METRICS_NAMESPACE": "NcfRecommender",
    "URL_SUFFIX": "amazonaws.com",
    "STACK_ID": "arn:aws:cloudformation:us-east-1:000000000000:stack/ncf/0",
    "EVENTS_TABLE": "ncf-events",
    "REQUEST_BUDGET_MILLISECONDS": "5000",  # on a busy machine
    "RECENT_EVENTS_MILLISECONDS": "1000",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
}
TIMED = "import time; began = time.process_time(); {}; print(time.process_time() - began)"
CLIENT = "import botocore.session; botocore.session.get_session().create_client('sagemaker-runtime')"
SENDING = "import shared.signed; shared.signed.Runtime('us-east-1', 'amazonaws.com')"
FUNCTION = "import recommend.app"
ANSWER: dict[str, Any] = {
    "userId": "42",
    "itemList": [{"itemId": f"i{item}", "score": 0.9} for item in range(10)],
    "source": "personalized",
    "modelVersion": "v20260101t000000z-00000000-r1",
    "unknownItems": 0,
}


def table() -> Table:
    """Return a table of medians of the processor time, in milliseconds. The columns of a row are measured in turn."""
    result = Table(title=f"The function recommend, median of {STARTS} starts and {REQUESTS:,} requests, processor ms")
    for heading in ("", "botocore's client alone", "signing and sending alone", "the function", "its own share"):
        result.add_column(heading, justify="left" if not heading else "right")
    rows = {"import": _starts(), **_requests()}
    for what, (client, sending, function) in rows.items():
        theirs = "" if client is None else f"{client:.2f}"
        result.add_row(what, theirs, f"{sending:.2f}", f"{function:.2f}", f"{function - sending:.2f}")
    return result


def _starts() -> tuple[float | None, float, float]:
    taken: dict[str, list[float]] = {CLIENT: [], SENDING: [], FUNCTION: []}
    for _ in range(STARTS):
        for statement, seconds in taken.items():
            done = subprocess.run(
                [sys.executable, "-c", TIMED.format(statement)],
                cwd=FUNCTIONS,
                env=os.environ | ENVIRONMENT,
                check=True,
                capture_output=True,
                text=True,
            )
            seconds.append(float(done.stdout) * 1000)
    client, sending, function = (statistics.median(seconds) for seconds in taken.values())
    return client, sending, function


def _requests() -> dict[str, tuple[float | None, float, float]]:
    os.environ.update(ENVIRONMENT)
    # Imported here, because its settings are read from the environment at import.
    app: Any = importlib.import_module("recommend.app")
    client = botocore.session.get_session().create_client("sagemaker-runtime")
    client.meta.events.register("before-send.sagemaker-runtime.InvokeEndpoint", _answered)
    app.runtime.session.send = _answered
    app.artifacts.session.send = lambda request: _reply(404, {})
    events: list[dict[str, Any]] = []
    reads = app.recent._table
    reads.session.send = lambda request: _reply(200, {"Items": events})
    # The clock stands still, so that no document expires.
    app.rules = type(app.rules)(None, "", app.rules_from_json, clock=lambda: -1.0, otherwise=app.NO_RULES)
    event = json.loads((PROJECT_ROOT / "events" / "recommend.json").read_text())
    event["rawQueryString"] = f"numResults={len(ANSWER['itemList'])}"
    told = {
        "routeKey": "POST /recommendations",
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"userId": "42", "numResults": 10, "history": []}),
    }
    context = SimpleNamespace(
        aws_request_id="r", function_name="f", memory_limit_in_mb=256, invoked_function_arn="arn", function_version="1"
    )
    body = json.dumps({"userId": "42", "numResults": 10}).encode()

    def of_client() -> None:
        call = client.invoke_endpoint(
            EndpointName="ncf-recommender", ContentType="application/json", Accept="application/json", Body=body
        )
        json.loads(call["Body"].read())

    def sending() -> None:
        json.loads(app.runtime.invoke_endpoint("ncf-recommender", body).content)

    def sending_both() -> None:
        reads.query(Limit=101)
        sending()

    def function(event: dict[str, Any]) -> Callable[[], None]:
        def call() -> None:
            answer = app.handler(event, context)
            if answer["statusCode"] != 200 or '"personalized"' not in answer["body"]:
                raise RuntimeError(f"recommend answered {answer}")

        return call

    without, reading = function(told), function(event)
    rows: dict[str, tuple[float | None, float, float]] = {}
    with contextlib.redirect_stdout(io.StringIO()):  # the metrics of each request
        rows["one request, nothing read"] = _medians(of_client, sending, without)
        for number in (0, 10, 100):
            events[:] = [_event(place) for place in range(number)]
            rows[f"one request, {number} recent events"] = (None, *_medians(sending_both, reading))
    return rows


def _medians(*calls: Callable[[], None]) -> Any:
    """Return the median of each call's processor time, milliseconds."""
    taken: dict[Any, list[float]] = {call: [] for call in calls}
    for _ in range(REQUESTS):
        for call, seconds in taken.items():
            began = time.process_time()
            call()
            seconds.append((time.process_time() - began) * 1000)
    return tuple(statistics.median(seconds) for seconds in taken.values())


def _event(place: int) -> dict[str, Any]:
    at = round(time.time() * 1000) - 1000 * place
    return {
        "sk": {"S": f"{place:032x}"},
        "at": {"N": str(at)},
        "item": {"S": f"seen-{place}"},
        "type": {"S": "purchase" if place % 5 == 0 else "view"},
    }


class Content(io.BytesIO):
    """A response body with the interface of urllib3."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def _answered(*_: Any, **__: Any) -> AWSResponse:
    return _reply(200, ANSWER)


def _reply(status: int, document: dict[str, Any]) -> AWSResponse:
    content = json.dumps(document).encode()
    headers = {"content-type": "application/json", "content-length": str(len(content))}
    return AWSResponse("https://aws", status, headers, Content(content))
