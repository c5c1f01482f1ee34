"""A function's role allows the AWS calls that its code can reach, and no others: an emulator that does not enforce IAM
cannot check this. (The calls of whole runs, with their resources, are compared in `tests/permissions`.)

Calls are found in the source: names of botocore operations that are used in the function's folder, or in what it
uses of `shared`.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from tests.infrastructure import rules
from tests.infrastructure.templates import as_list, of_type, statements

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
NAMES = sorted(path.parent.name for path in FUNCTIONS.glob("*/app.py"))

# botocore's service → IAM's prefix.
SERVICES = {
    "application-autoscaling": "application-autoscaling",
    "cloudwatch": "cloudwatch",
    "dynamodb": "dynamodb",
    "emr-serverless": "emr-serverless",
    "events": "events",
    "firehose": "firehose",
    "lambda": "lambda",
    "logs": "logs",
    "s3": "s3",
    "sagemaker": "sagemaker",
    "sagemaker-runtime": "sagemaker",
    "sns": "sns",
    "stepfunctions": "states",
}
# The services that shared/signed.py calls by its own classes.
SIGNED = {"Table": "dynamodb", "DynamoDB": "dynamodb", "Firehose": "firehose"}
# Operations whose permission has another name.
RENAMED = {
    "lambda:Invoke": "lambda:InvokeFunction",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:DeleteObject": "s3:DeleteObjectVersion",  # functions delete versions that they name, and nothing else
    "s3:UploadFile": "s3:PutObject",
}
# Operations that pass a role to a service.
PASSING = {"sagemaker:CreateTrainingJob", "sagemaker:CreateModel", "emr-serverless:StartJobRun"}
# Further permissions that a call needs: tags at creation, the customer's key on volumes, calls by Application Auto
# Scaling, the topic's key. Without s3:ListBucket, S3 answers 403 and not 404 for a key that does not exist.
ACCOMPANYING = {
    "sagemaker:CreateTrainingJob": {"sagemaker:AddTags", "kms:CreateGrant"},
    "sagemaker:CreateTransformJob": {"sagemaker:AddTags", "kms:CreateGrant"},
    "sagemaker:CreateModel": {"sagemaker:AddTags"},
    "sagemaker:CreateModelPackage": {"sagemaker:AddTags"},
    "sagemaker:CreateModelPackageGroup": {"sagemaker:AddTags"},
    "emr-serverless:StartJobRun": {"emr-serverless:TagResource"},
    "sagemaker:CreateEndpoint": {"sagemaker:AddTags"},
    "sagemaker:CreateEndpointConfig": {"sagemaker:AddTags", "kms:CreateGrant"},
    "application-autoscaling:RegisterScalableTarget": {
        "sagemaker:DescribeEndpointConfig",
        "sagemaker:UpdateEndpointWeightsAndCapacities",
        "iam:CreateServiceLinkedRole",
    },
    "application-autoscaling:PutScalingPolicy": {
        "cloudwatch:PutMetricAlarm",
        "cloudwatch:DescribeAlarms",
        "cloudwatch:DeleteAlarms",
    },
    "sns:Publish": {"kms:Decrypt", "kms:GenerateDataKey"},
    "s3:GetObject": {"s3:ListBucket"},
}
EVERY_FUNCTION = {"logs:CreateLogStream", "logs:PutLogEvents"}
# `Jobs.outcome` looks at a job of the token's kind. These functions hold tokens of one kind only and never make the
# other calls.
# The customer's key, which tests/infrastructure/rules.py looks at: through which services each role may use it.
KEY = {"kms:Decrypt", "kms:GenerateDataKey"}
TOKEN_CALLS = {
    "sagemaker:DescribeTrainingJob",
    "sagemaker:DescribeTransformJob",
    "sagemaker:DescribeEndpoint",
    "sagemaker:DescribeModelPackage",
    "emr-serverless:GetJobRun",
}
OWN_KIND = {
    "start_preparation": {"emr-serverless:GetJobRun"},
    "start_training": {"sagemaker:DescribeTrainingJob"},
    "start_batch": {"sagemaker:DescribeTransformJob"},
    "write_report": {"sagemaker:DescribeTrainingJob"},
    "collect_versions": {"sagemaker:DescribeEndpoint"},
    "request_approval": {"sagemaker:DescribeModelPackage"},
    "scale_endpoint": {"sagemaker:DescribeEndpoint"},
    "deploy": {"sagemaker:DescribeEndpoint", "sagemaker:DescribeModelPackage"},
}

# `Jobs.outcome` lists the versions of a training job's archives to pin them, and reads no object, although the module
# that it takes this from can. The last four hold no token of a training job.
NO_PINS = {
    "on_job_finished": {"s3:GetObject"},
    "reconcile": {"s3:GetObject"},
    "start_training": {"s3:GetObject"},
    "start_preparation": {"s3:ListBucketVersions"},
    "request_approval": {"s3:GetObject", "s3:ListBucketVersions", "dynamodb:GetItem"},
    "start_batch": {"s3:ListBucketVersions"},
    "deploy": {"s3:ListBucketVersions"},
}


@cache
def operations() -> dict[str, set[tuple[str, str]]]:
    """Python method name → service and IAM action that it may stand for: `describe_endpoint` → {(sagemaker,
    sagemaker:DescribeEndpoint)}."""
    session = botocore.session.get_session()
    found: dict[str, set[tuple[str, str]]] = {}
    for service, prefix in SERVICES.items():
        for operation in session.get_service_model(service).operation_names:
            action = f"{prefix}:{operation}"
            found.setdefault(xform_name(operation), set()).add((service, RENAMED.get(action, action)))
    return found


class _Uses(ast.NodeVisitor):
    """Names used by a piece of code: attributes, called names, AWS services, and the operations that paginators are
    asked for."""

    def __init__(self, *nodes: ast.AST) -> None:
        self.attributes: set[str] = set()
        self.names: set[str] = set()
        self.services: set[str] = set()
        for node in nodes:
            self.visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.attributes.add(node.attr)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        if isinstance(node.func, ast.Name):
            self.names.add(node.func.id)
        if called == "get_paginator":
            self.attributes.add(str(first))
        elif called in ("client", "create_client"):
            self.services.add(str(first))
        elif called in ("SigV4Auth", "S3SigV4Auth"):
            signed = str(getattr(node.args[1], "value", None))
            self.services |= {signed, f"{signed}-runtime"}
        elif called in SIGNED:
            self.services.add(SIGNED[called])
        self.generic_visit(node)


@cache
def _module(name: str) -> ast.Module:
    return ast.parse((FUNCTIONS / "shared" / f"{name}.py").read_text("utf-8"))


def _shared_imports(tree: ast.AST) -> set[str]:
    """Modules of `shared` that a file imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "shared":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found


@cache
def _imports_of(module: str) -> set[str]:
    return _shared_imports(_module(module))


@cache
def _definitions_of(module: str) -> list[tuple[str, _Uses]]:
    """The functions of a module of `shared` with the names that each uses."""
    return [(node.name, _Uses(node)) for node in ast.walk(_module(module)) if isinstance(node, ast.FunctionDef)]


def reachable_calls(function: str) -> set[str]:
    """The IAM actions that the code of `function` can need."""
    own = [ast.parse(path.read_text("utf-8")) for path in sorted((FUNCTIONS / function).glob("*.py"))]
    modules: set[str] = set()
    new = set().union(*(_shared_imports(tree) for tree in own))
    while new:
        modules |= new
        new = set().union(*(_imports_of(name) for name in new)) - modules
    definitions: dict[str, list[_Uses]] = {}
    for module in modules:
        for name, used in _definitions_of(module):
            definitions.setdefault(name, []).append(used)

    waiting = [_Uses(*own)]
    attributes: set[str] = set()
    services: set[str] = {"dynamodb"} if "ledger" in modules else set()
    seen: set[str] = set()
    while waiting:
        uses = waiting.pop()
        attributes |= uses.attributes
        services |= uses.services & SERVICES.keys()
        for name in (uses.attributes | uses.names) & definitions.keys() - seen:
            seen.add(name)
            waiting += definitions[name]
    calls = {
        action
        for name in attributes & operations().keys()
        for service, action in operations()[name]
        if service in services
    }
    calls -= TOKEN_CALLS - OWN_KIND.get(function, TOKEN_CALLS) | NO_PINS.get(function, set())
    if calls & PASSING:
        calls.add("iam:PassRole")
    return calls


def pascal(function: str) -> str:
    """`on_data_ready` → `OnDataReady`"""
    return "".join(word.capitalize() for word in function.split("_"))


def allowed_calls(function: str, cloudformation: dict[str, Any]) -> set[str]:
    """The IAM actions that the role of `function` allows."""
    granted = statements(cloudformation["Resources"][f"{pascal(function)}Role"]["Properties"])
    return {action for statement in granted for action in as_list(statement["Action"])}


def test_the_calls_are_found() -> None:
    assert {
        "sagemaker:CreateTrainingJob",
        "iam:PassRole",
        "states:SendTaskSuccess",
        "dynamodb:UpdateItem",
    } <= reachable_calls("start_training")
    assert reachable_calls("recommend") == {
        "sagemaker:InvokeEndpoint",
        "s3:GetObject",
        "dynamodb:Query",
    }
    assert reachable_calls("events") == {
        "dynamodb:BatchWriteItem",
        "dynamodb:Query",
        "firehose:PutRecord",
        "s3:GetObject",
    }


@pytest.mark.parametrize("function", NAMES)
def test_role_allows_every_call_that_the_code_can_reach(function: str, cloudformation: dict[str, Any]) -> None:
    assert reachable_calls(function) - allowed_calls(function, cloudformation) == set()


@pytest.mark.parametrize("function", NAMES)
def test_role_allows_no_call_that_the_code_cannot_reach(function: str, cloudformation: dict[str, Any]) -> None:
    reachable = reachable_calls(function)
    needed = reachable.union(EVERY_FUNCTION, *(ACCOMPANYING.get(call, set()) for call in reachable))
    if f"{pascal(function)}Function" in rules.asynchronous_functions(cloudformation):
        needed.add("sqs:SendMessage")
    if any(call.startswith(("s3:", "dynamodb:", "sns:", "sqs:")) for call in needed):
        needed |= KEY
    assert allowed_calls(function, cloudformation) - needed == set()


def test_sam_adds_no_role_and_no_policy(sam: dict[str, Any], cloudformation: dict[str, Any]) -> None:
    """Roles stay as written: a policy that SAM attaches would allow writing to every log group of the account."""
    written = of_type(sam, "AWS::IAM::Role")
    assert of_type(cloudformation, "AWS::IAM::Role") == written
    kinds = {resource["Type"] for resource in cloudformation["Resources"].values()}
    assert {kind for kind in kinds if kind.startswith("AWS::IAM::")} == {"AWS::IAM::Role"}


@pytest.mark.fault("R01")
def test_the_registrys_group_is_made_with_its_first_package_and_stays(cloudformation: dict[str, Any]) -> None:
    """In the template, the group of a deleted stack would stop the next deployment under the same NamePrefix."""
    kinds = {resource["Type"] for resource in cloudformation["Resources"].values()}
    assert "AWS::SageMaker::ModelPackageGroup" not in kinds
    makers = {
        name
        for name, role in of_type(cloudformation, "AWS::IAM::Role").items()
        for statement in statements(role)
        for action in as_list(statement["Action"])
        if action.endswith("ModelPackageGroup")
    }
    assert makers == {"RegisterRole"}, "which may create it, and nobody may delete it"
