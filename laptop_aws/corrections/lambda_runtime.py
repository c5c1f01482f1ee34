"""Lambda: running function code, its errors and its logs."""

from __future__ import annotations

import contextvars
import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
import types
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime as runtime
from ministack.services import cloudwatch, lambda_svc

from laptop_aws import calls, cloudwatch_logs, lambda_bootstrap, loopback, metrics, processes, registry
from laptop_aws.correction import corrects

logger = logging.getLogger("emulator")

INIT_SECONDS = float(os.environ.get("LAPTOP_AWS_LAMBDA_INIT_SECONDS", "10"))
INIT_FAILED = "Worker init failed: "
DRAIN_SECONDS = 0.5

_next_log_stream: contextvars.ContextVar[str] = contextvars.ContextVar("_next_log_stream", default="")


# ---- interpreter and environment ----


@corrects(
    "ministack.core.lambda_runtime:_PYTHON_WORKER_SCRIPT",
    source="200a2c7a2022",
    aws="an exception keeps its type, log records reach the log, layers and the context object are as documented",
    ministack="a bootstrap without a root log handler, which reports every exception as Runtime.HandlerError",
    test="test_each_failure_has_the_error_type_of_aws",
    is_value=True,
)
def worker_script() -> str:
    """The loopback guard and the bootstrap, joined into one script."""
    guard = Path(loopback.__file__).read_text(encoding="utf-8")
    bootstrap = Path(lambda_bootstrap.__file__).read_text(encoding="utf-8")
    return f"{guard}\n\ninstall()\n\n\n{bootstrap}"


@corrects(
    "ministack.core.lambda_runtime:_detect_runtime_binary",
    source="222e200df2c0",
    aws="code runs on the runtime's own Python, beside boto3 alone",
    ministack="in the emulator's interpreter, with all its packages",
    test="test_code_runs_beside_boto3_alone",
)
def detect_runtime_binary(runtime_name: str) -> tuple[str, str]:
    """The interpreter in LAPTOP_AWS_LAMBDA_PYTHON, so that a dependency missing from the artefact is missing here too.
    If it does not exist, the host's interpreter is used, with a warning in the log.
    """
    if not runtime_name.startswith("python"):
        return "", ""
    interpreter = registry.config().lambda_interpreter
    if interpreter is None or not interpreter.exists():
        logger.warning(
            "LAPTOP_AWS_LAMBDA_PYTHON is %s: functions run in the emulator's own interpreter and see its packages. "
            "Set it to a Python that has boto3 and nothing else",
            f"{interpreter}, which does not exist" if interpreter else "not set",
        )
        interpreter = Path(sys.executable)
    return str(interpreter), runtime._PYTHON_WORKER_SCRIPT


RUNTIME_NAMES = (
    "AWS_LAMBDA_",
    "_LAMBDA_",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN",
    "LAMBDA_TASK_ROOT",
)


@corrects(
    "ministack.core.lambda_runtime:execution_credentials",
    source="cffaadc4f396",
    aws="a function has temporary credentials of its role, with a session token",
    ministack="the account's credentials, without one",
    test="test_a_functions_calls_are_recorded_under_its_role",
)
def execution_credentials(stock: Any, config: dict[str, Any]) -> dict[str, str]:
    """The session token is the role's ARN (``laptop_aws.calls``)."""
    return {**stock(config), "AWS_SESSION_TOKEN": config.get("Role", "")}


@corrects(
    "ministack.core.lambda_runtime:subprocess",
    source="8dcc42dd7728",
    aws="a function sees its own variables and the runtime's",
    ministack="everything of the host's environment besides",
    test="test_nothing_of_the_hosts_environment_reaches_a_function",
    is_value=True,
)
def subprocess_of_functions() -> Any:
    return types.SimpleNamespace(PIPE=subprocess.PIPE, DEVNULL=subprocess.DEVNULL, Popen=_start)


def _start(command: Sequence[str], *, cwd: str, env: Mapping[str, str], **options: Any) -> subprocess.Popen[Any]:
    """Starts a function's process in a new environment with the emulator's credentials and endpoint. The process has
    its own group and ends with the host. The function's own variables arrive in the first line of the protocol.
    """
    name = env.get("AWS_LAMBDA_FUNCTION_NAME", "function")
    runtime_variables = {key: value for key, value in env.items() if key.startswith(RUNTIME_NAMES)}
    environment = (
        processes.child_environment(registry.config())
        | runtime_variables
        | {
            "TZ": "UTC",
            "AWS_EXECUTION_ENV": "AWS_Lambda_python",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_STREAM_NAME": _next_log_stream.get(),
            **_logging_variables(name),
        }
    )
    return processes.spawn(
        [command[0], "-s", *command[1:]],
        name=f"function {name}",
        environment=environment,
        cwd=cwd,
        stdin=options["stdin"],
        stdout=options["stdout"],
        stderr=options["stderr"],
        text=True,
        bufsize=1,
    )


def _logging_variables(function_name: str) -> dict[str, str]:
    record = lambda_svc._functions.get(function_name) or {}
    settings = (record.get("config") or {}).get("LoggingConfig") or {}
    variables = {"AWS_LAMBDA_LOG_GROUP_NAME": settings.get("LogGroup") or f"/aws/lambda/{function_name}"}
    if settings.get("LogFormat") == "JSON":
        variables |= {
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_LAMBDA_LOG_LEVEL": settings.get("ApplicationLogLevel") or "INFO",
        }
    return variables


@corrects(
    "ministack.core.lambda_runtime:Worker._spawn",
    source="c55febf95656",
    aws="initialisation has 10 s, then runs once more within the function's timeout",
    ministack="waits for it for ever",
    test="test_import_that_never_ends_fails_the_invocation",
)
def spawn_within_init_time(stock: Any, worker: Any) -> None:
    """Ends the process after the longer of the two limits; the invocation then fails as on AWS."""
    limit = max(INIT_SECONDS, float(worker.config.get("Timeout", 3)))

    def stop() -> None:
        if worker._proc is not None:
            worker._proc.kill()

    timer = threading.Timer(limit, stop)
    timer.daemon = True
    timer.start()
    worker.log_stream = _new_log_stream(worker.config)
    _next_log_stream.set(worker.log_stream)
    try:
        stock(worker)
    finally:
        timer.cancel()


# ---- log ----


@corrects(
    "ministack.core.lambda_runtime:Worker._drain_stderr_bounded",
    source="3fd7cc742872",
    aws="an invocation's log is complete",
    ministack="guesses by waiting up to 250 ms, and always 50 ms when nothing was logged",
    test="test_prints_and_log_records_reach_cloudwatch_logs",
)
def drain_log(worker: Any, *_: Any) -> str:
    """The lines before the marker that ends the log of an invocation."""
    lines: list[str] = []
    deadline = time.monotonic() + DRAIN_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        try:
            line = worker._stderr_queue.get(timeout=left)
        except queue.Empty:
            break
        if line == lambda_bootstrap.END_OF_LOG:
            break
        lines.append(line)
    return "\n".join(lines).strip("\n")


@corrects(
    "ministack.core.lambda_runtime:Worker.invoke",
    source="96751a754710",
    aws="what is logged while the module is imported belongs to the first invocation",
    ministack="it is lost",
    test="test_prints_and_log_records_reach_cloudwatch_logs",
)
def invoke_with_init_log(stock: Any, worker: Any, *arguments: Any, **named: Any) -> dict[str, Any]:
    fresh = worker._proc is None or worker._proc.poll() is not None
    result: dict[str, Any] = stock(worker, *arguments, **named)
    if fresh:
        result["log"] = "\n".join(filter(None, [result.get("log"), drain_log(worker)]))
    result["log"] = _without_markers(result.get("log") or "")
    return result


def _without_markers(log: str) -> str:
    return "\n".join(line for line in log.splitlines() if line and line != lambda_bootstrap.END_OF_LOG)


@corrects(
    "ministack.services.lambda_svc:_emit_lambda_logs",
    source="111efbf06968",
    aws="one log stream per execution environment, and metrics in the embedded format become metrics",
    ministack="one stream per invocation, and such metrics stay text",
    test="test_embedded_metrics_in_the_log_become_metrics",
)
def emit_logs(
    func: dict[str, Any], request_id: str, log_text: str, error: bool, duration_ms: int, *, log_source: Any = None
) -> None:
    config = func.get("config") or func
    name = config.get("FunctionName", "unknown")
    version = config.get("Version", "$LATEST")
    source = log_source if isinstance(log_source, dict) else {}
    group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{name}"
    stream = source.get("stream") or _new_log_stream(config)
    lines = [line for line in log_text.splitlines() if line]
    written = {"logGroupName": group, "logStreamName": stream}
    for operation in ("CreateLogStream", "PutLogEvents"):
        calls.record("logs", operation, written, principal=config.get("Role", ""), once=True)
    account, region = runtime._account_region_from_function_config(config)
    cloudwatch_logs.append(
        group,
        stream,
        [
            f"START RequestId: {request_id} Version: {version}",
            *lines,
            f"END RequestId: {request_id}",
            f"REPORT RequestId: {request_id}\tDuration: {duration_ms} ms\tBilled Duration: {duration_ms} ms\t"
            f"Memory Size: {config.get('MemorySize', 128)} MB\tMax Memory Used: {source.get('memory', 0)} MB",
        ],
        account,
        region,
    )
    metrics.embedded(lines)
    registry.mark_changed()
    if error:
        logger.warning("function %s failed: %s", name, lines[-1] if lines else "no output")


# ---- one invocation ----


def _failure(error_type: str, message: str, log: str = "", **more: Any) -> dict[str, Any]:
    body = {"errorMessage": message, "errorType": error_type, **more}
    return {"body": body, "error": True, "function_error": "Unhandled", "log": log}


@corrects(
    "ministack.services.lambda_svc:_execute_function_warm",
    source="62b9218bef5b",
    aws="an exception is reported under its own type, and the environment serves the next invocation; a time-out is "
    "Sandbox.Timedout, a process that ended Runtime.ExitError",
    ministack="every exception is Runtime.HandlerError, which no Retry or Catch by name matches; the process is ended",
    test="test_an_exception_keeps_its_type_and_the_environment_stays_warm",
)
def execute_function_warm(func: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
    config = func.get("config") or func
    code = func.get("code_zip")
    name = config.get("FunctionName", "unknown")
    if not code:
        return _failure("Runtime.ImportModuleError", f"function {name} has no code", requestId=request_id)
    qualifier = config.get("Version", "$LATEST")
    lambda_svc._ensure_reaper_thread()
    worker, _ = runtime.acquire_worker(name, config, code, qualifier=qualifier)
    try:
        answer = worker.invoke(
            event,
            request_id,
            trace_id=lambda_svc._xray_trace_id_for_invocation(config),
            invoked_function_arn=config.get("FunctionArn", ""),
            depth=lambda_svc._invoke_depth.get(),
            durable=lambda_svc._durable_env_overlay(),
        )
        result = _result_of(answer, request_id, name)
    except Exception as error:
        result = _init_failure(str(error), request_id, worker)
        _discard(worker)
    finally:
        runtime.release_worker(worker)
    result["log_source"] = {"stream": worker.log_stream, "memory": result.pop("memory", 0)}
    return result


def _new_log_stream(config: Mapping[str, Any]) -> str:
    return f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{config.get('Version', '$LATEST')}]{uuid.uuid4().hex}"


def _discard(worker: Any) -> None:
    """Ends only this environment: the function's others may be busy."""
    with runtime._lock:
        for entries in runtime._workers.values():
            if worker in entries:
                entries.remove(worker)
    runtime.kill_workers([worker])


def _result_of(answer: dict[str, Any], request_id: str, name: str) -> dict[str, Any]:
    log = answer.get("log", "")
    memory = answer.get("memory", 0)
    if answer.get("status") == "ok":
        failure = answer.get("failure")
        if failure is None:
            return {"body": answer.get("result"), "log": log, "memory": memory}
        return {"body": failure, "error": True, "function_error": "Unhandled", "log": log, "memory": memory}
    message = answer.get("error", "")
    if message.startswith("Task timed out"):
        seconds = message.split()[4]
        text = f"RequestId: {request_id} Error: Task timed out after {seconds} seconds"
        return _failure("Sandbox.Timedout", text, f"{log}\n{text}")
    text = f"RequestId: {request_id} Error: Runtime exited without providing a reason"
    return _failure("Runtime.ExitError", text, f"{log}\n{text}")


def _init_failure(message: str, request_id: str, worker: Any) -> dict[str, Any]:
    log = _without_markers(worker._drain_stderr())
    if message.startswith(INIT_FAILED):
        try:
            failure = json.loads(message[len(INIT_FAILED) :])
        except ValueError:
            failure = {"errorType": "Runtime.InitError", "errorMessage": message}
        failure["requestId"] = request_id
        return {"body": failure, "error": True, "function_error": "Unhandled", "log": log}
    return _failure(
        "Runtime.ExitError", f"RequestId: {request_id} Error: Runtime exited during initialisation", f"{log}\n{message}"
    )


_counted = partial(
    corrects,
    aws="every invocation counts in AWS/Lambda, from any caller",
    ministack="only direct calls of Invoke count",
    test="test_all_invocations_count_in_the_functions_metrics",
)


@_counted("ministack.services.lambda_svc:_execute_function", source="3ceb16d6480a")
def execute_function(stock: Any, func: dict[str, Any], event: Any) -> dict[str, Any]:
    config = func.get("config") or func
    if lambda_svc._function_config_scope_mismatch(config):
        result: dict[str, Any] = stock(func, event)
        return result
    started = time.monotonic()
    result = stock(func, event)
    dimensions = {"FunctionName": config.get("FunctionName", "unknown")}
    throttled = bool(result.get("throttle"))
    for metric, value, unit in (
        ("Invocations", 0 if throttled else 1, "Count"),
        ("Errors", 1 if result.get("error") and not throttled else 0, "Count"),
        ("Throttles", 1 if throttled else 0, "Count"),
        ("Duration", (time.monotonic() - started) * 1000, "Milliseconds"),
    ):
        cloudwatch.record_metric("AWS/Lambda", metric, value, unit, dimensions)
    if result.get("error"):
        cloudwatch._evaluate_all_alarms()
    return result


@_counted("ministack.services.lambda_svc:_emit_lambda_metrics", source="3b6689d77cf6")
def emit_no_metrics(*arguments: Any, **named: Any) -> None:
    """``execute_function`` counts."""
