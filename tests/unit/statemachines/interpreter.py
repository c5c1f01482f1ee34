"""Executes a state machine on the interpreter of the embedded AWS, with scripted answers in place of its functions, and
reports the edges that the execution took.

An edge leads from a state to the next, or back into the same state: a Task's Next, each error name of its Retry and of
its Catch, each rule of a Choice and its Default. The edges taken are read from the history of the execution.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ministack.services import stepfunctions as sfn

from laptop_aws import corrections
from laptop_aws.corrections import state_driver, stepfunctions
from laptop_aws.corrections.task_state import TIMEOUT

DEFINITIONS = Path(__file__).resolve().parents[3] / "statemachines"
ACCOUNT, REGION = "000000000000", "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/machine"
UNFORESEEN = "UnforeseenError"
"""An error name that only `States.ALL` matches."""

Answer = Mapping[str, Any] | Exception
Answers = Callable[[str, int, Any], Answer]
"""The answer to a state, the number of its attempt, and the function's payload."""
Edge = tuple[str, ...]
"""(state, "Next") or (state, "Default"), (state, "Choices", target), (state, "Retry" or "Catch", error name)."""


class Failed(Exception):
    """A failure, with the error `name`, of a function, of the call of it, or of the job whose token it held."""

    def __init__(self, name: str, cause: str = "scripted") -> None:
        super().__init__(name, cause)
        self.name, self.cause = name, cause

    @property
    def by_lambda(self) -> bool:
        """Lambda refused the call."""
        return self.name.startswith("Lambda.")

    @property
    def of_call(self) -> bool:
        """Lambda refused the call, or ended the function: nobody holds the token."""
        return self.by_lambda or self.name.startswith("Sandbox.")

    @property
    def body(self) -> dict[str, str]:
        """Lambda's answer for a function that raised the error."""
        return {"errorMessage": self.cause, "errorType": self.name}


def definition_of(machine: str | dict[str, Any]) -> dict[str, Any]:
    """A definition itself, or that in `statemachines/` with each substitution replaced by its own name, and the
    partition by `aws`.
    """
    if isinstance(machine, dict):
        return machine
    text = (DEFINITIONS / f"{machine}.asl.json").read_text(encoding="utf-8").replace("${Partition}", "aws")
    definition: dict[str, Any] = json.loads(re.sub(r"\"\$\{(\w+)\}\"|\$\{(\w+)\}", _substituted, text))
    return definition


def _substituted(match: re.Match[str]) -> str:
    return f'"{match[1]}"' if match[1] else match[2]


def edges_of(definition: Mapping[str, Any]) -> set[Edge]:
    """Every edge of the definition."""
    found: set[Edge] = set()
    for name, state in definition["States"].items():
        found |= {(name, kind) for kind in ("Next", "Default") if kind in state}
        found |= {(name, "Choices", rule["Next"]) for rule in state.get("Choices", [])}
        for kind in ("Retry", "Catch"):
            found |= {(name, kind, error) for entry in state.get(kind, []) for error in entry["ErrorEquals"]}
    return found


@dataclass(frozen=True)
class Execution:
    """A finished execution. `path`: its states in order, each once, whatever the number of attempts."""

    status: str
    error: str | None
    cause: str | None
    output: Any
    path: list[str]
    attempts: list[str]
    """The state of each attempt of a task."""
    edges: set[Edge]
    history: list[dict[str, Any]]


def execute(machine: str | dict[str, Any], event: Mapping[str, Any], answers: Answers) -> Execution:
    """Run `machine`, a name or a definition, on `event`. `answers(state, attempt, payload)` replaces the function of a
    Task (attempts count from 0). It returns the payload of the function's answer or, if the task waits for a token, the
    answer to the token; if it returns a `Failed`, the state ends with that error.
    """
    definition, called = definition_of(machine), machine if isinstance(machine, str) else "small"
    name = uuid.uuid4().hex
    arn = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:{called}:{name}"
    deployed = {
        "stateMachineArn": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{called}",
        "name": called,
        "roleArn": ROLE,
        "definition": json.dumps({**definition, "TimeoutSeconds": 999_999_999}),
    }
    execution = stepfunctions._new_execution(arn, deployed, deployed["stateMachineArn"], name, json.dumps(event))
    sfn._executions[arn] = execution
    tried: dict[str, int] = {}

    def invoke(function: str, payload: Any) -> Any:
        state = next(event for event in reversed(execution["events"]) if event["type"] == "TaskStateEntered")
        name = state["stateEnteredEventDetails"]["name"]
        answer = answers(name, tried.get(name, 0), payload)
        tried[name] = tried.get(name, 0) + 1
        waits = definition["States"][name]["Resource"].endswith(".waitForTaskToken")
        if isinstance(answer, Failed) and (answer.of_call or not waits):
            raise sfn._ExecutionError(answer.name, answer.cause if answer.by_lambda else json.dumps(answer.body))
        if not waits:
            return answer
        token = sfn._task_tokens[payload["taskToken"]]
        if isinstance(answer, Failed):
            token["error"] = {"Error": answer.name, "Cause": answer.cause}
        else:
            token["result"] = json.dumps(answer)
        token["event"].set()
        return None

    with _scripted(invoke):
        state_driver.run_execution(arn)
    sfn._executions.pop(arn, None)
    return read(definition, execution, execution["events"])


@contextmanager
def _scripted(invoke: Callable[..., Any]) -> Iterator[None]:
    """The corrected interpreter of the embedded AWS; it calls `invoke` for every function and never waits."""
    corrections.apply(corrections.STEP_FUNCTIONS)
    replaced = {
        "_call_lambda": invoke,
        "_invoke_resource_with_timeout": lambda resource, arguments, seconds: sfn._invoke_resource(resource, arguments),
        "_SFN_WAIT_SCALE": 0,
        "_emit_execution_status_event": lambda execution: None,
    }
    before = {name: getattr(sfn, name) for name in replaced}
    for name, value in replaced.items():
        setattr(sfn, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(sfn, name, value)


def read(definition: Mapping[str, Any], ended: Mapping[str, Any], history: list[dict[str, Any]]) -> Execution:
    """The execution that is over. `ended`: the answer of DescribeExecution."""
    states = definition["States"]
    path: list[str] = []
    attempts: list[str] = []
    edges: set[Edge] = set()
    failure: str | None = None
    for event in history:
        if event["type"].endswith("StateEntered"):
            name = event["stateEnteredEventDetails"]["name"]
            if name not in states:  # of a branch
                continue
            if path:
                edges.add(_edge(path[-1], states[path[-1]], name, failure))
            path.append(name)
            failure = None
        elif event["type"] == "TaskScheduled":
            attempts.append(path[-1])
            if failure is not None:
                edges.add((path[-1], "Retry", _matching(states[path[-1]]["Retry"], failure)[0]))
            failure = None
        elif event["type"] in ("TaskFailed", "TaskTimedOut"):
            failure = event[f"{event['type'][0].lower()}{event['type'][1:]}EventDetails"]["error"]
    output = json.loads(ended.get("output") or "null")
    return Execution(ended["status"], ended.get("error"), ended.get("cause"), output, path, attempts, edges, history)


def _edge(name: str, state: Mapping[str, Any], target: str, failure: str | None) -> Edge:
    if failure is not None:
        error, next_state = _matching(state["Catch"], failure)
        assert next_state == target, f"{name} went to {target} after {failure}, and Catch says {next_state}"
        return (name, "Catch", error)
    if state["Type"] != "Choice":
        return (name, "Next")
    targets = [rule["Next"] for rule in state["Choices"]]
    assert len({*targets, state["Default"]}) == len(targets) + 1, f"two edges of {name} lead to one state"
    return (name, "Choices", target) if target in targets else (name, "Default")


def _matching(entries: list[dict[str, Any]], error: str) -> tuple[str, str]:
    """The error name, and the Next, of the first entry that `error` matches."""
    for entry in entries:
        for name in entry["ErrorEquals"]:
            if name in (error, "States.ALL") or (name == "States.TaskFailed" and error != TIMEOUT):
                return name, entry.get("Next", "")
    raise AssertionError(f"nothing matches {error}")
