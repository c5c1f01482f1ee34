"""Lambda: asynchronous invocation, and its retries, dead-letter queues and destinations."""

from __future__ import annotations

import contextvars
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from ministack.core.arn import ArnParseError, parse_arn
from ministack.services import lambda_svc

from laptop_aws import registry
from laptop_aws.correction import corrects
from laptop_aws.corrections import delivery

logger = logging.getLogger("emulator")

LATEST = "$LATEST"
RETRIES = 2
RETRY_BASE_SECONDS = float(os.environ.get("LAMBDA_ASYNC_RETRY_BASE_SECONDS", "1"))
THROTTLE_WAIT_SECONDS = 0.5
MAXIMUM_EVENT_AGE_SECONDS = 21600


def _of_event_invoke_config(operation: str, source: str) -> Any:
    return corrects(
        f"ministack.services.lambda_svc:_{operation}_event_invoke_config",
        source=source,
        aws="$LATEST and the unqualified function have the same event-invoke configuration",
        ministack="they have separate ones",
        test="test_the_sam_transform_makes_functions_state_machines_rules_and_schedules",
    )


@_of_event_invoke_config("get", source="e05c2c3e32b4")
@_of_event_invoke_config("put", source="e53a9f8cbd9c")
@_of_event_invoke_config("delete", source="b309c08b988a")
def event_invoke_config(stock: Any, function: str, qualifier: str | None, *data: Any) -> Any:
    return stock(function, None if qualifier == LATEST else qualifier, *data)


@corrects(
    "ministack.services.lambda_svc:invoke_async_with_retry",
    source="289fe4d3cbd4",
    aws="a failed asynchronous invocation is tried twice more, a minute and two minutes later; then the event goes, "
    "unchanged, to the dead-letter queue, and a record of the failure to the on-failure destination; a throttled one "
    "waits for a free slot",
    ministack="sends the record to both, counts a throttle as a failure, and ignores on-success destinations and what "
    "is configured for an alias",
    test="test_an_event_that_keeps_failing_goes_to_the_dead_letter_queue_as_it_was",
)
def invoke_async(func: dict[str, Any], event: Any) -> None:
    """Invokes the function on a thread of its own. LAPTOP_AWS_LAMBDA_RETRY_SECONDS replaces the minute between
    attempts."""
    context = contextvars.copy_context()
    threading.Thread(
        target=context.run, args=(_attempt_until_done, func, event), name="function-async", daemon=True
    ).start()


def _attempt_until_done(func: dict[str, Any], event: Any) -> None:
    config = func.get("config") or func
    account, region = lambda_svc._account_region_from_function_config(config)
    from ministack.core.responses import request_scope

    with request_scope(account, region):
        settings = _settings(func)
        retries = settings.get("MaximumRetryAttempts")
        retries = RETRIES if retries is None else int(retries)
        limit = time.monotonic() + int(settings.get("MaximumEventAgeInSeconds") or MAXIMUM_EVENT_AGE_SECONDS)
        attempts, result, condition = 0, {}, "RetriesExhausted"
        while True:
            result = lambda_svc._execute_function(_current_record(func), event)
            if not result.get("error"):
                _send_record(settings, "OnSuccess", config, event, result, attempts + 1, "Success")
                break
            wait = THROTTLE_WAIT_SECONDS
            if not result.get("throttle"):
                attempts += 1
                if attempts > retries:
                    break
                wait = RETRY_BASE_SECONDS * attempts
            if time.monotonic() + wait > limit:
                condition = "EventAgeExceeded"
                break
            time.sleep(wait)
        if result.get("error"):
            _send_record(settings, "OnFailure", config, event, result, attempts, condition)
            _dead_letter(config, event, result)
        registry.mark_changed()


def _current_record(func: dict[str, Any]) -> dict[str, Any]:
    """The current record of the function: its code or limits may have changed since the event was queued."""
    found, config, _ = lambda_svc._get_func_record_for_ref((func.get("config") or func).get("FunctionArn", ""))
    current: dict[str, Any] = lambda_svc._execution_record_for_config(found, config) if found and config else func
    return current


def _settings(func: dict[str, Any]) -> dict[str, Any]:
    """The event-invoke configuration of what was invoked. The record of a function that was invoked by an alias is its
    version's and names no alias, so an alias that names this version now stands for it.
    """
    config = func.get("config") or func
    base = lambda_svc._functions.get(config.get("FunctionName", "")) or func
    configs, version = base.get("event_invoke_configs") or {}, config.get("Version", LATEST)
    names = ["", LATEST]
    if version != LATEST:
        names = [alias for alias, found in (base.get("aliases") or {}).items() if found["FunctionVersion"] == version]
        names.append(version)
    return next((dict(configs[name]) for name in names if name in configs), {})


def _dead_letter(config: dict[str, Any], event: Any, result: dict[str, Any]) -> None:
    target = (config.get("DeadLetterConfig") or {}).get("TargetArn")
    if not target:
        return
    body = result.get("body")
    body = body if isinstance(body, dict) else {}
    attributes = {
        "RequestID": str(body.get("requestId", "")),
        "ErrorCode": "200",
        "ErrorMessage": str(body.get("errorMessage", ""))[:1024],
    }
    _record_delivery(config, target)
    _deliver(target, json.dumps(event), attributes, f"dead letter of function {config.get('FunctionName')}")


def _send_record(
    settings: dict[str, Any],
    kind: str,
    config: dict[str, Any],
    event: Any,
    result: dict[str, Any],
    attempts: int,
    condition: str,
) -> None:
    target = ((settings.get("DestinationConfig") or {}).get(kind) or {}).get("Destination")
    if not target:
        return
    body = result.get("body")
    context: dict[str, Any] = {"statusCode": 200, "executedVersion": config.get("Version", "$LATEST")}
    if result.get("error"):
        context["functionError"] = "Unhandled"
    record = {
        "version": "1.0",
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
        "requestContext": {
            "requestId": body.get("requestId", "") if isinstance(body, dict) else "",
            "functionArn": f"{config.get('FunctionArn', '')}:{config.get('Version', '$LATEST')}",
            "condition": condition,
            "approximateInvokeCount": attempts,
        },
        "requestPayload": event,
        "responseContext": context,
        "responsePayload": body,
    }
    _record_delivery(config, target)
    _deliver(target, json.dumps(record), {}, f"{kind} destination of function {config.get('FunctionName')}")


def _record_delivery(config: dict[str, Any], target: str) -> None:
    """Records what Lambda does with the function's role."""
    delivery.record(config.get("Role", ""), target)


def _deliver(target: str, body: str, attributes: dict[str, str], what: str) -> None:
    try:
        spec = parse_arn(target)
    except ArnParseError:
        logger.warning("%s not delivered: %s is not an ARN", what, target)
        return
    ways: dict[str, Callable[[], None]] = {
        "sqs": lambda: delivery.to_queue(target, body, attributes),
        "sns": lambda: delivery.to_topic(target, body, attributes),
        "lambda": lambda: delivery.to_function(target, json.loads(body)),
        "events": lambda: delivery.to_bus(target, body),
    }
    try:
        ways[spec.service]()
        logger.info("%s delivered to %s", what, target)
    except KeyError:
        logger.warning("%s not delivered: %s is not a queue, topic, function or bus", what, target)
    except delivery.NotDelivered as error:
        logger.warning("%s not delivered: %s", what, error)
