"""A drill causes its fault by the calls that it names, keeps its end in the ledger, and never runs on an account."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, cast

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from control import drill_runs, drills
from control.actions import perform
from control.connection import Connection, NotReady
from laptop_aws import shortage

VERSION = "v20260101t000000z-00000001"
RUN, NEXT = f"{VERSION}-r1", f"{VERSION}-r2"
CSV = "user_id,item_id,timestamp\n" + "".join(f"u{row % 5},i{row},{1_700_000_000 + row}\n" for row in range(30))


class Recorder:
    """Answers any call with what was set for it, and keeps the calls."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.calls = answers, cast(list[tuple[str, dict[str, Any]]], [])

    def __getattr__(self, method: str) -> Any:
        def call(**parameters: Any) -> Any:
            self.calls.append((method, parameters))
            answer = self.answers.get(method, {})
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


@dataclass
class Stack:
    """A stack with moto's tables and buckets; other services are recorders."""

    is_embedded: bool = True
    name_prefix: str = "ncf"
    endpoint_url: str = ""
    outputs: dict[str, str] = field(
        default_factory=lambda: {
            "RunsTableName": "runs",
            "DataBucketName": "data",
            "EndpointName": "ncf-recommender",
            "RetrainingStateMachineArn": "machine",
        }
    )
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        return self.clients[service]

    @property
    def connection(self) -> Connection:
        return cast(Connection, self)

    def record(self, pk: str, sk: str, kind: str, **attributes: str) -> None:
        item = {"pk": pk, "sk": sk, "kind": kind, "updatedAt": datetime.now(UTC).isoformat(), **attributes}
        self.client("dynamodb").put_item(TableName="runs", Item={name: {"S": value} for name, value in item.items()})


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        made = Stack()
        made.clients["dynamodb"] = boto3.client("dynamodb", region_name="us-east-1")
        made.clients["s3"] = boto3.client("s3", region_name="us-east-1")
        for service in ("stepfunctions", "lambda", "sagemaker"):
            made.clients[service] = Recorder()
        made.clients["events"] = Recorder(describe_rule={"State": "ENABLED"})
        names = ("pk", "sk", "kind", "updatedAt")
        made.client("dynamodb").create_table(
            TableName="runs",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "byKind",
                    "KeySchema": [
                        {"AttributeName": "kind", "KeyType": "HASH"},
                        {"AttributeName": "updatedAt", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        )
        made.client("s3").create_bucket(Bucket="data")
        made.record("SERVING", "CURRENT", "SERVING", runId=RUN, datasetVersion=VERSION)
        made.record(f"RUN#{RUN}", "STATE", "RUN", status="DEPLOYED", runId=RUN)
        made.record(f"DATASET#{VERSION}", "STATE", "DATASET", source="s3://data/raw/first/", status="CLAIMED")
        yield made


def begin(stack: Stack, drill: drills.Drill) -> drill_runs.Begun:
    perform(stack.connection, drill_runs.preparation(stack.connection, drill), "ada", "")
    [begun] = drill_runs.begun(stack.connection)
    return begun


def test_no_drill_begins_on_an_account(stack: Stack) -> None:
    stack.is_embedded = False
    for drill in drills.DRILLS.values():
        with pytest.raises(NotReady, match="embedded AWS of this machine alone"):
            drill_runs.preparation(stack.connection, drill)


class FullDisk(BaseHTTPRequestHandler):
    """An embedded AWS whose disk counts as full from the request of a drill on."""

    given: ClassVar[list[tuple[str, str | None]]] = []

    def do_POST(self) -> None:
        self.given.append((self.path, self.headers.get(shortage.DRILL_HEADER)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class Changes(Recorder):
    """An S3 that refuses the first two changes."""

    def put_object(self, **parameters: Any) -> None:
        self.calls.append(("put_object", parameters))
        if len(self.calls) <= 2:
            error = {"Code": "ServiceUnavailable", "Message": "the disk has 0 bytes free and 9 are needed"}
            raise ClientError({"Error": error}, "PutObject")


def test_a_full_disk_is_seen_until_a_change_is_made_again_and_leaves_nothing(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.outputs["ArtifactsBucketName"] = "artifacts"
    stack.clients["s3"] = Changes()
    monkeypatch.setattr(drill_runs, "_answer", lambda connection, user_id: (200, f"popular for {user_id}"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), FullDisk)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        stack.endpoint_url = f"http://127.0.0.1:{server.server_port}"
        perform(stack.connection, drill_runs.preparation(stack.connection, drills.FULL_DISK, "42"), "ada", "")
        for _ in range(2):  # the fault, then its end
            [begun] = drill_runs.begun(stack.connection)
            seen = drill_runs.follow(stack.connection, begun, "ada")
    finally:
        server.shutdown()
        server.server_close()
    assert FullDisk.given == [(shortage.DRILL_PATH, str(drills.FULL_SECONDS))]
    assert (seen.is_as_expected, seen.end) == (
        True,
        "The change was refused and then made; the API answered 200, from “popular for 42”.",
    )
    assert [name for name, _ in stack.clients["s3"].calls] == ["put_object"] * 3 + ["delete_object"]
    [begun] = drill_runs.begun(stack.connection)
    assert begun.facts["ended"]["isAsExpected"] is True
    assert not drill_runs.look(stack.connection, begun).needs_setting_right


def test_no_disk_is_filled_while_a_run_is_under_way(stack: Stack) -> None:
    stack.record(f"RUN#{NEXT}", "STATE", "RUN", status="RUNNING", runId=NEXT)
    with pytest.raises(NotReady, match=f"Run {NEXT} is under way"):
        drill_runs.preparation(stack.connection, drills.FULL_DISK)


def test_no_training_is_broken_while_another_run_is_under_way(stack: Stack) -> None:
    stack.record("RUN#other-r1", "STATE", "RUN", status="RUNNING")
    for drill in (drills.KILLED_TRAINING, drills.LOST_CALLBACK, drills.WORSE_DATA):
        with pytest.raises(NotReady, match="other-r1 is under way"):
            drill_runs.preparation(stack.connection, drill)


def test_worse_data_are_the_same_drop_with_other_items(stack: Stack) -> None:
    s3 = stack.client("s3")
    for name, body in (("interactions.csv", CSV), ("items.csv", "item_id,title\ni1,One\n"), ("_SUCCESS", "")):
        s3.put_object(Bucket="data", Key=f"raw/first/{name}", Body=body.encode())
    begun = begin(stack, drills.WORSE_DATA)
    prefix = str(begun.facts["source"]).removeprefix("s3://data/")
    listed = {entry["Key"][len(prefix) :] for entry in s3.list_objects_v2(Bucket="data", Prefix=prefix)["Contents"]}
    assert listed == {"interactions.csv", "items.csv", "_SUCCESS"}
    made = s3.get_object(Bucket="data", Key=f"{prefix}interactions.csv")["Body"].read().decode()
    assert made != CSV
    assert [line.split(",")[0] for line in made.splitlines()] == [line.split(",")[0] for line in CSV.splitlines()]

    assert drill_runs.look(stack.connection, begun).is_as_expected is None
    stack.record("DATASET#new", "STATE", "DATASET", source=str(begun.facts["source"]), status="CLAIMED", runId="new-r1")
    stack.record("RUN#new-r1", "STATE", "RUN", status="REJECTED")
    assert drill_runs.follow(stack.connection, begun, "ada").is_as_expected


def test_data_that_cannot_be_copied_here_are_left_to_the_command_line(stack: Stack) -> None:
    stack.client("s3").put_object(Bucket="data", Key="raw/first/interactions.parquet", Body=b"PAR1")
    with pytest.raises(NotReady, match="--worse"):
        drill_runs.preparation(stack.connection, drills.WORSE_DATA)


def test_a_training_is_stopped_while_it_trains_and_its_end_is_kept(stack: Stack) -> None:
    begun = begin(stack, drills.KILLED_TRAINING)
    [(method, started)] = stack.client("stepfunctions").calls
    assert (method, started["name"], json.loads(started["input"])["attempt"]) == ("start_execution", NEXT, 2)

    sagemaker = stack.clients["sagemaker"] = Recorder(describe_training_job={"TrainingJobStatus": "InProgress"})
    assert drill_runs.look(stack.connection, begun).due == "stop"
    assert [method for method, _ in sagemaker.calls] == ["describe_training_job"], "looking changes nothing"
    drill_runs.follow(stack.connection, begun, "ada")
    assert ("stop_training_job", {"TrainingJobName": f"ncf-{NEXT}"}) in sagemaker.calls

    sagemaker.answers["describe_training_job"] = {
        "TrainingJobStatus": "Stopped",
        "TrainingEndTime": datetime(2026, 1, 1, tzinfo=UTC),
    }
    stack.record(f"RUN#{NEXT}", "STATE", "RUN", status="ABORTED", error="stopped by a request")
    assert drill_runs.follow(stack.connection, begun, "ada").is_as_expected

    stack.record("SERVING", "CURRENT", "SERVING", runId="later-r1", datasetVersion=VERSION)
    [again] = drill_runs.begun(stack.connection)
    kept = drill_runs.look(stack.connection, again)
    assert kept.is_as_expected
    assert "ABORTED" in kept.end
    assert kept.reasons == ("stopped by a request",)


def test_the_rule_is_switched_off_after_the_start_and_on_again_with_reconcile(stack: Stack) -> None:
    action = drill_runs.preparation(stack.connection, drills.LOST_CALLBACK)
    assert [call.method for call in action.calls] == ["start_execution", "disable_rule"]
    begun = begin(stack, drills.LOST_CALLBACK)
    ended = {"TrainingJobStatus": "Completed", "TrainingEndTime": datetime(2026, 1, 1, tzinfo=UTC)}
    stack.clients["sagemaker"] = Recorder(describe_training_job=ended)
    events = stack.clients["events"] = Recorder(describe_rule={"State": "DISABLED"})
    stack.record("JOB#TRAINING#x", "TOKEN", "TOKEN", jobName=f"ncf-{NEXT}")
    assert drill_runs.needs_setting_right(stack.connection, begun)
    drill_runs.follow(stack.connection, begun, "ada")
    assert ("enable_rule", {"Name": "ncf-training-job-state"}) in events.calls
    [(_, invoked)] = stack.client("lambda").calls
    assert invoked["FunctionName"] == "ncf-reconcile"

    events.answers["describe_rule"] = {"State": "ENABLED"}
    stack.record(f"RUN#{NEXT}", "STATE", "RUN", status="UNCHANGED")
    [again] = drill_runs.begun(stack.connection)
    assert again.facts["wasLost"] is True
    assert drill_runs.follow(stack.connection, again, "ada").is_as_expected


def test_a_dead_endpoint_is_set_right_with_the_configuration_that_it_had(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drill_runs, "_answer", lambda connection, user_id: (200, "personalized"))
    described = {"EndpointStatus": "InService", "EndpointConfigName": "ncf-config"}
    sagemaker = stack.clients["sagemaker"] = Recorder(describe_endpoint=described)
    begun = begin(stack, drills.DEAD_ENDPOINT)
    assert ("delete_endpoint", {"EndpointName": "ncf-recommender"}) in sagemaker.calls

    gone = {"Error": {"Code": "ValidationException", "Message": 'Could not find endpoint "x".'}}
    sagemaker.answers["describe_endpoint"] = ClientError(gone, "DescribeEndpoint")
    monkeypatch.setattr(drill_runs, "_answer", lambda connection, user_id: (200, "popular"))
    seen = drill_runs.follow(stack.connection, begun, "ada")
    assert (seen.is_as_expected, seen.needs_setting_right) == (True, True)
    [call] = drill_runs.setting_right(stack.connection, begun).calls
    assert dict(call.parameters) == {"EndpointName": "ncf-recommender", "EndpointConfigName": "ncf-config"}
    sagemaker.answers["describe_endpoint"] = described
    [again] = drill_runs.begun(stack.connection)
    assert not drill_runs.look(stack.connection, again).needs_setting_right
