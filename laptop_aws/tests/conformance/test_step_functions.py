"""Step Functions runs, refuses, times out and remembers as AWS does."""

from __future__ import annotations

import json
from typing import Any

from laptop_aws.tests.conformance.hosting import ACCOUNT, REGION, Host, unique
from laptop_aws.tests.conformance.state_machines import KIB_257, call, jsonata, refused, token_task

# ---- starting ----


def test_the_same_name_and_input_while_running_is_the_same_execution(host: Host) -> None:
    machine = host.state_machine(jsonata({"Wait": {"Type": "Wait", "Seconds": 30, "End": True}}))
    sfn = host.client("stepfunctions")
    first = sfn.start_execution(stateMachineArn=machine, name="v1-r1", input='{"a": 1}')
    again = sfn.start_execution(stateMachineArn=machine, name="v1-r1", input='{"a": 1}')
    assert again["executionArn"] == first["executionArn"] and again["startDate"] == first["startDate"]
    assert (
        refused(sfn.start_execution, stateMachineArn=machine, name="v1-r1", input='{"a": 2}')
        == "ExecutionAlreadyExists"
    )
    sfn.stop_execution(executionArn=first["executionArn"])
    assert (
        refused(sfn.start_execution, stateMachineArn=machine, name="v1-r1", input='{"a": 1}')
        == "ExecutionAlreadyExists"
    )


def test_bad_names_and_inputs_are_refused_with_the_codes_of_aws(host: Host) -> None:
    machine = host.state_machine(jsonata({"Done": {"Type": "Succeed"}}))
    start = host.client("stepfunctions").start_execution
    assert refused(start, stateMachineArn=machine, input="{no json") == "InvalidExecutionInput"
    assert refused(start, stateMachineArn=machine, name="a b") == "InvalidName"
    assert refused(start, stateMachineArn=machine, input=json.dumps(KIB_257)) == "ValidationException"
    assert refused(start, stateMachineArn=machine + "x") == "StateMachineDoesNotExist"


# ---- errors of functions ----


def test_retry_and_catch_match_the_functions_own_exception(host: Host, failing: str) -> None:
    machine = host.state_machine(
        jsonata(
            {
                "Call": call(
                    failing,
                    Retry=[
                        {
                            "ErrorEquals": ["Throttled"],
                            "IntervalSeconds": 1,
                            "MaxAttempts": 2,
                            "MaxDelaySeconds": 1,
                            "JitterStrategy": "FULL",
                        }
                    ],
                    Catch=[{"ErrorEquals": ["BadManifest"], "Output": "{% $states.errorOutput %}", "Next": "Refused"}],
                ),
                "Refused": {"Type": "Succeed"},
            }
        )
    )
    retried = host.run(machine, {"error": "Throttled", "failures": 1, "key": unique("k")})
    assert (retried["status"], json.loads(retried["output"])) == ("SUCCEEDED", {"calls": 2})
    caught = json.loads(host.run(machine, {"error": "BadManifest", "key": unique("k")})["output"])
    assert caught["Error"] == "BadManifest"
    cause = json.loads(caught["Cause"])
    assert (cause["errorType"], cause["errorMessage"]) == ("BadManifest", "message with 12 figures")


def test_retry_waits_at_most_max_delay_seconds(host: Host, failing: str) -> None:
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 300, "MaxDelaySeconds": 1, "MaxAttempts": 1}]
    machine = host.state_machine(jsonata({"Call": call(failing, Retry=retry)}))
    ended = host.run(machine, {"error": "Throttled", "failures": 1, "key": unique("k")}, seconds=8)
    assert ended["status"] == "SUCCEEDED"


def test_an_uncaught_error_fails_the_execution_with_its_name_and_cause(host: Host, failing: str) -> None:
    ended = host.run(host.state_machine(jsonata({"Call": call(failing)})), {"error": "BadManifest", "key": unique("k")})
    assert (ended["status"], ended["error"]) == ("FAILED", "BadManifest")
    assert "message with 12 figures" in ended["cause"]


def test_a_throttled_function_is_too_many_requests(host: Host) -> None:
    name = host.function("def handler(e, c): return 1")
    host.client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    assert host.run(host.state_machine(jsonata({"Call": call(name)})))["error"] == "Lambda.TooManyRequestsException"


# ---- limits ----


def test_a_result_above_256_kib_ends_the_execution_whatever_is_caught(host: Host) -> None:
    name = host.function("def handler(e, c): return 'x' * e['size']")
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
    machine = host.state_machine(jsonata({"Call": call(name, Catch=catch), "Caught": {"Type": "Pass", "End": True}}))
    ended = host.run(machine, {"size": 262_145})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.DataLimitExceeded")
    assert host.run(machine, {"size": 200_000})["status"] == "SUCCEEDED"


def test_states_timeout_of_a_task_can_be_caught(host: Host) -> None:
    name = host.function("import time\ndef handler(e, c): time.sleep(6)")
    catch = [{"ErrorEquals": ["States.Timeout"], "Next": "Late"}]
    machine = host.state_machine(
        jsonata(
            {"Call": call(name, TimeoutSeconds=1, Catch=catch), "Late": {"Type": "Pass", "Output": "late", "End": True}}
        )
    )
    ended = host.run(machine)
    assert ended["output"] == '"late"'
    assert "TaskTimedOut" in [event["type"] for event in host.history(ended["executionArn"])]


def test_the_state_machines_own_timeout_ends_it_as_timed_out(host: Host) -> None:
    machine = host.state_machine(jsonata({"Wait": {"Type": "Wait", "Seconds": 60, "End": True}}, TimeoutSeconds=1))
    ended = host.run(machine)
    assert ended["status"] == "TIMED_OUT"
    assert host.history(ended["executionArn"])[-1]["type"] == "ExecutionTimedOut"


# ---- states ----


def test_a_fail_states_jsonata_is_evaluated(host: Host) -> None:
    fail = {"Type": "Fail", "Error": "{% $states.input.error %}", "Cause": "{% 'run ' & $states.input.run %}"}
    ended = host.run(host.state_machine(jsonata({"RunFailed": fail})), {"error": "TrainingFailed", "run": "v1-r1"})
    assert (ended["error"], ended["cause"]) == ("TrainingFailed", "run v1-r1")


def test_a_choice_on_a_missing_path_fails(host: Host) -> None:
    machine = host.state_machine(
        {
            "StartAt": "IsBetter",
            "States": {
                "IsBetter": {
                    "Type": "Choice",
                    "Choices": [{"Variable": "$.a.b", "BooleanEquals": True, "Next": "Done"}],
                    "Default": "Done",
                },
                "Done": {"Type": "Succeed"},
            },
        }
    )
    ended = host.run(machine, {"a": {}})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Runtime")
    assert "$.a.b" in ended["cause"]
    assert host.run(machine, {"a": {"b": None}})["status"] == "SUCCEEDED"


def test_a_jsonata_condition_that_is_no_boolean_fails(host: Host) -> None:
    choice = {
        "Type": "Choice",
        "Choices": [{"Condition": "{% $states.input.better %}", "Next": "Done"}],
        "Default": "Done",
    }
    machine = host.state_machine(jsonata({"IsBetter": choice, "Done": {"Type": "Succeed"}}))
    assert host.run(machine, {"better": True})["status"] == "SUCCEEDED"
    assert host.run(machine, {"better": "yes"})["error"] == "States.QueryEvaluationError"
    assert host.run(machine, {})["error"] == "States.QueryEvaluationError"


def test_an_undefined_jsonata_result_can_be_caught(host: Host) -> None:
    name = host.function("def handler(e, c): return {}")
    task = call(
        name,
        Output="{% $states.result.Payload.missing %}",
        Catch=[{"ErrorEquals": ["States.QueryEvaluationError"], "Next": "Caught"}],
    )
    machine = host.state_machine(jsonata({"Call": task, "Caught": {"Type": "Pass", "Output": "caught", "End": True}}))
    ended = host.run(machine)
    assert ended["output"] == '"caught"'
    [told] = [one for one in host.history(ended["executionArn"]) if one["type"] == "EvaluationFailed"]
    details = told["evaluationFailedEventDetails"]
    assert (details["state"], details["error"]) == ("Call", "States.QueryEvaluationError")


def test_a_parallel_state_in_jsonata_has_arguments_output_and_assign(host: Host) -> None:
    branch = {
        "StartAt": "In",
        "States": {"In": {"Type": "Pass", "Assign": {"seen": 1}, "Output": "{% $states.input.n + 1 %}", "End": True}},
    }
    states = {
        "Both": {
            "Type": "Parallel",
            "Arguments": {"n": "{% $states.input.start %}"},
            "Branches": [branch, branch],
            "Assign": {"total": "{% $sum($states.result) %}"},
            "Output": "{% $states.result %}",
            "Next": "Sum",
        },
        "Sum": {
            "Type": "Pass",
            "Output": "{% {'total': $total, 'results': $states.input, 'leaked': $exists($seen)} %}",
            "End": True,
        },
    }
    ended = host.run(host.state_machine(jsonata(states)), {"start": 1})
    assert json.loads(ended["output"]) == {"total": 4, "results": [2, 2], "leaked": False}
    exits = [one for one in host.history(ended["executionArn"]) if one["type"].endswith("StateExited")]
    assigned = [one["stateExitedEventDetails"].get("assignedVariables") for one in exits]
    assert assigned == [{"seen": "1"}, {"seen": "1"}, {"total": "4"}, None]


def test_each_event_of_the_history_names_the_one_before_it_in_its_own_branch(host: Host) -> None:
    branches = [{"StartAt": n, "States": {n: {"Type": "Wait", "Seconds": 0, "End": True}}} for n in ("A", "B")]
    item = {"StartAt": "Item", "States": {"Item": {"Type": "Pass", "End": True}}}
    states = {
        "Both": {"Type": "Parallel", "Branches": branches, "Next": "Each"},
        "Each": {"Type": "Map", "Items": [1, 2], "ItemProcessor": item, "End": True},
    }
    ended = host.run(host.state_machine(jsonata(states)))
    events = host.history(ended["executionArn"])
    by_id = {event["id"]: event for event in events}
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["previousEventId"] == events[1]["previousEventId"] == 0
    assert all(event["previousEventId"] < event["id"] for event in events)
    for name in ("A", "B"):
        entered = next(e for e in events if e.get("stateEnteredEventDetails", {}).get("name") == name)
        left = next(e for e in events if e.get("stateExitedEventDetails", {}).get("name") == name)
        assert by_id[entered["previousEventId"]]["type"] == "ParallelStateStarted"
        assert left["previousEventId"] == entered["id"]
    kinds = [event["type"] for event in events]
    assert (
        kinds.count("MapIterationStarted")
        == kinds.count("MapIterationSucceeded")
        == kinds.count("PassStateEntered")
        == 2
    )
    assert kinds[-3:] == ["MapStateSucceeded", "MapStateExited", "ExecutionSucceeded"]


def test_an_update_does_not_reach_executions_that_run(host: Host, token_queue: str) -> None:
    train = token_task(token_queue, Next="Old")
    del train["End"]
    machine = host.state_machine(jsonata({"Train": train, "Old": {"Type": "Pass", "Output": "old", "End": True}}))
    sfn = host.client("stepfunctions")
    arn = sfn.start_execution(stateMachineArn=machine)["executionArn"]
    token = json.loads(host.receive(token_queue)["Body"])["token"]
    sfn.update_state_machine(
        stateMachineArn=machine, definition=json.dumps(jsonata({"New": {"Type": "Pass", "Output": "new", "End": True}}))
    )
    sfn.send_task_success(taskToken=token, output="{}")
    assert host.wait_for_execution(arn)["output"] == '"old"'


def test_every_status_change_is_an_event(host: Host) -> None:
    url, queue = host.queue()
    name = unique("statuses")
    machine = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"
    host.client("events").put_rule(
        Name=name,
        EventPattern=json.dumps(
            {
                "source": ["aws.states"],
                "detail-type": ["Step Functions Execution Status Change"],
                "detail": {"stateMachineArn": [machine]},
            }
        ),
    )
    host.client("events").put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": queue}])
    choices = [{"Condition": f"{{% $states.input.then = '{then}' %}}", "Next": then} for then in ("Fail", "Wait")]
    host.state_machine(
        jsonata(
            {
                "Which": {"Type": "Choice", "Choices": choices, "Default": "Done"},
                "Fail": {"Type": "Fail", "Error": "No", "Cause": "because"},
                "Wait": {"Type": "Wait", "Seconds": 60, "End": True},
                "Done": {"Type": "Succeed"},
            },
            TimeoutSeconds=2,
        ),
        name,
    )
    host.run(machine, {"then": "Done"}, name="succeeds")
    host.run(machine, {"then": "Fail"}, name="fails")
    host.run(machine, {"then": "Wait"}, name="times-out")
    arn = host.client("stepfunctions").start_execution(
        stateMachineArn=machine, name="aborted", input='{"then": "Wait"}'
    )["executionArn"]
    host.client("stepfunctions").stop_execution(executionArn=arn, error="Operator", cause="by hand")
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    while len(seen) < 8:
        detail = json.loads(host.receive(url)["Body"])["detail"]
        seen[detail["name"], detail["status"]] = detail
    ends = {"succeeds": "SUCCEEDED", "fails": "FAILED", "times-out": "TIMED_OUT", "aborted": "ABORTED"}
    assert set(seen) == {(run, "RUNNING") for run in ends} | set(ends.items())
    assert (seen["fails", "FAILED"]["error"], seen["fails", "FAILED"]["cause"]) == ("No", "because")
    assert (seen["aborted", "ABORTED"]["error"], seen["aborted", "ABORTED"]["cause"]) == ("Operator", "by hand")
    assert json.loads(seen["times-out", "TIMED_OUT"]["input"]) == {"then": "Wait"}
    assert isinstance(seen["succeeds", "SUCCEEDED"]["stopDate"], int)
