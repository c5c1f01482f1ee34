"""Requests that are refused while the disk is full, and the format of the answer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from laptop_aws import shortage

S3 = "AWS4-HMAC-SHA256 Credential=000000000000/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
FORM = "application/x-www-form-urlencoded; charset=utf-8"


def ask(
    method: str,
    path: str,
    body: bytes = b"",
    query: bytes = b"",
    failure: str | None = "dynamodb.json: No space left on device",
    room_needed: int = 0,
    **headers: str,
) -> tuple[Any, bytes]:
    """Returns (the refusal or None, the body read afterwards)."""
    scope = {
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    disk = shortage.Disk(Path("/"), SimpleNamespace(failure=failure, room_needed=room_needed))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def run() -> tuple[Any, bytes]:
        refused, again = await shortage.refusal(scope, receive, disk)
        return refused, (await again())["body"]

    return asyncio.run(run())


@pytest.mark.parametrize(
    "target",
    [
        "DynamoDB_20120810.GetItem",
        "DynamoDB_20120810.Query",
        "DynamoDB_20120810.Scan",
        "DynamoDB_20120810.BatchGetItem",
        "SageMaker.DescribeEndpoint",
        "AWSStepFunctions.ListExecutions",
    ],
)
def test_reading_passes(target: str) -> None:
    assert ask("POST", "/", x_amz_target=target) == (None, b"")


@pytest.mark.parametrize(
    "target",
    [
        "DynamoDB_20120810.PutItem",
        "DynamoDB_20120810.DeleteItem",
        "AWSStepFunctions.StartExecution",
        "SageMaker.CreateModelPackage",
        "AmazonSQS.SendMessage",
    ],
)
def test_changing_is_refused_as_json(target: str) -> None:
    refused, _ = ask("POST", "/", x_amz_target=target)
    status, headers, body = refused
    assert (status, headers["x-amzn-errortype"]) == (503, "ServiceUnavailable")
    assert json.loads(body) == {
        "__type": "ServiceUnavailable",
        "message": "Nothing was changed: state cannot be saved (dynamodb.json: No space left on device). "
        "Free some space, then try again.",
    }


def test_a_form_is_judged_by_its_action_and_can_still_be_read() -> None:
    body = b"Action=DescribeStacks&StackName=x"
    assert ask("POST", "/", body, content_type=FORM) == (None, body)
    refused, again = ask("POST", "/", b"Action=CreateStack&StackName=x", content_type=FORM)
    assert refused[2].startswith(b"<ErrorResponse><Error><Code>ServiceUnavailable</Code>")
    assert again == b"Action=CreateStack&StackName=x"


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [("GET", "/bucket/key", b""), ("DELETE", "/bucket/key", b""), ("POST", "/bucket", b"delete")],
)
def test_objects_can_be_read_and_deleted(method: str, path: str, query: bytes) -> None:
    assert ask(method, path, query=query, authorization=S3)[0] is None


def test_objects_cannot_be_written() -> None:
    refused, _ = ask("PUT", "/bucket/key", authorization=S3)
    assert refused[:2] == (503, {"content-type": "application/xml"})
    assert refused[2].startswith(b"<Error><Code>ServiceUnavailable</Code>")


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/2015-03-31/functions/f/invocations", "127.0.0.1:4566"),
        ("/endpoints/e/invocations", "127.0.0.1:4566"),
        ("/_aws/execute-api/abc/$default/users", "127.0.0.1:4566"),
        ("/users", "abc.execute-api.localhost:4566"),
        ("/_ministack/reset", "127.0.0.1:4566"),
    ],
)
def test_invoking_passes(path: str, host: str) -> None:
    assert ask("POST", path, host=host)[0] is None


def test_without_a_shortage_everything_passes() -> None:
    assert ask("PUT", "/bucket/key", failure=None, authorization=S3)[0] is None


def test_a_body_and_the_next_save_must_fit_on_the_disk() -> None:
    refused, _ = ask("PUT", "/bucket/key", failure=None, room_needed=1 << 20, content_length=str(1 << 60))
    assert f"and {(1 << 60) + (1 << 20)} are needed".encode() in refused[2]


def test_a_drill_counts_the_disk_as_full_and_ends_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    disk = shortage.Disk(tmp_path, SimpleNamespace(failure=None, room_needed=7))
    assert disk.shortage(0) is None
    disk.drill(10)
    assert disk.shortage(2) == "the disk has 0 bytes free and 9 are needed"
    now += 10
    assert disk.shortage(2) is None


@pytest.mark.parametrize(
    ("seconds", "status"), [("1", 200), ("60", 200), ("61", 400), ("0", 400), ("-1", 400), ("x", 400)]
)
def test_a_drill_is_bounded(seconds: str, status: int) -> None:
    answer, _ = ask("POST", shortage.DRILL_PATH, failure=None, x_laptop_aws_seconds=seconds)
    assert answer[0] == status


def test_a_page_of_another_site_cannot_ask_for_a_drill() -> None:
    """It may send a POST, but not this header."""
    answer, _ = ask("POST", shortage.DRILL_PATH, failure=None)
    assert answer[0] == 400
