"""CloudFormation: properties that ministack omits from the resources it creates."""

from __future__ import annotations

from functools import partial
from typing import Any

from ministack.services import dynamodb, lambda_svc, sns

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
