"""Delivers a message from one service to another inside the host, or raises NotDelivered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ministack.core.arn import ArnParseError, parse_arn
from ministack.core.concurrency import esm_wake
from ministack.core.responses import request_scope

from laptop_aws import calls


class NotDelivered(Exception):
    """The target refused the message or does not exist. ``code`` is AWS's error code; ``retryable`` is True if a retry
    may succeed."""

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


_CALLS = {
    "events": ("events", "PutEvents", "EventBusName"),
    "firehose": ("firehose", "PutRecord", "DeliveryStreamName"),
    "lambda": ("lambda", "Invoke", "FunctionName"),
    "sns": ("sns", "Publish", "TopicArn"),
    "sqs": ("sqs", "SendMessage", "QueueUrl"),
    "states": ("stepfunctions", "StartExecution", "stateMachineArn"),
}


def record(role: str, target: str) -> None:
    """Records the call by which a service delivers to ``target`` with a role; without one, the target's own policy
    decides."""
    if role and target.count(":") >= 5 and (call := _CALLS.get(target.split(":")[2])):
        service, operation, member = call
        calls.record(service, operation, {member: target}, principal=role)


def _parsed(arn: str) -> Any:
    try:
        return parse_arn(arn)
    except ArnParseError as error:
        raise NotDelivered("INVALID_PARAMETER", f"{arn!r} is no ARN: {error}") from error


def to_queue(arn: str, body: str, attributes: Mapping[str, str], group_id: str = "") -> None:
    """Sends ``body`` to the SQS queue with string message attributes."""
    from ministack.services import sqs

    spec = _parsed(arn)
    url = sqs._queue_name_to_url.get_scoped(spec.account_id, spec.region, spec.resource)
    if not url or sqs._queue_by_arn(arn) is None:
        raise NotDelivered("RESOURCE_NOT_FOUND", f"queue {arn} does not exist")
    message: dict[str, Any] = {
        "QueueUrl": url,
        "MessageBody": body,
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value
        },
    }
    if arn.endswith(".fifo"):
        message |= {
            "MessageGroupId": group_id or "default",
            "MessageDeduplicationId": hashlib.sha256(body.encode()).hexdigest(),
        }
    with request_scope(spec.account_id, spec.region):
        try:
            sqs._act_send_message(message, url)
        except sqs._Err as error:
            raise NotDelivered("SDK_CLIENT_ERROR", f"queue {arn} refused: {error.message}") from error
    esm_wake.set()


def to_topic(arn: str, body: str, attributes: Mapping[str, str], subject: str = "") -> None:
    """Publishes ``body`` to the SNS topic."""
    from ministack.services import sns

    spec = _parsed(arn)
    typed = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value}
    with request_scope(spec.account_id, spec.region):
        try:
            result = sns.publish_internal(arn, body, subject, message_attributes=typed)
        except sns.SnsPublishError as error:
            raise NotDelivered("SDK_CLIENT_ERROR", f"topic {arn} refused: {error}") from error
    if result is None:
        raise NotDelivered("RESOURCE_NOT_FOUND", f"topic {arn} does not exist")


def to_function(arn: str, event: Any) -> None:
    """Invokes the function asynchronously, with Lambda's own retries and dead-letter queue."""
    from ministack.services import lambda_svc

    func, config, name = lambda_svc._get_func_record_for_ref(arn)
    if not func or not config:
        raise NotDelivered("RESOURCE_NOT_FOUND", f"function {name or arn} does not exist")
    lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(func, config), event)


def to_state_machine(arn: str, event_input: str) -> None:
    """Starts an execution under a new name."""
    from ministack.services import stepfunctions

    spec = _parsed(arn)
    with request_scope(spec.account_id, spec.region):
        status, _, body = stepfunctions._start_execution({"stateMachineArn": arn, "input": event_input})
    if status >= 400:
        error = json.loads(body)
        code = str(error.get("__type", "SDK_CLIENT_ERROR"))
        missing = code == "StateMachineDoesNotExist"
        raise NotDelivered("RESOURCE_NOT_FOUND" if missing else code, f"{arn}: {error.get('message', code)}")


def to_bus(arn: str, detail: str) -> None:
    """Puts a Lambda destination's record on an event bus."""
    from ministack.services import eventbridge

    spec = _parsed(arn)
    entry = {
        "Source": "lambda",
        "DetailType": "Lambda Function Invocation Result",
        "Detail": detail,
        "EventBusName": spec.resource.partition("/")[2] or "default",
    }
    with request_scope(spec.account_id, spec.region):
        eventbridge._put_events({"Entries": [entry]})
