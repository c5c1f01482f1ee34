"""Time of the function `recommend`, for its start and for one request.

It is compared with botocore's client, and with only the signing and sending of the function. The endpoint's answer is
inserted where the request would be sent, so all the work is done, but no network is measured.
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
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
}
TIMED = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"
CLIENT = "import botocore.session; botocore.session.get_session().create_client('sagemaker-runtime')"
SENDING = "import recommend.aws; recommend.aws.Runtime('us-east-1', 'amazonaws.com')"
FUNCTION = "import recommend.app"
ANSWER: dict[str, Any] = {
    "userId": "42",
    "itemList": [{"itemId": f"i{item}", "score": 0.9} for item in range(10)],
    "source": "personalized",
    "modelVersion": "v20260101t000000z-00000000-r1",
    "unknownItems": 0,
}


def table() -> Table:
    """Return a table of medians, in milliseconds. The three are measured in turn."""
    result = Table(title=f"The function recommend, median of {STARTS} starts and {REQUESTS:,} requests, ms")
    for heading in ("", "botocore's client alone", "signing and sending alone", "the function", "its own share"):
        result.add_column(heading, justify="left" if not heading else "right")
    for what, (client, sending, function) in (("import", _starts()), ("one request", _requests())):
        result.add_row(what, f"{client:.2f}", f"{sending:.2f}", f"{function:.2f}", f"{function - sending:.2f}")
    return result


def _starts() -> list[float]:
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
    return [statistics.median(seconds) for seconds in taken.values()]


def _requests() -> list[float]:
    os.environ.update(ENVIRONMENT)
    # Imported here, because its settings are read from the environment at import.
    app: Any = importlib.import_module("recommend.app")
    client = botocore.session.get_session().create_client("sagemaker-runtime")
    client.meta.events.register("before-send.sagemaker-runtime.InvokeEndpoint", _answered)
    app.runtime.session.send = _answered
    # The clock stands still, so that the rules never expire and are not read.
    app.rules = type(app.rules)(None, "", app.rules_from_json, clock=lambda: -1.0, otherwise=app.NO_RULES)
    event = json.loads((PROJECT_ROOT / "events" / "recommend.json").read_text())
    event["queryStringParameters"] = {"numResults": str(len(ANSWER["itemList"]))}
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

    def function() -> None:
        answer = app.handler(event, context)
        if answer["statusCode"] != 200 or '"personalized"' not in answer["body"]:
            raise RuntimeError(f"recommend answered {answer}")

    taken: dict[Any, list[float]] = {of_client: [], sending: [], function: []}
    with contextlib.redirect_stdout(io.StringIO()):  # the metrics of each request
        for _ in range(REQUESTS):
            for call, seconds in taken.items():
                began = time.perf_counter()
                call()
                seconds.append((time.perf_counter() - began) * 1000)
    return [statistics.median(seconds) for seconds in taken.values()]


class Content(io.BytesIO):
    """A response body with the interface of urllib3."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def _answered(*_: Any, **__: Any) -> AWSResponse:
    content = json.dumps(ANSWER).encode()
    headers = {"content-type": "application/json", "content-length": str(len(content))}
    return AWSResponse("https://aws", 200, headers, Content(content))
