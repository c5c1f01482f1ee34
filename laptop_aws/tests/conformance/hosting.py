"""A host process of the embedded AWS for tests: started on a free port, called through boto3."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import boto3
import pytest
from botocore.config import Config

PROJECT_ROOT = Path(__file__).resolve().parents[3]
LAMBDA_PYTHON = Path(
    os.environ.get("LAPTOP_AWS_LAMBDA_PYTHON") or PROJECT_ROOT / ".envs" / "lambda" / "bin" / "python"
)  # with boto3 and nothing else
ACCOUNT = "000000000000"
REGION = "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/conformance"
T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(probe: Callable[[], T], seconds: float = 60.0, interval: float = 0.05) -> T:
    """Calls ``probe`` until it returns a true value, and returns that; fails with its last value after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"still {answer!r} after {seconds} s")
        time.sleep(interval)


class Host:
    """A host process and boto3 clients of it."""

    def __init__(self, root: Path, port: int | None = None, **environment: str) -> None:
        self.root = root
        self.port = port or free_port()
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self._clients: dict[str, Any] = {}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Host:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAPTOP_AWS_"))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "laptop_aws"],
            cwd=PROJECT_ROOT,
            env={
                **inherited,
                "LAPTOP_AWS_DIR": str(self.root),
                "LAPTOP_AWS_PORT": str(self.port),
                "LAPTOP_AWS_LAMBDA_PYTHON": str(LAMBDA_PYTHON),
                "LAPTOP_AWS_LAMBDA_RETRY_SECONDS": "0.1",
                **self.environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        ready = self.root / "emulator.json"
        deadline = time.monotonic() + 120
        while not (ready.exists() and json.loads(ready.read_text())["pid"] == self.process.pid):
            if self.process.poll() is not None or time.monotonic() > deadline:
                assert self.process.stdout is not None
                output = self.process.stdout.read().decode() if self.process.poll() is not None else "no answer"
                pytest.fail(f"the host did not start: {output}")
            time.sleep(0.02)
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(120)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def client(self, service: str) -> Any:
        if service not in self._clients:
            config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, read_timeout=60)
            self._clients[service] = self._new_client(service, config)
        return self._clients[service]

    def unchecked_client(self, service: str) -> Any:
        """A client without checks of its own, so that the service checks the request."""
        return self._new_client(service, Config(parameter_validation=False))

    def _new_client(self, service: str, config: Config) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="local",
            config=config,
        )

    # ---- what many tests need ----

    def function(
        self,
        source: str,
        name: str = "",
        handler: str = "app.handler",
        files: dict[str, str] | None = None,
        **settings: Any,
    ) -> str:
        """Creates a function from ``source`` and returns its name."""
        name = name or unique("function")
        self.client("lambda").create_function(
            FunctionName=name,
            Runtime=settings.pop("Runtime", "python3.13"),
            Role=settings.pop("Role", ROLE),
            Handler=handler,
            Code={"ZipFile": archive({"app.py": textwrap.dedent(source), **(files or {})})},
            Timeout=settings.pop("Timeout", 20),
            **settings,
        )
        eventually(lambda: self.client("lambda").get_function_configuration(FunctionName=name)["State"] == "Active")
        return name

    def invoke(self, name: str, event: Any = None, **settings: Any) -> tuple[Any, str | None]:
        """Invokes and returns (payload, function error)."""
        answer = self.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event or {}), **settings)
        payload = answer["Payload"].read()
        return json.loads(payload) if payload else None, answer.get("FunctionError")

    def queue(self, name: str = "") -> tuple[str, str]:
        """Creates a queue and returns (url, arn)."""
        url = self.client("sqs").create_queue(QueueName=name or unique("queue"))["QueueUrl"]
        arn = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        return url, arn

    def receive(self, url: str, seconds: float = 60.0) -> dict[str, Any]:
        """Waits for one message, removes it and returns it."""

        def one() -> Any:
            return self.client("sqs").receive_message(QueueUrl=url, MessageAttributeNames=["All"]).get("Messages")

        message = eventually(one, seconds)[0]
        self.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return dict(message)

    def is_empty(self, url: str, seconds: float = 0.7) -> bool:
        """True if no message arrives for ``seconds``."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.client("sqs").receive_message(QueueUrl=url).get("Messages"):
                return False
            time.sleep(0.05)
        return True

    def state_machine(self, definition: dict[str, Any], name: str = "") -> str:
        """Creates a standard state machine and returns its ARN."""
        arn = self.client("stepfunctions").create_state_machine(
            name=name or unique("machine"), definition=json.dumps(definition), roleArn=ROLE
        )["stateMachineArn"]
        return str(arn)

    def run(self, machine: str, event: Any = None, seconds: float = 60.0, **settings: Any) -> dict[str, Any]:
        """Runs an execution to its end and returns its description."""
        arn = self.client("stepfunctions").start_execution(
            stateMachineArn=machine, input=json.dumps(event or {}), **settings
        )["executionArn"]
        return self.wait_for_execution(arn, seconds)

    def wait_for_execution(self, arn: str, seconds: float = 60.0) -> dict[str, Any]:
        def ended() -> Any:
            found = self.client("stepfunctions").describe_execution(executionArn=arn)
            return found if found["status"] != "RUNNING" else None

        return dict(eventually(ended, seconds))

    def history(self, arn: str) -> list[dict[str, Any]]:
        return list(self.client("stepfunctions").get_execution_history(executionArn=arn, maxResults=1000)["events"])

    def settled_stack(self, name: str) -> dict[str, Any]:
        """The stack after its operation has ended."""

        def settled() -> Any:
            stack = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
            return stack if not stack["StackStatus"].endswith("_IN_PROGRESS") else None

        return dict(eventually(settled, 30))

    def log_lines(self, group: str) -> list[str]:
        try:
            events = self.client("logs").filter_log_events(logGroupName=group)["events"]
        except self.client("logs").exceptions.ResourceNotFoundException:
            return []
        return [event["message"] for event in events]


def unique(stem: str) -> str:
    return f"{stem}-{uuid.uuid4().hex[:10]}"


def archive(files: dict[str, str]) -> bytes:
    """A zip of text files: the same bytes at any time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for path, text in files.items():
            zipped.writestr(zipfile.ZipInfo(path), text)
    return buffer.getvalue()
