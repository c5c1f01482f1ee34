"""EventBridge: delivery to targets, with retries and dead-letter queues."""

from __future__ import annotations

import contextvars
import json
import logging
import threading
import time
from typing import Any

from ministack.core.arn import ArnParseError, parse_arn
from ministack.services import eventbridge

from laptop_aws.correction import corrects
from laptop_aws.corrections import delivery

logger = logging.getLogger("emulator")

MAXIMUM_RETRIES = 185
LOCAL_RETRIES = 3
LOCAL_RETRY_SECONDS = 1.0


@corrects(
    "ministack.services.eventbridge:_invoke_target",
    source="550e304af080",
    aws="EventBridge hands an event to a function asynchronously, so that the function's own retries and dead-letter "
    "queue apply; what a target refuses is retried (RetryPolicy) and then put, as it was sent, into "
    "the target's dead-letter queue with the reason in message attributes; a missing target is not retried",
    ministack="calls the function once, and forgets the event when anything fails",
    test="test_an_event_whose_target_is_gone_lands_in_the_targets_dead_letter_queue",
)
def deliver(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
    """Delivers ``event`` as AWS does; the bus retries at most LOCAL_RETRIES times, 1 s apart."""
    view = view or eventbridge._pattern_event_view(event)
    payload = _payload(target, rule, view)
    try:
        _hand_over(target, event, rule, view, payload)
    except delivery.NotDelivered as error:
        _after_refusal(target, event, rule, view, payload, error)
    except Exception as error:
        logger.exception("rule %s: delivery to %s failed", rule.get("Name"), target.get("Arn"))
        _dead_letter(target, rule, payload, delivery.NotDelivered("INTERNAL_ERROR", str(error)), 0)


def _payload(target: dict[str, Any], rule: dict[str, Any], view: Any) -> str:
    """The payload for the target: the transformed event, the rule's constant, a part of the event, or the event."""
    whole = view.event_with_detail()
    if target.get("InputTransformer"):
        return str(eventbridge._apply_input_transformer(target["InputTransformer"], rule, view))
    if target.get("Input") is not None:
        return str(target["Input"])
    if target.get("InputPath"):
        value: Any = whole
        for part in filter(None, target["InputPath"].removeprefix("$").split(".")):
            if not isinstance(value, dict) or part not in value:
                return json.dumps(whole)
            value = value[part]
        return json.dumps(value)
    return json.dumps(whole)


def _hand_over(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any, payload: str) -> None:
    arn = target.get("Arn", "")
    delivery.record(target.get("RoleArn", ""), arn)
    try:
        spec = parse_arn(arn)
    except ArnParseError as error:
        raise delivery.NotDelivered("INVALID_PARAMETER", f"{arn!r} is no ARN: {error}") from error
    if spec.service == "events" and spec.resource.startswith("api-destination/"):
        parameters = eventbridge._resolve_http_parameters(target.get("HttpParameters") or {}, view.event_with_detail())
        eventbridge._dispatch_to_api_destination(spec, payload, {**target, "HttpParameters": parameters})
    elif spec.service == "events":
        transformed = (
            payload if target.get("InputTransformer") or target.get("Input") or target.get("InputPath") else None
        )
        eventbridge._dispatch_to_event_bus(spec, event, rule, set(event.get("_DispatchPath") or []), transformed)
    elif spec.service == "states":
        delivery.to_state_machine(arn, payload)
    elif not eventbridge._target_matches_request_scope(spec):
        raise delivery.NotDelivered("NO_PERMISSIONS", f"{arn} is in another account or region")
    elif spec.service == "lambda":
        delivery.to_function(arn, json.loads(payload))
    elif spec.service == "sqs":
        delivery.to_queue(arn, payload, {}, (target.get("SqsParameters") or {}).get("MessageGroupId", ""))
    elif spec.service == "sns":
        delivery.to_topic(arn, payload, {})
    else:
        raise delivery.NotDelivered("INVALID_PARAMETER", f"{spec.service!r} targets are not supported")
    logger.info("rule %s delivered %s to %s", rule.get("Name"), event.get("DetailType"), arn)


def _after_refusal(
    target: dict[str, Any],
    event: dict[str, Any],
    rule: dict[str, Any],
    view: Any,
    payload: str,
    error: delivery.NotDelivered,
) -> None:
    wanted = (target.get("RetryPolicy") or {}).get("MaximumRetryAttempts")
    retries = min(MAXIMUM_RETRIES if wanted is None else int(wanted), LOCAL_RETRIES)
    if not error.retryable or retries == 0:
        _dead_letter(target, rule, payload, error, 0)
        return

    def retry() -> None:
        last = error
        for attempt in range(1, retries + 1):
            time.sleep(LOCAL_RETRY_SECONDS)
            try:
                _hand_over(target, event, rule, view, payload)
            except delivery.NotDelivered as again:
                last = again
                if attempt == retries or not again.retryable:
                    _dead_letter(target, rule, payload, last, attempt)
                    return
            else:
                return

    threading.Thread(target=contextvars.copy_context().run, args=(retry,), name="event-retry", daemon=True).start()


def _dead_letter(
    target: dict[str, Any], rule: dict[str, Any], payload: str, error: delivery.NotDelivered, attempts: int
) -> None:
    queue = (target.get("DeadLetterConfig") or {}).get("Arn")
    logger.warning(
        "rule %s: %s did not take the event (%s: %s)%s",
        rule.get("Name"),
        target.get("Arn"),
        error.code,
        error,
        "" if queue else "; it has no dead-letter queue, the event is lost",
    )
    if not queue:
        return
    attributes = {
        "RULE_ARN": rule.get("Arn", ""),
        "TARGET_ARN": target.get("Arn", ""),
        "ERROR_CODE": error.code,
        "ERROR_MESSAGE": str(error)[:1024],
        "RETRY_ATTEMPTS": str(attempts),
    }
    if attempts:
        attributes["EXHAUSTED_RETRY_CONDITION"] = "MaximumRetryAttempts"
    if "ScheduleExpression" in rule and "Target" in rule:  # EventBridge Scheduler; a rule's queue has its own policy
        delivery.record(target.get("RoleArn", ""), queue)
    try:
        delivery.to_queue(queue, payload, attributes)
    except delivery.NotDelivered as lost:
        logger.error("rule %s: the event is lost: %s", rule.get("Name"), lost)
