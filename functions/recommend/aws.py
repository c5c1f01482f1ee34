"""The AWS calls of a request: InvokeEndpoint, GetObject and Query, signed and sent by parts of botocore.

Botocore's clients would send the same requests, but load their service models at every cold start (decision 0013).
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, ConnectTimeoutError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies


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


class Table:
    """The items of one DynamoDB table."""

    def __init__(self, name: str, region: str, url_suffix: str) -> None:
        self._name, self._region = name, region
        self._url = _endpoint_url("DYNAMODB") or f"https://dynamodb.{region}.{url_suffix}"
        self.session = _session(self._url, connect_timeout=0.5, read_timeout=0.5)

    def query(self, **request: Any) -> Answer:
        """Send a Query with these members, without retries. Raises `NoAnswer`."""
        body = json.dumps({"TableName": self._name} | request).encode()
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "DynamoDB_20120810.Query"}
        signed = AWSRequest("POST", f"{self._url}/", headers, body)
        SigV4Auth(Credentials.of_the_function(), "dynamodb", self._region).add_auth(signed)
        return _sent(self.session, signed)


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
