"""Policies are evaluated as IAM does, calls replayed against them, and idle permissions found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ministack.core.iam_evaluator import parse_policy_document

from tests.permissions.authorization import Call, Question
from tests.permissions.proof import complaints_about, run_folder, unused
from tests.permissions.replay import Account, Permission, Replay, allows, recorded
from tests.permissions.unused import REASONS, Reason

ROLE = "arn:aws:iam::000000000000:role/ncf-Role"
OBJECT = "arn:aws:s3:::ncf-data/raw/a.csv"
TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/runs"


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Sid": "S", "Effect": "Allow", "Action": action, "Resource": resource, **more}


def on(key: str, value: Any, operator: str = "StringEquals") -> dict[str, Any]:
    return allow("iam:PassRole", ROLE, Condition={operator: {key: value}})


# Statements, a question, and IAM's answer. @cloud-copilot/iam-simulate, which is tested beside AWS, gives the same
# answers (decision 0047).
CASES: list[tuple[str, list[dict[str, Any]], tuple[str, str, dict[str, Any]], bool]] = [
    ("allowed", [allow("s3:GetObject", OBJECT)], ("s3:GetObject", OBJECT, {}), True),
    ("nothing allows it", [], ("s3:GetObject", OBJECT, {}), False),
    ("another action", [allow("s3:PutObject", OBJECT)], ("s3:GetObject", OBJECT, {}), False),
    ("another resource", [allow("s3:GetObject", OBJECT + "x")], ("s3:GetObject", OBJECT, {}), False),
    ("one of several", [allow(["s3:PutObject", "s3:GetObject"], ["x", OBJECT])], ("s3:GetObject", OBJECT, {}), True),
    (
        "a denial counts more",
        [allow("s3:*"), {**allow("s3:GetObject", OBJECT), "Effect": "Deny"}],
        ("s3:GetObject", OBJECT, {}),
        False,
    ),
    ("* of an action", [allow("s3:Get*")], ("s3:GetObject", OBJECT, {}), True),
    ("? of an action", [allow("s3:GetObjec?")], ("s3:GetObject", OBJECT, {}), True),
    ("? is one character", [allow("s3:GetObject?")], ("s3:GetObject", OBJECT, {}), False),
    ("an action in another case", [allow("S3:getobject")], ("s3:GetObject", OBJECT, {}), True),
    (
        "a resource in another case",
        [allow("s3:GetObject", "arn:aws:s3:::ncf-data/RAW/*")],
        ("s3:GetObject", OBJECT, {}),
        False,
    ),
    ("* goes over slashes", [allow("s3:GetObject", "arn:aws:s3:::ncf-*.csv")], ("s3:GetObject", OBJECT, {}), True),
    ("a dot is a dot", [allow("s3:GetObject", "arn:aws:s3:::ncf-data/raw/a?csv")], ("s3:GetObject", OBJECT, {}), True),
    (
        "no pattern but * and ?",
        [allow("s3:GetObject", "arn:aws:s3:::ncf.data/raw/a.csv")],
        ("s3:GetObject", OBJECT, {}),
        False,
    ),
    (
        "a bucket is not its objects",
        [allow("s3:GetObject", "arn:aws:s3:::ncf-data")],
        ("s3:GetObject", OBJECT, {}),
        False,
    ),
    ("an index is not its table", [allow("dynamodb:Query", TABLE)], ("dynamodb:Query", f"{TABLE}/index/i", {}), False),
    (
        "no resource to name",
        [allow("sagemaker:ListEndpoints", "arn:aws:sagemaker:*:*:endpoint/*")],
        ("sagemaker:ListEndpoints", "*", {}),
        False,
    ),
    (
        "NotAction",
        [{"Effect": "Allow", "NotAction": "s3:Put*", "Resource": "*"}],
        ("s3:GetObject", OBJECT, {}),
        True,
    ),
    (
        "NotAction names it",
        [{"Effect": "Allow", "NotAction": "s3:Get*", "Resource": "*"}],
        ("s3:GetObject", OBJECT, {}),
        False,
    ),
    (
        "NotResource",
        [{"Effect": "Deny", "Action": "s3:*", "NotResource": OBJECT}, allow("s3:*")],
        ("s3:GetObject", OBJECT, {}),
        True,
    ),
    (
        "StringEquals",
        [on("iam:PassedToService", "sagemaker.amazonaws.com")],
        ("iam:PassRole", ROLE, {"iam:PassedToService": "sagemaker.amazonaws.com"}),
        True,
    ),
    (
        "StringEquals another value",
        [on("iam:PassedToService", "sagemaker.amazonaws.com")],
        ("iam:PassRole", ROLE, {"iam:PassedToService": "ec2.amazonaws.com"}),
        False,
    ),
    ("the key is missing", [on("iam:PassedToService", "x")], ("iam:PassRole", ROLE, {}), False),
    (
        "keys in another case",
        [on("IAM:passedtoservice", "x")],
        ("iam:PassRole", ROLE, {"iam:PassedToService": "x"}),
        True,
    ),
    (
        "values in another case",
        [on("iam:PassedToService", "X")],
        ("iam:PassRole", ROLE, {"iam:PassedToService": "x"}),
        False,
    ),
    (
        "one of several values",
        [on("iam:PassedToService", ["y", "x"])],
        ("iam:PassRole", ROLE, {"iam:PassedToService": "x"}),
        True,
    ),
    (
        "StringEquals takes * as it is",
        [on("iam:PassedToService", "*")],
        ("iam:PassRole", ROLE, {"iam:PassedToService": "x"}),
        False,
    ),
    (
        "StringLike",
        [on("cloudwatch:namespace", "/aws/sagemaker/*", "StringLike")],
        ("iam:PassRole", ROLE, {"cloudwatch:namespace": "/aws/sagemaker/TrainingJobs"}),
        True,
    ),
    (
        "StringNotEquals",
        [on("iam:PassedToService", "x", "StringNotEquals")],
        ("iam:PassRole", ROLE, {"iam:PassedToService": "x"}),
        False,
    ),
    (
        "StringNotEquals without the key",
        [on("iam:PassedToService", "x", "StringNotEquals")],
        ("iam:PassRole", ROLE, {}),
        True,
    ),
    (
        "IfExists without the key",
        [on("iam:PassedToService", "x", "StringEqualsIfExists")],
        ("iam:PassRole", ROLE, {}),
        True,
    ),
    ("Null", [on("iam:PassedToService", "true", "Null")], ("iam:PassRole", ROLE, {}), True),
    (
        "ArnLike",
        [on("iam:AssociatedResourceArn", "arn:aws:ec2:*:*:instance/*", "ArnLike")],
        ("iam:PassRole", ROLE, {"iam:AssociatedResourceArn": "arn:aws:ec2:eu-west-1:1:instance/i"}),
        True,
    ),
    (
        "all operators must hold",
        [allow("iam:PassRole", ROLE, Condition={"StringEquals": {"a:b": "1"}, "StringLike": {"c:d": "2*"}})],
        ("iam:PassRole", ROLE, {"a:b": "1", "c:d": "3"}),
        False,
    ),
    (
        "a statement whose condition fails denies nothing",
        [on("a:b", "1"), allow("iam:PassRole", ROLE)],
        ("iam:PassRole", ROLE, {}),
        True,
    ),
    (
        "every tag is one of these",
        [on("aws:TagKeys", ["stack"], "ForAllValues:StringEquals")],
        ("iam:PassRole", ROLE, {"aws:TagKeys": ["stack", "other"]}),
        False,
    ),
    (
        "a tag of the request",
        [on("aws:RequestTag/stack", "ncf")],
        ("iam:PassRole", ROLE, {"aws:RequestTag/stack": "ncf", "aws:TagKeys": ["stack"]}),
        True,
    ),
]


@pytest.mark.parametrize(
    ("statements", "question", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_policies_answer_as_iam_does(
    statements: list[dict[str, Any]], question: tuple[str, str, dict[str, Any]], expected: bool
) -> None:
    policy = parse_policy_document({"Version": "2012-10-17", "Statement": statements})
    assert bool(allows([policy], Question(*question), ROLE, "us-east-1")) is expected


def account(*statements: dict[str, Any]) -> Account:
    policy = parse_policy_document({"Version": "2012-10-17", "Statement": list(statements)})
    return Account({ROLE: "Role"}, {ROLE: [policy]}, {})


def call(service: str = "s3", operation: str = "GetObject", **parameters: Any) -> Call:
    return Call(ROLE, service, operation, parameters or {"Bucket": "ncf-data", "Key": "raw/a.csv"})


def test_a_call_that_its_role_may_not_make_is_named() -> None:
    replay = Replay(account(allow("s3:GetObject", "arn:aws:s3:::ncf-data/datasets/*")), [call(), call()])
    assert replay.denied == {f"Role may not s3:GetObject on {OBJECT} (GetObject)": 2}


def test_a_call_of_another_role_and_one_that_is_unclear_are_named() -> None:
    stranger = Call("arn:aws:iam::000000000000:role/else", "s3", "GetObject")
    unclear = call("sagemaker", "DescribeEndpoint", Other="x")
    denied = sorted(Replay(account(allow("*")), [stranger, unclear]).denied)
    assert denied[0].startswith("arn:aws:iam::000000000000:role/else is no role of the stack")
    assert "no resource of" in denied[1]


def test_a_tokens_state_machine_is_that_of_the_task_which_was_given_it() -> None:
    machine, token = "arn:aws:states:us-east-1:000000000000:stateMachine:m", "0f" * 32
    task = Call(ROLE, "lambda", "Invoke", {"FunctionName": "f", "Payload": {"token": token}}, caller=machine)
    answered = call("stepfunctions", "SendTaskSuccess", taskToken=token)
    replay = Replay(account(allow("lambda:InvokeFunction"), allow("states:SendTaskSuccess", machine)), [task, answered])
    assert not replay.denied


def test_what_is_used_is_known_by_role_statement_and_action() -> None:
    statements = account(
        allow(["s3:GetObject", "s3:PutObject"], "arn:aws:s3:::ncf-data/raw/*", Sid="Raw"),
        allow("s3:GetObject", "arn:aws:s3:::ncf-data/datasets/*", Sid="Datasets"),
    )
    replay = Replay(statements, [call()])
    assert replay.used == {Permission("Role", "Raw", "s3:GetObject")}
    idle = set(statements.permissions()) - replay.used
    assert idle == {Permission("Role", "Raw", "s3:PutObject"), Permission("Role", "Datasets", "s3:GetObject")}
    reasons = [Reason("written by people", "Role.Raw", ("s3:Put*",)), Reason("none is", "Role.*", ("sqs:*",))]
    first, second = complaints_about(idle, reasons)
    assert first.startswith("nothing used Role.Datasets s3:GetObject")
    assert "Role.* ('sqs:*',)" in second


def test_a_condition_that_the_replay_does_not_set_is_found() -> None:
    assert account(on("aws:SourceVpc", "vpc-1")).unknown_conditions() == {"aws:sourcevpc"}
    assert not account(on("iam:PassedToService", "x"), on("aws:RequestTag/stack", "x")).unknown_conditions()


def test_recorded_calls_are_read(tmp_path: Path) -> None:
    document = {"time": 1.5, "principal": ROLE, "caller": "", "region": "eu-west-1", "service": "s3"}
    document |= {"operation": "ListBuckets", "parameters": {}, "status": 200}
    (tmp_path / "calls.jsonl").write_text(json.dumps(document) + "\n")
    [found] = recorded(tmp_path / "calls.jsonl")
    assert (found.operation, found.region, found.status, found.account) == (
        "ListBuckets", "eu-west-1", 200, "000000000000",
    )  # fmt: skip


def test_what_one_stack_used_is_not_idle_in_another() -> None:
    permission = ["Role", "Raw", "s3:GetObject"]
    assert [one for one in unused([([permission], []), ([permission], [permission])]) if "Role.Raw" in one] == []
    assert [one for one in unused([([permission], []), ([permission], [])]) if "Role.Raw" in one] != []


def test_all_processes_of_a_run_share_a_folder() -> None:
    assert run_folder(Path("/tmp/pytest-3/popen-gw0/local0")) == Path("/tmp/pytest-3")
    assert run_folder(Path("/tmp/pytest-3/live0")) == Path("/tmp/pytest-3")


def test_every_reason_says_why() -> None:
    assert all(reason.why and reason.statement and reason.actions for reason in REASONS)
