"""The AWS calls of functions that customers wait for, signed and sent by parts of botocore.

Botocore's clients would send the same requests, but load their service models at every cold start, and take two to
three times the processor's time (decision 0013).
"""

from __future__ import annotations

import base64
import json
import os
import random
import socket
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, ConnectTimeoutError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from shared.errors import DependencyFailed, FunctionError, cause_of

_TRIES = 4
_FIRST_WAIT_SECONDS = 0.1
"""Longest wait before the second try. It doubles with each, so that all together are at most 0.7 s."""
_PROTOCOLS = {"dynamodb": ("DynamoDB_20120810", "1.0"), "firehose": ("Firehose_20150804", "1.1")}
"""The name of a service in the header X-Amz-Target, and the version of its JSON."""


class NoAnswer(Exception):
    """Raised when a service gave no complete answer; `timed_out` if it took too long. The message is safe to log."""

    def __init__(self, error: BotoCoreError) -> None:
        super().__init__(type(error).__name__)
        self.timed_out = isinstance(error, ConnectTimeoutError | ReadTimeoutError)


class Answer(NamedTuple):
    """An HTTP answer of any status; header names are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The content, if it is a JSON object; otherwise {}."""
        try:
            found = json.loads(self.content)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def code(self, document: Mapping[str, Any]) -> str:
        """The code of an error whose `document` this answer has; "" if it names none."""
        named = self.headers.get("x-amzn-errortype") or document.get("code") or document.get("__type") or ""
        return str(named).partition(":")[0].rpartition("#")[2]


class Credentials(NamedTuple):
    """AWS credentials in the form that botocore's signers read."""

    access_key: str
    secret_key: str
    token: str | None

    @classmethod
    def of_the_function(cls) -> Credentials:
        """Return the credentials that Lambda gives the function in its environment."""
        variables = os.environ
        return cls(
            variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], variables.get("AWS_SESSION_TOKEN")
        )


class Runtime:
    """The SageMaker runtime of a region. `url_suffix` is that of its partition: amazonaws.com, amazonaws.com.cn."""

    def __init__(self, region: str, url_suffix: str) -> None:
        self._region = region
        self._url = _endpoint_url("SAGEMAKER_RUNTIME") or f"https://runtime.sagemaker.{region}.{url_suffix}"
        self.session = _session(self._url, connect_timeout=1, read_timeout=2)

    def invoke_endpoint(self, name: str, body: bytes, variant: str = "") -> Answer:
        """Send the JSON `body` to the endpoint `name`, or to its `variant`, without retries. Raises `NoAnswer`."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if variant:
            headers["X-Amzn-SageMaker-Target-Variant"] = variant
        request = AWSRequest("POST", f"{self._url}/endpoints/{quote(name)}/invocations", headers, body)
        SigV4Auth(Credentials.of_the_function(), "sagemaker", self._region).add_auth(request)
        return _sent(self.session, request)


class Bucket:
    """The objects of one bucket."""

    def __init__(self, name: str, region: str, url_suffix: str) -> None:
        self._region = region
        url = _endpoint_url("S3")
        self._url = f"{url}/{name}" if url else f"https://{name}.s3.{region}.{url_suffix}"
        self.session = _session(self._url, connect_timeout=0.5, read_timeout=0.5)

    def get_object(self, key: str) -> Answer:
        """Get one object; a failure of the connection or the server is retried once. Raises `NoAnswer`."""
        try:
            answer = self._get(key)
        except NoAnswer:
            return self._get(key)
        return answer if answer.status < 500 else self._get(key)

    def _get(self, key: str) -> Answer:
        request = AWSRequest("GET", f"{self._url}/{quote(key, safe='/~')}")
        S3SigV4Auth(Credentials.of_the_function(), "s3", self._region).add_auth(request)
        return _sent(self.session, request)


class _Service:
    """A service that takes JSON documents."""

    def __init__(self, name: str, region: str, url_suffix: str, read_timeout: float = 1) -> None:
        self._service, self._region = name, region
        self._target, self._version = _PROTOCOLS[name]
        self._url = _endpoint_url(name.upper()) or f"https://{name}.{region}.{url_suffix}"
        self.session = _session(self._url, connect_timeout=0.5, read_timeout=read_timeout)

    def _send(self, operation: str, members: dict[str, Any]) -> Answer:
        body = json.dumps(members, default=_base64).encode()
        content_type = f"application/x-amz-json-{self._version}"
        headers = {"Content-Type": content_type, "X-Amz-Target": f"{self._target}.{operation}"}
        request = AWSRequest("POST", f"{self._url}/", headers, body)
        SigV4Auth(Credentials.of_the_function(), self._service, self._region).add_auth(request)
        return _sent(self.session, request)

    def _call(self, operation: str, members: dict[str, Any]) -> dict[str, Any]:
        """Return the answer's document. Tries again, with jitter, where that can help. Raises the errors of
        `cause_of`.
        """
        what = f"{self._service} {operation}"
        failure: FunctionError
        for tried in range(_TRIES):
            if tried:
                time.sleep(random.uniform(0, _FIRST_WAIT_SECONDS * 2 ** (tried - 1)))
            try:
                answer = self._send(operation, members)
            except NoAnswer as error:
                failure = DependencyFailed(f"{what}: {error}")
                continue
            document = answer.document
            if answer.status == 200 and document:
                return document
            code = answer.code(document)
            cause = DependencyFailed if answer.status == 200 else cause_of(code, answer.status)
            message = document.get("message") or document.get("Message") or "no message"
            failure = cause(f"{what}: {code or answer.status}: {message}")
            if cause is not DependencyFailed:
                break
        raise failure


class Table(_Service):
    """The items of one DynamoDB table, for a read that may fail."""

    def __init__(self, name: str, region: str, url_suffix: str) -> None:
        super().__init__("dynamodb", region, url_suffix, read_timeout=0.5)
        self._name = name

    def query(self, **request: Any) -> Answer:
        """Send a Query with these members, without retries. Raises `NoAnswer`."""
        return self._send("Query", {"TableName": self._name} | request)


class DynamoDB(_Service):
    """Calls of DynamoDB with the members that botocore's client knows."""

    def __init__(self, region: str, url_suffix: str) -> None:
        super().__init__("dynamodb", region, url_suffix)

    def query(self, **members: Any) -> dict[str, Any]:
        return self._call("Query", members)

    def batch_write_item(self, **members: Any) -> dict[str, Any]:
        return self._call("BatchWriteItem", members)


class Firehose(_Service):
    """Calls of Firehose with the members that botocore's client knows."""

    def __init__(self, region: str, url_suffix: str) -> None:
        super().__init__("firehose", region, url_suffix)

    def put_record(self, **members: Any) -> dict[str, Any]:
        return self._call("PutRecord", members)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _endpoint_url(service: str) -> str | None:
    """Return the service's URL from the AWS SDK's environment variables, without a trailing slash."""
    url = os.environ.get(f"AWS_ENDPOINT_URL_{service}") or os.environ.get("AWS_ENDPOINT_URL")
    return url.rstrip("/") if url else None


def _session(url: str, connect_timeout: float, read_timeout: float) -> URLLib3Session:
    """Return a session with the proxies, certificates and socket options of botocore's clients; timeouts in seconds."""
    return URLLib3Session(
        verify=os.environ.get("AWS_CA_BUNDLE") or True,
        proxies=get_environ_proxies(url),
        timeout=(connect_timeout, read_timeout),
        # Otherwise the body waits about 40 ms for the acknowledgement of the headers.
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )


def _sent(session: URLLib3Session, request: AWSRequest) -> Answer:
    try:
        answer = session.send(request.prepare())
    except BotoCoreError as error:
        raise NoAnswer(error) from None
    return Answer(answer.status_code, answer.headers, answer.content)
