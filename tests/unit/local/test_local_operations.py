"""`restart`: which run it takes, and what it says about a model that a person took back."""

import io
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import rich.console

from local import operations
from local.console import Show
from local.project import Problem, Project, RunFailedError

V1, V2, V3 = (f"v2026112{day}t000000z-0000000{day}" for day in (1, 2, 3))
ROLLBACK = "arn:aws:states:us-east-1:000000000000:execution:ncf-rollback:7f"
RETRAINING = "arn:aws:states:us-east-1:000000000000:execution:ncf-retraining:x"
TOLD = f"the model of {V2}-r1 was taken back by rollback 7f on 2026-11-28 10:00 UTC: customers complain"
OUTPUTS = {"RunsTableName": "runs", "DataBucketName": "data", "RetrainingStateMachineArn": "arn", "EndpointName": "ncf"}


class Ledger:
    """Runs by id and status; V2 was deployed over V1, and taken back."""

    def __init__(self, runs: dict[str, str]) -> None:
        self.runs = runs

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        assert kind == "RUN"
        return [{"pk": f"RUN#{run}", "status": status, "startedAt": run[1:16]} for run, status in self.runs.items()]

    def serving(self) -> dict[str, Any]:
        return {"runId": f"{V1}-r1", "datasetVersion": V1}

    def history(self) -> list[dict[str, Any]]:
        first = {"sk": "SINCE#1", "since": "2026-11-26T10:00", "runId": f"{V1}-r1", "by": RETRAINING}
        second = {"sk": "SINCE#2", "since": "2026-11-27T10:00", "runId": f"{V2}-r1", "by": RETRAINING}
        back = {"sk": "SINCE#3", "since": "2026-11-28T10:00", "runId": f"{V1}-r1", "by": ROLLBACK}
        return [
            first,
            {**second, "replaced": f"{V1}-r1"},
            {**back, "replaced": f"{V2}-r1", "why": "customers complain"},
        ]


class Watcher:
    """Records what is started; the run is deployed."""

    started: ClassVar[dict[str, Any]] = {}

    def __init__(self, project: Any, outputs: Any, show: Any) -> None:
        self.states, self.ledger = self, Ledger(RUNS)

    def start_execution(self, **call: Any) -> dict[str, str]:
        self.started.update({**call, "input": json.loads(call["input"])})
        return {"executionArn": "arn"}

    def follow_run(self, run_id: str, arn: str) -> Any:
        return type("Outcome", (), {"status": "DEPLOYED", "reasons": []})


RUNS: dict[str, str] = {}


def restart(
    monkeypatch: pytest.MonkeyPatch,
    runs: dict[str, str],
    run_id: str | None = None,
    is_anew: bool = False,
    acknowledge: str | None = None,
) -> tuple[dict[str, Any], str]:
    monkeypatch.setattr(operations, "Watcher", Watcher)
    monkeypatch.setattr(Watcher, "started", {})
    RUNS.clear()
    RUNS.update(runs)
    out = io.StringIO()
    show = Show(rich.console.Console(file=out, width=300))
    operations.restart(None, OUTPUTS, show, run_id, is_anew, acknowledge)  # type: ignore[arg-type]
    return Watcher.started, " ".join(out.getvalue().split())


TAKEN_BACK = {f"{V1}-r1": "DEPLOYED", f"{V2}-r1": "ROLLED_BACK"}


@pytest.mark.fault("M19")
def test_without_a_name_a_model_that_was_taken_back_is_not_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Problem) as caught:
        restart(monkeypatch, TAKEN_BACK)
    assert str(caught.value) == (
        f"no run has failed that may be restarted: {TOLD}. To deploy it all the same: "
        f'.venv/bin/python -m local restart {V2}-r1 --acknowledge "<why it may serve again>"'
    )


@pytest.mark.fault("M19")
@pytest.mark.parametrize("is_anew", [False, True])
def test_a_name_alone_is_not_enough(monkeypatch: pytest.MonkeyPatch, is_anew: bool) -> None:
    with pytest.raises(Problem) as caught:
        restart(monkeypatch, TAKEN_BACK, f"{V2}-r1", is_anew)
    anew = "--anew " if is_anew else ""
    assert str(caught.value) == (
        f"{TOLD}. To deploy it all the same: "
        f'.venv/bin/python -m local restart {anew}{V2}-r1 --acknowledge "<why it may serve again>"'
    )


@pytest.mark.fault("M19")
def test_an_acknowledgement_goes_into_the_executions_input(monkeypatch: pytest.MonkeyPatch) -> None:
    started, said = restart(monkeypatch, TAKEN_BACK, f"{V2}-r1", acknowledge="it was the weather")
    assert started["input"]["acknowledge"] == "it was the weather"
    assert (started["input"]["runId"], started["input"]["attempt"]) == (f"{V2}-r1", 1)
    assert f"model {V2}-r1 serves" in said


def test_another_attempt_at_its_data_is_acknowledged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    started, _ = restart(monkeypatch, TAKEN_BACK, f"{V2}-r1", is_anew=True, acknowledge="with more epochs")
    assert (started["input"]["runId"], started["input"]["acknowledge"]) == (f"{V2}-r2", "with more epochs")


@pytest.mark.parametrize(
    ("run_id", "acknowledge", "words"),
    [
        (None, "x", "--acknowledge needs the name of the run"),
        (f"{V3}-r1", "x", "nobody took back a model of the data of .*: leave --acknowledge out"),
        (f"{V2}-r1", " ", "--acknowledge must be a reason of 1 to 500 characters"),
        (f"{V2}-r1", "x" * 501, "--acknowledge must be a reason of 1 to 500 characters"),
    ],
)
def test_an_acknowledgement_without_an_object_is_refused(
    monkeypatch: pytest.MonkeyPatch, run_id: str | None, acknowledge: str, words: str
) -> None:
    with pytest.raises(Problem, match=words):
        restart(monkeypatch, {**TAKEN_BACK, f"{V3}-r1": "FAILED"}, run_id, acknowledge=acknowledge)


def test_the_latest_failed_run_is_restarted_and_its_input_has_no_acknowledgement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, said = restart(monkeypatch, {**TAKEN_BACK, f"{V3}-r1": "FAILED"})
    assert started["input"]["runId"] == f"{V3}-r1"
    assert "acknowledge" not in started["input"]
    assert "taken back" not in said


def test_a_failed_run_before_the_one_that_was_taken_back_is_restarted_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    between = f"{V1[:10]}120000z-00000000-r1"
    started, said = restart(monkeypatch, {**TAKEN_BACK, between: "FAILED"})
    assert started["input"]["runId"] == between
    assert f"not {V2}-r1: {TOLD}" in said


def test_a_failed_run_older_than_the_model_that_serves_is_not_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    older = "v20261101t000000z-00000000-r1"
    with pytest.raises(Problem, match="no run has failed that may be restarted"):
        restart(monkeypatch, {older: "FAILED", f"{V1}-r1": "DEPLOYED"})


class Batch:
    """An execution of the batch machine that succeeded with `output`."""

    def __init__(self, output: str | None) -> None:
        self.states, self.ended = self, {"status": "SUCCEEDED", **({} if output is None else {"output": output})}

    def start_execution(self, **call: Any) -> dict[str, str]:
        return {"executionArn": "arn"}

    def follow_execution(self, arn: str) -> dict[str, Any]:
        return self.ended


def lists(monkeypatch: pytest.MonkeyPatch, output: str | None) -> str:
    monkeypatch.setattr(operations, "Watcher", lambda *parts: Batch(output))
    out = io.StringIO()
    outputs = {"BatchStateMachineArn": "arn", "ArtifactsBucketName": "artifacts"}
    operations.write_lists(Project(Path(), Path(), 4566), outputs, Show(rich.console.Console(file=out, width=300)))
    return " ".join(out.getvalue().split())


def test_the_lists_of_a_batch_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    said = lists(monkeypatch, json.dumps({"batch": {"runId": "r", "jobName": "job"}, "publication": {"shards": 1}}))
    assert "the lists of r are used" in said
    assert "s3://artifacts/batch/job/lists/" in said
    assert "no model serves yet" in lists(monkeypatch, '{"batch": {"outcome": "NothingServes"}}')
    assert "None" in lists(monkeypatch, None)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("{", "the output of Batch is not JSON"),
        ('["batch"]', "the output of Batch must be a JSON object"),
        ('{"batch": {}, "batch": {}}', "the output of Batch has the key 'batch' twice"),
        ('{"batch": {"shards": 1e400}}', "the output of Batch: batch.shards must be a number within the range"),
        ("[" * 100_000, "the output of Batch is nested too deeply"),
        ('{"batch": ["r"]}', "the output of Batch: batch must be a JSON object, not"),
    ],
)
def test_an_output_that_is_not_what_it_should_be_is_told(
    monkeypatch: pytest.MonkeyPatch, output: str, words: str
) -> None:
    with pytest.raises(RunFailedError, match=words):
        lists(monkeypatch, output)


def test_anew_without_a_name_never_takes_what_was_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Problem, match="no run has failed that may be restarted"):
        restart(monkeypatch, TAKEN_BACK, is_anew=True)
