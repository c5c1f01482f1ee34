"""Step Functions: the API for executions and task tokens; ``state_driver`` runs the states."""

from __future__ import annotations

import contextvars
import json
import logging
import re
import threading
import time
from typing import Any

from ministack.core.responses import error_response_json, new_uuid, now_iso
from ministack.services import stepfunctions as sfn

from laptop_aws import registry
from laptop_aws.correction import corrects
from laptop_aws.corrections import state_driver as driver
from laptop_aws.corrections.execution import (
    PAYLOAD_LIMIT_BYTES,
    compact,
    ended_tokens,
    runs,
    too_large,
)
from laptop_aws.corrections.task_state import HEARTBEAT_TIMEOUT, TIMEOUT

logger = logging.getLogger("emulator")

# Errors that `States.ALL` does not catch.
NOT_FOR_ALL = frozenset({"States.DataLimitExceeded", "States.Runtime"})
NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}")


def register() -> None:
    """Suspends executions when the host ends and resumes them when it starts."""
    registry.on_ready(driver.resume_executions)
    registry.on_shutdown(_suspend_executions)


Response = tuple[int, dict[str, str], bytes]


def _refusal(code: str, message: str) -> Response:
    response: Response = error_response_json(code, message, 400)
    return response


# ---- starting ----


@corrects(
    "ministack.services.stepfunctions:_start_execution",
    source="9923282fc76c",
    aws="the same name with the same input while the execution runs answers with the same execution; with "
    "another input, or after the end, the name is taken; input is JSON of at most 256 KiB",
    ministack="refuses any name that exists, takes any input",
    test="test_the_same_name_and_input_while_running_is_the_same_execution",
)
def start_execution(data: dict[str, Any]) -> Response:
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


@corrects(
    "ministack.services.stepfunctions:_stop_execution",
    source="44d2d84ccd5c",
    aws="an aborted execution stops, and its tokens become invalid",
    ministack="its threads continue",
    test="test_aborting_voids_the_token_and_ends_the_history",
)
def stop_execution(stock: Any, data: dict[str, Any]) -> Response:
    run = runs.get(data.get("executionArn", ""))
    if run is None:
        return stock(data)  # type: ignore[no-any-return]
    with run.lock:
        response: Response = stock(data)
    run.stop()
    if run.execution["status"] == "ABORTED":
        driver.count(run.execution, "ABORTED")
    registry.mark_changed()
    return response


@corrects(
    "ministack.services.stepfunctions:reset",
    source="80aa7bd9644d",
    aws="nothing like it; a reset ends the running executions",
    ministack="forgets executions whose threads continue",
    test="test_reset_forgets_everything_and_ends_what_runs",
)
def stop_and_reset(stock: Any) -> None:
    _suspend_executions()
    stock()


def _suspend_executions() -> None:
    """Stops the threads of all executions; the executions stay RUNNING and resume after the restart."""
    for run in list(runs.values()):
        run.stop()


@corrects(
    "ministack.services.stepfunctions:_restore_state",
    source="b94c49c3dd97",
    aws="an execution continues after a restart",
    ministack="a running execution is FAILED after a restart",
    test="test_a_waiting_execution_goes_on_after_a_restart",
)
def restore(data: dict[str, Any]) -> None:
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


@corrects(
    "ministack.services.stepfunctions:_emit_execution_status_event",
    source="9c89e45693e3",
    aws="TIMED_OUT and ABORTED executions are redrivable, and an aborted one carries its error and cause",
    ministack="only FAILED ones are",
    test="test_every_status_change_is_an_event",
)
def emit_status(stock: Any, execution: dict[str, Any]) -> None:
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
    stock(execution)


# ---- task tokens ----


def _token(data: dict[str, Any]) -> tuple[dict[str, Any] | None, Response | None]:
    """The open token, or an error: TaskTimedOut if its task has ended, InvalidToken if it never existed."""
    token = data.get("taskToken", "")
    info = sfn._task_tokens.get(token)
    if info is not None and not info["event"].is_set():
        return info, None
    if info is not None or token in ended_tokens:
        return None, _refusal("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
    return None, _refusal("InvalidToken", "Invalid Token: 'Invalid token'")


@corrects(
    "ministack.services.stepfunctions:_send_task_success",
    source="12eff48bce57",
    aws="the output is JSON of at most 256 KiB (InvalidOutput), and a token is answered once",
    ministack="accepts anything, any number of times",
    test="test_a_token_answered_with_success_passes_its_output_on",
)
def send_task_success(data: dict[str, Any]) -> Response:
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


@corrects(
    "ministack.services.stepfunctions:_send_task_failure",
    source="c2a489b4ed33",
    aws="a token is answered once",
    ministack="any number of times",
    test="test_a_token_answered_with_failure_fails_the_task_by_that_name",
)
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


@corrects(
    "ministack.services.stepfunctions:_send_task_heartbeat",
    source="56879a4655d1",
    aws="a heartbeat within HeartbeatSeconds keeps the task",
    ministack="it has no effect",
    test="test_a_missed_heartbeat_fails_the_task_and_a_sent_one_keeps_it",
)
def send_task_heartbeat(data: dict[str, Any]) -> Response:
    info, refusal = _token(data)
    if info is None:
        return refusal or _refusal("InvalidToken", "Invalid Token")
    info["beat"] = time.monotonic()
    response: Response = sfn.json_response({})
    return response


# ---- errors and choices ----


@corrects(
    "ministack.services.stepfunctions:_error_matches",
    source="519b9dc729c5",
    aws="States.ALL and States.TaskFailed catch neither States.DataLimitExceeded nor States.Runtime, and "
    "States.Timeout also catches a missed heartbeat",
    ministack="States.ALL catches all",
    test="test_a_result_above_256_kib_ends_the_execution_whatever_is_caught",
)
def error_matches(names: list[str], error: str) -> bool:
    if error in names:
        return True
    if error == HEARTBEAT_TIMEOUT and TIMEOUT in names:
        return True
    if error in NOT_FOR_ALL:
        return False
    if "States.ALL" in names:
        return True
    return "States.TaskFailed" in names and error not in (TIMEOUT, HEARTBEAT_TIMEOUT)


@corrects(
    "ministack.services.stepfunctions:_call_lambda",
    source="25830369b126",
    aws="a throttled invocation is Lambda.TooManyRequestsException",
    ministack="Lambda.Unknown",
    test="test_a_throttled_function_is_too_many_requests",
)
def call_lambda(stock: Any, function: str, event: Any) -> Any:
    try:
        return stock(function, event)
    except sfn._ExecutionError as error:
        if '"__type": "TooManyRequestsException"' in str(error.cause):
            raise sfn._ExecutionError(
                "Lambda.TooManyRequestsException", "Rate Exceeded. (Service: Lambda, Status Code: 429)"
            ) from error
        raise


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


@corrects(
    "ministack.services.stepfunctions:_evaluate_rule",
    source="728e6547c8ca",
    aws="a comparison on a missing path ends the execution with States.Runtime, except IsPresent",
    ministack="it is false",
    test="test_a_choice_on_a_missing_path_fails",
)
def evaluate_rule(stock: Any, rule: dict[str, Any], data: Any, context: dict[str, Any] | None = None) -> bool:
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
    return bool(stock(rule, data, context))


@corrects(
    "ministack.services.stepfunctions:_evaluate_jsonata_choice_rule",
    source="1e87225cbcf3",
    aws="a JSONata condition must be true or false",
    ministack="accepts any value",
    test="test_a_jsonata_condition_that_is_no_boolean_fails",
)
def choice_condition(rule: dict[str, Any], value: Any, context: dict[str, Any]) -> bool:
    condition = sfn._apply_jsonata_template(rule.get("Condition"), value, context)
    if not isinstance(condition, bool):
        raise sfn._ExecutionError(
            "States.QueryEvaluationError",
            "The JSONata expression specified for the field 'Condition' returned an unexpected result type. "
            f"Expected 'boolean', but was '{sfn._json_type(condition)}' for value: {compact(condition)}",
        )
    return condition


@corrects(
    "ministack.services.stepfunctions:_fail_state_field",
    source="0bfc6a7a3f4b",
    aws="a Fail state without Error or Cause ends without them",
    ministack="with States.Fail",
    test="test_a_fail_states_jsonata_is_evaluated",
)
def fail_field(stock: Any, state: dict[str, Any], name: str, default: str, value: Any, context: dict[str, Any]) -> str:
    return str(stock(state, name, "", value, context))
