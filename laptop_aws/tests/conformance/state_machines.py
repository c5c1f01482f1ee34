"""States and functions that the tests of Step Functions use."""

from __future__ import annotations

from typing import Any

import botocore.exceptions
import pytest

from laptop_aws.tests.conformance.hosting import Host

KIB_257 = "x" * 257 * 1024
"""Larger than the limit of inputs and results, 256 KiB."""


def jsonata(states: dict[str, Any], start: str = "", **more: Any) -> dict[str, Any]:
    return {"QueryLanguage": "JSONata", "StartAt": start or next(iter(states)), "States": states, **more}


def call(function: str, payload: Any = "{% $states.input %}", **more: Any) -> dict[str, Any]:
    """A Task that invokes a function and keeps its payload."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": function, "Payload": payload},
        "Output": "{% $states.result.Payload %}",
        "End": True,
        **more,
    }


def token_task(queue_url: str, **more: Any) -> dict[str, Any]:
    """A Task that puts its token on a queue and waits."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Arguments": {"QueueUrl": queue_url, "MessageBody": {"token": "{% $states.context.Task.Token %}"}},
        "End": True,
        **more,
    }


def refused(call_: Any, **arguments: Any) -> str:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call_(**arguments)
    return str(caught.value.response["Error"]["Code"])


def failing_function(host: Host) -> str:
    """The ARN of a function that raises the event's `error` for the first `failures` calls with the same `key`."""
    return host.function(
        """
        class BadManifest(Exception): pass
        class Throttled(Exception): pass
        calls = {}
        def handler(event, context):
            key = event.get("key", "")
            calls[key] = calls.get(key, 0) + 1
            if calls[key] <= event.get("failures", 99):
                raise {"BadManifest": BadManifest, "Throttled": Throttled}[event["error"]]("message with 12 figures")
            return {"calls": calls[key]}
        """
    )
