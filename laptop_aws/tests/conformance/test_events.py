"""EventBridge, Scheduler, SNS, SQS and asynchronous invocation deliver as AWS does, and keep undelivered events."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from laptop_aws.tests.conformance.hosting import ACCOUNT, REGION, ROLE, Host, eventually, unique


def arn_of(function: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}"


def rule(host: Host, pattern: dict[str, Any], **target: Any) -> str:
    """A rule with one target."""
    name = unique("rule")
    host.client("events").put_rule(Name=name, EventPattern=json.dumps(pattern))
    failed = host.client("events").put_targets(Rule=name, Targets=[{"Id": "one", **target}])["FailedEntryCount"]
    assert failed == 0
    return name


def put(host: Host, source: str, detail: dict[str, Any] | None = None, kind: str = "Tested") -> None:
    answer = host.client("events").put_events(
        Entries=[{"Source": source, "DetailType": kind, "Detail": json.dumps(detail or {})}]
    )
    assert answer["FailedEntryCount"] == 0


@pytest.fixture(scope="module")
def recorder(host: Host) -> tuple[str, str]:
    """A function that puts its event on a queue: (function ARN, queue URL)."""
    url, _ = host.queue()
    name = host.function(
        """
        import boto3, json, os
        sqs = boto3.client("sqs")
        def handler(event, context):
            sqs.send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps(event))
        """,
        Environment={"Variables": {"QUEUE": url}},
    )
    return arn_of(name), url


@pytest.fixture
def failing(host: Host) -> tuple[str, str]:
    """A function that always fails and counts its tries in a queue: (name, queue URL)."""
    url, _ = host.queue()
    name = host.function(
        """
        import boto3, json, os
        sqs = boto3.client("sqs")
        def handler(event, context):
            sqs.send_message(QueueUrl=os.environ["QUEUE"], MessageBody=context.aws_request_id)
            raise RuntimeError("cannot")
        """,
        Environment={"Variables": {"QUEUE": url}},
    )
    return name, url


# ---- asynchronous invocation ----


def tries(host: Host, url: str) -> int:
    return int(
        host.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"][
            "ApproximateNumberOfMessages"
        ]
    )


def test_an_event_that_keeps_failing_goes_to_the_dead_letter_queue_as_it_was(
    host: Host, failing: tuple[str, str]
) -> None:
    name, counter = failing
    url, queue = host.queue()
    host.client("lambda").update_function_configuration(FunctionName=name, DeadLetterConfig={"TargetArn": queue})
    rule(host, {"source": [name]}, Arn=arn_of(name))
    put(host, name, {"runId": "v1-r1"})
    message = host.receive(url)
    event = json.loads(message["Body"])
    assert (event["source"], event["detail"]) == (name, {"runId": "v1-r1"})
    assert message["MessageAttributes"]["ErrorMessage"]["StringValue"] == "cannot"
    assert message["MessageAttributes"]["ErrorCode"]["StringValue"] == "200"
    assert tries(host, counter) == 3
    assert host.is_empty(url)


def test_maximum_retry_attempts_and_the_on_failure_destination_are_honoured(
    host: Host, failing: tuple[str, str]
) -> None:
    name, counter = failing
    url, queue = host.queue()
    host.client("lambda").put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": queue}}
    )
    host.client("lambda").invoke(FunctionName=name, InvocationType="Event", Payload=b'{"a": 1}')
    record = json.loads(host.receive(url)["Body"])
    assert record["requestPayload"] == {"a": 1}
    assert (
        record["requestContext"]["condition"] == "RetriesExhausted"
        and record["requestContext"]["approximateInvokeCount"] == 1
    )
    assert record["responsePayload"]["errorType"] == "RuntimeError"
    assert tries(host, counter) == 1


def test_what_is_configured_for_an_alias_holds_for_events_to_the_alias_alone(
    host: Host, failing: tuple[str, str]
) -> None:
    name, counter = failing
    client, (url, queue) = host.client("lambda"), host.queue()
    version = client.publish_version(FunctionName=name)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    client.put_function_event_invoke_config(
        FunctionName=name,
        Qualifier="live",
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": queue}},
    )
    client.invoke(FunctionName=name, Qualifier="live", InvocationType="Event", Payload=b'{"a": 1}')
    assert json.loads(host.receive(url)["Body"])["requestPayload"] == {"a": 1}
    assert tries(host, counter) == 1
    rule(host, {"source": [name]}, Arn=f"{arn_of(name)}:live")
    put(host, name, {"runId": "v1-r1"})
    assert json.loads(host.receive(url)["Body"])["requestPayload"]["detail"] == {"runId": "v1-r1"}
    client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"a": 2}')
    eventually(lambda: tries(host, counter) == 5)
    assert host.is_empty(url)


def test_an_event_for_a_throttled_function_waits_for_room(host: Host, recorder: tuple[str, str]) -> None:
    arn, url = recorder
    host.client("lambda").put_function_concurrency(FunctionName=arn, ReservedConcurrentExecutions=0)
    try:
        host.client("lambda").invoke(FunctionName=arn, InvocationType="Event", Payload=b'{"waited": true}')
        assert host.is_empty(url)
    finally:
        host.client("lambda").delete_function_concurrency(FunctionName=arn)
    assert json.loads(host.receive(url)["Body"]) == {"waited": True}


# ---- rules ----


def test_a_function_target_gets_the_event(host: Host, recorder: tuple[str, str]) -> None:
    arn, url = recorder
    source = unique("shop")
    rule(host, {"source": [source]}, Arn=arn)
    put(host, source, {"a": [1, None, "é"]}, "DatasetPrepared")
    event = json.loads(host.receive(url)["Body"])
    assert (event["version"], event["detail-type"], event["detail"]) == ("0", "DatasetPrepared", {"a": [1, None, "é"]})
    assert (event["account"], event["region"], event["resources"]) == (ACCOUNT, REGION, [])
    assert datetime.fromisoformat(event["time"].replace("Z", "+00:00")).tzinfo and len(event["id"]) == 36


@pytest.mark.parametrize("kind", ["function", "queue", "topic", "state machine"])
def test_an_event_whose_target_is_gone_lands_in_the_targets_dead_letter_queue(host: Host, kind: str) -> None:
    gone = {
        "function": arn_of("gone"),
        "queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:gone",
        "topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:gone",
        "state machine": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:gone",
    }[kind]
    url, queue = host.queue()
    source = unique("shop")
    extra = {"RoleArn": ROLE} if kind == "state machine" else {}
    name = rule(host, {"source": [source]}, Arn=gone, DeadLetterConfig={"Arn": queue}, **extra)
    put(host, source, {"a": 1})
    message = host.receive(url)
    assert json.loads(message["Body"])["detail"] == {"a": 1}
    attributes = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert attributes["TARGET_ARN"] == gone
    assert attributes["RULE_ARN"].endswith(f":rule/{name}")
    assert attributes["ERROR_CODE"] == "RESOURCE_NOT_FOUND"


def test_an_input_transformer_shapes_what_the_target_gets(host: Host) -> None:
    url, queue = host.queue()
    source = unique("shop")
    transformer = {
        "InputPathsMap": {"bucket": "$.detail.bucket.name", "size": "$.detail.object.size", "time": "$.time"},
        "InputTemplate": '{"trigger": {"bucket": <bucket>, "size": <size>, "at": <time>, '
        '"rule": <aws.events.rule-name>}, "text": "in <bucket>"}',
    }
    name = rule(host, {"source": [source]}, Arn=queue, InputTransformer=transformer)
    put(host, source, {"bucket": {"name": "data"}, "object": {"size": 5}})
    body = json.loads(host.receive(url)["Body"])
    assert body["text"] == "in data"
    assert {**body["trigger"], "at": ""} == {"bucket": "data", "size": 5, "at": "", "rule": name}


def test_input_path_and_constant_input(host: Host) -> None:
    url, queue = host.queue()
    source = unique("shop")
    rule(host, {"source": [source]}, Arn=queue, InputPath="$.detail.object")
    put(host, source, {"object": {"key": "k"}})
    assert json.loads(host.receive(url)["Body"]) == {"key": "k"}
    source = unique("shop")
    rule(host, {"source": [source]}, Arn=queue, Input='{"fixed": 1}')
    put(host, source)
    assert json.loads(host.receive(url)["Body"]) == {"fixed": 1}


def test_a_state_machine_target_starts_with_the_event(host: Host) -> None:
    machine = host.state_machine({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
    source = unique("shop")
    rule(host, {"source": [source]}, Arn=machine, RoleArn=ROLE)
    put(host, source, {"a": 1})
    sfn = host.client("stepfunctions")
    found = eventually(lambda: sfn.list_executions(stateMachineArn=machine)["executions"])
    ended = host.wait_for_execution(found[0]["executionArn"])
    assert json.loads(ended["input"])["detail"] == {"a": 1}


def test_a_disabled_rule_delivers_nothing(host: Host) -> None:
    url, queue = host.queue()
    source = unique("shop")
    name = rule(host, {"source": [source]}, Arn=queue)
    host.client("events").disable_rule(Name=name)
    put(host, source)
    assert host.is_empty(url)


@pytest.mark.parametrize(
    ("pattern", "detail", "matches"),
    [
        ({"object": {"key": [{"wildcard": "raw/*/_SUCCESS"}]}}, {"object": {"key": "raw/2026-11/_SUCCESS"}}, True),
        ({"object": {"key": [{"wildcard": "raw/*/_SUCCESS"}]}}, {"object": {"key": "raw/2026-11/part.csv"}}, False),
        (
            {"object": {"key": [{"wildcard": "datasets/*/manifest.json"}]}},
            {"object": {"key": "datasets/v1/manifest.json"}},
            True,
        ),
        ({"object": {"key": [{"prefix": "datasets/"}]}}, {"object": {"key": "raw/x"}}, False),
        ({"object": {"key": [{"suffix": "manifest.json"}]}}, {"object": {"key": "datasets/v1/manifest.json"}}, True),
        ({"status": [{"anything-but": ["RUNNING"]}]}, {"status": "FAILED"}, True),
        ({"status": [{"anything-but": ["RUNNING"]}]}, {"status": "RUNNING"}, False),
        ({"count": [{"numeric": [">", 3]}]}, {"count": 4}, True),
        ({"error": [{"exists": False}]}, {"status": "x"}, True),
        ({"TrainingJobStatus": ["Completed", "Failed", "Stopped"]}, {"TrainingJobStatus": "Stopped"}, True),
        (
            {"name": [{"prefix": "job-"}], "status": ["Failed"]},
            {"name": "job-v1", "status": "Completed"},
            False,
        ),
    ],
)
def test_patterns_match_as_on_aws(host: Host, pattern: dict[str, Any], detail: dict[str, Any], matches: bool) -> None:
    event = {
        "id": "1",
        "account": ACCOUNT,
        "source": "s",
        "time": "2026-11-23T15:13:00Z",
        "region": REGION,
        "resources": [],
        "detail-type": "t",
        "detail": detail,
    }
    answer = host.client("events").test_event_pattern(
        EventPattern=json.dumps({"detail": pattern}), Event=json.dumps(event)
    )
    assert answer["Result"] is matches


def test_events_in_the_name_of_aws_are_refused(host: Host) -> None:
    answer = host.client("events").put_events(Entries=[{"Source": "aws.sagemaker", "DetailType": "x", "Detail": "{}"}])
    assert answer["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException"


# ---- S3 ----


def test_an_object_created_event_has_the_shape_of_aws(host: Host) -> None:
    bucket = unique("data")
    s3 = host.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    url, queue = host.queue()
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [bucket]}, "object": {"key": [{"wildcard": "datasets/*/manifest.json"}]}},
    }
    rule(host, pattern, Arn=queue)
    s3.put_object(Bucket=bucket, Key="datasets/v1/part-0.parquet", Body=b"x")
    first = s3.put_object(Bucket=bucket, Key="datasets/v1/manifest.json", Body=b"{}")
    event = json.loads(host.receive(url)["Body"])
    detail = event["detail"]
    assert event["resources"] == [f"arn:aws:s3:::{bucket}"] and event["detail-type"] == "Object Created"
    assert (detail["version"], detail["bucket"], detail["reason"]) == ("0", {"name": bucket}, "PutObject")
    assert set(detail) == {"version", "bucket", "object", "request-id", "requester", "source-ip-address", "reason"}
    sequencer = detail["object"].pop("sequencer")
    assert detail["object"] == {
        "key": "datasets/v1/manifest.json",
        "size": 2,
        "etag": first["ETag"].strip('"'),
        "version-id": first["VersionId"],
    }
    s3.copy_object(
        Bucket=bucket,
        Key="datasets/v2/manifest.json",
        CopySource={"Bucket": bucket, "Key": "datasets/v1/manifest.json"},
    )
    second = json.loads(host.receive(url)["Body"])["detail"]
    assert (second["reason"], second["object"]["key"]) == ("CopyObject", "datasets/v2/manifest.json")
    assert int(second["object"]["sequencer"], 16) > int(sequencer, 16)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="datasets/v3/manifest.json")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="datasets/v3/manifest.json", UploadId=upload, PartNumber=1, Body=b"abc")
    s3.complete_multipart_upload(
        Bucket=bucket,
        Key="datasets/v3/manifest.json",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    third = json.loads(host.receive(url)["Body"])["detail"]
    assert (third["reason"], third["object"]["size"]) == ("CompleteMultipartUpload", 3)
    assert host.is_empty(url)


# ---- SNS ----


def test_a_topic_delivers_to_a_queue(host: Host) -> None:
    topic = host.client("sns").create_topic(Name=unique("topic"))["TopicArn"]
    url, queue = host.queue()
    host.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    host.client("sns").publish(TopicArn=topic, Subject="run failed", Message="AlgorithmError")
    body = json.loads(host.receive(url)["Body"])
    assert (body["Type"], body["TopicArn"], body["Subject"], body["Message"]) == (
        "Notification",
        topic,
        "run failed",
        "AlgorithmError",
    )


def test_a_queue_moves_what_is_not_taken_to_its_dead_letter_queue(host: Host) -> None:
    dead_url, dead = host.queue()
    url = host.client("sqs").create_queue(
        QueueName=unique("queue"),
        Attributes={
            "VisibilityTimeout": "0",
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 2}),
        },
    )["QueueUrl"]
    host.client("sqs").send_message(QueueUrl=url, MessageBody="left")
    for _ in range(3):
        host.client("sqs").receive_message(QueueUrl=url)
    assert host.receive(dead_url)["Body"] == "left"


# ---- Scheduler ----


def schedule(host: Host, state: str = "ENABLED", seconds: float = 2, **target: Any) -> str:
    name = unique("schedule")
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    host.client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression=f"at({moment:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"RoleArn": ROLE, **target},
        State=state,
    )
    return name


def test_a_schedule_invokes_functions_and_state_machines_with_its_input_and_a_disabled_one_nothing(
    host: Host, recorder: tuple[str, str]
) -> None:
    arn, url = recorder
    machine = host.state_machine({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
    schedule(host, Arn=arn, Input='{"from": "schedule"}')
    schedule(host, Arn=machine, Input='{"source": "s3://b/raw/d/"}')
    schedule(host, "DISABLED", Arn=arn, Input='{"from": "disabled"}')
    assert json.loads(host.receive(url)["Body"]) == {"from": "schedule"}
    found = eventually(lambda: host.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"])
    assert json.loads(host.wait_for_execution(found[0]["executionArn"])["input"]) == {"source": "s3://b/raw/d/"}
    assert host.is_empty(url, 1.5)


def test_a_schedule_whose_target_is_gone_uses_its_dead_letter_queue(host: Host) -> None:
    url, queue = host.queue()
    schedule(host, seconds=1, Arn=arn_of("gone"), Input='{"a": 1}', DeadLetterConfig={"Arn": queue})
    assert json.loads(host.receive(url)["Body"]) == {"a": 1}


def test_a_one_time_schedule_fires_once_and_not_again_after_a_restart(another_host: Callable[..., Host]) -> None:
    first = another_host().start()
    url, queue = first.queue("fired")
    schedule(first, seconds=1, Arn=queue, Input='{"n": 1}')
    assert json.loads(first.receive(url)["Body"]) == {"n": 1}
    assert first.stop() == 0
    again = another_host(first.root).start()
    time.sleep(1.2)
    assert again.is_empty(again.client("sqs").get_queue_url(QueueName="fired")["QueueUrl"])
