"""Calls of the deployed HTTP API on this machine; `control.api` signs and sends them."""

from __future__ import annotations

from typing import Any

from botocore.credentials import Credentials

from control import api
from control.api import Answer
from local.project import ACCESS_KEY, REGION, SECRET_KEY, Problem, Project

__all__ = ["Answer", "api_url", "call"]


def api_url(project: Project, api_id: str) -> str:
    """The API's address on this machine (its name on AWS, `<id>.execute-api…`, does not resolve here)."""
    return f"{project.endpoint}/_aws/execute-api/{api_id}/$default"


def call(
    project: Project, api_id: str, method: str, path: str, query: dict[str, str] | None = None, body: Any = None
) -> Answer:
    """Send one signed request; `path` is already quoted. Raises Problem if there is no answer."""
    request = api.Request(api_url(project, api_id), method, path, query, body)
    try:
        return api.send(request, Credentials(ACCESS_KEY, SECRET_KEY), REGION, is_loopback=True)
    except api.Unanswered as error:
        raise Problem(str(error)) from error
