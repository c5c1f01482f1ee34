"""The calls of roles are recorded: those of functions, state machines, schedules, rules, jobs and endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from laptop_aws.tests.conformance.hosting import ACCOUNT, ROLE, Host, eventually, unique
from laptop_aws.tests.conformance.sagemaker_fixtures import bucket, build_image, trained

FUNCTION_ROLE = f"arn:aws:iam::{ACCOUNT}:role/function"
SOURCE = """
    import boto3

    def handler(event, context):
        s3 = boto3.client("s3")
        s3.put_object(Bucket=event["bucket"], Key="a folder/b", Body=b"1")
        s3.copy_object(Bucket=event["bucket"], Key="c", CopySource={"Bucket": event["bucket"], "Key": "a folder/b"})
        s3.list_objects_v2(Bucket=event["bucket"], Prefix="a folder/")
        s3.delete_objects(Bucket=event["bucket"], Delete={"Objects": [{"Key": "c"}]})
        boto3.client("cloudwatch").describe_alarms(AlarmNames=["no-such-alarm"])
        boto3.client("sns").publish(TopicArn=event["topic"], Message="x" * 5000)
        boto3.client("dynamodb").list_tables(Limit=3)
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("calls")
    host = Host(folder / "local", LAPTOP_AWS_CALLS_FILE=str(folder / "recorded" / "calls.jsonl")).start()
    try:
        yield host
    finally:
        host.stop()


def calls(host: Host, principal: str, service: str = "") -> list[dict[str, Any]]:
    path = Path(host.environment["LAPTOP_AWS_CALLS_FILE"])
    lines = path.read_text().splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines]
    return [call for call in found if call["principal"] == principal and service in ("", call["service"])]


def test_a_functions_calls_are_recorded_under_its_role(recording: Host) -> None:
    place = bucket(recording)
    topic = recording.client("sns").create_topic(Name=unique("topic"))["TopicArn"]
    name = recording.function(SOURCE, Role=FUNCTION_ROLE)
    event = {"bucket": place, "topic": topic}
    assert recording.invoke(name, event)[1] is None
    eventually(lambda: calls(recording, FUNCTION_ROLE, "dynamodb"))
    found = {
        (call["service"], call["operation"]): call["parameters"]
        for call in calls(recording, FUNCTION_ROLE)
        if call["region"] == "us-east-1" and call["time"] > 0 and call["status"] in (0, 200)
    }
    assert (found["s3", "PutObject"]["Bucket"], found["s3", "PutObject"]["Key"]) == (place, "a folder/b")
    assert found["s3", "CopyObject"]["CopySource"] == f"{place}/a%20folder/b"
    assert found["s3", "ListObjectsV2"]["Prefix"] == "a folder/"
    assert found["s3", "DeleteObjects"]["Objects"] == [{"Key": "c"}]
    assert found["cloudwatch", "DescribeAlarms"] == {"AlarmNames": ["no-such-alarm"]}
    assert (found["sns", "Publish"]["TopicArn"], len(found["sns", "Publish"]["Message"])) == (topic, 2000)
    assert found["dynamodb", "ListTables"] == {"Limit": 3}
    assert found["logs", "PutLogEvents"]["logGroupName"] == f"/aws/lambda/{name}"


def test_a_tasks_call_is_recorded_under_the_state_machines_role_and_the_owners_is_not(recording: Host) -> None:
    name = recording.function("def handler(event, context): return event")
    states = {"Call": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True}}
    states["Call"]["Parameters"] = {"FunctionName": name, "Payload": {"a": 1}}
    machine = recording.state_machine({"StartAt": "Call", "States": states})
    assert recording.run(machine)["status"] == "SUCCEEDED"
    [call] = [call for call in calls(recording, ROLE, "lambda") if call["caller"] == machine]
    assert (call["operation"], call["parameters"]) == ("Invoke", {"FunctionName": name, "Payload": {"a": 1}})
    assert not calls(recording, ROLE, "stepfunctions"), "the test itself starts the execution, as the account's owner"


def test_what_a_rule_delivers_is_recorded_under_its_role(recording: Host) -> None:
    states = {"End": {"Type": "Succeed"}}
    machine = recording.state_machine({"StartAt": "End", "States": states})
    role, rule = f"arn:aws:iam::{ACCOUNT}:role/{unique('rule')}", unique("rule")
    events = recording.client("events")
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": [rule]}))
    events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": machine, "RoleArn": role}])
    events.put_events(Entries=[{"Source": rule, "DetailType": "x", "Detail": "{}"}])
    [call] = eventually(lambda: calls(recording, role))
    assert (call["operation"], call["parameters"]) == ("StartExecution", {"stateMachineArn": machine})


def test_a_jobs_calls_are_recorded_under_the_role_that_it_was_given(recording: Host) -> None:
    trained(recording, build_image(recording), bucket(recording))
    found = {(call["service"], call["operation"]) for call in calls(recording, ROLE)}
    assert {
        ("s3", "ListObjectsV2"),
        ("s3", "GetObject"),
        ("s3", "PutObject"),
        ("logs", "CreateLogStream"),
        ("cloudwatch", "PutMetricData"),
        ("ecr", "BatchGetImage"),
    } <= found


def test_without_the_setting_nothing_is_recorded(host: Host) -> None:
    host.invoke(host.function("def handler(event, context): return event"))
    assert "LAPTOP_AWS_CALLS_FILE" not in host.environment
    assert not list(host.root.glob("**/*.jsonl"))
