"""A call of the deployed HTTP API, signed with Signature Version 4 as a client on AWS signs it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import HTTPClientError
from botocore.httpsession import URLLib3Session

from contracts import documents
from contracts.documents import Unfit
from local.project import ACCESS_KEY, REGION, SECRET_KEY, Problem, Project

SERVICE = "execute-api"
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """An answer of the API: the status, and the body as JSON (None if it is not JSON)."""

    status: int
    body: Any


def api_url(project: Project, api_id: str) -> str:
    """The API's address on this machine (its name on AWS, `<id>.execute-api…`, does not resolve here)."""
    return f"{project.endpoint}/_aws/execute-api/{api_id}/$default"


def call(
    project: Project, api_id: str, method: str, path: str, query: dict[str, str] | None = None, body: Any = None
) -> Answer:
    """Send one signed request; `path` is already quoted. Raises Problem if there is no answer."""
    url = api_url(project, api_id) + path + (f"?{urlencode(query)}" if query else "")
    data = None if body is None else json.dumps(body).encode()
    request = AWSRequest(method, url, data=data, headers={"Content-Type": "application/json"} if data else {})
    SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), SERVICE, REGION).add_auth(request)
    try:
        response = URLLib3Session(timeout=TIMEOUT_SECONDS, proxies={}).send(request.prepare())
    except HTTPClientError as error:
        raise Problem(f"the HTTP API at {url} did not answer: {error}") from error
    try:
        content = documents.read(response.content or b"null", "the answer")
    except Unfit:
        content = None
    return Answer(response.status_code, content)
