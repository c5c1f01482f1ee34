"""Every edge of every state machine is taken on the interpreter; see `edges.py`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.statemachines.edges import (
    MACHINES,
    always_failing,
    edges_taken,
    failing_once,
    first_through,
    run_unchanged,
)
from tests.unit.statemachines.interpreter import UNFORESEEN, definition_of, edges_of
from tests.unit.statemachines.scenarios import SCENARIOS, Scenario

TASKS = [
    (machine, name)
    for machine in MACHINES
    for name, state in definition_of(machine)["States"].items()
    if state["Type"] == "Task"
]


def state_of(machine: str, name: str) -> dict[str, Any]:
    state: dict[str, Any] = definition_of(machine)["States"][name]
    return state


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: f"{scenario.machine}: {scenario.name}")
def test_takes_the_expected_path(scenario: Scenario) -> None:
    execution = run_unchanged(scenario)
    assert execution.path == scenario.path
    assert execution.status == scenario.status


@pytest.mark.parametrize(("machine", "name"), TASKS)
@pytest.mark.fault("M01", "M02")
def test_an_error_that_is_retried_successfully_changes_nothing_else(machine: str, name: str) -> None:
    scenario = first_through(machine, name)
    for entry in state_of(machine, name).get("Retry", []):
        for error in entry["ErrorEquals"]:
            execution = failing_once(scenario, name, error)
            assert execution.path == scenario.path, error
            assert execution.attempts.count(name) == run_unchanged(scenario).attempts.count(name) + 1, error


@pytest.mark.parametrize(("machine", "name"), TASKS)
def test_a_retry_ends_after_its_attempts_and_the_catch_follows(machine: str, name: str) -> None:
    state = state_of(machine, name)
    last = state["Catch"][-1]
    assert last["ErrorEquals"] == ["States.ALL"]
    scenario = first_through(machine, name)
    for entry in state.get("Retry", []):
        execution = always_failing(scenario, name, entry["ErrorEquals"][0])
        assert execution.attempts.count(name) == entry["MaxAttempts"] + 1
        assert execution.path[execution.path.index(name) + 1] == last["Next"]


@pytest.mark.parametrize(("machine", "name"), TASKS)
def test_an_unforeseen_error_is_not_retried_and_is_caught(machine: str, name: str) -> None:
    execution = always_failing(first_through(machine, name), name, UNFORESEEN)
    assert execution.attempts.count(name) == 1
    assert execution.path[execution.path.index(name) + 1] == state_of(machine, name)["Catch"][-1]["Next"]
    assert execution.status == "FAILED"


def test_handle_failure_gets_the_error_and_the_state_that_failed() -> None:
    payloads: list[Any] = []
    always_failing(first_through("retraining", "Evaluate"), "Evaluate", UNFORESEEN, payloads.append)
    handled = next(payload for state, payload in payloads if state == "HandleFailure")
    assert handled["failedState"] == "Evaluate"
    assert handled["error"]["Error"] == UNFORESEEN
    assert json.loads(handled["error"]["Cause"]) == {"errorType": UNFORESEEN, "errorMessage": "scripted"}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.fault("M16")
def test_every_edge_is_taken(machine: str) -> None:
    assert edges_of(definition_of(machine)) - edges_taken(machine) == set()
