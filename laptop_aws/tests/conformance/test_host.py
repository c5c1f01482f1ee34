"""The host: its sockets, its saved state, its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from laptop_aws import identity
from laptop_aws.config import MINISTACK_VERSION
from laptop_aws.tests.conformance.hosting import PROJECT_ROOT, ROLE, Host, eventually, free_port

MakeHost = Callable[..., Host]


def listening(pid: int) -> set[tuple[str, int]]:
    """(address, port) of every TCP and UDP socket that the process listens on, from /proc."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        target = str(entry.readlink())
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]:
            fields = line.split()
            wanted = "0A" if kind.startswith("tcp") else "07"
            if fields[9] in inodes and fields[3] == wanted:
                address, port = fields[1].split(":")
                found.add((address, int(port, 16)))
    return found


def children(pid: int) -> list[int]:
    """All descendants of the process that still run."""
    table: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            table.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found, todo = [], [pid]
    while todo:
        below = table.get(todo.pop(), [])
        found += below
        todo += below
    return found


def alive(pids: list[int]) -> list[int]:
    """The processes that exist and are not zombies."""
    found = []
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(pid)
        except OSError:
            continue
    return found


def fill(host: Host) -> dict[str, Any]:
    """Creates one resource of each kind that must survive a restart."""
    s3, events = host.client("s3"), host.client("events")
    s3.create_bucket(Bucket="kept")
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket="kept", Key="datasets/v1/part 0.parquet", Body=b"one")["VersionId"]
    s3.put_object(Bucket="kept", Key="datasets/v1/part 0.parquet", Body=b"two", Metadata={"rows": "2"})
    s3.put_bucket_notification_configuration(Bucket="kept", NotificationConfiguration={"EventBridgeConfiguration": {}})
    host.client("dynamodb").create_table(
        TableName="kept",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    host.client("dynamodb").put_item(TableName="kept", Item={"pk": {"S": "RUN#1"}, "count": {"N": "7"}})
    function = host.function("def handler(e, c): return 'kept'", "kept")
    function_arn = f"arn:aws:lambda:us-east-1:000000000000:function:{function}"
    queue_url, queue_arn = host.queue("kept")
    events.put_rule(Name="kept", EventPattern=json.dumps({"source": ["shop"]}))
    events.put_targets(Rule="kept", Targets=[{"Id": "queue", "Arn": queue_arn}])
    machine = host.state_machine({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}, "kept")
    execution = host.run(machine, {"a": 1}, name="kept-1")["executionArn"]
    gateway = host.client("apigatewayv2")
    api = gateway.create_api(Name="kept", ProtocolType="HTTP")["ApiId"]
    target = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function_arn, PayloadFormatVersion="2.0"
    )
    gateway.create_route(ApiId=api, RouteKey="GET /any", Target=f"integrations/{target['IntegrationId']}")
    gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    host.client("scheduler").create_schedule(
        Name="kept",
        ScheduleExpression="rate(15 minutes)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": function_arn, "RoleArn": ROLE},
        State="DISABLED",
    )
    host.client("ssm").put_parameter(Name="/kept", Value="1", Type="String")
    template = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "kept"}}}}
    host.client("cloudformation").create_stack(StackName="kept", TemplateBody=json.dumps(template))
    host.client("cloudformation").get_waiter("stack_create_complete").wait(StackName="kept", WaiterConfig={"Delay": 1})
    return {
        "version": first,
        "execution": execution,
        "api": api,
        "queue": queue_url,
        "events": len(host.history(execution)),
    }


def check(host: Host, kept: dict[str, Any]) -> None:
    """Checks that all resources exist and work."""
    s3 = host.client("s3")
    key = "datasets/v1/part 0.parquet"
    latest = s3.get_object(Bucket="kept", Key=key)
    assert (latest["Body"].read(), latest["Metadata"]) == (b"two", {"rows": "2"})
    assert s3.get_object(Bucket="kept", Key=key, VersionId=kept["version"])["Body"].read() == b"one"
    assert len(s3.list_object_versions(Bucket="kept")["Versions"]) == 2
    assert "EventBridgeConfiguration" in s3.get_bucket_notification_configuration(Bucket="kept")
    item = host.client("dynamodb").get_item(TableName="kept", Key={"pk": {"S": "RUN#1"}})["Item"]
    assert item == {"pk": {"S": "RUN#1"}, "count": {"N": "7"}}
    assert host.invoke("kept") == ("kept", None)
    host.client("events").put_events(Entries=[{"Source": "shop", "DetailType": "Kept", "Detail": "{}"}])
    assert json.loads(host.receive(kept["queue"])["Body"])["detail-type"] == "Kept"
    assert host.client("stepfunctions").describe_execution(executionArn=kept["execution"])["status"] == "SUCCEEDED"
    assert len(host.history(kept["execution"])) == kept["events"]
    assert host.run("arn:aws:states:us-east-1:000000000000:stateMachine:kept")["status"] == "SUCCEEDED"
    with urllib.request.urlopen(f"{host.endpoint}/_aws/execute-api/{kept['api']}/$default/any") as answer:
        assert answer.read() == b"kept"
    assert host.client("scheduler").get_schedule(Name="kept")["State"] == "DISABLED"
    assert host.client("ssm").get_parameter(Name="/kept")["Parameter"]["Value"] == "1"
    assert (
        host.client("cloudformation").describe_stacks(StackName="kept")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
    )


def test_it_listens_on_loopback_alone(host: Host) -> None:
    assert host.process is not None
    host.function("def handler(e, c): return 1")
    host.client("stepfunctions").list_state_machines()
    host.client("iot").list_things()
    host.client("transfer").list_servers()
    assert listening(host.process.pid) == {("0100007F", host.port)}


def test_nothing_listens_in_its_children_but_java_on_loopback_for_who_has_its_secret(host: Host) -> None:
    assert host.process is not None
    host.invoke(host.function("def handler(e, c): return 1"))
    for child in alive(children(host.process.pid)):
        if Path(f"/proc/{child}/exe").resolve().name == "java":
            assert {address for address, _ in listening(child)} <= {"0100007F", "0000000000000000FFFF00000100007F"}
        else:
            assert listening(child) <= {("0100007F", host.port)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_everything_is_there_again_after_a_restart(another_host: MakeHost, number: int) -> None:
    first = another_host().start()
    kept = fill(first)
    if number == signal.SIGKILL:
        time.sleep(2.6)
        first.stop(number)
    else:
        assert first.stop(number) == 0
    again = another_host(first.root).start()
    check(again, kept)


def test_a_waiting_execution_goes_on_after_a_restart(another_host: MakeHost) -> None:
    first = another_host().start()
    url, _ = first.queue("tokens")
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Arguments": {"QueueUrl": url, "MessageBody": {"token": "{% $states.context.Task.Token %}"}},
        "TimeoutSeconds": 600,
        "Assign": {"answer": "{% $states.result %}"},
        "Next": "Done",
    }
    start = {"Type": "Pass", "Assign": {"run": "v1-r1"}, "Next": "Train"}
    done = {"Type": "Pass", "Output": "{% {'run': $run, 'answer': $answer} %}", "End": True}
    machine = first.state_machine(
        {"QueryLanguage": "JSONata", "StartAt": "Start", "States": {"Start": start, "Train": task, "Done": done}}
    )
    arn = first.client("stepfunctions").start_execution(stateMachineArn=machine)["executionArn"]
    token = json.loads(first.receive(url)["Body"])["token"]
    assert first.stop() == 0
    again = another_host(first.root).start()
    assert again.client("stepfunctions").describe_execution(executionArn=arn)["status"] == "RUNNING"

    def answered() -> bool:
        try:
            again.client("stepfunctions").send_task_success(taskToken=token, output='"trained"')
        except again.client("stepfunctions").exceptions.InvalidToken:
            return False
        return True

    eventually(answered)
    assert json.loads(again.wait_for_execution(arn)["output"]) == {"run": "v1-r1", "answer": "trained"}
    kinds = [event["type"] for event in again.history(arn)]
    assert kinds.count("TaskScheduled") == 1 and kinds[-1] == "ExecutionSucceeded"
    assert (
        again.client("sqs")
        .receive_message(QueueUrl=again.client("sqs").get_queue_url(QueueName="tokens")["QueueUrl"])
        .get("Messages")
        is None
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_it(another_host: MakeHost, number: int) -> None:
    running = another_host().start()
    assert running.process is not None
    name = running.function(
        """
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        def handler(event, context): return child.pid
        """
    )
    grandchild, _ = running.invoke(name)
    family = children(running.process.pid)
    assert grandchild in family
    started = time.monotonic()
    status = running.stop(number)
    assert status == (-9 if number == signal.SIGKILL else 0)
    eventually(lambda: not alive(family), 5)
    assert time.monotonic() - started < 10


def test_it_ends_while_a_function_runs_and_an_execution_waits(another_host: MakeHost) -> None:
    running = another_host().start()
    name = running.function("import time\ndef handler(e, c): time.sleep(100)", Timeout=300)
    running.client("lambda").invoke(FunctionName=name, InvocationType="Event")
    machine = running.state_machine({"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 600, "End": True}}})
    running.client("stepfunctions").start_execution(stateMachineArn=machine)
    time.sleep(0.3)
    started = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - started < 10
    assert not (running.root / "emulator.json").exists()


def test_reset_forgets_everything_and_ends_what_runs(another_host: MakeHost) -> None:
    running = another_host().start()
    kept = fill(running)
    machine = running.state_machine({"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 600, "End": True}}})
    running.client("stepfunctions").start_execution(stateMachineArn=machine)
    urllib.request.urlopen(urllib.request.Request(f"{running.endpoint}/_ministack/reset", method="POST")).read()
    assert kept and running.stop() == 0
    again = another_host(running.root).start()
    assert again.client("s3").list_buckets()["Buckets"] == []
    assert again.client("dynamodb").list_tables()["TableNames"] == []
    assert again.client("stepfunctions").list_state_machines()["stateMachines"] == []
    assert again.client("lambda").list_functions()["Functions"] == []


def test_no_unpacked_code_is_left_behind(another_host: MakeHost) -> None:
    running = another_host().start()
    name = running.function("def handler(e, c): return __file__")
    where, _ = running.invoke(name)
    assert Path(where).is_relative_to(running.root / "tmp")
    running.stop(signal.SIGKILL)
    assert Path(where).exists()
    again = another_host(running.root).start()
    assert not Path(where).exists()
    again.invoke(again.function("def handler(e, c): return __file__"))
    assert again.stop() == 0
    assert list((running.root / "tmp").iterdir()) == []


def start_that_fails(**environment: str) -> tuple[int, str]:
    """Starts a host that must fail; returns (exit status, standard error)."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAPTOP_AWS_"))}
    done = subprocess.run(
        [sys.executable, "-m", "laptop_aws"],
        cwd=PROJECT_ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stderr


def test_a_second_host_on_the_same_directory_is_refused(host: Host) -> None:
    status, said = start_that_fails(LAPTOP_AWS_DIR=str(host.root), LAPTOP_AWS_PORT=str(free_port()))
    assert status == 2
    assert f"already runs on {host.root}" in said and "LAPTOP_AWS_DIR" in said


def test_a_port_in_use_is_refused(host: Host, tmp_path: Path) -> None:
    status, said = start_that_fails(LAPTOP_AWS_DIR=str(tmp_path), LAPTOP_AWS_PORT=str(host.port))
    assert status == 2
    assert f"port {host.port} on 127.0.0.1 is in use" in said and "LAPTOP_AWS_PORT" in said


@pytest.mark.parametrize("port", ["x", "0", "70000"])
def test_an_invalid_port_is_refused(tmp_path: Path, port: str) -> None:
    status, said = start_that_fails(LAPTOP_AWS_DIR=str(tmp_path), LAPTOP_AWS_PORT=port)
    assert status == 2 and f"LAPTOP_AWS_PORT must be a port from 1 to 65535, not '{port}'" in said


def test_an_invalid_switch_is_refused(tmp_path: Path) -> None:
    status, said = start_that_fails(LAPTOP_AWS_DIR=str(tmp_path), LAPTOP_AWS_READY_SPARK="yes")
    assert status == 2 and "LAPTOP_AWS_READY_SPARK must be 0 or 1, not 'yes'" in said


@pytest.mark.parametrize("marker", ["state 0, ministack 1.0.0\n", None])
def test_state_of_another_version_is_refused(tmp_path: Path, marker: str | None) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "s3.json").write_text("{}")
    if marker:
        (state / "VERSION").write_text(marker)
    status, said = start_that_fails(LAPTOP_AWS_DIR=str(tmp_path), LAPTOP_AWS_PORT=str(free_port()))
    assert status == 2
    assert (
        str(state) in said
        and f"this program reads state 1, ministack {MINISTACK_VERSION}" in said
        and "delete it to start afresh" in said
    )


def test_the_host_itself_cannot_leave_this_machine(tmp_path: Path) -> None:
    program = """
import socket, urllib.request
from laptop_aws import loopback
loopback.install()
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname()).close()
for call in (
    lambda: socket.create_connection(("192.0.2.1", 80), 1),
    lambda: urllib.request.urlopen("http://169.254.169.254/latest/meta-data", timeout=1),
    lambda: socket.getaddrinfo("dynamodb.us-east-1.amazonaws.com", 443),
    lambda: socket.gethostbyname("example.com"),
    lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80)),
):
    try:
        call()
    except OSError as error:
        print(type(getattr(error, "reason", error)).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["LeavesLoopback"] * 5, done.stderr


def test_the_ready_file_says_where_it_is(host: Host) -> None:
    assert host.process is not None
    said = json.loads((host.root / "emulator.json").read_text())
    assert (said["pid"], said["port"], said["endpointUrl"]) == (host.process.pid, host.port, host.endpoint)
    assert said["startSeconds"] < 10


def test_the_ready_file_says_which_process_it_is(host: Host, tmp_path: Path) -> None:
    running = identity.running_on(host.root)
    assert host.process is not None and running is not None
    assert (running.pid, running.port) == (host.process.pid, host.port)
    shutil.copy(host.root / "emulator.json", tmp_path)
    assert identity.running_on(tmp_path) is None, "a copy in another directory names nothing"


def test_the_log_has_one_line_per_thing(host: Host) -> None:
    host.invoke(host.function("def handler(e, c): raise ValueError('two\\nlines')"))
    lines = (host.root / "logs" / "emulator.log").read_text().splitlines()
    assert all(line[:4].isdigit() for line in lines)
