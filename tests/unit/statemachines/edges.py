"""Takes every edge of the state machines and counts them: `python -m tests.unit.statemachines.edges`."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from tests.unit.statemachines.interpreter import (
    DEFINITIONS,
    UNFORESEEN,
    Answer,
    Answers,
    Edge,
    Execution,
    Failed,
    definition_of,
    edges_of,
    execute,
)
from tests.unit.statemachines.scenarios import SCENARIOS, Scenario

MACHINES = sorted(path.name.removesuffix(".asl.json") for path in DEFINITIONS.glob("*.asl.json"))
Script = tuple[str, Mapping[str, Any], Answers]
"""What an interpreter executes: a machine, its input, and the answers."""


def scripted(scenario: Scenario, name: str = "", error: str = "", times: float = math.inf) -> Script:
    """The scenario; the first `times` attempts of the state `name` fail with `error`."""

    def answers(state: str, attempt: int, payload: Any) -> Answer:
        return Failed(error) if state == name and attempt < times else scenario.answers.get(state, {})

    return scenario.machine, scenario.event, answers


def run_unchanged(scenario: Scenario) -> Execution:
    """Run the scenario unchanged."""
    return execute(*scripted(scenario))


def failing_once(scenario: Scenario, name: str, error: str) -> Execution:
    """Run the scenario; the first attempt of the state `name` fails with `error`."""
    return execute(*scripted(scenario, name, error, times=1))


def always_failing(
    scenario: Scenario, name: str, error: str, see: Callable[[tuple[str, Any]], None] = lambda _: None
) -> Execution:
    """Run the scenario; every attempt of the state `name` fails with `error`. `see` gets each (state, payload)."""
    machine, event, answers = scripted(scenario, name, error)

    def answer(state: str, attempt: int, payload: Any) -> Answer:
        see((state, payload))
        return answers(state, attempt, payload)

    return execute(machine, event, answer)


def first_through(machine: str, name: str) -> Scenario:
    """The first scenario of `machine` whose path has the state `name`."""
    return next(scenario for scenario in SCENARIOS if scenario.machine == machine and name in scenario.path)


def scripts(machine: str) -> Iterator[tuple[str, Script]]:
    """Each with its name: all scenarios, and every state failing with every error that its Retry and Catch name."""
    for scenario in SCENARIOS:
        if scenario.machine == machine:
            yield scenario.name, scripted(scenario)
    for name, state in definition_of(machine)["States"].items():
        for entry in state.get("Retry", []):
            for error in entry["ErrorEquals"]:
                yield f"{name} fails once: {error}", scripted(first_through(machine, name), name, error, times=1)
        for entry in state.get("Catch", []):
            for error in entry["ErrorEquals"]:
                foreseen = UNFORESEEN if error == "States.ALL" else error
                yield f"{name} fails: {foreseen}", scripted(first_through(machine, name), name, foreseen)


@cache
def edges_taken(machine: str) -> frozenset[Edge]:
    """The edges that the scripts of `machine` take."""
    return frozenset(edge for _, script in scripts(machine) for edge in execute(*script).edges)


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
