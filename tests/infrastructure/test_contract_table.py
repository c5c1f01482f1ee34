"""The template gives each function the environment and the permissions that docs/contracts.md lists for it: these,
and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.infrastructure.templates import as_list, of_type, statements, text

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = (ROOT / "docs" / "contracts.md").read_text("utf-8")
COLUMNS = ("function", "called by", "environment besides the common", "AWS calls")

SERVICES = {
    "application-autoscaling": "application-autoscaling",
    "s3": "s3",
    "sagemaker": "sagemaker",
    "sagemaker-runtime": "sagemaker",
    "emr-serverless": "emr-serverless",
    "states": "states",
    "sns": "sns",
    "events": "events",
    "lambda": "lambda",
    "logs": "logs",
    "cloudwatch": "cloudwatch",
    "ledger": "ledger",
}
VERBS = (
    "SendTask",
    "Add",
    "Cancel",
    "Create",
    "Delete",
    "Deregister",
    "Describe",
    "Filter",
    "Get",
    "Head",
    "Invoke",
    "List",
    "Publish",
    "Put",
    "Register",
    "Start",
    "Stop",
    "Update",
)
PERMISSIONS = {
    "s3:Get": "s3:GetObject",
    "s3:Head": "s3:GetObject",
    "s3:List": "s3:ListBucket",
    "s3:Put": "s3:PutObject",
    "lambda:Invoke": "lambda:InvokeFunction",
}
# What a permission of the table brings with it: tags set at creation, the topic's key, telling an absent object
# from a forbidden one.
COMPANIONS = {
    "sagemaker:CreateModel": {"sagemaker:AddTags"},
    "sagemaker:CreateModelPackage": {"sagemaker:AddTags"},
    "sagemaker:CreateEndpoint": {"sagemaker:AddTags"},
    "sagemaker:CreateEndpointConfig": {"sagemaker:AddTags"},
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
    "s3:PutObject": {"s3:GetObject"},
}
EVERY_FUNCTION = {"logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"}
WITHOUT_LEDGER = {"publish_code", "recommend", "scale_endpoint"}


def _rows() -> dict[str, tuple[str, str]]:
    """Environment and calls of every function of the table, as written."""
    lines = CONTRACT.splitlines()
    header = "| " + " | ".join(COLUMNS) + " |"
    assert header in lines, f"docs/contracts.md has no table {header}"
    rows = {}
    for line in lines[lines.index(header) + 2 :]:
        if not line.startswith("|"):
            break
        function, _, environment, calls = (cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|")))
        rows[function.strip("`")] = (environment, calls)
    return rows


ROWS = _rows()


def environment_names(cell: str) -> set[str]:
    """`ARTIFACTS_BUCKET`, `APPROVAL` (auto) → {"ARTIFACTS_BUCKET", "APPROVAL"}"""
    return set(re.findall(r"`([A-Z][A-Z0-9_]+)(?:=[^`]*)?`", cell))


def operations(words: str) -> list[str]:
    """Create/DescribeModel → CreateModel, DescribeModel; SendTask* → SendTaskSuccess, SendTaskFailure; DescribeA/B
    → DescribeA, DescribeB"""
    parts = words.replace("SendTask*", "SendTaskSuccess/SendTaskFailure").split("/")
    verbs = [next((verb for verb in VERBS if part.startswith(verb)), "") for part in parts]
    last_noun = parts[-1].removeprefix(verbs[-1])
    found = []
    for part, verb in zip(parts, verbs, strict=True):
        if not verb:
            found.append(verbs[0] + part)
        elif part == verb and last_noun and verbs[-1]:
            found.append(verb + last_noun)
        else:
            found.append(part)
    return found


def permissions(cell: str) -> set[str]:
    """The IAM actions that a cell of the column "AWS calls" stands for."""
    found: set[str] = set()
    copied = re.search(r"the Describe/Get calls of `(\w+)`", cell)
    if copied:
        theirs = permissions(ROWS[copied[1]][1])
        found |= {action for action in theirs if re.search(r":(Describe|Get)", action)}
        cell = cell.replace(copied[0], "")
    service = ""
    for segment in re.split(r"[,;]", re.sub(r"\([^)]*\)|`[^`]*`", "", cell)):
        for word in segment.split():
            if word == "PassRole":
                found.add("iam:PassRole")
            elif word in SERVICES:
                service = SERVICES[word]
            elif service and service != "ledger" and word.startswith(VERBS):
                for operation in operations(word):
                    action = f"{service}:{operation}"
                    found.add(PERMISSIONS.get(action, action))
    return found


def test_the_table_is_read_right() -> None:
    assert operations("Create/Update/Describe/DeleteEndpoint") == [
        "CreateEndpoint",
        "UpdateEndpoint",
        "DescribeEndpoint",
        "DeleteEndpoint",
    ]
    assert operations("DescribeTrainingJob/Endpoint") == ["DescribeTrainingJob", "DescribeEndpoint"]
    assert operations("SendTaskSuccess/Failure") == ["SendTaskSuccess", "SendTaskFailure"]
    assert operations("CreateModel/DescribeModel") == ["CreateModel", "DescribeModel"]
    assert permissions("s3 Get/Head/List `datasets/`, states StartExecution; PassRole") == {
        "s3:GetObject",
        "s3:ListBucket",
        "states:StartExecution",
        "iam:PassRole",
    }
    assert environment_names("`A_B`, `APPROVAL` (auto\\|manual)") == {"A_B", "APPROVAL"}
    assert "sagemaker:DescribeEndpoint" in permissions(ROWS["reconcile"][1])


def _logical_id(function: str) -> str:
    return "".join(word.capitalize() for word in function.split("_"))


def test_the_template_has_the_functions_of_the_table(cloudformation: dict[str, Any]) -> None:
    functions = of_type(cloudformation, "AWS::Lambda::Function")
    assert set(functions) == {f"{_logical_id(name)}Function" for name in ROWS}
    assert {name: function["Handler"] for name, function in functions.items()} == {
        f"{_logical_id(name)}Function": f"{name}.app.handler" for name in ROWS
    }


def test_every_function_folder_is_in_the_table() -> None:
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
    assert folders == set(ROWS)


@pytest.mark.parametrize("function", ROWS)
def test_environment_is_that_of_the_table(function: str, cloudformation: dict[str, Any]) -> None:
    common = re.search(r"^Common environment:(.*?)Handlers:", CONTRACT, re.DOTALL | re.MULTILINE)
    assert common, "docs/contracts.md names no common environment"
    variables = cloudformation["Resources"][f"{_logical_id(function)}Function"]["Properties"]["Environment"][
        "Variables"
    ]
    assert set(variables) == environment_names(ROWS[function][0]) | environment_names(common[1])


@pytest.mark.parametrize("function", ROWS)
def test_role_allows_the_calls_of_the_table_and_no_others(function: str, cloudformation: dict[str, Any]) -> None:
    role = cloudformation["Resources"][f"{_logical_id(function)}Role"]["Properties"]
    allowed = {action for statement in statements(role) for action in as_list(statement["Action"])}
    wanted = permissions(ROWS[function][1])
    assert wanted - allowed == set(), "the table lists calls that the role forbids"
    companions = set().union(*(COMPANIONS.get(action, set()) for action in wanted), EVERY_FUNCTION)
    if any(text(r) == "${DeadLetterQueue.Arn}" for s in statements(role) for r in as_list(s["Resource"])):
        companions.add("sqs:SendMessage")
    rest = {action for action in allowed - wanted - companions if not action.startswith("dynamodb:")}
    assert rest == set(), "the role allows calls that the table does not list"
    uses_ledger = any(action.startswith("dynamodb:") for action in allowed)
    assert uses_ledger == (function not in WITHOUT_LEDGER)


def test_parameters_outputs_and_logical_ids_are_those_of_the_contract(cloudformation: dict[str, Any]) -> None:
    section = CONTRACT[CONTRACT.index("## Template") :].split("\n## ")[0]
    listed = {}
    for kind in ("Parameters", "Logical ids", "Outputs"):
        match = re.search(rf"^{kind}: (.*?)(?=^[A-Z][\w ]+: |\Z)", section, re.DOTALL | re.MULTILINE)
        assert match, f"docs/contracts.md lists no {kind}"
        listed[kind] = {name for name in re.findall(r"`([A-Z]\w+)`", match[1]) if name not in ("PascalCase",)}
    assert set(cloudformation["Parameters"]) == listed["Parameters"]
    assert set(cloudformation["Outputs"]) == listed["Outputs"]
    assert listed["Logical ids"] - set(cloudformation["Resources"]) == set()
