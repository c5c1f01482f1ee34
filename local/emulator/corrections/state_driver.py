"""Runs the states of one Step Functions execution: order of events, limits, timeouts, tokens, branches, and taking up
again after a restart.

ministack's evaluation of paths, JSONata, Choice rules, Wait and Map items is used as it is; what is here is the walk
from state to state and everything around a task.
"""

from __future__ import annotations

import contextvars
import copy
import json
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ministack.core.responses import now_iso
from ministack.services import cloudwatch
from ministack.services import stepfunctions as sfn

from local.emulator import registry

logger = logging.getLogger("emulator")

PAYLOAD_LIMIT_BYTES = 262_144
DEFAULT_TIMEOUT_SECONDS = 99_999_999
MAXIMUM_DELAY_SECONDS = 31_622_400
TIMEOUT = "States.Timeout"
HEARTBEAT_TIMEOUT = "States.HeartbeatTimeout"
NOT_FOR_ALL = frozenset({"States.DataLimitExceeded", "States.Runtime"})

Context = dict[str, Any]
State = dict[str, Any]
Execution = dict[str, Any]


class Stopped(BaseException):
    """The execution was aborted or ran out of time; its threads unwind without writing any more history."""


class Run:
    """One execution in progress: its waiting tokens and the means to end it."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.lock = threading.RLock()
        self._stop = threading.Event()
        self._tokens: set[str] = set()

    def check(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def sleep(self, seconds: float) -> None:
        if self._stop.wait(max(0.0, seconds)):
            raise Stopped

    def stop(self) -> None:
        self._stop.set()
        for token in list(self._tokens):
            info = sfn._task_tokens.get(token)
            if info:
                info["event"].set()

    @contextmanager
    def waiting_for(self, token: str) -> Iterator[dict[str, Any]]:
        """Registers a task token for as long as its task runs."""
        now = time.monotonic()
        info = {"event": threading.Event(), "result": None, "error": None, "heartbeat": None, "beat": now}
        sfn._task_tokens[token] = info
        self._tokens.add(token)
        try:
            yield info
        finally:
            self._tokens.discard(token)
            sfn._task_tokens.pop(token, None)
            ended_tokens.append(token)
            del ended_tokens[:-10_000]


ended_tokens: list[str] = []
runs: dict[str, Run] = {}
_previous_event: contextvars.ContextVar[int] = contextvars.ContextVar("_previous_event", default=0)
_current: contextvars.ContextVar[Run | None] = contextvars.ContextVar("_current", default=None)


def compact(value: Any) -> str:
    """JSON as Step Functions writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def too_large(text: str) -> bool:
    return len(text) > PAYLOAD_LIMIT_BYTES // 4 and len(text.encode()) > PAYLOAD_LIMIT_BYTES


def _within_limit(value: Any, what: str) -> str:
    """The value as JSON. Raises States.DataLimitExceeded above 256 KiB."""
    text = compact(value)
    if too_large(text):
        raise sfn._ExecutionError(
            "States.DataLimitExceeded", f"{what} with a size exceeding the maximum number of bytes service limit."
        )
    return text


# ---- history ----


def add_event(execution: Execution, event_type: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
    """AWS: each event names the one that led to it, in its own branch. ministack: names none, and numbers branches'
    events by chance.

    Conformance: ``test_each_event_of_the_history_names_the_one_before_it_in_its_own_branch``.
    """
    run = runs.get(execution.get("executionArn", ""))
    if run is None:
        return _append(execution, event_type, details)
    with run.lock:
        if _current.get() is run:
            run.check()
        return _append(execution, event_type, details)


def _append(execution: Execution, event_type: str, details: dict[str, Any] | None) -> dict[str, Any]:
    events = execution["events"]
    event: dict[str, Any] = {
        "id": len(events) + 1,
        "previousEventId": _previous_event.get() or len(events),
        "type": event_type,
        "timestamp": now_iso(),
        **(details or {}),
    }
    events.append(event)
    _previous_event.set(event["id"])
    return event


def _join_branches(execution: Execution) -> None:
    _previous_event.set(len(execution["events"]))


@contextmanager
def _branches_of(execution: Execution, kind: str) -> Iterator[None]:
    """History goes on behind the last event of all branches, and says how the Parallel or Map state came out."""
    try:
        yield
    except sfn._ExecutionError:
        _join_branches(execution)
        add_event(execution, f"{kind}StateFailed")
        raise
    _join_branches(execution)
    add_event(execution, f"{kind}StateSucceeded")


# ---- the execution ----


def run_execution(execution_arn: str) -> None:
    """Walks the definition that the execution started with to its end; takes up at ``position`` after a restart of
    the host."""
    execution = sfn._executions.get(execution_arn)
    if not execution or execution["status"] != "RUNNING":
        return
    run = runs[execution_arn] = Run(execution)
    _current.set(run)
    _previous_event.set(len(execution["events"]))
    timer: threading.Timer | None = None
    try:
        machine = sfn._state_machines.get(execution["stateMachineArn"]) or {}
        definition = json.loads(execution.setdefault("definition", machine.get("definition", "{}")))
        seconds = definition.get("TimeoutSeconds")
        if seconds:
            timer = _time_out_after(run, float(seconds))
        output = _walk_from_position(run, definition, machine)
        _end(run, "SUCCEEDED", output=output)
    except Stopped:
        pass
    except sfn._ExecutionError as error:
        _end(run, "FAILED", error=error.error, cause=error.cause)
    except Exception as error:
        logger.exception("execution %s failed inside the emulator", execution_arn)
        _end(run, "FAILED", error="States.Runtime", cause=str(error))
    finally:
        if timer is not None:
            timer.cancel()
        runs.pop(execution_arn, None)
        registry.mark_changed()


def _walk_from_position(run: Run, definition: dict[str, Any], machine: dict[str, Any]) -> str:
    execution = run.execution
    states = definition.get("States", {})
    position = execution.get("position") or {}
    name = position.get("state") or definition.get("StartAt")
    value = position["input"] if position else json.loads(execution["input"])
    context: Context = {
        "QueryLanguage": definition.get("QueryLanguage", "JSONPath"),
        "Execution": {
            "Id": execution["executionArn"],
            "Input": json.loads(execution["input"]),
            "Name": execution["name"],
            "RoleArn": machine.get("roleArn", ""),
            "StartTime": execution["startDate"],
            "RedriveCount": 0,
        },
        "StateMachine": {"Id": execution["stateMachineArn"], "Name": machine.get("name", "")},
        "variables": copy.deepcopy(position.get("variables", {})),
    }
    resumed: dict[str, Any] | None = position or None
    while name:
        run.check()
        if name not in states:
            raise sfn._ExecutionError("States.Runtime", f"the state {name!r} is not in the definition")
        if resumed is None:
            execution["position"] = {"state": name, "input": value, "variables": copy.deepcopy(context["variables"])}
            registry.mark_changed()
        value, name = _run_state(name, states[name], value, execution, context, resumed)
        resumed = None
    return _within_limit(value, "The execution returned a result")


def _time_out_after(run: Run, seconds: float) -> threading.Timer:
    started = sfn._iso_to_epoch_ms(run.execution["startDate"]) / 1000
    left = max(0.0, started + seconds - time.time())
    context = contextvars.copy_context()
    timer = threading.Timer(left, context.run, args=(_end, run, "TIMED_OUT"))
    timer.daemon = True
    timer.start()
    return timer


def _end(
    run: Run, status: str, *, output: str | None = None, error: str | None = None, cause: str | None = None
) -> None:
    """Gives the execution its final status once; whoever comes later changes nothing."""
    execution = run.execution
    with run.lock:
        if execution["status"] != "RUNNING":
            return
        execution.update(status=status, stopDate=now_iso())
        if status == "SUCCEEDED":
            execution["output"] = output
            _append(execution, "ExecutionSucceeded", {"executionSucceededEventDetails": {"output": output}})
        elif status == "TIMED_OUT":
            _append(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
        else:
            details = {name: text for name, text in (("error", error), ("cause", cause)) if text}
            execution.update(details)
            _append(execution, "ExecutionFailed", {"executionFailedEventDetails": details})
    if status == "TIMED_OUT":
        run.stop()
    execution.pop("position", None)
    registry.mark_changed()
    logger.info("execution %s %s %s", execution["executionArn"], status, f"{error}: {cause}"[:300] if error else "")
    count(execution, status)
    sfn._emit_execution_status_event(execution)


def count(execution: Execution, status: str) -> None:
    """AWS: executions count in ``AWS/States``. ministack: they do not."""
    metric = {
        "SUCCEEDED": "ExecutionsSucceeded",
        "FAILED": "ExecutionsFailed",
        "TIMED_OUT": "ExecutionsTimedOut",
        "ABORTED": "ExecutionsAborted",
    }[status]
    dimensions = {"StateMachineArn": execution["stateMachineArn"]}
    cloudwatch.record_metric("AWS/States", metric, 1, "Count", dimensions)


def take_up_again() -> None:
    """AWS: an execution outlives everything. ministack: what ran when the process ended is FAILED.

    Here it goes on at the state where it was: a task that waits for its token waits on under the same token and
    within
    the same timeout, any other state begins anew, so its function may run twice. Conformance:
    ``test_a_waiting_execution_goes_on_after_a_restart``.
    """
    from ministack.core.responses import request_scope

    for (account, region, arn), execution in list(sfn._executions._data.items()):
        if execution["status"] == "RUNNING" and not execution.get("sync"):
            with request_scope(account, region):
                logger.info(
                    "execution %s goes on at %s", arn, (execution.get("position") or {}).get("state", "its start")
                )
                registry.in_background(run_execution, arn, name="execution")


# ---- one state ----


def _run_state(
    name: str, state: State, value: Any, execution: Execution, context: Context, resumed: dict[str, Any] | None = None
) -> tuple[Any, str | None]:
    kind = state.get("Type", "")
    text = _within_limit(value, f"The state '{name}' was entered")
    context["State"] = {"Name": name, "EnteredTime": now_iso(), "RetryCount": 0}
    if resumed is None:
        details = {"name": name, "input": text, "inputDetails": {"truncated": False}}
        add_event(execution, f"{kind}StateEntered", {"stateEnteredEventDetails": details})
    jsonata = sfn._state_query_language(state, context) == "JSONata"
    following: str | None
    if kind == "Succeed":
        if jsonata:
            output = sfn._apply_jsonata_output(state, value, context, default=value)
        else:
            output = sfn._apply_output_path(state, sfn._apply_input_path(state, value, context), context)
        following = None
    elif kind == "Fail":
        raise sfn._ExecutionError(*sfn._fail_state_error(state, value, context))
    elif kind == "Task":
        output, following = run_task(state, value, execution, context, resumed)
    elif kind == "Parallel":
        output, following = _run_parallel(state, value, execution, context)
    elif kind == "Map":
        output, following = _run_map(name, state, value, execution, context)
    elif kind == "Choice":
        output, following = sfn._execute_choice(state, value, context)
    elif kind == "Wait":
        output, following = sfn._execute_wait(state, value, context)
    elif kind == "Pass":
        output, following = sfn._execute_pass(state, value, context)
    else:
        raise sfn._ExecutionError("States.Runtime", f"the state {name!r} has the unknown type {kind!r}")
    text = _within_limit(output, f"The state '{name}' returned a result")
    details = {"name": name, "output": text, "outputDetails": {"truncated": False}}
    add_event(execution, f"{kind}StateExited", {"stateExitedEventDetails": details})
    return output, following


def run_branch(states: dict[str, State], start_at: str, value: Any, execution: Execution, context: Context) -> Any:
    """The states of a Parallel branch or a Map item. Variables assigned inside stay inside."""
    context = {**context, "variables": copy.deepcopy(context.get("variables", {}))}
    name: str | None = start_at
    value = copy.deepcopy(value)
    run = _current.get()
    while name:
        if run is not None:
            run.check()
        if name not in states:
            raise sfn._ExecutionError("States.Runtime", f"the state {name!r} is not in the branch")
        value, name = _run_state(name, states[name], value, execution, context)
    return value


def sleep(seconds: float) -> None:
    """A wait that ends with the execution."""
    run = _current.get()
    scaled = seconds * sfn._SFN_WAIT_SCALE
    if run is not None:
        run.sleep(scaled)
    elif scaled > 0:
        time.sleep(scaled)


# ---- tasks ----


def run_task(
    state: State, value: Any, execution: Execution, context: Context, resumed: dict[str, Any] | None = None
) -> tuple[Any, str | None]:
    """A Task with Retry and Catch. Each attempt has a token of its own."""
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

    return _with_retry_and_catch(state, value, context, attempt, after_failure)


def _with_retry_and_catch(
    state: State,
    value: Any,
    context: Context,
    attempt: Callable[[], tuple[Any, str | None]],
    after_failure: Callable[[], None] = lambda: None,
) -> tuple[Any, str | None]:
    """AWS: ``MaxDelaySeconds`` caps the wait, ``JitterStrategy: FULL`` draws it; ministack: 60 s caps it, no jitter.

    Conformance: ``test_retry_waits_at_most_max_delay_seconds``.
    """
    here = context["State"]
    counts: dict[int, int] = {}
    while True:
        context["State"] = {**here, "RetryCount": sum(counts.values())}
        try:
            return attempt()
        except sfn._ExecutionError as error:
            after_failure()
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
        text = _within_limit(arguments, f"The state '{context['State']['Name']}' has parameters")
        timeout = _seconds(state, "TimeoutSeconds", value, context)
        heartbeat = _seconds(state, "HeartbeatSeconds", value, context)
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
        run = _current.get()
        if run is not None:
            run.check()
        text = _within_limit(result, f"The state/task '{resource}' returned a result")
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
    """AWS: the call is made; if it fails the task fails at once; otherwise the task waits for its token, within
    TimeoutSeconds and with a sign of life every HeartbeatSeconds. ministack: ignores a function that fails, and
    heartbeats.

    Conformance: ``test_a_function_that_fails_before_the_token_is_answered_fails_the_task`` and those after it.
    """
    run = _current.get()
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


# ---- Parallel and Map ----


def _side_by_side(jobs: list[Callable[[], Any]], width: int) -> list[Any]:
    """Runs the jobs at most ``width`` at once, each in a copy of this thread's context; the first failure is raised
    when all have ended."""
    results: list[Any] = [None] * len(jobs)
    failures: list[BaseException | None] = [None] * len(jobs)
    room = threading.Semaphore(width)

    def work(index: int) -> None:
        try:
            results[index] = jobs[index]()
        except BaseException as error:
            failures[index] = error
        finally:
            room.release()

    threads = []
    for index in range(len(jobs)):
        room.acquire()
        if any(failures):
            room.release()
            break
        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(work, index), name="execution-branch", daemon=True
        )
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    for failure in failures:
        if failure is not None:
            raise failure
    return results


def _run_parallel(state: State, value: Any, execution: Execution, context: Context) -> tuple[Any, str | None]:
    """AWS: branches write history, and a JSONata Parallel has Arguments, Output and Assign. ministack: neither.

    Conformance: ``test_a_parallel_state_in_jsonata_has_arguments_output_and_assign``.
    """
    jsonata = sfn._state_query_language(state, context) == "JSONata"

    def attempt() -> tuple[Any, str | None]:
        if jsonata:
            arguments = sfn._apply_jsonata_arguments(state, value, context)
        else:
            arguments = sfn._apply_parameters(state, sfn._apply_input_path(state, value, context), context)
        add_event(execution, "ParallelStateStarted")
        branches = state.get("Branches", [])
        with _branches_of(execution, "Parallel"):
            results = _side_by_side(
                [
                    lambda branch=branch: run_branch(
                        branch.get("States", {}), branch.get("StartAt"), arguments, execution, context
                    )  # type: ignore[misc]
                    for branch in branches
                ],
                max(1, len(branches)),
            )
        return _results_out(state, value, context, results, jsonata), sfn._next_or_end(state)

    return _with_retry_and_catch(state, value, context, attempt)


def _results_out(state: State, value: Any, context: Context, results: list[Any], jsonata: bool) -> Any:
    if jsonata:
        output = sfn._apply_jsonata_output(state, value, context, result=results, default=results)
        sfn._apply_state_assign(state, value, context, result=results)
        return output
    return sfn._apply_output_path(
        state, sfn._apply_result_path(state, value, sfn._apply_result_selector(state, results)), context
    )


def _run_map(name: str, state: State, value: Any, execution: Execution, context: Context) -> tuple[Any, str | None]:
    """AWS: each iteration writes history. ministack: none does."""
    jsonata = sfn._state_query_language(state, context) == "JSONata"
    processor = state.get("ItemProcessor") or state.get("Iterator") or {}
    if (processor.get("ProcessorConfig") or {}).get("Mode") == "DISTRIBUTED":
        outcome: tuple[Any, str | None] = sfn._execute_map(state, value, execution, context)
        _join_branches(execution)
        return outcome
    states, start_at = processor.get("States", {}), processor.get("StartAt", "")

    def attempt() -> tuple[Any, str | None]:
        effective = sfn._apply_input_path(state, value, context)
        if jsonata and "Items" in state:
            items = sfn._jsonata_state_field(state, "Items", "array", value, context)
        else:
            items = sfn._resolve_path_or_ctx(state.get("ItemsPath", "$"), effective, context)
        if not isinstance(items, list):
            raise sfn._ExecutionError(
                "States.Runtime", f"the items of the Map state {name!r} must be an array, not {compact(items)[:200]}"
            )
        width = state.get("MaxConcurrency", 0)
        if isinstance(width, str):
            width = sfn._jsonata_state_field(state, "MaxConcurrency", "number", value, context)
        add_event(execution, "MapStateStarted", {"mapStateStartedEventDetails": {"length": len(items)}})

        def iteration(index: int, item: Any) -> Any:
            inner = {**context, "Map": {"Item": {"Index": index, "Value": item}}}
            inner["variables"] = copy.deepcopy(context.get("variables", {}))
            selector = state.get("ItemSelector") or state.get("Parameters")
            if not selector:
                chosen = item
            elif jsonata:
                chosen = sfn._apply_jsonata_template(selector, value, inner)
            else:
                chosen = sfn._resolve_params_obj(selector, effective, inner)
            details = {"name": name, "index": index}
            add_event(execution, "MapIterationStarted", {"mapIterationStartedEventDetails": details})
            try:
                result = run_branch(states, start_at, chosen, execution, inner)
            except sfn._ExecutionError:
                add_event(execution, "MapIterationFailed", {"mapIterationFailedEventDetails": details})
                raise
            add_event(execution, "MapIterationSucceeded", {"mapIterationSucceededEventDetails": details})
            return result

        with _branches_of(execution, "Map"):
            results = _side_by_side(
                [lambda index=index, item=item: iteration(index, item) for index, item in enumerate(items)],  # type: ignore[misc]
                int(width) if width else max(1, min(40, len(items))),
            )
        return _results_out(state, value, context, results, jsonata), sfn._next_or_end(state)

    return _with_retry_and_catch(state, value, context, attempt)
