"""Runs one Step Functions execution from state to state: order of events, timeout, branches, restarts. ministack
evaluates paths, JSONata, Choice rules, Wait and Map items.
"""

from __future__ import annotations

import contextvars
import copy
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from ministack.core.responses import now_iso
from ministack.services import cloudwatch
from ministack.services import stepfunctions as sfn

from laptop_aws import registry
from laptop_aws.correction import corrects
from laptop_aws.corrections.execution import (
    Context,
    Execution,
    Run,
    State,
    Stopped,
    add_event,
    append_event,
    branches_of,
    compact,
    current,
    join_branches,
    previous_event,
    runs,
    within_limit,
)
from laptop_aws.corrections.task_state import run_task, tell_evaluation, with_retry_and_catch

logger = logging.getLogger("emulator")


# ---- the execution ----


@corrects(
    "ministack.services.stepfunctions:_run_execution",
    source="996dff84e0e0",
    aws="an execution ends at its TimeoutSeconds, keeps the definition that it started with, and survives",
    ministack="none of the three",
    test="test_the_state_machines_own_timeout_ends_it_as_timed_out",
)
def run_execution(execution_arn: str) -> None:
    """Runs the definition that the execution started with; after a restart of the host, from ``position``."""
    execution = sfn._executions.get(execution_arn)
    if not execution or execution["status"] != "RUNNING":
        return
    run = runs[execution_arn] = Run(execution)
    current.set(run)
    previous_event.set(len(execution["events"]) if execution.get("position") else 0)
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
    return within_limit(value, "The execution returned a result")


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
    """Gives the execution its final status; later calls change nothing."""
    execution = run.execution
    with run.lock:
        if execution["status"] != "RUNNING":
            return
        execution.update(status=status, stopDate=now_iso())
        if status == "SUCCEEDED":
            execution["output"] = output
            details = {"output": output, "outputDetails": {"truncated": False}}
            append_event(execution, "ExecutionSucceeded", {"executionSucceededEventDetails": details})
        elif status == "TIMED_OUT":
            append_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
        else:
            details = {name: text for name, text in (("error", error), ("cause", cause)) if text}
            execution.update(details)
            append_event(execution, "ExecutionFailed", {"executionFailedEventDetails": details})
    if status == "TIMED_OUT":
        run.stop()
    execution.pop("position", None)
    registry.mark_changed()
    logger.info("execution %s %s %s", execution["executionArn"], status, f"{error}: {cause}"[:300] if error else "")
    count(execution, status)
    sfn._emit_execution_status_event(execution)


def count(execution: Execution, status: str) -> None:
    """Counts the execution in ``AWS/States``."""
    metric = {
        "SUCCEEDED": "ExecutionsSucceeded",
        "FAILED": "ExecutionsFailed",
        "TIMED_OUT": "ExecutionsTimedOut",
        "ABORTED": "ExecutionsAborted",
    }[status]
    dimensions = {"StateMachineArn": execution["stateMachineArn"]}
    cloudwatch.record_metric("AWS/States", metric, 1, "Count", dimensions)


def resume_executions() -> None:
    """Continues every unfinished execution at its current state, after a restart of the host.

    A task that waits for its token keeps the token and the timeout. Any other state starts again, so its function may
    run twice.
    """
    from ministack.core.responses import request_scope

    for (account, region, arn), execution in list(sfn._executions._data.items()):
        if execution["status"] == "RUNNING" and not execution.get("sync"):
            with request_scope(account, region):
                logger.info(
                    "execution %s continues at %s", arn, (execution.get("position") or {}).get("state", "its start")
                )
                registry.in_background(run_execution, arn, name="execution")


# ---- one state ----


def _run_state(
    name: str, state: State, value: Any, execution: Execution, context: Context, resumed: dict[str, Any] | None = None
) -> tuple[Any, str | None]:
    variables = dict(context["variables"])
    try:
        output, following = _entered(name, state, value, execution, context, resumed)
        text = within_limit(output, f"The state '{name}' returned a result")
    except sfn._ExecutionError as error:
        tell_evaluation(name, error)
        raise
    details: dict[str, Any] = {"name": name, "output": text, "outputDetails": {"truncated": False}}
    assigned = {
        variable: compact(found)
        for variable, found in context["variables"].items()
        if variable not in variables or found is not variables[variable]
    }
    if assigned:
        details |= {"assignedVariables": assigned, "assignedVariablesDetails": {"truncated": False}}
    add_event(execution, f"{state.get('Type', '')}StateExited", {"stateExitedEventDetails": details})
    return output, following


def _entered(
    name: str, state: State, value: Any, execution: Execution, context: Context, resumed: dict[str, Any] | None
) -> tuple[Any, str | None]:
    kind = state.get("Type", "")
    text = within_limit(value, f"The state '{name}' was entered")
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
    return output, following


@corrects(
    "ministack.services.stepfunctions:_run_sub_machine",
    source="f8d844168b14",
    aws="branches and iterations write history, and their variables stay local to them",
    ministack="they write no history",
    test="test_each_event_of_the_history_names_the_one_before_it_in_its_own_branch",
)
def run_branch(states: dict[str, State], start_at: str, value: Any, execution: Execution, context: Context) -> Any:
    """Runs the states of a Parallel branch or a Map item; its variables are local."""
    context = {**context, "variables": copy.deepcopy(context.get("variables", {}))}
    name: str | None = start_at
    value = copy.deepcopy(value)
    run = current.get()
    while name:
        if run is not None:
            run.check()
        if name not in states:
            raise sfn._ExecutionError("States.Runtime", f"the state {name!r} is not in the branch")
        value, name = _run_state(name, states[name], value, execution, context)
    return value


# ---- Parallel and Map ----


def _side_by_side(jobs: list[Callable[[], Any]], width: int) -> list[Any]:
    """Runs at most ``width`` jobs at once, each in a copy of this thread's context. Raises the first failure after all
    have ended."""
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
    """Runs a Parallel state, with history in its branches and, in JSONata, Arguments, Output and Assign."""
    jsonata = sfn._state_query_language(state, context) == "JSONata"

    def attempt() -> tuple[Any, str | None]:
        if jsonata:
            arguments = sfn._apply_jsonata_arguments(state, value, context)
        else:
            arguments = sfn._apply_parameters(state, sfn._apply_input_path(state, value, context), context)
        add_event(execution, "ParallelStateStarted")
        branches = state.get("Branches", [])
        with branches_of(execution, "Parallel"):
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

    return with_retry_and_catch(state, value, context, attempt)


def _results_out(state: State, value: Any, context: Context, results: list[Any], jsonata: bool) -> Any:
    if jsonata:
        output = sfn._apply_jsonata_output(state, value, context, result=results, default=results)
        sfn._apply_state_assign(state, value, context, result=results)
        return output
    return sfn._apply_output_path(
        state, sfn._apply_result_path(state, value, sfn._apply_result_selector(state, results)), context
    )


def _run_map(name: str, state: State, value: Any, execution: Execution, context: Context) -> tuple[Any, str | None]:
    """Runs a Map state, with history in its iterations."""
    jsonata = sfn._state_query_language(state, context) == "JSONata"
    processor = state.get("ItemProcessor") or state.get("Iterator") or {}
    if (processor.get("ProcessorConfig") or {}).get("Mode") == "DISTRIBUTED":
        outcome: tuple[Any, str | None] = sfn._execute_map(state, value, execution, context)
        join_branches(execution)
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

        with branches_of(execution, "Map"):
            results = _side_by_side(
                [lambda index=index, item=item: iteration(index, item) for index, item in enumerate(items)],  # type: ignore[misc]
                int(width) if width else max(1, min(40, len(items))),
            )
        return _results_out(state, value, context, results, jsonata), sfn._next_or_end(state)

    return with_retry_and_catch(state, value, context, attempt)
