"""Firehose: records wait, and become one compressed object of a day's folder; none that was acknowledged is lost."""

from __future__ import annotations

import gzip
import json
import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from laptop_aws.tests.conformance.hosting import ROLE, Host, eventually, unique

PREFIX = "raw/live-!{timestamp:yyyy-MM-dd}/"
NAME = r"raw/live-(\d{4}-\d\d-\d\d)/%s-1-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9a-f-]{36}\.jsonl\.gz"


def template(bucket: str, stream: str) -> dict[str, Any]:
    """A stack with a stream, as the product's template has one."""
    properties = {
        "DeliveryStreamName": stream,
        "DeliveryStreamType": "DirectPut",
        "DeliveryStreamEncryptionConfigurationInput": {"KeyType": "AWS_OWNED_CMK"},
        "ExtendedS3DestinationConfiguration": {
            "BucketARN": f"arn:aws:s3:::{bucket}",
            "RoleARN": ROLE,
            "Prefix": PREFIX,
            "ErrorOutputPrefix": "errors/live/!{firehose:error-output-type}/!{timestamp:yyyy-MM-dd}/",
            "BufferingHints": {"IntervalInSeconds": {"Ref": "Seconds"}, "SizeInMBs": 1},
            "CompressionFormat": "GZIP",
            "FileExtension": ".jsonl.gz",
        },
    }
    return {
        "Parameters": {"Seconds": {"Type": "Number", "Default": 2}},
        "Resources": {"Stream": {"Type": "AWS::KinesisFirehose::DeliveryStream", "Properties": properties}},
        "Outputs": {"Name": {"Value": {"Ref": "Stream"}}, "Arn": {"Value": {"Fn::GetAtt": ["Stream", "Arn"]}}},
    }


def made(host: Host, seconds: int = 2) -> tuple[str, str, str]:
    """A bucket, and a stream into it from a stack: bucket, stream, stack."""
    bucket, stream, stack = unique("data"), unique("events"), unique("stack")
    host.client("s3").create_bucket(Bucket=bucket)
    host.client("cloudformation").create_stack(
        StackName=stack,
        TemplateBody=json.dumps(template(bucket, stream)),
        Parameters=[{"ParameterKey": "Seconds", "ParameterValue": str(seconds)}],
    )
    assert host.settled_stack(stack)["StackStatus"] == "CREATE_COMPLETE"
    return bucket, stream, stack


def line(number: int) -> bytes:
    return json.dumps({"USER_ID": f"ü{number}", "EVENT_ID": number}).encode() + b"\n"


def objects(host: Host, bucket: str) -> dict[str, bytes]:
    """The unpacked objects of the bucket, by their keys."""
    listed = host.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    return {
        entry["Key"]: gzip.decompress(host.client("s3").get_object(Bucket=bucket, Key=entry["Key"])["Body"].read())
        for entry in listed
    }


def test_a_stream_of_a_template_has_what_it_says(host: Host) -> None:
    firehose = host.client("firehose")
    bucket, stream, stack = made(host, seconds=300)
    described = firehose.describe_delivery_stream(DeliveryStreamName=stream)["DeliveryStreamDescription"]
    assert (described["DeliveryStreamStatus"], described["DeliveryStreamType"]) == ("ACTIVE", "DirectPut")
    assert described["DeliveryStreamEncryptionConfiguration"]["Status"] == "ENABLED"
    target = described["Destinations"][0]["ExtendedS3DestinationDescription"]
    assert target["BufferingHints"] == {"IntervalInSeconds": 300, "SizeInMBs": 1}
    assert (target["Prefix"], target["CompressionFormat"]) == (PREFIX, "GZIP")
    outputs = host.settled_stack(stack)["Outputs"]
    assert {one["OutputValue"] for one in outputs} == {stream, described["DeliveryStreamARN"]}

    firehose.put_record(DeliveryStreamName=stream, Record={"Data": line(1)})
    host.client("cloudformation").delete_stack(StackName=stack)
    eventually(lambda: stream not in firehose.list_delivery_streams(Limit=1000)["DeliveryStreamNames"])
    # What waits is written although the stream is gone.
    assert list(eventually(lambda: objects(host, bucket)).values()) == [line(1)]
    with pytest.raises(ClientError) as caught:
        firehose.put_record(DeliveryStreamName=stream, Record={"Data": line(1)})
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_records_that_wait_become_one_compressed_object(host: Host) -> None:
    firehose, events, s3 = host.client("firehose"), host.client("events"), host.client("s3")
    bucket, stream, _ = made(host)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    url, arn = host.queue()
    rule = unique("rule")
    pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])

    before = datetime.now(UTC)
    answer = firehose.put_record(DeliveryStreamName=stream, Record={"Data": line(0)})
    assert answer["Encrypted"] is True and answer["RecordId"]
    for first in (1, 4):
        batch = [{"Data": line(number)} for number in range(first, first + 3)]
        answer = firehose.put_record_batch(DeliveryStreamName=stream, Records=batch)
        assert answer["FailedPutCount"] == 0 and len({one["RecordId"] for one in answer["RequestResponses"]}) == 3
    assert objects(host, bucket) == {}

    # Nothing is put between records: the sender ends its lines.
    ((key, content),) = eventually(lambda: objects(host, bucket)).items()
    assert content == b"".join(line(number) for number in range(7))
    name = re.fullmatch(NAME % stream, key)
    assert name and name[1] in (f"{before:%Y-%m-%d}", f"{datetime.now(UTC):%Y-%m-%d}")
    detail = json.loads(host.receive(url)["Body"])["detail"]
    assert detail["object"]["key"] == key and detail["object"]["size"] > 0
    assert s3.head_object(Bucket=bucket, Key=key)["ContentType"] == "application/octet-stream"


def test_a_full_buffer_is_written_before_its_time(host: Host) -> None:
    bucket, stream, _ = made(host, seconds=900)
    half = b"x" * 600_000 + b"\n"
    for _ in range(2):
        host.client("firehose").put_record(DeliveryStreamName=stream, Record={"Data": half})
    assert list(eventually(lambda: objects(host, bucket)).values()) == [half + half]


def test_what_firehose_does_not_take(host: Host) -> None:
    _, stream, _ = made(host, seconds=900)
    put = host.client("firehose").put_record_batch
    for records in ([b"x" * 1_024_001], [b"x" * 1_000_000] * 5, [b"x"] * 501):
        with pytest.raises(ClientError) as caught:
            put(DeliveryStreamName=stream, Records=[{"Data": one} for one in records])
        assert caught.value.response["Error"]["Code"] == "InvalidArgumentException"


def test_no_acknowledged_record_is_lost_when_the_host_is_killed(another_host: Callable[..., Host]) -> None:
    host = another_host().start()
    bucket, stream, _ = made(host, seconds=3)
    eventually(lambda: stream in _saved(host))
    for number in range(20):
        host.client("firehose").put_record(DeliveryStreamName=stream, Record={"Data": line(number)})
    host.stop(signal.SIGKILL)
    host.start()
    assert b"".join(eventually(lambda: objects(host, bucket)).values()) == b"".join(map(line, range(20)))
    host.client("firehose").put_record(DeliveryStreamName=stream, Record={"Data": line(20)})
    assert len(eventually(lambda: [one for one in objects(host, bucket).values() if one == line(20)])) == 1
    assert not list((host.root / "firehose").glob("*.batch"))


def _saved(host: Host) -> str:
    saved = host.root / "state" / "firehose.json"
    return saved.read_text() if saved.exists() else ""
