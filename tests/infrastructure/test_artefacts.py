"""The built artefact of each function, with only boto3: it imports, and answers its sample events or refuses them with
a reason.

Twice: built for and run by Python 3.11, as on a laptop, and Python 3.13, the runtime on AWS, where this machine has it.

AWS is a closed port on the loopback here. So a function that needs AWS must say that it could not be reached, with an
error of our own; a missing module, a misspelt name or an unset variable raises an error of Python, and fails.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.infrastructure import building, interpreters
from tests.infrastructure.templates import load, resolve, transform

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
LAMBDA = ROOT / ".envs" / "lambda"
AWS_RUNTIME = "3.13"
NOT_TESTED = (
    f"NOT TESTED: the functions on Python {AWS_RUNTIME}, their runtime on AWS. No such interpreter is on PATH or among "
    f"those of pyenv and uv. `uv python install {AWS_RUNTIME}` or `pyenv install {AWS_RUNTIME}` brings one"
)
RUNNER = ROOT / "tests" / "infrastructure" / "isolated.py"
FUNCTIONS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))
EVENTS = sorted(path.stem for path in (ROOT / "events").glob("*.json"))
NOWHERE = "http://127.0.0.1:9"
# Values that the template gets only on AWS; the sample events use the same values.
DEPLOYED = {
    "AWS::AccountId": "123456789012",
    "AWS::Region": "eu-central-1",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/ncf/51af3dc0",
    "DataBucket": "ncf-data-123456789012",
    "ArtifactsBucket": "ncf-artifacts-123456789012",
    "RunsTable": "ncf-runs",
    "EventsTable": "ncf-events",
    "EventsStream": "ncf-events",
    "ModelImageUri": f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/ncf@sha256:{'0' * 64}",
    "PreparationApplication": "00f1cbsc6anuij25",
    "PreparationCode.EntryPoint": "s3://ncf-artifacts-123456789012/code/preparation/0/preprocess.py",
    "PreparationCode.PyFiles": "s3://ncf-artifacts-123456789012/code/preparation/0/preparation.zip",
    "PreparationCode.CodeVersion": "0" * 64,
    "PreparationLogGroup": "/aws/emr-serverless/ncf-preparation",
    "PreparationJobRole.Arn": "arn:aws:iam::123456789012:role/ncf-preparation-job",
    "TrainingRole.Arn": "arn:aws:iam::123456789012:role/ncf-training",
    "ServingRole.Arn": "arn:aws:iam::123456789012:role/ncf-serving",
    "RetrainingStateMachine": "arn:aws:states:eu-central-1:123456789012:stateMachine:ncf-retraining",
    "RollbackStateMachine": "arn:aws:states:eu-central-1:123456789012:stateMachine:ncf-rollback",
    "NotificationsTopic": "arn:aws:sns:eu-central-1:123456789012:ncf-notifications",
    "EndpointErrorsAlarm": "ncf-endpoint-errors",
    "EndpointLatencyAlarm": "ncf-endpoint-latency",
    "OnDataReadyFunction": "ncf-on-data-ready",
    "HandleFailureFunctionAliaslive": "arn:aws:lambda:eu-central-1:123456789012:function:ncf-handle-failure:live",
}


@dataclass(frozen=True)
class Runtime:
    """The artefacts for one version of Python, and its interpreter."""

    python: Path
    artefacts: Path


@pytest.fixture(scope="module")
def on_the_laptop(built: Path) -> Runtime:
    """Python 3.11, from the environment with the packages of AWS's runtime."""
    return Runtime(LAMBDA / "bin" / "python", built)


@pytest.fixture(scope="module")
def on_aws(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """Python 3.13 on arm64, as on AWS. The artefacts are pure Python, so they run on this machine's processor too."""
    python = interpreters.find(AWS_RUNTIME)
    if python is None:
        pytest.skip(NOT_TESTED)
    folder = tmp_path_factory.mktemp("build-for-aws")
    return Runtime(python, building.build(ROOT, folder, f"python{AWS_RUNTIME}", "arm64", python=python))


@pytest.fixture(scope="module", params=["on_the_laptop", "on_aws"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """Each of the two runtimes."""
    found: Runtime = request.getfixturevalue(request.param)
    return found


def function_of(event: str) -> str:
    """`handle_failure_status_change` → `handle_failure`: the longest name of a function that the event's name
    begins with."""
    fitting = [name for name in FUNCTIONS if event == name or event.startswith(f"{name}_")]
    assert fitting, f"events/{event}.json is for no function"
    return max(fitting, key=len)


def logical_id(function: str) -> str:
    """`on_data_ready` → `OnDataReadyFunction`"""
    return "".join(word.capitalize() for word in function.split("_")) + "Function"


def environment(function: str, cloudformation: dict[str, Any]) -> dict[str, str]:
    """The variables that the template gives, and those of Lambda itself."""
    resource = cloudformation["Resources"][logical_id(function)]["Properties"]
    defaults = {name: p["Default"] for name, p in cloudformation["Parameters"].items() if "Default" in p}
    variables = {
        name: str(resolve(value, {**defaults, **DEPLOYED}))
        for name, value in resource["Environment"]["Variables"].items()
    }
    return {
        **variables,
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": NOWHERE,
        "AWS_LAMBDA_FUNCTION_NAME": "ncf-function",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
    }


def run(runtime: Runtime, function: str, event: Any, variables: dict[str, str]) -> dict[str, Any]:
    """Calls the built handler in an interpreter of its own; what the runner reported.

    The interpreter provides only the standard library. boto3 comes from `.envs/lambda`, which holds pure Python alone.
    """
    boto3, artefacts = next((LAMBDA / "lib").glob("python*/site-packages")), runtime.artefacts
    paths = [str(artefacts / logical_id(function)), str(artefacts / "PreparationCodeLayer" / "python"), str(boto3)]
    task = {"paths": paths, "handler": f"{function}.app.handler", "event": event}
    result = subprocess.run(
        [str(runtime.python), "-I", "-S", "-B", str(RUNNER)],
        input=json.dumps(task),
        env=variables,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert result.stdout.strip(), f"the interpreter said nothing:\n{result.stderr}"
    report: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    report["stderr"] = result.stderr[-2000:]
    return report


def refused_for_a_stated_reason(report: dict[str, Any]) -> bool:
    """True if one of our own errors was raised, with a message."""
    return report["outcome"] == "raised" and report["module"] == "shared.errors" and len(report["message"]) > 10


class _CloudFormation(BaseHTTPRequestHandler):
    """Takes the answer of a custom resource."""

    answers: list[dict[str, Any]]

    def do_PUT(self) -> None:
        self.answers.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def cloudformation_listens() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A URL on the loopback that receives answers, and the received answers."""
    answers: list[dict[str, Any]] = []
    server = HTTPServer(("127.0.0.1", 0), type("Handler", (_CloudFormation,), {"answers": answers}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/answer", answers
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_function_has_a_sample_event() -> None:
    assert {function_of(event) for event in EVENTS} == set(FUNCTIONS)


@pytest.fixture(scope="module")
def reports(runtime: Runtime) -> dict[str, dict[str, Any]]:
    """The result of each sample event. They run in parallel, because each mostly waits between retries of unanswered
    calls."""
    cloudformation = transform(load(ROOT / "template.yaml"))

    def report(event: str) -> dict[str, Any]:
        sample = json.loads((ROOT / "events" / f"{event}.json").read_text("utf-8"))
        return run(runtime, function_of(event), sample, environment(function_of(event), cloudformation))

    events = [event for event in EVENTS if event != "publish_code"]
    with ThreadPoolExecutor(max_workers=len(events)) as pool:
        return dict(zip(events, pool.map(report, events), strict=True))


@pytest.mark.parametrize("event", [event for event in EVENTS if event != "publish_code"])
def test_artefact_alone_answers_or_refuses_for_a_stated_reason(event: str, reports: dict[str, dict[str, Any]]) -> None:
    report = reports[event]
    assert report["outcome"] == "answered" or refused_for_a_stated_reason(report), report


def test_publish_code_finds_its_layer_and_tells_cloudformation_what_failed(
    runtime: Runtime, cloudformation: dict[str, Any], cloudformation_listens: tuple[str, list[dict[str, Any]]]
) -> None:
    url, answers = cloudformation_listens
    sample = json.loads((ROOT / "events" / "publish_code.json").read_text("utf-8")) | {"ResponseURL": url}
    report = run(runtime, "publish_code", sample, environment("publish_code", cloudformation))
    assert report["outcome"] == "answered", report
    assert [answer["Status"] for answer in answers] == ["FAILED"]
    assert answers[0]["RequestId"] == sample["RequestId"]
    assert "s3 PutObject code/preparation/" in answers[0]["Reason"] and NOWHERE in answers[0]["Reason"]


def test_a_dependency_that_was_not_built_in_is_noticed(
    on_the_laptop: Runtime, cloudformation: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(on_the_laptop.artefacts / "EvaluateFunction", tmp_path / "EvaluateFunction")
    shutil.rmtree(tmp_path / "EvaluateFunction" / "aws_lambda_powertools")
    report = run(Runtime(on_the_laptop.python, tmp_path), "evaluate", {}, environment("evaluate", cloudformation))
    assert (report["stage"], report["type"]) == ("import", "ModuleNotFoundError"), report


def test_a_variable_that_was_not_set_is_noticed(on_the_laptop: Runtime, cloudformation: dict[str, Any]) -> None:
    variables = environment("evaluate", cloudformation)
    del variables["ARTIFACTS_BUCKET"]
    report = run(on_the_laptop, "evaluate", {}, variables)
    assert report["stage"] == "import" and "ARTIFACTS_BUCKET" in report["message"], report


def test_the_artefact_holds_the_functions_and_what_they_pin(built: Path) -> None:
    folder = built / "RecommendFunction"
    brought = {
        path.name for path in folder.iterdir() if path.is_dir() and not path.name.endswith((".dist-info", ".data"))
    }
    assert brought - set(FUNCTIONS) == {"shared", "contracts", "aws_lambda_powertools", "jmespath", "fastjsonschema"}
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size < 50_000_000, f"{size} bytes make every cold start slower"
    assert (built / "PreparationCodeLayer" / "python" / "preparation_code" / "preprocess.py").is_file()


def test_builds_for_the_target_on_aws(on_aws: Runtime) -> None:
    assert {path.name for path in on_aws.artefacts.iterdir() if path.is_dir()} == {
        *(logical_id(name) for name in FUNCTIONS),
        "PreparationCodeLayer",
    }


def test_the_target_on_aws_is_what_runs_here(on_aws: Runtime, cloudformation: dict[str, Any]) -> None:
    assert cloudformation["Parameters"]["FunctionRuntime"]["Default"] == f"python{AWS_RUNTIME}"
    report = run(on_aws, "evaluate", {}, environment("evaluate", cloudformation))
    assert report["python"] == AWS_RUNTIME, report
    compiled = [path for folder in (on_aws.artefacts, LAMBDA / "lib") for path in folder.rglob("*.so")]
    assert compiled == [], "only pure Python runs on another processor and another Python version"
