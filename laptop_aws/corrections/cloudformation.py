"""CloudFormation: what it leaves out of the resources it makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.services import dynamodb, lambda_svc
from ministack.services.cloudformation import provisioners


def apply() -> None:
    _complete("AWS::Lambda::Function", complete_function)
    _complete("AWS::DynamoDB::Table", complete_table)


def _complete(resource_type: str, complete: Callable[[str, dict[str, Any]], None]) -> None:
    """Calls ``complete(physical_id, properties)`` after each creation and update of the type."""
    handlers = provisioners._RESOURCE_HANDLERS[resource_type]
    create, update = handlers["create"], handlers["update"]

    def create_and_complete(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        physical_id, attributes = create(logical_id, properties, stack)
        complete(physical_id, properties)
        return physical_id, attributes

    def update_and_complete(
        physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str, logical_id: str | None = None
    ) -> Any:
        new_id, attributes = update(physical_id, old, new, stack, logical_id)
        complete(new_id, new)
        return new_id, attributes

    handlers.update(create=create_and_complete, update=update_and_complete)


def _is_true(value: Any) -> bool:
    return str(value).lower() == "true"


def complete_table(name: str, properties: dict[str, Any]) -> None:
    """AWS: a table has the time to live and the point-in-time recovery of its template. ministack: neither.

    Conformance: ``test_the_table_has_what_the_template_says``.
    """
    ttl = properties.get("TimeToLiveSpecification") or {}
    current = dynamodb._ttl_settings.get(name) or {}
    enabled = _is_true(ttl.get("Enabled", False))
    if enabled or current.get("TimeToLiveStatus") == "ENABLED":
        attribute = ttl.get("AttributeName") or current.get("AttributeName")
        specification = {"Enabled": enabled, "AttributeName": attribute}
        dynamodb._update_ttl({"TableName": name, "TimeToLiveSpecification": specification})
    recovery = (properties.get("PointInTimeRecoverySpecification") or {}).get("PointInTimeRecoveryEnabled", False)
    dynamodb._update_continuous_backups(
        {"TableName": name, "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": _is_true(recovery)}}
    )


def complete_function(name: str, properties: dict[str, Any]) -> None:
    """AWS: a function has the ``DeadLetterConfig``, ``ReservedConcurrentExecutions``, ``VpcConfig`` and ``KmsKeyArn``
    of its template, and logs where its ``LoggingConfig`` says. ministack: drops the first four, and a LoggingConfig
    without a group.

    Conformance: ``test_a_function_has_all_that_its_template_says``.
    """
    record = lambda_svc._functions[name]
    config = record["config"]
    for key in ("DeadLetterConfig", "KmsKeyArn"):
        if properties.get(key):
            config[key] = properties[key]
        else:
            config.pop(key, None)
    if properties.get("VpcConfig"):
        config["VpcConfig"] = {"SubnetIds": [], "SecurityGroupIds": [], **properties["VpcConfig"]}
    reserved = properties.get("ReservedConcurrentExecutions")
    record["concurrency"] = None if reserved is None else int(reserved)
    logging = properties.get("LoggingConfig")
    if logging:
        config["LoggingConfig"] = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}", **logging}
