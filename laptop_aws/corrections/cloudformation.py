"""CloudFormation: properties that ministack omits from resources, and parameters that Parameter Store has."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import dynamodb, lambda_svc, sns
from ministack.services.cloudformation import engine

from laptop_aws.correction import corrects

HANDLERS = "ministack.services.cloudformation.provisioners:_RESOURCE_HANDLERS"

Resource = tuple[str, dict[str, Any]]
_table_completed = partial(
    corrects,
    aws="a table has the time to live and the point-in-time recovery of its template",
    ministack="neither",
    test="test_the_table_has_what_the_template_says",
)
_function_completed = partial(
    corrects,
    aws="a function has the DeadLetterConfig, ReservedConcurrentExecutions, VpcConfig and KmsKeyArn of its template, "
    "and logs where its LoggingConfig says",
    ministack="drops the first four, and a LoggingConfig without a group",
    test="test_a_function_has_all_that_its_template_says",
)
_topic_completed = partial(
    corrects,
    aws="a topic has the key of its template",
    ministack="none",
    test="test_a_topic_has_the_key_of_its_template",
)

_keys_checked = partial(
    corrects,
    aws="of a parameter whose value is in Parameter Store, the template's constraints are for its key",
    ministack="for its value",
    test="test_a_parameter_of_parameter_store_is_resolved_at_each_deployment",
)


@_keys_checked("ministack.services.cloudformation.engine:_check_parameter_constraints", source="e45d8c1dc221")
def check_parameter_constraints(stock: Any, name: str, definition: Any, kind: str, value: str) -> None:
    if not kind.startswith(engine._SSM_PARAMETER_VALUE_PREFIX):
        stock(name, definition, kind, value)


@_keys_checked("ministack.services.cloudformation.handlers:_resolve_parameters", source="65ee21dccd44")
@_keys_checked("ministack.services.cloudformation.changesets:_resolve_parameters", source="65ee21dccd44")
def resolve_parameters(stock: Any, template: dict[str, Any], *given: Any) -> dict[str, Any]:
    resolved: dict[str, Any] = stock(template, *given)
    for name, entry in resolved.items():
        if "SsmName" in entry:
            engine._check_parameter_constraints(name, template["Parameters"][name], "String", entry["SsmName"])
    return resolved


@corrects(
    "ministack.services.ssm:_put_parameter",
    source="7518a51e5653",
    aws="a value that its AllowedPattern does not match is refused",
    ministack="kept",
    test="test_a_parameter_refuses_what_its_pattern_does_not_match",
)
def put_parameter(stock: Any, request: dict[str, Any]) -> Any:
    pattern = request.get("AllowedPattern")
    if pattern and re.search(pattern, str(request.get("Value"))) is None:
        message = f"Parameter value, {request.get('Value')}, failed to satisfy the constraint: {pattern}"
        return error_response_json("ParameterPatternMismatchException", message, 400)
    return stock(request)


@_table_completed(f"{HANDLERS}[AWS::DynamoDB::Table][create]", source="277586e016c6")
def create_table(stock: Any, logical_id: str, properties: dict[str, Any], stack: str) -> Resource:
    name, attributes = stock(logical_id, properties, stack)
    complete_table(name, properties)
    return name, attributes


@_table_completed(f"{HANDLERS}[AWS::DynamoDB::Table][update]", source="0665980ffdd0")
def update_table(stock: Any, physical_id: str, old: Any, new: dict[str, Any], *rest: Any) -> Resource:
    name, attributes = stock(physical_id, old, new, *rest)
    complete_table(name, new)
    return name, attributes


@_function_completed(f"{HANDLERS}[AWS::Lambda::Function][create]", source="8b2cf80e961d")
def create_function(stock: Any, logical_id: str, properties: dict[str, Any], stack: str) -> Resource:
    name, attributes = stock(logical_id, properties, stack)
    complete_function(name, properties)
    return name, attributes


@_function_completed(f"{HANDLERS}[AWS::Lambda::Function][update]", source="4855410e37d7")
def update_function(stock: Any, physical_id: str, old: Any, new: dict[str, Any], *rest: Any) -> Resource:
    name, attributes = stock(physical_id, old, new, *rest)
    complete_function(name, new)
    return name, attributes


@_topic_completed(f"{HANDLERS}[AWS::SNS::Topic][create]", source="0a96666a036a")
def create_topic(stock: Any, logical_id: str, properties: dict[str, Any], stack: str) -> Resource:
    arn, attributes = stock(logical_id, properties, stack)
    complete_topic(arn, properties)
    return arn, attributes


@_topic_completed(f"{HANDLERS}[AWS::SNS::Topic][update]", source="a29cbf08e7b5")
def update_topic(stock: Any, physical_id: str, old: Any, new: dict[str, Any], *rest: Any) -> Resource:
    arn, attributes = stock(physical_id, old, new, *rest)
    complete_topic(arn, new)
    return arn, attributes


def _is_true(value: Any) -> bool:
    return str(value).lower() == "true"


def complete_table(name: str, properties: dict[str, Any]) -> None:
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


def complete_topic(arn: str, properties: dict[str, Any]) -> None:
    attributes = sns._topics[arn]["attributes"]
    attributes.pop("KmsMasterKeyId", None)
    if properties.get("KmsMasterKeyId"):
        attributes["KmsMasterKeyId"] = properties["KmsMasterKeyId"]


def complete_function(name: str, properties: dict[str, Any]) -> None:
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
