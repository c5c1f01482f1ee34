"""The fixtures of the functions' tests; the small AWS behind them is in cloud.py."""

from __future__ import annotations

import functools
import importlib
import io
import itertools
import json
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError
from botocore.stub import Stubber
from moto import mock_aws
from moto.core.models import botocore_stubber
from moto.core.serialize import AttributePicker, AttributePickerContext
from moto.core.utils import method_names_from_class
from moto.dynamodb.responses import DynamoHandler

from shared.ledger import Ledger
from shared.signed import Answer, NoAnswer
from tests.unit.functions.cloud import ENVIRONMENT, NOW, Clock, Cloud, Lender


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The functions' environment."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return ENVIRONMENT


@pytest.fixture
def cloud(variables: dict[str, str], lender: Lender, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """An empty deployed stack."""
    # DynamoDB checks a condition and writes in one step, and shows no half-written item; moto does so only if one
    # request at a time is let in.
    monkeypatch.setattr(DynamoHandler, "call_action", _locked(DynamoHandler.call_action, threading.Lock()))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", lender)
    # The functions do not use the library requests, for which moto would lay out a thousand answers.
    monkeypatch.setattr("moto.core.models.RESPONSES_METHODS", [])
    # moto lists the methods of a class anew for each request, and looks in each value of a DynamoDB item for each of
    # the ten types under four names: up to half of a request's time.
    monkeypatch.setattr("moto.core.responses.method_names_from_class", _method_names)
    monkeypatch.setattr(AttributePicker, "__call__", _of_one_type(AttributePicker.__call__))
    monkeypatch.setattr("shared.signed._sent", _sent_to_moto)
    with mock_aws(config={"core": {"reset_boto3_session": False}}):
        yield Cloud(lender)
    lender.take_back()


def _sent_to_moto(session: Any, request: Any) -> Answer:
    """In place of the sending of shared/signed.py, which moto does not know."""
    prepared = request.prepare()
    service, _, operation = str(prepared.headers.get("X-Amz-Target", "s3.GetObject")).partition(".")
    try:
        answer = botocore_stubber(f"before-send.{service.partition('_')[0].lower()}.{operation}", prepared)
    except BotoCoreError as error:
        raise NoAnswer(error) from None
    assert answer is not None
    return Answer(answer.status_code, answer.headers, answer.content)


@pytest.fixture(scope="session")
def lender() -> Lender:
    return Lender()


_method_names = functools.cache(method_names_from_class)
TYPES = {"S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"}
"""Types of a value in DynamoDB; it has one of them."""


def _of_one_type(pick: Callable[[AttributePicker, AttributePickerContext], Any]) -> Callable[..., Any]:
    def call(self: AttributePicker, context: AttributePickerContext) -> Any:
        value = context.obj
        if type(value) is dict and len(value) == 1 and context.key not in value and value.keys() <= TYPES:
            return None
        return pick(self, context)

    return call


def _locked(method: Callable[..., Any], lock: threading.Lock) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return method(*args, **kwargs)

    return call


@pytest.fixture
def load(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """Import `<function>.app` anew, as a cold start does, with some variables changed. Its ledger's clock begins at
    NOW: whether a dataset version is ahead of now must not depend on the machine's clock.
    """

    ticks = itertools.count()

    def loader(function: str, **changed: str) -> ModuleType:
        for name, value in changed.items():
            monkeypatch.setenv(name, value)
        for name in (f"{function}.app", function):
            monkeypatch.delitem(sys.modules, name, raising=False)
        app = importlib.import_module(f"{function}.app")
        if hasattr(app, "LEDGER"):
            app.LEDGER._clock = lambda: NOW + next(ticks) / 1000
        return app

    return loader


@pytest.fixture
def stub() -> Iterator[Callable[[Any], Stubber]]:
    """A Stubber on a client; all its answers must have been used at the end."""
    stubbers: list[Stubber] = []

    def attach(client: Any) -> Stubber:
        stubber = Stubber(client)
        stubber.activate()
        stubbers.append(stubber)
        return stubber

    yield attach
    for stubber in stubbers:
        stubber.deactivate()
    for stubber in stubbers:
        stubber.assert_no_pending_responses()


@pytest.fixture
def sagemaker(app: ModuleType, stub: Callable[[Any], Stubber]) -> Stubber:
    """A Stubber on the SageMaker client of the test file's `app`."""
    return stub(app.JOBS.client("sagemaker"))


@pytest.fixture
def emr(app: ModuleType, stub: Callable[[Any], Stubber]) -> Stubber:
    """A Stubber on the EMR Serverless client of the test file's `app`."""
    return stub(app.JOBS.client("emr-serverless"))


@pytest.fixture
def answers(app: ModuleType, stub: Callable[[Any], Stubber]) -> Stubber:
    """A Stubber on the Step Functions client of the test file's `app`."""
    return stub(app.JOBS.client("stepfunctions"))


@pytest.fixture
def log(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """Log lines of the functions so far."""
    handler = importlib.import_module("shared.observability").logger.registered_handler
    stream = io.StringIO()
    monkeypatch.setattr(handler, "stream", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(cloud: Cloud, clock: Clock) -> Ledger:
    """The ledger of that stack, at the time of `clock`."""
    return Ledger("ncf-runs", clock)
