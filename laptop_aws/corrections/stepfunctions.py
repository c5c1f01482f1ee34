"""Step Functions: starting, stopping and answering executions; the walk itself is in ``state_driver``."""

from __future__ import annotations

import contextvars
import json
import logging
import re
import threading
from typing import Any

from ministack.core.responses import error_response_json, new_uuid, now_iso
from ministack.services import stepfunctions as sfn

from laptop_aws import registry
from laptop_aws.corrections import state_driver as driver
from laptop_aws.corrections.execution import (
    PAYLOAD_LIMIT_BYTES,
    add_event,
    compact,
    ended_tokens,
    runs,
    sleep,
    too_large,
)
from laptop_aws.corrections.task_state import HEARTBEAT_TIMEOUT, TIMEOUT, run_task

logger = logging.getLogger("emulator")

# Errors that `States.ALL` does not catch.
NOT_FOR_ALL = frozenset({"States.DataLimitExceeded", "States.Runtime"})
NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}")


def apply() -> None:
    sfn._run_execution = driver.run_execution
    sfn._run_sub_machine = driver.run_branch
    sfn._execute_task = run_task
    sfn._add_event = add_event
    sfn._scaled_sleep = sleep
    sfn._start_execution = start_execution
    sfn._stop_execution = _stop(sfn._stop_execution)
    sfn._send_task_success = send_task_success
    sfn._send_task_failure = send_task_failure
    sfn._send_task_heartbeat = send_task_heartbeat
    sfn._restore_state = _restore
    sfn._error_matches = error_matches
    sfn._call_lambda = _calls_lambda(sfn._call_lambda)
    sfn._evaluate_rule = _evaluates_rule(sfn._evaluate_rule)
    sfn._evaluate_jsonata_choice_rule = _choice_condition
    sfn._fail_state_field = _fail_field(sfn._fail_state_field)
    sfn._emit_execution_status_event = _emits_status(sfn._emit_execution_status_event)
    sfn.reset = _reset(sfn.reset)
    registry.on_ready(driver.take_up_again)
    registry.on_shutdown(_stop_walking)


Response = tuple[int, dict[str, str], bytes]


def _refusal(code: str, message: str) -> Response:
    response: Response = error_response_json(code, message, 400)
    return response


# ---- starting ----


def start_execution(data: dict[str, Any]) -> Response:
    """AWS: the same name with the same input while the execution runs answers with the same execution; with another
    input, or after the end, the name is taken (ExecutionAlreadyExists). Input is JSON of at most 256 KiB. ministack:
    refuses any name that exists, takes any input.

    Conformance: ``test_the_same_name_and_input_while_running_is_the_same_execution`` and those after it.
    """
    requested = data.get("stateMachineArn", "")
    machine_arn = sfn._resolve_state_machine_arn(requested)
    if machine_arn is None:
        return _refusal("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{requested}'")
    machine = sfn._state_machines[machine_arn]
    name = data.get("name") or new_uuid()
    if not NAME.fullmatch(name):
        return _refusal("InvalidName", f"Invalid Name: '{name}'")
    event_input = data.get("input") or "{}"
    if too_large(event_input):
        return _refusal(
            "ValidationException",
            "1 validation error detected: Value at 'input' failed to satisfy constraint: "
            f"Member must have length less than or equal to {PAYLOAD_LIMIT_BYTES}",
        )
    try:
        json.loads(event_input)
    except ValueError as error:
        return _refusal("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'")
    arn = f"arn:aws:states:{sfn.get_region()}:{sfn.get_account_id()}:execution:{machine['name']}:{name}"
    with _starting:
        existing = sfn._executions.get(arn)
        if existing:
            if existing["status"] == "RUNNING" and existing["input"] == event_input:
                answer: Response = sfn.json_response({"executionArn": arn, "startDate": existing["startDate"]})
                return answer
            return _refusal("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
        execution = sfn._executions[arn] = _new_execution(arn, machine, requested, name, event_input)
    sfn._emit_execution_status_event(execution)
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(driver.run_execution, arn), name="execution", daemon=True).start()
    registry.mark_changed()
    logger.info("execution %s started", arn)
    answer = sfn.json_response({"executionArn": arn, "startDate": execution["startDate"]})
    return answer


_starting = threading.Lock()


def _new_execution(arn: str, machine: dict[str, Any], requested: str, name: str, event_input: str) -> dict[str, Any]:
    started = now_iso()
    version = sfn._state_machine_versions.get(sfn._execution_version_arn(requested)) or machine
    details = {"input": event_input, "inputDetails": {"truncated": False}, "roleArn": machine["roleArn"]}
    return {
        "executionArn": arn,
        "stateMachineArn": machine["stateMachineArn"],
        "name": name,
        "status": "RUNNING",
        "startDate": started,
        "stopDate": None,
        "input": event_input,
        "inputDetails": {"included": True},
        "output": None,
        "outputDetails": {"included": True},
        "definition": version.get("definition") or machine["definition"],
        "encryptionConfiguration": dict(version.get("encryptionConfiguration") or sfn._default_encryption()),
        "events": [
            {
                "id": 1,
                "previousEventId": 0,
                "type": "ExecutionStarted",
                "timestamp": started,
                "executionStartedEventDetails": details,
            }
        ],
    }


# ---- stopping ----


def _stop(stop: Any) -> Any:
    def stop_execution(data: dict[str, Any]) -> Response:
        """AWS: an aborted execution does nothing more, and its tokens are void. ministack: its threads go on."""
        run = runs.get(data.get("executionArn", ""))
        if run is None:
            return stop(data)  # type: ignore[no-any-return]
        with run.lock:
            response: Response = stop(data)
        run.stop()
        if run.execution["status"] == "ABORTED":
            driver.count(run.execution, "ABORTED")
        registry.mark_changed()
        return response

    return stop_execution


def _reset(reset: Any) -> Any:
    def stop_and_reset() -> None:
        _stop_walking()
        reset()

    return stop_and_reset


def _stop_walking() -> None:
    """The host ends: executions stand still where they are, to be taken up again."""
    for run in list(runs.values()):
        run.stop()


def _restore(data: dict[str, Any]) -> None:
    if not data:
        return
    for store, key in (
        (sfn._state_machines, "state_machines"),
        (sfn._executions, "executions"),
        (sfn._map_runs, "map_runs"),
        (sfn._tags, "tags"),
        (sfn._activities, "activities"),
        (sfn._state_machine_versions, "state_machine_versions"),
        (sfn._state_machine_aliases, "state_machine_aliases"),
    ):
        store.update(data.get(key, {}))


def _emits_status(emit: Any) -> Any:
    def emit_status(execution: dict[str, Any]) -> None:
        """AWS: TIMED_OUT and ABORTED executions are redrivable and an aborted one carries its error and cause.
        ministack: FAILED only."""
        status = execution["status"]
        if status in ("ABORTED", "TIMED_OUT") and not execution.get("sync"):
            registry.emit_event(
                "aws.states",
                "Step Functions Execution Status Change",
                {
                    "executionArn": execution["executionArn"],
                    "stateMachineArn": execution["stateMachineArn"],
                    "name": execution["name"],
                    "status": status,
                    "startDate": sfn._iso_to_epoch_ms(execution.get("startDate")),
                    "stopDate": sfn._iso_to_epoch_ms(execution.get("stopDate")),
                    "input": execution["input"] if len(execution["input"]) <= sfn._STATUS_EVENT_PAYLOAD_CAP else None,
                    "inputDetails": {"included": len(execution["input"]) <= sfn._STATUS_EVENT_PAYLOAD_CAP},
                    "output": None,
                    "outputDetails": None,
                    "stateMachineVersionArn": None,
                    "stateMachineAliasArn": None,
                    "redriveCount": 0,
                    "redriveDate": None,
                    "redriveStatus": "REDRIVABLE",
                    "redriveStatusReason": None,
                    "error": execution.get("error"),
                    "cause": execution.get("cause"),
                },
                [execution["executionArn"]],
                sfn.get_region(),
                sfn.get_account_id(),
            )
            return
        emit(execution)

    return emit_status


# ---- task tokens ----


def _token(data: dict[str, Any]) -> tuple[dict[str, Any] | None, Response | None]:
    """AWS: a token whose task is over is TaskTimedOut, an unknown one InvalidToken. ministack: TaskDoesNotExist for
    both."""
    token = data.get("taskToken", "")
    info = sfn._task_tokens.get(token)
    if info is not None and not info["event"].is_set():
        return info, None
    if info is not None or token in ended_tokens:
        return None, _refusal("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
    return None, _refusal("InvalidToken", "Invalid Token: 'Invalid token'")


def send_task_success(data: dict[str, Any]) -> Response:
    """AWS: the output is JSON of at most 256 KiB (InvalidOutput), and a token is answered once. ministack: takes
    anything, again and again."""
    info, refusal = _token(data)
    if info is None:
        return refusal or _refusal("InvalidToken", "Invalid Token")
    output = data.get("output", "")
    try:
        json.loads(output)
    except (TypeError, ValueError) as error:
        return _refusal("InvalidOutput", f"Invalid Output: 'Syntax Error: {error}'")
    if too_large(output):
        return _refusal(
            "ValidationException",
            "1 validation error detected: Value at 'output' failed to satisfy constraint: "
            f"Member must have length less than or equal to {PAYLOAD_LIMIT_BYTES}",
        )
    info["result"] = output
    return _answered(info)


def send_task_failure(data: dict[str, Any]) -> Response:
    info, refusal = _token(data)
    if info is None:
        return refusal or _refusal("InvalidToken", "Invalid Token")
    info["error"] = {"Error": data.get("error", ""), "Cause": data.get("cause", "")}
    return _answered(info)


def _answered(info: dict[str, Any]) -> Response:
    info["event"].set()
    registry.mark_changed()
    response: Response = sfn.json_response({})
    return response


def send_task_heartbeat(data: dict[str, Any]) -> Response:
    import time

    info, refusal = _token(data)
    if info is None:
        return refusal or _refusal("InvalidToken", "Invalid Token")
    info["beat"] = time.monotonic()
    response: Response = sfn.json_response({})
    return response


# ---- errors and choices ----


def error_matches(names: list[str], error: str) -> bool:
    """AWS: ``States.ALL`` and ``States.TaskFailed`` catch neither States.DataLimitExceeded nor States.Runtime, and
    ``States.Timeout`` also catches a missed heartbeat. ministack: States.ALL catches all.

    Conformance: ``test_a_result_above_256_kib_ends_the_execution_whatever_is_caught``.
    """
    if error in names:
        return True
    if error == HEARTBEAT_TIMEOUT and TIMEOUT in names:
        return True
    if error in NOT_FOR_ALL:
        return False
    if "States.ALL" in names:
        return True
    return "States.TaskFailed" in names and error not in (TIMEOUT, HEARTBEAT_TIMEOUT)


def _calls_lambda(call: Any) -> Any:
    def call_lambda(function: str, event: Any) -> Any:
        """AWS: a throttled invocation is ``Lambda.TooManyRequestsException``. ministack: ``Lambda.Unknown``."""
        try:
            return call(function, event)
        except sfn._ExecutionError as error:
            if '"__type": "TooManyRequestsException"' in str(error.cause):
                raise sfn._ExecutionError(
                    "Lambda.TooManyRequestsException", "Rate Exceeded. (Service: Lambda, Status Code: 429)"
                ) from error
            raise

    return call_lambda


def _exists(path: str, data: Any, context: dict[str, Any] | None) -> bool:
    if path.startswith("$$"):
        path, data = path[1:], context or {}
    for kind, key in sfn._parse_jsonpath_tokens(path) or []:
        if kind == "wildcard":
            return True
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _evaluates_rule(evaluate: Any) -> Any:
    def evaluate_rule(rule: dict[str, Any], data: Any, context: dict[str, Any] | None = None) -> bool:
        """AWS: a comparison on a path that is not there ends the execution with States.Runtime; only IsPresent may
        ask. ministack: it is false.

        Conformance: ``test_a_choice_on_a_missing_path_fails``.
        """
        variable = rule.get("Variable")
        if variable and not _exists(variable, data, context):
            if "IsPresent" in rule:
                return bool(rule["IsPresent"]) is False
            raise sfn._ExecutionError(
                "States.Runtime",
                f"Invalid path '{variable}': The choice state's condition path references an invalid value.",
            )
        if variable and "IsPresent" in rule:
            return bool(rule["IsPresent"])
        return bool(evaluate(rule, data, context))

    return evaluate_rule


def _choice_condition(rule: dict[str, Any], value: Any, context: dict[str, Any]) -> bool:
    """AWS: a JSONata condition must be true or false. ministack: takes anything for one.

    Conformance: ``test_a_jsonata_condition_that_is_no_boolean_fails``.
    """
    condition = sfn._apply_jsonata_template(rule.get("Condition"), value, context)
    if not isinstance(condition, bool):
        raise sfn._ExecutionError(
            "States.QueryEvaluationError",
            "The JSONata expression specified for the field 'Condition' returned an unexpected result type. "
            f"Expected 'boolean', but was '{sfn._json_type(condition)}' for value: {compact(condition)}",
        )
    return condition


def _fail_field(field: Any) -> Any:
    def fail_field(state: dict[str, Any], name: str, default: str, value: Any, context: dict[str, Any]) -> str:
        """AWS: a Fail state without Error or Cause ends without them. ministack: with ``States.Fail``."""
        return str(field(state, name, "", value, context))

    return fail_field
