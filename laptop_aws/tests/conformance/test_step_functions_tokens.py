"""Task tokens of Step Functions are answered, refused and voided as on AWS."""

from __future__ import annotations

import json
import time

from laptop_aws.tests.conformance.hosting import Host, eventually
from laptop_aws.tests.conformance.state_machines import KIB_257, call, jsonata, refused, token_task


def test_a_token_answered_with_success_passes_its_output_on(host: Host, token_queue: str) -> None:
    machine = host.state_machine(jsonata({"Train": token_task(token_queue)}))
    sfn = host.client("stepfunctions")
    arn = sfn.start_execution(stateMachineArn=machine)["executionArn"]
    token = json.loads(host.receive(token_queue)["Body"])["token"]
    assert refused(sfn.send_task_success, taskToken=token, output="{broken") == "InvalidOutput"
    assert refused(sfn.send_task_success, taskToken=token, output=json.dumps(KIB_257)) == "ValidationException"
    sfn.send_task_success(taskToken=token, output='{"status": "Completed"}')
    ended = host.wait_for_execution(arn)
    assert (ended["status"], json.loads(ended["output"])) == ("SUCCEEDED", {"status": "Completed"})
    assert refused(sfn.send_task_success, taskToken=token, output="{}") == "TaskTimedOut"
    assert refused(sfn.send_task_success, taskToken="made up", output="{}") == "InvalidToken"
    types = [event["type"] for event in host.history(arn)]
    assert types[1:7] == [
        "TaskStateEntered",
        "TaskScheduled",
        "TaskStarted",
        "TaskSubmitted",
        "TaskSucceeded",
        "TaskStateExited",
    ]


def test_a_token_answered_with_failure_fails_the_task_by_that_name(host: Host, token_queue: str) -> None:
    catch = [{"ErrorEquals": ["TrainingFailed"], "Output": "{% $states.errorOutput.Cause %}", "Next": "Failed"}]
    machine = host.state_machine(
        jsonata({"Train": token_task(token_queue, Catch=catch), "Failed": {"Type": "Succeed"}})
    )
    arn = host.client("stepfunctions").start_execution(stateMachineArn=machine)["executionArn"]
    token = json.loads(host.receive(token_queue)["Body"])["token"]
    host.client("stepfunctions").send_task_failure(
        taskToken=token, error="TrainingFailed", cause="AlgorithmError: loss is nan"
    )
    assert json.loads(host.wait_for_execution(arn)["output"]) == "AlgorithmError: loss is nan"


def test_a_token_that_nobody_answers_times_out(host: Host, token_queue: str) -> None:
    machine = host.state_machine(jsonata({"Train": token_task(token_queue, TimeoutSeconds=1)}))
    ended = host.run(machine)
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")
    late = json.loads(host.receive(token_queue)["Body"])["token"]
    assert refused(host.client("stepfunctions").send_task_success, taskToken=late, output="{}") == "TaskTimedOut"


def test_a_missed_heartbeat_fails_the_task_and_a_sent_one_keeps_it(host: Host, token_queue: str) -> None:
    machine = host.state_machine(jsonata({"Train": token_task(token_queue, HeartbeatSeconds=1, TimeoutSeconds=60)}))
    sfn = host.client("stepfunctions")
    arn = sfn.start_execution(stateMachineArn=machine)["executionArn"]
    token = json.loads(host.receive(token_queue)["Body"])["token"]
    for _ in range(4):
        time.sleep(0.5)
        sfn.send_task_heartbeat(taskToken=token)
    assert sfn.describe_execution(executionArn=arn)["status"] == "RUNNING"
    assert host.wait_for_execution(arn)["error"] == "States.HeartbeatTimeout"


def test_each_retry_has_a_token_of_its_own(host: Host, token_queue: str) -> None:
    retry = [{"ErrorEquals": ["Again"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    machine = host.state_machine(jsonata({"Train": token_task(token_queue, Retry=retry)}))
    sfn = host.client("stepfunctions")
    arn = sfn.start_execution(stateMachineArn=machine)["executionArn"]
    first = json.loads(host.receive(token_queue)["Body"])["token"]
    sfn.send_task_failure(taskToken=first, error="Again", cause="")
    second = json.loads(host.receive(token_queue)["Body"])["token"]
    assert second != first
    sfn.send_task_success(taskToken=second, output="2")
    assert host.wait_for_execution(arn)["output"] == "2"


def test_a_function_that_fails_before_the_token_is_answered_fails_the_task(host: Host, failing: str) -> None:
    task = {
        **call(failing, {"error": "BadManifest", "token": "{% $states.context.Task.Token %}"}),
        "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "Output": "{% $states.result %}",
    }
    ended = host.run(host.state_machine(jsonata({"Start": task})), seconds=8)
    assert (ended["status"], ended["error"]) == ("FAILED", "BadManifest")


def test_a_function_may_answer_its_token_before_it_returns(host: Host) -> None:
    name = host.function(
        """
        import boto3
        def handler(event, context):
            boto3.client("stepfunctions").send_task_success(taskToken=event["token"], output='"adopted"')
            return "ignored"
        """
    )
    task = {
        **call(name, {"token": "{% $states.context.Task.Token %}"}),
        "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "Output": "{% $states.result %}",
    }
    assert host.run(host.state_machine(jsonata({"Start": task})))["output"] == '"adopted"'


def test_aborting_voids_the_token_and_ends_the_history(host: Host, token_queue: str) -> None:
    machine = host.state_machine(jsonata({"Train": token_task(token_queue)}))
    sfn = host.client("stepfunctions")
    arn = sfn.start_execution(stateMachineArn=machine)["executionArn"]
    token = json.loads(host.receive(token_queue)["Body"])["token"]
    sfn.stop_execution(executionArn=arn, error="Operator", cause="stopped by hand")
    ended = host.wait_for_execution(arn)
    assert (ended["status"], ended["error"], ended["cause"]) == ("ABORTED", "Operator", "stopped by hand")
    assert eventually(lambda: refused(sfn.send_task_success, taskToken=token, output="{}")) == "TaskTimedOut"
    assert [event["type"] for event in host.history(arn)].count("ExecutionAborted") == 1
    assert host.history(arn)[-1]["type"] == "ExecutionAborted"
