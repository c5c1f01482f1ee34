"""``AWS::EMRServerless::Application`` in stacks: ``Ref`` is the application id, ``Fn::GetAtt`` has ``ApplicationId``
and ``Arn``."""

from __future__ import annotations

import contextlib
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from laptop_aws import registry
from laptop_aws.emr_serverless import applications
from laptop_aws.emr_serverless.store import arn, store
from laptop_aws.service_model import ServiceError, accept, operation

TYPE = "AWS::EMRServerless::Application"
_REPLACING = ("Name", "Type")


def register() -> None:
    registry.register_cloudformation_type(TYPE, create=create, update=update, delete=delete)


def create(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
    request = _request(properties) | {"clientToken": _token(stack_name, logical_id)}
    created = applications.create(_accepted(request))
    return created["applicationId"], _attributes(created["applicationId"])


def update(
    physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str, logical_id: str
) -> tuple[str, dict[str, Any]]:
    if any(old.get(name) != new.get(name) for name in _REPLACING):
        return create(logical_id, new, stack_name)
    request = _accepted(_request(new) | {"clientToken": "unused"})
    applications.update(
        physical_id, {name: value for name, value in request.items() if name not in ("clientToken", "type", "name")}
    )
    return physical_id, _attributes(physical_id)


def delete(physical_id: str, properties: dict[str, Any]) -> None:
    """Stops the application first, as the resource's handler on AWS does."""
    with store.lock, contextlib.suppress(ServiceError):
        if applications.find(physical_id)["state"] == "TERMINATED":
            return
    try:
        applications.stop({"applicationId": physical_id})
        applications.delete({"applicationId": physical_id})
    except ServiceError as error:
        if error.code != "ResourceNotFoundException":
            raise ValueError(error.message) from error


def _token(stack_name: str, logical_id: str) -> str:
    import uuid

    return f"{stack_name[:20]}-{logical_id[:20]}-{uuid.uuid4().hex[:20]}"


def _attributes(identifier: str) -> dict[str, Any]:
    return {"ApplicationId": identifier, "Arn": arn(identifier)}


def _accepted(request: dict[str, Any]) -> dict[str, Any]:
    model = operation("emr-serverless", "CreateApplication")
    assert model is not None
    try:
        return accept(model.input_shape, request)
    except ServiceError as error:
        raise ValueError(error.message) from error


def _request(properties: dict[str, Any]) -> dict[str, Any]:
    """The properties as members of CreateApplication."""
    model = operation("emr-serverless", "CreateApplication")
    assert model is not None and model.input_shape is not None
    request: dict[str, Any] = _translated(model.input_shape, properties)
    return request


def _translated(shape: Shape, value: Any) -> Any:
    """A template's value in the API's form: lower first letters, lists of Key and Value as maps, text as numbers and
    booleans."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        by_name = {name.lower(): name for name in shape.members}
        return {
            by_name[key.lower()]: _translated(shape.members[by_name[key.lower()]], item)
            for key, item in value.items()
            if key.lower() in by_name
        }
    if isinstance(shape, MapShape):
        pairs = {entry["Key"]: entry["Value"] for entry in value} if isinstance(value, list) else value
        return {key: _translated(shape.value, item) for key, item in pairs.items()}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_translated(shape.member, item) for item in value]
    if isinstance(value, str) and shape.type_name == "boolean":
        return value.lower() == "true"
    if isinstance(value, str) and shape.type_name in ("integer", "long") and value.lstrip("-").isdigit():
        return int(value)
    if shape.type_name == "string" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return value
