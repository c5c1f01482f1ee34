"""Every edge of every state machine is gone along, on the interpreter; see `edges.py`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.statemachines.edges import MACHINES, always_failing, failing_once, first_through, gone_along, run_all
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
def test_takes_the_way_that_it_should(scenario: Scenario) -> None:
    execution = run_all(scenario)
    assert execution.path == scenario.path
    assert execution.status == scenario.status


@pytest.mark.parametrize(("machine", "name"), TASKS)
@pytest.mark.fault("M01", "M02")
def test_what_a_retry_helps_against_happens_once_and_nothing_else_changes(machine: str, name: str) -> None:
    scenario = first_through(machine, name)
    for entry in state_of(machine, name).get("Retry", []):
        for error in entry["ErrorEquals"]:
            execution = failing_once(scenario, name, error)
            assert execution.path == scenario.path, error
            assert execution.attempts.count(name) == run_all(scenario).attempts.count(name) + 1, error


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
def test_what_nobody_foresaw_is_not_tried_again_and_is_caught_with_its_reason(machine: str, name: str) -> None:
    execution = always_failing(first_through(machine, name), name, UNFORESEEN)
    assert execution.attempts.count(name) == 1
    assert execution.path[execution.path.index(name) + 1] == state_of(machine, name)["Catch"][-1]["Next"]
    assert execution.status == "FAILED"


def test_the_failure_that_is_handled_is_the_one_that_happened() -> None:
    payloads: list[Any] = []
    always_failing(first_through("retraining", "Evaluate"), "Evaluate", UNFORESEEN, payloads.append)
    handled = next(payload for state, payload in payloads if state == "HandleFailure")
    assert handled["failedState"] == "Evaluate"
    assert handled["error"] == {"Error": UNFORESEEN, "Cause": "scripted"}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.fault("M16")
def test_every_edge_was_gone_along(machine: str) -> None:
    assert edges_of(definition_of(machine)) - gone_along(machine) == set()
