"""CloudFormation creates the template's resources, with the SAM transform and custom resources."""

from __future__ import annotations

import json
from typing import Any

import botocore.exceptions
import pytest

from laptop_aws.tests.conformance.hosting import ACCOUNT, REGION, Host, archive, eventually, unique


def deploy(host: Host, template: dict[str, Any], name: str = "") -> tuple[dict[str, Any], dict[str, str]]:
    """Deploys through a change set, as ``sam deploy`` does; returns the stack and its outputs."""
    cloudformation = host.client("cloudformation")
    kind = "UPDATE" if name else "CREATE"
    name = name or unique("stack")
    change = unique("change")
    cloudformation.create_change_set(
        StackName=name,
        ChangeSetName=change,
        ChangeSetType=kind,
        TemplateBody=json.dumps(template),
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND", "CAPABILITY_NAMED_IAM"],
    )
    eventually(
        lambda: cloudformation.describe_change_set(StackName=name, ChangeSetName=change)["Status"] == "CREATE_COMPLETE"
    )
    cloudformation.execute_change_set(StackName=name, ChangeSetName=change)
    eventually(
        lambda: cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] != "REVIEW_IN_PROGRESS"
    )
    stack = host.settled_stack(name)
    return stack, {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


@pytest.fixture(scope="module")
def code(host: Host) -> dict[str, str]:
    bucket = unique("code")
    host.client("s3").create_bucket(Bucket=bucket)
    host.client("s3").put_object(
        Bucket=bucket, Key="functions.zip", Body=archive({"app.py": "def handler(e, c): return 'new'"})
    )
    return {"S3Bucket": bucket, "S3Key": "functions.zip"}


def function(code: dict[str, str], **properties: Any) -> dict[str, Any]:
    role = f"arn:aws:iam::{ACCOUNT}:role/r"
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {"Handler": "app.handler", "Runtime": "python3.13", "Role": role, "Code": code, **properties},
    }


def test_a_function_has_all_that_its_template_says(host: Host, code: dict[str, str]) -> None:
    resources: dict[str, Any] = {
        "DeadLetters": {"Type": "AWS::SQS::Queue"},
        "Log": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 7}},
        "Made": function(
            code,
            DeadLetterConfig={"TargetArn": {"Fn::GetAtt": ["DeadLetters", "Arn"]}},
            ReservedConcurrentExecutions=2,
            LoggingConfig={"LogFormat": "JSON", "LogGroup": {"Ref": "Log"}},
            Architectures=["arm64"],
            Timeout=33,
            MemorySize=512,
        ),
        "Retries": {
            "Type": "AWS::Lambda::EventInvokeConfig",
            "Properties": {
                "FunctionName": {"Ref": "Made"},
                "Qualifier": "$LATEST",
                "MaximumRetryAttempts": 1,
                "MaximumEventAgeInSeconds": 900,
            },
        },
    }
    outputs = {
        "Name": {"Value": {"Ref": "Made"}},
        "Queue": {"Value": {"Fn::GetAtt": ["DeadLetters", "Arn"]}},
        "Log": {"Value": {"Ref": "Log"}},
    }
    stack, made = deploy(host, {"Resources": resources, "Outputs": outputs})
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    client = host.client("lambda")
    config = client.get_function_configuration(FunctionName=made["Name"])
    assert config["DeadLetterConfig"] == {"TargetArn": made["Queue"]}
    assert config["LoggingConfig"]["LogGroup"] == made["Log"] and config["LoggingConfig"]["LogFormat"] == "JSON"
    assert (config["Timeout"], config["MemorySize"], config["Architectures"]) == (33, 512, ["arm64"])
    assert client.get_function_concurrency(FunctionName=made["Name"])["ReservedConcurrentExecutions"] == 2
    retries = client.get_function_event_invoke_config(FunctionName=made["Name"], Qualifier="$LATEST")
    assert (retries["MaximumRetryAttempts"], retries["MaximumEventAgeInSeconds"]) == (1, 900)
    assert host.invoke(made["Name"]) == ("new", None)
    assert any("REPORT" in line for line in host.log_lines(made["Log"]))
    resources["Made"]["Properties"].pop("ReservedConcurrentExecutions")
    resources["Made"]["Properties"]["Timeout"] = 44
    stack, _ = deploy(host, {"Resources": resources, "Outputs": outputs}, stack["StackName"])
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    config = client.get_function_configuration(FunctionName=made["Name"])
    assert (config["Timeout"], config["DeadLetterConfig"]) == (44, {"TargetArn": made["Queue"]})
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=made["Name"])


def test_a_parameter_of_parameter_store_is_resolved_at_each_deployment(host: Host, code: dict[str, str]) -> None:
    """Its constraints are those of the key (CloudFormation's guide: "can perform validation on Systems Manager
    parameter keys, but not on their corresponding values")."""
    ssm, key = host.client("ssm"), f"/shop/{unique('image')}"
    parameter = {"Type": "AWS::SSM::Parameter::Value<String>", "Default": key, "AllowedPattern": "^/shop/.+$"}
    template = {
        "Parameters": {"Image": parameter},
        "Resources": {"Made": function(code, Environment={"Variables": {"IMAGE": {"Ref": "Image"}}})},
        "Outputs": {"Name": {"Value": {"Ref": "Made"}}},
    }
    ssm.put_parameter(Name=key, Value="first", Type="String")
    stack, made = deploy(host, template)

    def image() -> str:
        found = host.client("lambda").get_function_configuration(FunctionName=made["Name"])
        return str(found["Environment"]["Variables"]["IMAGE"])

    assert (stack["StackStatus"], image()) == ("CREATE_COMPLETE", "first")
    ssm.put_parameter(Name=key, Value="second", Type="String", Overwrite=True)
    stack, _ = deploy(host, template, stack["StackName"])
    assert (stack["StackStatus"], image()) == ("UPDATE_COMPLETE", "second")
    parameter["AllowedPattern"] = "^/other/.+$"
    with pytest.raises(botocore.exceptions.ClientError, match="must match pattern"):
        deploy(host, template)


def test_a_parameter_refuses_what_its_pattern_does_not_match(host: Host) -> None:
    ssm, given = host.client("ssm"), {"Name": f"/shop/{unique('image')}", "Type": "String", "AllowedPattern": "^a+$"}
    ssm.put_parameter(Value="aa", **given)
    with pytest.raises(ssm.exceptions.ParameterPatternMismatchException):
        ssm.put_parameter(Value="b", Overwrite=True, **given)
    assert ssm.get_parameter(Name=given["Name"])["Parameter"]["Value"] == "aa"


RELEASED = """
import os
def handler(event, context):
    return "code 1, setting " + os.environ["SETTING"]
"""


def released_template(queue: str, setting: str, source: str) -> dict[str, Any]:
    """A machine that waits for a token, then calls a version of a function, which has an alias too."""
    call = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Output": "{% $states.result.Payload %}"}
    wait = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "Next": "Call"}
    body = "{% $states.context.Task.Token %}"
    definition = {
        "QueryLanguage": "JSONata",
        "StartAt": "Wait",
        "States": {
            "Wait": {**wait, "Arguments": {"QueueUrl": queue, "MessageBody": body}},
            "Call": {**call, "Arguments": {"FunctionName": "${Function}"}, "End": True},
        },
    }
    role = f"arn:aws:iam::{ACCOUNT}:role/r"
    released = {
        "Handler": "index.handler",
        "Runtime": "python3.13",
        "Role": role,
        "InlineCode": source,
        "Environment": {"Variables": {"SETTING": {"Ref": "Setting"}}},
        "AutoPublishAlias": "live",
        "AutoPublishAliasAllProperties": True,
        "VersionDescription": {"Ref": "Setting"},
    }
    machine = {"Definition": definition, "Role": role, "DefinitionSubstitutions": {"Function": {"Ref": "Made.Version"}}}
    return {
        "Transform": "AWS::Serverless-2016-10-31",
        "Parameters": {"Setting": {"Type": "String", "Default": setting}},
        "Resources": {
            "Made": {"Type": "AWS::Serverless::Function", "UpdateReplacePolicy": "Retain", "Properties": released},
            "Machine": {"Type": "AWS::Serverless::StateMachine", "Properties": machine},
        },
        "Outputs": {"Machine": {"Value": {"Ref": "Machine"}}, "Alias": {"Value": {"Ref": "Made.Alias"}}},
    }


def test_an_execution_ends_with_the_code_that_it_began_with(host: Host) -> None:
    """A version that a parameter replaces stays (UpdateReplacePolicy), and so does one of earlier code
    (DeletionPolicy); the alias is of the newest one."""
    machines, (queue, _) = host.client("stepfunctions"), host.queue()
    newer = RELEASED.replace("code 1", "code 2")
    stack, executions, tokens = "", [], []
    for setting, source in (("a", RELEASED), ("b", RELEASED), ("b", newer)):
        found, made = deploy(host, released_template(queue, setting, source), stack)
        assert found["StackStatus"].endswith(("CREATE_COMPLETE", "UPDATE_COMPLETE"))
        stack = found["StackName"]
        executions.append(machines.start_execution(stateMachineArn=made["Machine"])["executionArn"])
        tokens.append(host.receive(queue)["Body"])
    for token in tokens:
        machines.send_task_success(taskToken=token, output="{}")
    outputs = [json.loads(host.wait_for_execution(execution)["output"]) for execution in executions]
    assert outputs == ["code 1, setting a", "code 1, setting b", "code 2, setting b"]
    assert host.invoke(made["Alias"]) == ("code 2, setting b", None)


def custom_template(source: str, **properties: Any) -> dict[str, Any]:
    resources = {
        "Publisher": function({"ZipFile": source}, Handler="index.handler", Timeout=10),  # type: ignore[arg-type]
        "Code": {
            "Type": "Custom::PreparationCode",
            "Properties": {"ServiceToken": {"Fn::GetAtt": ["Publisher", "Arn"]}, **properties},
        },
    }
    return {
        "Resources": resources,
        "Outputs": {"Key": {"Value": {"Fn::GetAtt": ["Code", "Key"]}}, "Id": {"Value": {"Ref": "Code"}}},
    }


ANSWER = """
import json, urllib.request
def handler(event, context):
    answer = {"Status": "SUCCESS", "PhysicalResourceId": "code-" + event["ResourceProperties"].get("Sha", ""),
              "StackId": event["StackId"], "RequestId": event["RequestId"],
              "LogicalResourceId": event["LogicalResourceId"],
              "Data": {"Key": event["RequestType"] + " " + event["ResourceProperties"].get("Sha", "")}}
    answer.update(FAILING)
    request = urllib.request.Request(event["ResponseURL"], data=json.dumps(answer).encode(), method="PUT")
    urllib.request.urlopen(request).read()
"""


def test_a_topic_has_the_key_of_its_template(host: Host) -> None:
    topic: dict[str, Any] = {"Type": "AWS::SNS::Topic", "Properties": {"KmsMasterKeyId": {"Fn::GetAtt": ["K", "Arn"]}}}
    resources: dict[str, Any] = {"K": {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {}}}, "T": topic}
    outputs = {"Topic": {"Value": {"Ref": "T"}}, "Key": {"Value": {"Fn::GetAtt": ["K", "Arn"]}}}
    stack, made = deploy(host, {"Resources": resources, "Outputs": outputs})

    def key() -> str | None:
        found = host.client("sns").get_topic_attributes(TopicArn=made["Topic"])["Attributes"]
        return str(found["KmsMasterKeyId"]) if "KmsMasterKeyId" in found else None

    assert key() == made["Key"]
    topic["Properties"] = {"DisplayName": "open"}
    deploy(host, {"Resources": resources, "Outputs": outputs}, stack["StackName"])
    assert key() is None


def test_a_custom_resource_answers_at_its_response_url(host: Host) -> None:
    source = ANSWER.replace("FAILING", "{}")
    stack, outputs = deploy(host, custom_template(source, Sha="1"))
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert outputs == {"Key": "Create 1", "Id": "code-1"}
    stack, outputs = deploy(host, custom_template(source, Sha="2"), stack["StackName"])
    assert (stack["StackStatus"], outputs) == ("UPDATE_COMPLETE", {"Key": "Update 2", "Id": "code-2"})


def test_a_custom_resource_that_fails_rolls_the_stack_back_with_its_reason(host: Host) -> None:
    template = custom_template(
        ANSWER.replace("FAILING", "{'Status': 'FAILED', 'Reason': 'bucket is not there'}"), Sha="1"
    )
    stack, _ = deploy(host, template)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    events = host.client("cloudformation").describe_stack_events(StackName=stack["StackName"])["StackEvents"]
    failed = [
        event for event in events if event["ResourceStatus"] == "CREATE_FAILED" and event["LogicalResourceId"] == "Code"
    ]
    assert "bucket is not there" in failed[0]["ResourceStatusReason"]


def test_an_unknown_resource_type_is_refused_by_name(host: Host) -> None:
    template = {"Resources": {"What": {"Type": "AWS::Nothing::Known"}}}
    try:
        stack, _ = deploy(host, template)
        text = stack.get("StackStatusReason", "")
    except botocore.exceptions.ClientError as error:
        text = str(error)
    assert "AWS::Nothing::Known" in text


def test_the_sam_transform_makes_functions_state_machines_rules_and_schedules(host: Host, code: dict[str, str]) -> None:
    definition = {
        "StartAt": "Call",
        "States": {
            "Call": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke",
                "Parameters": {"FunctionName": "${Fn}"},
                "End": True,
            }
        },
    }
    host.client("s3").put_object(Bucket=code["S3Bucket"], Key="machine.asl.json", Body=json.dumps(definition))
    resources = {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "lambda.amazonaws.com"},
                            "Action": "sts:AssumeRole",
                        }
                    ],
                },
                "Policies": [
                    {
                        "PolicyName": "p",
                        "PolicyDocument": {
                            "Version": "2012-10-17",
                            "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}],
                        },
                    }
                ],
            },
        },
        "Queue": {"Type": "AWS::SQS::Queue"},
        "OnDataReadyFunction": {
            "Type": "AWS::Serverless::Function",
            "Properties": {
                "Handler": "app.handler",
                "Runtime": "python3.13",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "CodeUri": {"Bucket": code["S3Bucket"], "Key": code["S3Key"]},
                "EventInvokeConfig": {"MaximumRetryAttempts": 1},
                "DeadLetterQueue": {"Type": "SQS", "TargetArn": {"Fn::GetAtt": ["Queue", "Arn"]}},
            },
        },
        "RetrainingStateMachine": {
            "Type": "AWS::Serverless::StateMachine",
            "Properties": {
                "DefinitionUri": {"Bucket": code["S3Bucket"], "Key": "machine.asl.json"},
                "DefinitionSubstitutions": {"Fn": {"Fn::GetAtt": ["OnDataReadyFunction", "Arn"]}},
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            },
        },
        "ManifestCreatedRule": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "EventPattern": {"source": [{"Ref": "AWS::StackName"}]},
                "Targets": [
                    {
                        "Id": "run",
                        "Arn": {"Ref": "RetrainingStateMachine"},
                        "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
                        "DeadLetterConfig": {"Arn": {"Fn::GetAtt": ["Queue", "Arn"]}},
                        "RetryPolicy": {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 600},
                    }
                ],
            },
        },
        "ReconcileSchedule": {
            "Type": "AWS::Scheduler::Schedule",
            "Properties": {
                "ScheduleExpression": "rate(15 minutes)",
                "State": "DISABLED",
                "FlexibleTimeWindow": {"Mode": "OFF"},
                "Target": {
                    "Arn": {"Fn::GetAtt": ["OnDataReadyFunction", "Arn"]},
                    "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
                    "RetryPolicy": {"MaximumRetryAttempts": 2},
                },
            },
        },
    }
    outputs = {
        "Machine": {"Value": {"Ref": "RetrainingStateMachine"}},
        "Function": {"Value": {"Ref": "OnDataReadyFunction"}},
        "Schedule": {"Value": {"Ref": "ReconcileSchedule"}},
        "Rule": {"Value": {"Ref": "ManifestCreatedRule"}},
    }
    stack, made = deploy(host, {"Transform": "AWS::Serverless-2016-10-31", "Resources": resources, "Outputs": outputs})
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert (
        host.client("lambda")
        .get_function_configuration(FunctionName=made["Function"])["DeadLetterConfig"]["TargetArn"]
        .startswith("arn:aws:sqs:")
    )
    assert (
        host.client("lambda").get_function_event_invoke_config(FunctionName=made["Function"])["MaximumRetryAttempts"]
        == 1
    )
    assert host.client("scheduler").get_schedule(Name=made["Schedule"])["State"] == "DISABLED"
    target = host.client("events").list_targets_by_rule(Rule=made["Rule"])["Targets"][0]
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 600}
    host.client("events").put_events(Entries=[{"Source": stack["StackName"], "DetailType": "x", "Detail": "{}"}])
    found = eventually(
        lambda: host.client("stepfunctions").list_executions(stateMachineArn=made["Machine"])["executions"]
    )
    ended = host.wait_for_execution(found[0]["executionArn"])
    assert json.loads(ended["output"])["Payload"] == "new"
    host.client("cloudformation").delete_stack(StackName=stack["StackName"])
    eventually(
        lambda: (
            not [
                f for f in host.client("lambda").list_functions()["Functions"] if f["FunctionName"] == made["Function"]
            ]
        )
    )
    assert REGION in made["Machine"]
