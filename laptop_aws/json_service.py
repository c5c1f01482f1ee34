"""A service with AWS's JSON 1.1 protocol: operations by target, checked against the service's model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from laptop_aws import registry
from laptop_aws.service_model import ServiceError, accept, operation
from laptop_aws.store import Record

CONTENT_TYPE = "application/x-amz-json-1.1"
Operations = Mapping[str, Callable[[Record], Record]]


def answer(service: str, operations: Operations, target: str, body: bytes) -> registry.Response:
    """The response to a request whose ``X-Amz-Target`` is ``target`` (``SageMaker.CreateModel``)."""
    headers = {"Content-Type": CONTENT_TYPE}
    try:
        content = call(service, operations, target.rpartition(".")[2], _parse(body))
        return 200, headers, json.dumps(content).encode()
    except ServiceError as error:
        refusal = {"__type": error.code, "message": error.message}
        return error.status, {**headers, "x-amzn-errortype": error.code}, json.dumps(refusal).encode()


def call(service: str, operations: Operations, name: str, members: object) -> Record:
    """Checks and answers one operation. Raises ServiceError."""
    function, model = operations.get(name), operation(service, name)
    if function is None or model is None:
        known = f"The embedded AWS does not have the operation {name}." if model else None
        raise ServiceError(
            "UnknownOperationException", known or "The requested operation is not supported in the called endpoint."
        )
    return function(accept(model.input_shape, members))


def _parse(body: bytes) -> object:
    try:
        return json.loads(body or b"{}")
    except ValueError as error:
        raise ServiceError("SerializationException", f"The request body is not JSON: {error}") from None
