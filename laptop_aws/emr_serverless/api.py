"""Routes EMR Serverless' REST operations, by method and path in its service model."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from botocore.model import ListShape, OperationModel, Shape

from laptop_aws import registry
from laptop_aws.emr_serverless import applications, job_runs
from laptop_aws.service_model import ServiceError, accept, service_model, validation_error
from laptop_aws.store import Record

SERVICE = "emr-serverless"

OPERATIONS: dict[str, Callable[[Record], Record]] = {
    "CreateApplication": applications.create,
    "GetApplication": applications.get,
    "ListApplications": applications.list_applications,
    "StartApplication": applications.start,
    "StopApplication": applications.stop,
    "DeleteApplication": applications.delete,
    "StartJobRun": job_runs.start,
    "GetJobRun": job_runs.get,
    "ListJobRuns": job_runs.list_runs,
    "CancelJobRun": job_runs.cancel,
}


async def handle_request(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
) -> registry.Response:
    return await registry.offload(_answer, method, path, body, query)


def _answer(method: str, path: str, body: bytes, query: dict[str, list[str]]) -> registry.Response:
    try:
        model, members = _operation(method, path)
        answer = OPERATIONS[model.name](accept(model.input_shape, members | _members(model, body, query)))
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()
    except ServiceError as error:
        content = json.dumps({"message": error.message} | error.members).encode()
        return error.status, {"Content-Type": "application/json", "x-amzn-errortype": error.code}, content


@functools.cache
def _routes() -> list[tuple[str, re.Pattern[str], OperationModel]]:
    model = service_model(SERVICE)
    routes = []
    for name in OPERATIONS:
        operation = model.operation_model(name)
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(operation.http["requestUri"]))
        routes.append((operation.http["method"], re.compile(pattern + "/?"), operation))
    return routes


def _operation(method: str, path: str) -> tuple[OperationModel, Record]:
    for verb, pattern, operation in _routes():
        if verb == method and (match := pattern.fullmatch(path)):
            return operation, {name: unquote(value) for name, value in match.groupdict().items()}
    raise ServiceError(
        "UnknownOperationException", f"The embedded AWS does not have the operation {method} {path}.", 404
    )


def _members(operation: OperationModel, body: bytes, query: dict[str, list[str]]) -> Record:
    """The members in the query string and in the JSON body."""
    try:
        content: Any = json.loads(body or b"{}")
    except ValueError as error:
        raise ServiceError("SerializationException", f"The request body is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ServiceError("SerializationException", "Start of structure or map expected.")
    found: Record = {}
    for name, shape in operation.input_shape.members.items() if operation.input_shape else ():
        wire = shape.serialization.get("name", name)
        if shape.serialization.get("location") == "querystring":
            if wire in query:
                found[name] = query[wire] if isinstance(shape, ListShape) else _converted(shape, query[wire][0], name)
        elif "location" not in shape.serialization and wire in content:
            found[name] = content[wire]
    return found


def _converted(shape: Shape, text: str, name: str) -> Any:
    if shape.type_name in ("integer", "long"):
        try:
            return int(text)
        except ValueError:
            raise validation_error(f"{name} must be an integer, not {text!r}") from None
    return text
