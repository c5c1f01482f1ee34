"""The state machine definitions: valid for asl-validator, complete in their substitutions, and bounded in every
wait."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infrastructure import node
from tests.infrastructure.templates import of_type, text

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
MACHINES = ("batch", "preparation", "retraining", "rollback")
Template = dict[str, Any]
# Lambda's errors for a call that did not reach the function's code.
TRANSIENT = {
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
}


def definition(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "statemachines" / f"{name}.asl.json").read_text("utf-8"))
    return found


def tasks(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from ((state, body) for state, body in definition(name)["States"].items() if body["Type"] == "Task")


def validate(validator: list[str], path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*validator, "--json-path", str(path)], capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="session")
def validator() -> list[str]:
    return node.asl_validator(ROOT)


@pytest.mark.parametrize("name", MACHINES)
def test_definition_is_valid(name: str, validator: list[str], tmp_path: Path) -> None:
    deployed = tmp_path / f"{name}.asl.json"
    deployed.write_text(json.dumps(definition(name)).replace("${Partition}", "aws"), "utf-8")
    result = validate(validator, deployed)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"


@pytest.mark.parametrize("name", MACHINES)
def test_a_transition_to_a_missing_state_is_caught(name: str, validator: list[str], tmp_path: Path) -> None:
    broken = json.loads(json.dumps(definition(name)).replace("${Partition}", "aws"))
    state = next(body for body in broken["States"].values() if "Next" in body)
    state["Next"] = "Nowhere"
    path = tmp_path / "broken.asl.json"
    path.write_text(json.dumps(broken), "utf-8")
    result = validate(validator, path)
    assert result.returncode != 0
    assert "Nowhere" in result.stdout + result.stderr


def test_every_definition_is_deployed(sam: Template) -> None:
    deployed = {machine["DefinitionUri"] for machine in of_type(sam, "AWS::Serverless::StateMachine").values()}
    assert deployed == {f"statemachines/{path.name}" for path in (ROOT / "statemachines").glob("*.asl.json")}
    assert deployed == {f"statemachines/{name}.asl.json" for name in MACHINES}


@pytest.mark.parametrize("name", MACHINES)
def test_substitutions_are_exactly_those_that_the_definition_uses(name: str, sam: Template) -> None:
    machine = sam["Resources"][f"{name.capitalize()}StateMachine"]["Properties"]
    used = set(re.findall(r"\$\{(\w+)\}", json.dumps(definition(name))))
    assert set(machine["DefinitionSubstitutions"]) == used
    functions = dict(machine["DefinitionSubstitutions"])
    assert functions.pop("Partition") == {"Ref": "AWS::Partition"}
    for placeholder, value in functions.items():
        assert text(value) == f"${{{placeholder.removesuffix('Arn')}.Version}}"


@pytest.mark.parametrize("name", MACHINES)
def test_role_invokes_exactly_the_functions_of_the_definition(name: str, sam: Template) -> None:
    role = sam["Resources"][f"{name.capitalize()}StateMachineRole"]["Properties"]
    statements = role["Policies"][0]["PolicyDocument"]["Statement"]
    functions = next(s for s in statements if s["Action"] == "lambda:InvokeFunction")["Resource"]
    used = {task["Arguments"]["FunctionName"].strip("${}").removesuffix("Arn") for _, task in tasks(name)}
    assert {text(arn) for arn in functions} == {f"${{{name}.Arn}}:*" for name in used}


@pytest.mark.parametrize("name", MACHINES)
def test_every_task_has_a_timeout_that_its_function_fits_into(name: str, cloudformation: Template) -> None:
    for state, task in tasks(name):
        function = task["Arguments"]["FunctionName"].strip("${}").removesuffix("Arn")
        timeout = cloudformation["Resources"][function]["Properties"]["Timeout"]
        assert task.get("TimeoutSeconds", 0) > timeout, f"{state} waits less than {function} may take ({timeout} s)"


@pytest.mark.parametrize(
    ("name", "state", "parameter", "seconds"),
    [
        ("preparation", "StartPreparation", "PreparationTimeoutMinutes", 60),
        ("retraining", "AwaitApproval", "ApprovalDeadlineHours", 3600),
        # Twice, because a spot job may wait for capacity for as long as it may run.
        ("retraining", "StartTraining", "TrainingMaxRuntimeSeconds", 2),
    ],
)
def test_the_wait_for_a_job_outlasts_the_longest_job(
    name: str, state: str, parameter: str, seconds: int, sam: Template
) -> None:
    longest = sam["Parameters"][parameter]["MaxValue"] * seconds
    machine = definition(name)
    assert machine["States"][state]["TimeoutSeconds"] > longest
    assert machine["TimeoutSeconds"] > machine["States"][state]["TimeoutSeconds"]


@pytest.mark.parametrize("name", MACHINES)
def test_every_task_retries_the_platform_with_jitter_and_catches_the_rest(name: str) -> None:
    for state, task in tasks(name):
        retried = {error for retry in task.get("Retry", []) for error in retry["ErrorEquals"]}
        assert retried >= TRANSIENT, f"{state} does not retry {sorted(TRANSIENT - retried)}"
        assert not retried & {"States.ALL", "States.TaskFailed"}, f"{state} retries our own errors"
        for retry in task["Retry"]:
            assert retry.get("JitterStrategy") == "FULL", f"{state} retries without jitter: {retry['ErrorEquals']}"
            assert "MaxDelaySeconds" in retry and retry["BackoffRate"] > 1, f"{state}: {retry['ErrorEquals']}"
        caught = [error for catch in task.get("Catch", []) for error in catch["ErrorEquals"]]
        assert "States.ALL" in caught, f"{state} catches nothing"


@pytest.mark.parametrize("name", MACHINES)
def test_ends_are_reached_and_failures_say_so(name: str) -> None:
    machine = definition(name)
    states = machine["States"]
    assert machine["QueryLanguage"] == "JSONata"
    reached, waiting = set(), [machine["StartAt"]]
    while waiting:
        state = waiting.pop()
        if state in reached:
            continue
        reached.add(state)
        body = states[state]
        waiting += [body[key] for key in ("Next", "Default") if key in body]
        waiting += [branch["Next"] for branch in body.get("Choices", []) + body.get("Catch", [])]
    assert reached == set(states)
    for state, body in states.items():
        if body["Type"] == "Fail":
            assert body.get("Error") and not body["Error"].startswith("{%"), f"{state} has no fixed error"
