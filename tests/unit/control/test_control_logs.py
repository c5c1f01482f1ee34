"""Log lines: a function's as a person reads them, epochs of a training, and the steps of a Spark job."""

import gzip
import io
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contracts.lines import Epoch
from control import logs

GONE = ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "no group"}}, "FilterLogEvents")


class Logs:
    """CloudWatch Logs and S3 with what a test puts in."""

    def __init__(self, pages: list[dict[str, Any]] | None = None, objects: dict[str, bytes] | None = None) -> None:
        self.pages, self.objects, self.asked = pages, objects or {}, list[dict[str, Any]]()
        self.stream: list[str] = []

    def client(self, service: str) -> "Logs":
        return self

    def filter_log_events(self, **query: Any) -> dict[str, Any]:
        self.asked.append(dict(query))
        if self.pages is None:
            raise GONE
        return self.pages[len(self.asked) - 1]

    def describe_log_streams(self, **query: Any) -> dict[str, Any]:
        return {"logStreams": [{"logStreamName": f"{query['logStreamNamePrefix']}algo-1"}]}

    def get_log_events(self, **query: Any) -> dict[str, Any]:
        first = int(query.get("nextToken", 0))
        events = [{"message": line} for line in self.stream[first : first + 2]]
        return {"events": events, "nextForwardToken": str(first + len(events))}

    def get_object(self, **query: Any) -> dict[str, Any]:
        if query["Key"] not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "none"}}, "GetObject")
        return {"Body": io.BytesIO(self.objects[query["Key"]])}


def events(first: int, count: int) -> list[dict[str, Any]]:
    return [{"timestamp": 1000 * number, "message": f"line {number}"} for number in range(first, first + count)]


def test_a_structured_line_is_told_by_its_message_and_its_own_fields() -> None:
    told = {"level": "WARNING", "message": "execution failed", "timestamp": "x", "function_name": "f", "run_id": "r1"}
    line = logs.line_of(12.5, json.dumps({**told, "reasons": ["a"]}))
    assert (line.level, line.text, line.fields) == ("WARNING", "execution failed", {"run_id": "r1", "reasons": ["a"]})
    assert logs.line_of(1.0, "Task timed out after 3.00 seconds\n").text == "Task timed out after 3.00 seconds"
    assert logs.line_of(1.0, '["message"]').text == '["message"]'


def test_a_functions_lines_are_those_that_name_the_run_in_its_time_and_their_number_is_bounded() -> None:
    account = Logs([{"events": events(0, 150), "nextToken": "more"}, {"events": events(150, 150), "nextToken": "x"}])
    found = logs.function_lines(account, "ncf-evaluate", "v1-r1", 100.0, 160.0)
    assert [line.text for line in found] == [f"line {number}" for number in range(logs.MOST_LINES)]
    assert [query.get("nextToken") for query in account.asked] == [None, "more"]
    asked = account.asked[0]
    assert (asked["logGroupName"], asked["filterPattern"]) == ("/aws/lambda/ncf-evaluate", '"v1-r1"')
    assert (asked["startTime"], asked["endTime"]) == (99_000, (160 + logs.SLACK_SECONDS) * 1000)


def test_a_line_of_another_dataset_that_mentions_this_one_as_its_parent_is_left_out() -> None:
    lines = [{"dataset_version": "v1"}, {"dataset_version": "v2", "parent_version": "v1"}, {"run_id": "v1-r1"}]
    told = [{"timestamp": 0, "message": json.dumps({"message": f"line {n}", **line})} for n, line in enumerate(lines)]
    account = Logs([{"events": told}])
    assert [line.text for line in logs.function_lines(account, "f", "v1", 0.0, None)] == ["line 0"]


def test_lines_of_an_operation_are_all_those_of_its_time() -> None:
    account = Logs([{"events": [{"timestamp": 0, "message": '{"message": "version chosen", "run_id": "v1-r1"}'}]}])
    assert [line.text for line in logs.function_lines(account, "f", "", 0.0, 9.0)] == ["version chosen"]
    assert "filterPattern" not in account.asked[0]


def test_pages_without_lines_are_not_read_for_ever() -> None:
    account = Logs([{"events": [], "nextToken": str(number)} for number in range(100)])
    assert logs.function_lines(account, "f", "v1", 0.0, None) == []
    assert len(account.asked) == logs.MOST_PAGES
    assert "endTime" not in account.asked[0]


def test_a_function_that_has_not_run_has_no_lines() -> None:
    assert logs.function_lines(Logs(None), "f", "v1", 0.0, None) == []


def test_epochs_are_read_on_and_one_that_was_trained_twice_counts_once() -> None:
    account = Logs()
    epochs = logs.Epochs(account, "ncf-v1-r1")
    told = [str(Epoch(number, 3, loss, 1000, 1.5)) for number, loss in ((1, 0.9), (2, 0.8), (2, 0.7), (3, 0.6))]
    account.stream += ["pulling the image", told[0]]
    assert [epoch.loss for epoch in epochs.read()] == [0.9]
    account.stream += told[1:]
    assert [(epoch.epoch, epoch.loss) for epoch in epochs.read()] == [(1, 0.9), (2, 0.7), (3, 0.6)]
    assert len(epochs.read()) == 3


KEY = "logs/emr/applications/app/jobs/job/SPARK_DRIVER/stdout.gz"


def test_the_steps_of_a_spark_job_come_from_its_log_in_s3() -> None:
    log = "noise\nstep=read rows=100836 quarantined=0\nwarning: ties\nREFUSED: no users\n"
    account = Logs(objects={KEY: gzip.compress(log.encode())})
    assert logs.spark_lines(account, "b", "app", "job") == [
        "read: rows 100,836, quarantined 0",
        "warning: ties",
        "REFUSED: no users",
    ]
    assert logs.spark_lines(account, "b", "app", "other") == []


LIVE = {"enabled": True, "logGroupName": "/aws/emr-serverless/ncf-preparation", "logStreamNamePrefix": "v1-1"}


def job(live: dict[str, Any] | None) -> dict[str, Any]:
    monitoring = {"cloudWatchLoggingConfiguration": live} if live else {}
    overrides = {"monitoringConfiguration": monitoring}
    return {"applicationId": "app", "jobRunId": "job", "configurationOverrides": overrides}


def test_the_steps_of_a_spark_job_are_read_on_while_it_runs() -> None:
    account = Logs()
    steps = logs.SparkSteps(account, "b", job(LIVE))
    assert steps.is_live and steps.read(False) == []
    account.stream += ["step=read rows=10", "noise", "warning: ties"]
    assert steps.read(False) == ["read: rows 10", "warning: ties"]
    account.stream.append("step=write files=5")
    assert steps.read(True) == ["read: rows 10", "warning: ties", "write: files 5"]


@pytest.mark.parametrize("live", [None, LIVE])
def test_a_job_that_said_nothing_live_is_read_from_s3_once_it_is_over(live: dict[str, Any] | None) -> None:
    account = Logs(objects={KEY: gzip.compress(b"step=read rows=10\n")})
    steps = logs.SparkSteps(account, "b", job(live))
    assert steps.read(False) == []
    assert steps.read(True) == steps.read(True) == ["read: rows 10"]


def test_a_spark_log_that_is_damaged_gives_what_can_be_read() -> None:
    whole = gzip.compress("".join(f"step=read rows={number**3}\n" for number in range(2000)).encode())
    cut = logs.spark_lines(Logs(objects={KEY: whole[: len(whole) // 2]}), "b", "app", "job")
    assert cut[:3] == ["read: rows 0", "read: rows 1", "read: rows 8"]
    assert 500 < len(cut) < 1500
    assert logs.spark_lines(Logs(objects={KEY: b"no gzip"}), "b", "app", "job") == []


def test_a_spark_log_that_unpacks_to_much_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_SPARK_BYTES", 200)
    account = Logs(objects={KEY: gzip.compress(b"step=read rows=1\n" * 10_000)})
    assert len(logs.spark_lines(account, "b", "app", "job")) == 12
