"""Calls of the deployed HTTP API, signed with Signature Version 4 as any client on AWS signs them."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from contracts import documents
from contracts.documents import Unfit
from control.connection import Connection, NotReady

SERVICE = "execute-api"
TIMEOUT_SECONDS = 30
LONGEST_SHOWN = 200_000
"""Maximum characters of an answer that are shown as they came."""

Query = Mapping[str, str | Sequence[str]]
"""Parameters of a query by name; a sequence is a parameter that is repeated."""


class Unanswered(NotReady):
    """The HTTP API cannot be reached; the message says where it was expected."""


@dataclass(frozen=True)
class Answer:
    """An answer of the API: the status, the body as JSON (None if it is not JSON), its text, and how long it took."""

    status: int
    body: Any
    text: str = ""
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        return self.status == 200 and isinstance(self.body, dict)


@dataclass(frozen=True)
class Request:
    """One request to the API at `base_url`; `path` is already quoted."""

    base_url: str
    method: str
    path: str
    query: Query | None = None
    body: Any = None

    @property
    def url(self) -> str:
        given = {name: value for name, value in (self.query or {}).items() if value not in ("", [], ())}
        return self.base_url + self.path + (f"?{urlencode(given, doseq=True, quote_via=quote)}" if given else "")

    @property
    def data(self) -> bytes | None:
        return None if self.body is None else json.dumps(self.body, ensure_ascii=False).encode("utf-8", "replace")

    def curl(self, region: str) -> str:
        """The same request as a line for a shell. The credentials stay in the shell's variables."""
        parts = ["curl", "--aws-sigv4", f"aws:amz:{region}:{SERVICE}"]
        line = shlex.join(parts) + ' --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"'
        line += ' ${AWS_SESSION_TOKEN:+-H "x-amz-security-token: $AWS_SESSION_TOKEN"}'
        if self.method != "GET":
            line += f" -X {shlex.quote(self.method)}"
        data = self.data
        if data is not None:
            line += f" -H 'Content-Type: application/json' --data-raw {shlex.quote(data.decode())}"
        return f"{line} {shlex.quote(self.url)}"


def send(request: Request, credentials: Credentials, region: str, is_loopback: bool = False) -> Answer:
    """Send one signed request. Raises Unanswered if there is no answer."""
    data = request.data
    signed = AWSRequest(
        request.method, request.url, data=data, headers={"Content-Type": "application/json"} if data else {}
    )
    SigV4Auth(credentials, SERVICE, region).add_auth(signed)
    proxies = {} if is_loopback else get_environ_proxies(request.url)
    begun = time.perf_counter()
    try:
        response = URLLib3Session(timeout=TIMEOUT_SECONDS, proxies=proxies).send(signed.prepare())
        content = response.content or b""
    except BotoCoreError as error:
        raise Unanswered(f"the HTTP API at {request.base_url} did not answer: {error}") from error
    seconds = time.perf_counter() - begun
    try:
        body = documents.read(content or b"null", "the answer")
    except Unfit:
        body = None
    return Answer(response.status_code, body, content.decode("utf-8", "replace")[:LONGEST_SHOWN], seconds)


def call(connection: Connection, request: Request) -> Answer:
    """Send a request with the connection's credentials and region. Raises Unanswered, and NotReady without them."""
    credentials = connection.session.get_credentials()
    region = connection.session.region_name
    if credentials is None or region is None:
        raise NotReady(
            "There are no credentials or no region: give --profile and --region, or sign in with the AWS CLI."
        )
    frozen = credentials.get_frozen_credentials()
    return send(
        request,
        Credentials(frozen.access_key, frozen.secret_key, frozen.token),
        region,
        is_loopback=connection.is_embedded,
    )


def path_of(template: str, values: Mapping[str, str]) -> str:
    """The path of a route, such as `/items/{itemId}/related`, with `values` quoted. Raises ValueError if one is missing
    or cannot be in a path.
    """
    path = template
    for name in [part.split("}")[0] for part in template.split("{")[1:]]:
        value = values.get(name, "")
        if not value:
            raise ValueError(f"{name} is in the path: give it a value.")
        if set("/%?#") & set(value) or value in (".", ".."):
            raise ValueError(f"{name} cannot be in a path with / % ? or #: use the route with {name} in the query.")
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    return path


def _message(answer: Answer) -> str:
    if not isinstance(answer.body, dict):
        return ""
    error = answer.body.get("error")
    found = error.get("message", "") if isinstance(error, dict) else answer.body.get("message", "")
    return found if isinstance(found, str) else ""


def refusal(answer: Answer) -> str:
    """The message for an answer other than 200, short: status, and what the API said."""
    message = _message(answer)
    return f"the API answered {answer.status}" + (f": {message}" if message else "")


def refusal_with_advice(answer: Answer) -> str:
    """Return in words what an answer other than 200 means, and what to do."""
    said = refusal(answer)
    said = said[0].upper() + said[1:].removesuffix(".") + "."
    return f"{said} {_advice(answer.status)}".strip()


def _advice(status: int) -> str:
    known = {
        400: "Change the parameter that it names.",
        401: "This API takes a token (JWT) instead of signed calls; the console has none.",
        403: "The credentials may not call this API: ask for execute-api:Invoke, or use another profile.",
        404: "There is no such route, or nothing by that id.",
        405: "The route takes another method.",
        413: "Send less at a time.",
        429: "Too many requests at the moment (ThrottlingRateLimit of the stack). Wait a second, then try again.",
        503: "Nothing can answer now: no model is deployed, or what it needs is down. The page Now says which.",
        504: "The answer took too long. Try again; the page Now shows the latencies.",
    }
    if status in known:
        return known[status]
    if status >= 500:
        return "The fault is on the side of the stack: the logs of the function `recommend` or `events` have it."
    return "The answer is not the JSON object that was expected." if status == 200 else ""
