"""Checks that asl-validator lacks: every wait is bounded, the platform is retried, every error is caught."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from shared import errors

ROOT = Path(__file__).resolve().parents[3]
ENDS = {
    "batch": "BatchFailed",
    "preparation": "PreparationFailed",
    "retraining": "RunFailed",
    "rollback": "RollbackFailed",
}
NAMES = ("batch", "preparation", "retraining", "rollback")
DEFINITIONS: dict[str, Any] = {
    name: json.loads((ROOT / "statemachines" / f"{name}.asl.json").read_text(encoding="utf-8")) for name in NAMES
}
TASKS = [
    (name, state) for name in NAMES for state, body in DEFINITIONS[name]["States"].items() if body["Type"] == "Task"
]
PLATFORM = {
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
}
WAITING = {"StartBatch", "StartPreparation", "StartTraining", "AwaitApproval", "Deploy", "RollBack"}


def task(name: str, state: str) -> dict[str, Any]:
    body: dict[str, Any] = DEFINITIONS[name]["States"][state]
    return body


def edges(body: dict[str, Any]) -> list[str]:
    targets = [body[key] for key in ("Next", "Default") if key in body]
    return targets + [branch["Next"] for key in ("Choices", "Catch") for branch in body.get(key, [])]


@pytest.mark.parametrize("name", NAMES)
def test_every_edge_leads_to_a_state_and_every_state_is_reached(name: str) -> None:
    states = DEFINITIONS[name]["States"]
    reached, todo = set(), [DEFINITIONS[name]["StartAt"]]
    while todo:
        state = todo.pop()
        assert state in states, f"{name}: an edge leads to {state}, which does not exist"
        if state not in reached:
            reached.add(state)
            todo += edges(states[state])
    assert reached == set(states)


@pytest.mark.parametrize("name", NAMES)
def test_every_state_goes_on_or_ends(name: str) -> None:
    for state, body in DEFINITIONS[name]["States"].items():
        ends = body["Type"] in ("Succeed", "Fail")
        assert ends != bool(edges(body)), f"{name}.{state}"


@pytest.mark.parametrize("name", NAMES)
def test_is_jsonata_and_bounded_as_a_whole(name: str) -> None:
    definition = DEFINITIONS[name]
    assert definition["QueryLanguage"] == "JSONata"
    longest = sum(body.get("TimeoutSeconds", 0) for body in definition["States"].values())
    assert definition["TimeoutSeconds"] > max(body.get("TimeoutSeconds", 0) for body in definition["States"].values())
    assert definition["TimeoutSeconds"] <= max(longest * 2, 14 * 24 * 3600)


@pytest.mark.parametrize(("name", "state"), TASKS)
def test_every_task_invokes_one_function_and_ends_in_time(name: str, state: str) -> None:
    body = task(name, state)
    waits = ".waitForTaskToken" if state in WAITING else ""
    assert body["Resource"] == "arn:${Partition}:states:::lambda:invoke" + waits
    assert re.fullmatch(r"\$\{[A-Z][A-Za-z]+FunctionArn\}", body["Arguments"]["FunctionName"])
    assert 60 <= body["TimeoutSeconds"] <= 11 * 24 * 3600
    assert ("$states.context.Task.Token" in body["Arguments"]["Payload"]) is (state in WAITING)


@pytest.mark.parametrize(("name", "state"), TASKS)
def test_every_task_retries_the_platform_with_full_jitter_and_never_our_own_bugs(name: str, state: str) -> None:
    retriers = task(name, state)["Retry"]
    for retrier in retriers:
        assert retrier["JitterStrategy"] == "FULL"
        assert retrier["BackoffRate"] > 1
        assert retrier["MaxAttempts"] >= 2
        assert retrier["MaxDelaySeconds"] >= retrier["IntervalSeconds"]
    names = [error for retrier in retriers for error in retrier["ErrorEquals"]]
    assert len(names) == len(set(names)), "an error named twice is retried by the first retrier only"
    assert PLATFORM | {"DependencyFailed"} <= set(names)
    for ours in (error for error in names if not error.startswith(("Lambda.", "Sandbox."))):
        assert issubclass(getattr(errors, ours), errors.DependencyFailed), f"trying again does not help against {ours}"


@pytest.mark.parametrize(("name", "state"), TASKS)
def test_every_error_that_is_caught_by_name_is_one_that_the_functions_raise(name: str, state: str) -> None:
    names = [error for catcher in task(name, state)["Catch"] for error in catcher["ErrorEquals"]]
    assert all(error == "States.ALL" or issubclass(getattr(errors, error), errors.FunctionError) for error in names)


@pytest.mark.parametrize(("name", "state"), TASKS)
def test_every_task_catches_every_error_and_keeps_it(name: str, state: str) -> None:
    catchers = task(name, state)["Catch"]
    assert catchers[-1]["ErrorEquals"] == ["States.ALL"]
    end = ENDS[name]
    if state == "HandleFailure":
        assert [catcher["Next"] for catcher in catchers] == [end]
        assert task(name, state)["Next"] == end
    else:
        assert all("$states.errorOutput" in catcher["Output"] for catcher in catchers)
        assert catchers[-1]["Next"] in ("HandleFailure", "RollBack")


@pytest.mark.parametrize(("name", "state"), TASKS)
def test_every_answer_is_added_to_the_input_under_its_own_name(name: str, state: str) -> None:
    body = task(name, state)
    found = re.fullmatch(r"\{% \$merge\(\[\$states\.input, \{'(\w+)': (\S+)\}\]\) %\}", body["Output"])
    assert found is not None
    assert found[2] == ("$states.result" if state in WAITING else "$states.result.Payload")


def test_the_answers_have_the_names_that_the_functions_read() -> None:
    answers = {state: re.findall(r"'(\w+)': \$states\.result", task(name, state)["Output"])[0] for name, state in TASKS}
    assert answers == {
        "StartBatch": "batch",
        "PublishBatch": "publication",
        "StartPreparation": "preparation",
        "RecordPrepared": "outcome",
        "HandleFailure": "failure",
        "StartTraining": "training",
        "Evaluate": "evaluation",
        "Register": "registration",
        "AwaitApproval": "approval",
        "Deploy": "deployment",
        "Verify": "verification",
        "RecordDeployed": "outcome",
        "RecordRejected": "outcome",
        "RecordUnchanged": "outcome",
        "RollBack": "rollback",
        "ChooseVersion": "target",
        "RecordRestored": "outcome",
    }


def test_a_rejection_never_reaches_the_endpoint_and_is_a_success() -> None:
    states = DEFINITIONS["retraining"]["States"]
    assert states["IsModelBetter"]["Default"] == "RecordRejected"
    assert states["IsApproved"]["Default"] == "RecordRejected"
    assert states["RecordRejected"]["Next"] == "ModelRejected"
    assert states["ModelRejected"]["Type"] == "Succeed"
    assert states["IsModelBetter"]["Choices"][1]["Next"] == "RecordUnchanged"
    assert states["RecordUnchanged"]["Next"] == "ModelUnchanged"
    assert states["ModelUnchanged"]["Type"] == "Succeed"


def test_a_choice_without_an_explicit_yes_takes_the_safe_branch() -> None:
    states = DEFINITIONS["retraining"]["States"]
    assert [choice["Condition"] for choice in states["IsModelBetter"]["Choices"]] == [
        "{% $states.input.evaluation.verdict = 'ACCEPTED' %}",
        "{% $states.input.evaluation.verdict = 'UNCHANGED' %}",
    ]
    assert states["IsApprovalNeeded"]["Default"] == "AwaitApproval"
    assert states["IsApprovalNeeded"]["Choices"][0]["Next"] == "Deploy"


def test_every_failure_after_the_endpoint_may_have_changed_rolls_back() -> None:
    states = DEFINITIONS["retraining"]["States"]
    assert states["Deploy"]["Catch"][-1]["Next"] == "RollBack"
    assert states["Verify"]["Catch"][-1]["Next"] == "RollBack"
    assert states["RollBack"]["Next"] == "HandleFailure"
    assert "'action': 'rollback'" in states["RollBack"]["Arguments"]["Payload"]
    assert "'action': 'deploy'" in states["Deploy"]["Arguments"]["Payload"]


def test_an_older_version_ends_as_rejected_not_as_a_fault() -> None:
    first = DEFINITIONS["retraining"]["States"]["Deploy"]["Catch"][0]
    assert (first["ErrorEquals"], first["Next"]) == (["StaleVersion"], "RecordRejected")


def test_long_waits_outlast_what_they_wait_for() -> None:
    retraining = DEFINITIONS["retraining"]["States"]
    one_day = 24 * 3600
    assert retraining["StartTraining"]["TimeoutSeconds"] > 2 * one_day, (
        "a day of training and a day of waiting for spot"
    )
    assert DEFINITIONS["preparation"]["States"]["StartPreparation"]["TimeoutSeconds"] > one_day
    assert retraining["Deploy"]["TimeoutSeconds"] > 2 * 3600


@pytest.mark.parametrize(("name", "state"), list(ENDS.items()))
def test_the_failing_end_has_fixed_words(name: str, state: str) -> None:
    body = DEFINITIONS[name]["States"][state]
    assert body["Error"] == state
    assert "{%" not in body["Error"] + body["Cause"]


def test_handle_failure_receives_the_name_of_the_machine() -> None:
    for name in NAMES:
        assert f"'machine': '{name}'" in task(name, "HandleFailure")["Arguments"]["Payload"]


def test_each_function_says_which_states_invoke_it_and_no_other_is_invoked() -> None:
    says = {
        (state, path.parent.name)
        for path in (ROOT / "functions").glob("*/function.yaml")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("States: ")
        for state in re.findall(r"[\w.]+", line.removeprefix("States: "))
    }
    invoked = {
        (
            f"{name}.{state}",
            re.sub(r"(?<!^)(?=[A-Z])", "_", task(name, state)["Arguments"]["FunctionName"][2:-12]).lower(),
        )
        for name, state in TASKS
    }
    assert says == invoked
