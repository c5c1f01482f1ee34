"""Takes every edge of the state machines and counts them: `python -m tests.unit.statemachines.edges`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from tests.unit.statemachines.interpreter import (
    DEFINITIONS,
    UNFORESEEN,
    Answer,
    Edge,
    Execution,
    Failed,
    definition_of,
    edges_of,
    execute,
)
from tests.unit.statemachines.scenarios import SCENARIOS, Scenario

MACHINES = sorted(path.name.removesuffix(".asl.json") for path in DEFINITIONS.glob("*.asl.json"))


def run_unchanged(scenario: Scenario) -> Execution:
    """Run the scenario unchanged."""
    return execute(scenario.machine, scenario.event, lambda state, attempt, payload: scenario.answers.get(state, {}))


def failing_once(scenario: Scenario, name: str, error: str) -> Execution:
    """Run the scenario; the first attempt of the state `name` fails with `error`."""

    def answer(state: str, attempt: int, payload: Any) -> Answer:
        return Failed(error) if state == name and attempt == 0 else scenario.answers.get(state, {})

    return execute(scenario.machine, scenario.event, answer)


def always_failing(
    scenario: Scenario, name: str, error: str, see: Callable[[tuple[str, Any]], None] = lambda _: None
) -> Execution:
    """Run the scenario; every attempt of the state `name` fails with `error`. `see` gets each (state, payload)."""

    def answer(state: str, attempt: int, payload: Any) -> Answer:
        see((state, payload))
        return Failed(error) if state == name else scenario.answers.get(state, {})

    return execute(scenario.machine, scenario.event, answer)


def first_through(machine: str, name: str) -> Scenario:
    """The first scenario of `machine` whose path has the state `name`."""
    return next(scenario for scenario in SCENARIOS if scenario.machine == machine and name in scenario.path)


@cache
def edges_taken(machine: str) -> frozenset[Edge]:
    """The edges of all scenarios, and of every state failing with every error that its Retry and Catch name."""
    found: set[Edge] = set()
    for scenario in SCENARIOS:
        if scenario.machine == machine:
            found |= run_unchanged(scenario).edges
    for name, state in definition_of(machine)["States"].items():
        for entry in state.get("Retry", []):
            for error in entry["ErrorEquals"]:
                found |= failing_once(first_through(machine, name), name, error).edges
        for entry in state.get("Catch", []):
            for error in entry["ErrorEquals"]:
                foreseen = UNFORESEEN if error == "States.ALL" else error
                found |= always_failing(first_through(machine, name), name, foreseen).edges
    return frozenset(found)


def main() -> int:
    complete = True
    for machine in MACHINES:
        wanted, taken = edges_of(definition_of(machine)), edges_taken(machine)
        left = sorted(wanted - taken)
        complete = complete and not left
        print(f"{machine}: {len(wanted & taken)} of {len(wanted)} edges, {len(wanted & taken) / len(wanted):.0%}")
        for edge in left:
            print("  not taken: " + " ".join(edge))
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
