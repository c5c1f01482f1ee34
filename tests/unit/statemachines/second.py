"""Executes state machines on an interpreter that nobody here wrote: moto's, which is LocalStack's. JSONata is evaluated
by its reference implementation, on Node.js.

moto brings neither an evaluator of JSONata nor, without Docker, Lambda: both are put in its place here.
"""

from __future__ import annotations

import functools
import io
import json
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import boto3
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.jsonata import jsonata
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from tests.infrastructure import node
from tests.unit.statemachines.interpreter import ACCOUNT, REGION, ROLE, Answers, Execution, Failed, definition_of, read

ROOT = Path(__file__).resolve().parents[3]
JSONATA = """
const jsonata = require('jsonata');
const lines = require('readline').createInterface({input: process.stdin});
lines.on('line', async (line) => {
  let answer;
  try { answer = {value: await jsonata(JSON.parse(line)).evaluate(null)}; }
  catch (error) { answer = {error: error.message}; }
  console.log(JSON.stringify(answer));
});
"""
"""A JSON text with an expression on each line of the input, an object with `value` or `error` on each of the output."""


@contextmanager
def evaluator() -> Iterator[Callable[[str], Any]]:
    """Evaluates JSONata expressions by the reference implementation, which asl-validator brings. Nothing is None."""
    command, home = node.installed(ROOT / "tests" / "asl", ROOT / ".envs" / "asl")
    lock = threading.Lock()
    with subprocess.Popen(
        [*command, "-e", JSONATA], cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        questions, answers = process.stdin, process.stdout
        assert questions is not None and answers is not None

        def evaluate(expression: str) -> Any:
            with lock:
                questions.write(json.dumps(expression) + "\n")
                questions.flush()
                answer = json.loads(answers.readline())
            if "error" in answer:
                raise jsonata.JSONataException("UNKNOWN", answer["error"])
            return answer.get("value")

        yield evaluate
        questions.close()


@contextmanager
def interpreter(invoke: Callable[[str, Any], Any]) -> Iterator[None]:
    """moto's interpreter in this process, without waits between attempts. `invoke(name, event)` answers for Lambda: it
    returns the function's answer, or raises `Failed`.
    """

    def call(FunctionName: str, Payload: bytes) -> dict[str, Any]:
        try:
            answer, failure = invoke(FunctionName, json.loads(Payload)), {}
        except Failed as error:
            if error.by_lambda:
                details = {"Code": error.name.removeprefix("Lambda."), "Message": error.cause}
                raise ClientError(
                    {"Error": details, "ResponseMetadata": {"HTTPStatusCode": 500, "RequestId": "1"}}, "Invoke"
                ) from error
            answer, failure = error.body, {"FunctionError": "Unhandled"}
        return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(answer).encode()), **failure}

    with ExitStack() as stack:
        stack.enter_context(mock_aws(config={"stepfunctions": {"execute_state_machine": True}}))
        stack.enter_context(patch.dict("os.environ", MOTO_ACCOUNT_ID=ACCOUNT))
        stack.enter_context(patch.object(jsonata, "_eval_jsonata", stack.enter_context(evaluator())))
        stack.enter_context(
            patch.object(lambda_eval_utils, "boto_client_for", lambda **_: SimpleNamespace(invoke=call))
        )
        stack.enter_context(
            patch.object(AmazonStateLanguageParser, "parse", functools.cache(AmazonStateLanguageParser.parse))
        )
        stack.enter_context(patch.object(retrier_decl, "time", SimpleNamespace(sleep=lambda seconds: None)))
        yield


class Machines:
    """The state machines of `statemachines/` on moto's interpreter. Use it as a context."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._arn = ""
        self._answers: Answers = lambda state, attempt, payload: {}
        self._definition: dict[str, Any] = {}
        self._tried: dict[str, int] = {}

    def __enter__(self) -> Machines:
        self._stack.enter_context(interpreter(self._invoke))
        self._sfn = self._stack.enter_context(_client())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def execute(self, machine: str | dict[str, Any], event: Mapping[str, Any], answers: Answers) -> Execution:
        """As `interpreter.execute`."""
        self._definition, self._answers, self._tried = definition_of(machine), answers, {}
        name = f"{machine if isinstance(machine, str) else 'small'}-{uuid.uuid4().hex}"
        created = self._sfn.create_state_machine(name=name, definition=json.dumps(self._definition), roleArn=ROLE)
        self._arn = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:{name}:{name}"
        self._sfn.start_execution(stateMachineArn=created["stateMachineArn"], input=json.dumps(event), name=name)
        deadline = time.monotonic() + 120
        while self._execution().status == "RUNNING":
            assert time.monotonic() < deadline, f"moto has not ended {name} after a minute"
            time.sleep(0.002)
        return read(self._definition, self._sfn.describe_execution(executionArn=self._arn), self._history())

    def _execution(self) -> Any:
        return stepfunctions_parser_backends[ACCOUNT][REGION].describe_execution(self._arn)

    def _history(self) -> list[dict[str, Any]]:
        return list(self._execution().to_history_output()["events"])

    def _invoke(self, function: str, payload: Any) -> Any:
        entered = next(event for event in reversed(self._history()) if event["type"] == "TaskStateEntered")
        state = entered["stateEnteredEventDetails"]["name"]
        answer = self._answers(state, self._tried.get(state, 0), payload)
        self._tried[state] = self._tried.get(state, 0) + 1
        if not self._definition["States"][state]["Resource"].endswith(".waitForTaskToken"):
            if isinstance(answer, Failed):
                raise answer
            return answer
        token = payload["taskToken"]
        if not isinstance(answer, Failed):
            self._sfn.send_task_success(taskToken=token, output=json.dumps(answer))
        elif answer.of_call:
            raise answer
        else:
            self._sfn.send_task_failure(taskToken=token, error=answer.name, cause=answer.cause)
        return None


@contextmanager
def _client() -> Iterator[Any]:
    yield boto3.client("stepfunctions", region_name=REGION, aws_access_key_id=ACCOUNT, aws_secret_access_key="local")
