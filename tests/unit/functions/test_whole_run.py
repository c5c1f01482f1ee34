"""A whole retraining, by the real functions on the interpreter: wherever it fails, a restart ends it like a run that
never failed, and what was done is not done again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import boto3
import pytest

from shared.records import RunStatus
from tests.unit.functions.cloud import (
    ARTIFACTS,
    CONTEXT,
    ENVIRONMENT,
    EXECUTION,
    JOB,
    MODEL_URL,
    OUTPUT_URL,
    RUN,
    Cloud,
    archive_of,
    endpoint,
    sample_event,
)
from tests.unit.functions.sagemaker_fake import SageMakerFake
from tests.unit.functions.test_gate import INCUMBENT, incumbent, report
from tests.unit.functions.test_taken_back import model
from tests.unit.functions.test_verify import KNOWN, OTHER, POPULAR, STRANGER
from tests.unit.functions.wire import Wire, refused
from tests.unit.statemachines.interpreter import UNFORESEEN, Answer, Execution, Failed, execute

pytestmark = pytest.mark.slow

FUNCTIONS = {
    "StartTraining": "start_training",
    "Evaluate": "evaluate",
    "Register": "register",
    "Deploy": "deploy",
    "Verify": "verify",
    "RecordDeployed": "record_outcome",
    "RollBack": "deploy",
    "HandleFailure": "handle_failure",
}
WAITING = ("StartTraining", "Deploy", "RollBack")
PATH = ["StartTraining", "Evaluate", "Register", "IsModelBetter", "IsApprovalNeeded"]
PATH += ["Deploy", "Verify", "RecordDeployed", "ModelDeployed"]
EVENT = {name: sample_event("start_training")[name] for name in ("runId", "datasetVersion", "attempt", "manifest")}


class Platform:
    """The functions, each loaded once, and the jobs that they start, which end well at once."""

    def __init__(self, cloud: Cloud, aws: SageMakerFake, load: Callable[..., ModuleType]) -> None:
        self.cloud, self.aws = cloud, aws
        self.apps = {name: load(name) for name in {*FUNCTIONS.values(), "on_job_finished"}}

    def run(self, failing: str | None = None, is_done_before: bool = False, event: dict[str, Any] = EVENT) -> Execution:
        """One execution; the state `failing` fails, before its function was called or after it."""

        def answers(state: str, attempt: int, payload: Any) -> Answer:
            # Step Functions takes 262,144 bytes, and a state that gives more cannot be caught.
            assert len(json.dumps(payload)) < 16_000, state
            if state == failing and not is_done_before:
                return Failed(UNFORESEEN, "before")
            answer = self.call(state, payload)
            return Failed(UNFORESEEN, "after") if state == failing else answer

        return execute("retraining", event, answers)

    def call(self, state: str, payload: Any) -> Answer:
        try:
            answer = self.apps[FUNCTIONS[state]].handler(payload, CONTEXT)
        except Exception as error:
            return Failed(type(error).__name__, str(error))
        if state not in WAITING:
            return dict(answer)
        self.finish_jobs()
        task_answer = self.aws.answers[payload["taskToken"]]
        return Failed(*task_answer) if isinstance(task_answer, list) else task_answer

    def finish_jobs(self) -> None:
        for job in self.aws.training.values():
            job |= {"TrainingJobStatus": "Completed", "SecondaryStatus": "Completed"}
        held = self.aws.endpoint
        if held is not None and held["EndpointStatus"] != "InService":
            goes_to = held.get("PendingDeploymentSummary", held)["EndpointConfigName"]
            self.aws.endpoint = endpoint("InService", goes_to)
        app = self.apps["on_job_finished"]
        for token in app.LEDGER.open_tokens():
            app.JOBS.settle(token)


@pytest.fixture
def platform(cloud: Cloud, load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    cloud.listen()
    aws = SageMakerFake()
    examples = [KNOWN, STRANGER, OTHER]
    aws.responses = {example["request"]["userId"]: example["response"] for example in examples}
    deliver(cloud, report())
    cloud.write(ARTIFACTS, MODEL_URL.removeprefix(f"s3://{ARTIFACTS}/"), b"a model")
    with Wire(refused, aws).laid(monkeypatch):
        yield Platform(cloud, aws, load)


def deliver(cloud: Cloud, evaluation: dict[str, Any]) -> None:
    """Write the output of the training job."""
    files = {"evaluation.json": evaluation, "golden.json": [KNOWN, STRANGER, OTHER], "popular.json": POPULAR}
    archive = archive_of({name: json.dumps(content).encode() for name, content in files.items()})
    cloud.write(ARTIFACTS, OUTPUT_URL.removeprefix(f"s3://{ARTIFACTS}/"), archive)


def end_state(platform: Platform) -> dict[str, Any]:
    """The lasting results of a run."""
    cloud, aws = platform.cloud, platform.aws
    serving = cloud.item("SERVING", "CURRENT")
    return {
        "run": cloud.item(f"RUN#{RUN}")["status"],
        "serves": (serving["runId"], serving["modelPackageArn"], serving["modelDataUrl"]),
        "endpoint": (aws.endpoint or {}).get("EndpointConfigName"),
        "training jobs": list(aws.training),
        "packages": [package["ModelPackageArn"] for package in aws.packages],
        "models": (list(aws.models), list(aws.configs)),
        "lock": cloud.item("LOCK", "DEPLOYMENT")["runId"],
        "tokens": platform.apps["on_job_finished"].LEDGER.open_tokens(),
        "popular": cloud.s3.get_object(Bucket=ARTIFACTS, Key="serving/popular.json")["Body"].read(),
    }


@pytest.mark.fault("M04")
def test_a_run_that_never_fails(platform: Platform) -> None:
    execution = platform.run()
    assert (execution.status, execution.path) == ("SUCCEEDED", PATH)
    found = end_state(platform)
    assert (found["run"], found["endpoint"], found["training jobs"]) == ("DEPLOYED", f"ncf-{RUN}", [JOB])
    assert (len(found["packages"]), found["lock"], found["tokens"]) == (1, None, [])
    assert [note["Subject"] for note in platform.cloud.notifications()] == [f"Run {RUN}: its model serves"]


@pytest.mark.parametrize("is_done_before", [False, True], ids=["before it was done", "after it was done"])
@pytest.mark.parametrize("state", [state for state in PATH if state in FUNCTIONS])
@pytest.mark.fault("M10")
def test_wherever_a_run_fails_a_restart_ends_it_like_one_that_never_failed(
    platform: Platform, state: str, is_done_before: bool
) -> None:
    failed = platform.run(state, is_done_before)
    assert (failed.status, failed.path[-2:]) == ("FAILED", ["HandleFailure", "RunFailed"])
    status = platform.cloud.item(f"RUN#{RUN}")["status"]
    serves = bool(platform.cloud.item("SERVING", "CURRENT"))
    # From the promotion on the model serves, and what fails afterwards does not take that back.
    assert status == ("DEPLOYED" if serves else "FAILED")
    subjects = [note["Subject"] for note in platform.cloud.notifications()]
    expected = [f"Run {RUN}: {'deployed, but a later step failed' if serves else 'failed'}"]
    if state == "RecordDeployed" and is_done_before:
        expected = [f"Run {RUN}: its model serves", *expected]
    assert subjects == expected
    if not serves:
        again = platform.run()
        assert (again.status, again.path) == ("SUCCEEDED", PATH)
        assert [note["Subject"] for note in platform.cloud.notifications()] == [f"Run {RUN}: its model serves"]
    found = end_state(platform)
    assert (found["run"], found["endpoint"], found["training jobs"]) == ("DEPLOYED", f"ncf-{RUN}", [JOB])
    assert (len(found["packages"]), found["models"]) == (1, ([f"ncf-{RUN}"], [f"ncf-{RUN}"]))
    assert (found["serves"][0], found["lock"], found["tokens"]) == (RUN, None, [])


@pytest.mark.fault("M19")
def test_a_model_that_a_person_took_back_serves_again_only_after_an_acknowledgement(platform: Platform) -> None:
    cloud, aws, book = platform.cloud, platform.aws, platform.apps["deploy"].LEDGER
    for name in ENVIRONMENT["ENDPOINT_ALARM_NAMES"].split(","):
        boto3.client("cloudwatch").put_metric_alarm(
            AlarmName=name, MetricName="m", Namespace="n", Period=60, EvaluationPeriods=1, Threshold=1,
            ComparisonOperator="GreaterThanThreshold", Statistic="Sum",
        )  # fmt: skip
    before = model(INCUMBENT)
    assert book.promote(before, EXECUTION, "it passed the gate", book.lock_deployment("x").fence)
    book.unlock_deployment("x")
    aws.endpoint = endpoint("InService", before["endpointConfigName"])
    deliver(cloud, report(incumbent()))
    assert platform.run().path == PATH

    rollback = EXECUTION.replace(f"ncf-retraining:{RUN}", "ncf-rollback:7f")
    fence = book.lock_deployment("7f").fence
    assert book.promote(before, rollback, "customers complain", fence, replacing=RUN)
    assert book.restate_run(RUN, RunStatus.ROLLED_BACK, ["customers complain"], over=RunStatus.DEPLOYED)
    book.unlock_deployment("7f")
    aws.endpoint = endpoint("InService", before["endpointConfigName"])

    refused_run = platform.run()
    assert (refused_run.status, refused_run.path) == ("FAILED", ["StartTraining", "HandleFailure", "RunFailed"])
    assert cloud.item("SERVING", "CURRENT")["runId"] == INCUMBENT
    assert cloud.item(f"RUN#{RUN}")["status"] == "ROLLED_BACK"
    assert aws.endpoint["EndpointConfigName"] == before["endpointConfigName"]

    again = platform.run(event={**EVENT, "acknowledge": "it was the weather"})
    assert (again.status, again.path) == ("SUCCEEDED", PATH)
    serving = cloud.item("SERVING", "CURRENT")
    assert (serving["runId"], serving["why"]) == (
        RUN, "it passed the gate; its data were acknowledged: it was the weather",
    )  # fmt: skip
