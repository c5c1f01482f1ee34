"""The definitions and pictures are assembled from the sources, and a name means the same policy everywhere."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from delivery.assembly import files, machines, pictures
from tests.unit.statemachines.edges import MACHINES
from tests.unit.statemachines.interpreter import edges_of

FOLDER = machines.ROOT / "statemachines"
SHARED = machines.load(FOLDER / "shared.yaml")
SOURCES = {name: machines.load(FOLDER / f"{name}.yaml") for name in MACHINES}
DEPLOYED: dict[str, Any] = {
    name: json.loads((FOLDER / f"{name}.asl.json").read_text(encoding="utf-8")) for name in MACHINES
}


def assembled(name: str, shared: dict[str, Any] = SHARED, **states: Any) -> dict[str, Any]:
    """The definition of `name`, with `states` in place of those of its source."""
    source = {**SOURCES[name], "States": SOURCES[name]["States"] | states}
    return machines.definition(name, source, shared)


def test_every_assembled_file_is_current() -> None:
    assert machines.check() == [], "run `python -m delivery.assembly`"


def test_a_file_that_was_edited_or_is_missing_is_found_and_written_again(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "statemachines")
    (tmp_path / "docs" / "reference").mkdir(parents=True)
    edited = tmp_path / "statemachines" / "batch.asl.json"
    edited.write_text(edited.read_text("utf-8").replace("86400", "86401"), "utf-8")
    assert machines.check(tmp_path) == ["statemachines/batch.asl.json", "docs/reference/machines.md"]
    assert machines.write(tmp_path) == ["statemachines/batch.asl.json", "docs/reference/machines.md"]
    assert machines.check(tmp_path) == []


@pytest.mark.parametrize("name", MACHINES)
def test_what_is_deployed_retries_and_catches_as_the_named_policies_say(name: str) -> None:
    for state, source in SOURCES[name]["States"].items():
        deployed = DEPLOYED[name]["States"][state]
        named = [retrier for policy in source.get("Retry", []) for retrier in SHARED["retry"][policy]]
        assert deployed.get("Retry", []) == named
        caught = [{**SHARED["catch"][rule], "Next": target} for rule, target in source.get("Catch", {}).items()]
        assert deployed.get("Catch", []) == caught


@pytest.mark.parametrize(("kind", "key"), [("retry", "Retry"), ("catch", "Catch")])
def test_no_shared_policy_is_unused_or_there_under_two_names(kind: str, key: str) -> None:
    used = {name for source in SOURCES.values() for state in source["States"].values() for name in state.get(key, [])}
    assert used == set(SHARED[kind])
    texts = [json.dumps(policy, sort_keys=True) for policy in SHARED[kind].values()]
    assert len(set(texts)) == len(texts)


def test_a_changed_policy_changes_every_state_that_names_it_and_nothing_else() -> None:
    shared = copy.deepcopy(SHARED)
    shared["retry"]["endpoint_busy"][0]["MaxAttempts"] = 7
    for name in MACHINES:
        before, after = assembled(name)["States"], assembled(name, shared)["States"]
        changed = {state for state in before if before[state] != after[state]}
        assert changed == {
            state for state, source in SOURCES[name]["States"].items() if "endpoint_busy" in source.get("Retry", [])
        }


STATE = {"Comment": "Asks.", "invoke": "Verify", "result": "verification", "Next": "RecordDeployed"}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (STATE | {"Retry": ["platfrom"]}, "shared.yaml has no platfrom under retry; it has capacity, capacity_parked"),
        (STATE | {"Catch": {"any": "RollBack"}}, "shared.yaml has no any under catch"),
        (STATE | {"payload": {"at": "$now"}}, "shared.yaml has no now under expressions"),
        (STATE | {"retries": ["platform"]}, "the key retries is unknown"),
        (STATE | {"invoke.waitForTaskToken": "Deploy"}, "has invoke or invoke.waitForTaskToken, result, and a Comment"),
        ({"Comment": "Asks.", "invoke": "Verify"}, "has invoke or invoke.waitForTaskToken, result, and a Comment"),
    ],
)
def test_a_mistake_in_a_source_names_the_state_and_what_is_wrong(state: dict[str, Any], message: str) -> None:
    with pytest.raises(files.SourceError, match=re.escape(message)) as raised:
        assembled("retraining", Verify=state)
    assert str(raised.value).startswith("retraining.yaml, Verify: ")


def test_a_state_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "twice.yaml"
    source.write_text("States:\n  Done: {Type: Succeed}\n  Done: {Type: Fail}\n", encoding="utf-8")
    with pytest.raises(files.SourceError, match="Done is there twice"):
        machines.load(source)


@pytest.mark.parametrize("name", MACHINES)
def test_the_picture_has_every_state_and_every_way_between_two_states(name: str) -> None:
    definition = DEPLOYED[name]
    drawn = re.findall(r"^    (\w+) (?:-->|-- .* -->|-\.->|-\. .* \.->) (\w+)$", pictures.mermaid(definition), re.M)
    ways = {(edge[0], _target(definition["States"][edge[0]], edge)) for edge in edges_of(definition)}
    assert set(drawn) == {(state, target) for state, target in ways if target}
    assert {state for way in drawn for state in way} == set(definition["States"])


def _target(state: dict[str, Any], edge: tuple[str, ...]) -> str:
    """The state that an edge leads to; a retry leads to none."""
    if edge[1] in ("Next", "Default"):
        return str(state[edge[1]])
    if edge[1] == "Choices":
        return edge[2]
    return next((rule["Next"] for rule in state[edge[1]] if "Next" in rule and edge[2] in rule["ErrorEquals"]), "")


def test_the_longest_wait_is_that_of_every_retry_up_to_the_maximum_delay() -> None:
    platform = SHARED["retry"]["platform"][0]
    assert pictures.longest_wait(platform) == 2 + 4 + 8 + 16 + 32 + 60
