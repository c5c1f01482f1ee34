"""Task states: attempts, retries and catchers, and the wait for a task token."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from ministack.services import stepfunctions as sfn

from laptop_aws import calls, registry
from laptop_aws.correction import corrects
from laptop_aws.corrections.execution import (
    Context,
    Execution,
    Run,
    State,
    add_event,
    compact,
    current,
    sleep,
    within_limit,
)

DEFAULT_TIMEOUT_SECONDS = 99_999_999
MAXIMUM_DELAY_SECONDS = 31_622_400
TIMEOUT = "States.Timeout"
HEARTBEAT_TIMEOUT = "States.HeartbeatTimeout"


@corrects(
    "ministack.services.stepfunctions:_execute_task",
    source="53c818d247db",
    aws="each attempt has its own token, HeartbeatSeconds and MaxDelaySeconds apply, and a call that "
    "fails before its token is answered fails the task",
    ministack="one token, no heartbeat, at most 60 s between attempts, and such a call is ignored",
    test="test_each_retry_has_a_token_of_its_own",
)
def run_task(
    state: State, value: Any, execution: Execution, context: Context, resumed: dict[str, Any] | None = None
) -> tuple[Any, str | None]:
    """Runs a Task with Retry and Catch. Each attempt has its own token."""
    jsonata = sfn._state_query_language(state, context) == "JSONata"
    token = (resumed or {}).get("token")

    def attempt() -> tuple[Any, str | None]:
        nonlocal token
        result = _attempt_task(state, value, execution, context, token)
        token = None
        if jsonata:
            output = sfn._apply_jsonata_output(state, value, context, result=result, default=result)
            sfn._apply_state_assign(state, value, context, result=result)
        else:
            output = sfn._apply_output_path(
                state, sfn._apply_result_path(state, value, sfn._apply_result_selector(state, result)), context
            )
        return output, sfn._next_or_end(state)

    def after_failure() -> None:
        nonlocal token
        token = None

    return with_retry_and_catch(state, value, context, attempt, after_failure)


def with_retry_and_catch(
    state: State,
    value: Any,
    context: Context,
    attempt: Callable[[], tuple[Any, str | None]],
    after_failure: Callable[[], None] = lambda: None,
) -> tuple[Any, str | None]:
    """Repeats ``attempt`` until it succeeds or no retrier matches; then applies Catch.

    ``MaxDelaySeconds`` caps the wait between attempts, and ``JitterStrategy: FULL`` randomises it.
    """
    here = context["State"]
    counts: dict[int, int] = {}
    while True:
        context["State"] = {**here, "RetryCount": sum(counts.values())}
        try:
            return attempt()
        except sfn._ExecutionError as error:
            after_failure()
            tell_evaluation(here["Name"], error)
            retrier, index = sfn._find_matching_retrier(state.get("Retry", []), error.error, counts)
            if retrier is not None:
                delay = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** counts.get(index, 0)
                delay = min(delay, retrier.get("MaxDelaySeconds", MAXIMUM_DELAY_SECONDS))
                sleep(random.uniform(0, delay) if retrier.get("JitterStrategy") == "FULL" else delay)
                counts[index] = counts.get(index, 0) + 1
                continue
            catcher = sfn._find_matching_catcher(state.get("Catch", []), error.error)
            if catcher is None:
                raise
            output = {"Error": error.error, "Cause": error.cause}
            language = sfn._state_query_language(state, context)
            return sfn._apply_catcher(catcher, value, context, language, output), catcher["Next"]


def tell_evaluation(state: str, error: sfn._ExecutionError) -> None:
    """Writes the event of an expression that failed, once; nothing for another error."""
    run = current.get()
    if run is None or error.error != "States.QueryEvaluationError" or hasattr(error, "is_told"):
        return
    error.is_told = True
    details = {"state": state, "error": error.error, "cause": error.cause}
    add_event(run.execution, "EvaluationFailed", {"evaluationFailedEventDetails": details})


def _seconds(state: State, field: str, value: Any, context: Context) -> float | None:
    if field in state:
        found = state[field]
        if isinstance(found, str):
            found = sfn._jsonata_state_field(state, field, "number", value, context)
        return float(found)
    if f"{field}Path" in state:
        return float(sfn._resolve_path_or_ctx(state[f"{field}Path"], value, context))
    return None


def _resource_details(resource: str) -> dict[str, str]:
    parts = resource.split(":")
    if resource.startswith("arn:aws:states:::aws-sdk:") and len(parts) >= 8:
        return {"resourceType": f"aws-sdk:{parts[6]}", "resource": ":".join(parts[7:])}
    if resource.startswith("arn:aws:states:::") and len(parts) >= 7:
        return {"resourceType": parts[5], "resource": ":".join(parts[6:])}
    return {"resourceType": parts[2] if len(parts) > 2 else "unknown", "resource": resource}


def record_task(names: dict[str, str], arguments: Any, context: Context) -> None:
    """Records the call that a task makes with the state machine's role."""
    service = names["resourceType"].removeprefix("aws-sdk:")
    operation = names["resource"].partition(".")[0]
    parameters = arguments if isinstance(arguments, dict) else {}
    if names["resource"].startswith("arn:"):  # a function or an activity by its own ARN
        operation, parameters = "invoke", {"FunctionName": names["resource"]}
    calls.record(
        {"states": "stepfunctions", "sfn": "stepfunctions"}.get(service, service),
        operation[:1].upper() + operation[1:],
        parameters,
        principal=context["Execution"].get("RoleArn", ""),
        caller=context["StateMachine"]["Id"],
    )


def _attempt_task(state: State, value: Any, execution: Execution, context: Context, known_token: str | None) -> Any:
    resource = state.get("Resource", "")
    waits = resource.endswith(".waitForTaskToken")
    names = _resource_details(resource)
    token = known_token or uuid.uuid4().hex + uuid.uuid4().hex
    if waits:
        context["Task"] = {"Token": token}
    arguments: Any = None
    timeout: float | None = None
    heartbeat: float | None = None
    if known_token is None:
        if sfn._state_query_language(state, context) == "JSONata":
            arguments = sfn._apply_jsonata_arguments(state, value, context)
        else:
            arguments = sfn._apply_parameters(state, sfn._apply_input_path(state, value, context), context)
        text = within_limit(arguments, f"The state '{context['State']['Name']}' has parameters")
        timeout = _seconds(state, "TimeoutSeconds", value, context)
        heartbeat = _seconds(state, "HeartbeatSeconds", value, context)
        record_task(names, arguments, context)
        details: dict[str, Any] = {**names, "region": sfn.get_region(), "parameters": text}
        details |= {"timeoutInSeconds": int(timeout)} if timeout is not None else {}
        details |= {"heartbeatInSeconds": int(heartbeat)} if heartbeat is not None else {}
        add_event(execution, "TaskScheduled", {"taskScheduledEventDetails": details})
        add_event(execution, "TaskStarted", {"taskStartedEventDetails": names})
    try:
        if waits:
            result = _wait_for_token(
                state, resource, arguments, token, names, execution, value, context, known_token is not None
            )
        elif timeout is not None and ":activity:" not in resource:
            result = sfn._invoke_resource_with_timeout(resource, arguments, timeout)
        else:
            result = sfn._invoke_resource(resource, arguments)
        run = current.get()
        if run is not None:
            run.check()
        text = within_limit(result, f"The state/task '{resource}' returned a result")
    except sfn._ExecutionError as error:
        timed_out = error.error in (TIMEOUT, HEARTBEAT_TIMEOUT)
        details = {**names, "error": error.error, "cause": error.cause}
        kind = "TaskTimedOut" if timed_out else "TaskFailed"
        add_event(execution, kind, {f"{kind[0].lower()}{kind[1:]}EventDetails": details})
        raise
    details = {**names, "output": text, "outputDetails": {"truncated": False}}
    add_event(execution, "TaskSucceeded", {"taskSucceededEventDetails": details})
    return result


def _wait_for_token(
    state: State,
    resource: str,
    arguments: Any,
    token: str,
    names: dict[str, str],
    execution: Execution,
    value: Any,
    context: Context,
    resumed: bool,
) -> Any:
    """Makes the call, then waits for the answer to the token. If the call fails, the task fails. The wait ends after
    TimeoutSeconds, or after HeartbeatSeconds without a heartbeat.
    """
    run = current.get()
    assert run is not None
    timeout = _seconds(state, "TimeoutSeconds", value, context) or DEFAULT_TIMEOUT_SECONDS
    heartbeat = _seconds(state, "HeartbeatSeconds", value, context)
    position = execution.get("position") or {}
    elapsed = max(0.0, time.time() - position.get("scheduledAt", time.time())) if resumed else 0.0
    with run.waiting_for(token) as info:
        if not resumed:
            outermost = position.get("state") == context["State"]["Name"]
            if outermost:
                execution["position"] = {**position, "token": token, "scheduledAt": time.time()}
                registry.mark_changed()
            started = time.monotonic()
            called = sfn._invoke_resource_with_timeout(resource.removesuffix(".waitForTaskToken"), arguments, timeout)
            elapsed = time.monotonic() - started
            details = {**names, "output": compact(called), "outputDetails": {"truncated": False}}
            add_event(execution, "TaskSubmitted", {"taskSubmittedEventDetails": details})
        _await_answer(run, info, timeout - elapsed, heartbeat)
    if info["error"]:
        raise sfn._ExecutionError(info["error"]["Error"], info["error"]["Cause"])
    return json.loads(info["result"])


def _await_answer(run: Run, info: dict[str, Any], timeout: float, heartbeat: float | None) -> None:
    deadline = time.monotonic() + timeout
    while True:
        until = deadline if heartbeat is None else min(deadline, info["beat"] + heartbeat)
        answered = info["event"].wait(min(max(0.0, until - time.monotonic()), threading.TIMEOUT_MAX))
        run.check()
        if answered:
            return
        now = time.monotonic()
        if now >= deadline:
            raise sfn._ExecutionError(TIMEOUT, "")
        if heartbeat is not None and now >= info["beat"] + heartbeat:
            raise sfn._ExecutionError(HEARTBEAT_TIMEOUT, "")
