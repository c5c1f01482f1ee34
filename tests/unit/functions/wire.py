"""Between botocore and AWS: counts the calls of a function, and lets one of them fail in the way a test chooses.

It takes moto's place below botocore, so that botocore's parsing and its retries take part.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ReadTimeoutError
from moto.core.botocore_stubber import BotocoreStubber

from tests.unit.functions.sagemaker_fake import SERVICES, Body, SageMakerFake

Fault = Callable[[str, Any, Callable[[], Any]], AWSResponse]
"""A hook on a call: the event's name, the request, and the function that performs it."""

FUNCTIONS = f"{Path(__file__).resolve().parents[3] / 'functions'}/"
_moto_answers = BotocoreStubber.__call__


def refused(event_name: str, request: Any, do: Callable[[], Any]) -> AWSResponse:
    """The service throttles; the call has no effect."""
    code = b"ThrottlingException"
    if ".s3." in event_name or ".sns." in event_name:
        content = b"<Error><Code>" + code + b"</Code><Message>slow down</Message></Error>"
        content = b"<ErrorResponse>" + content + b"</ErrorResponse>" if ".sns." in event_name else content
    else:
        content = json.dumps({"__type": code.decode(), "message": "slow down"}).encode()
    return AWSResponse(request.url, 400, {"x-amzn-errortype": code.decode()}, Body(content))  # type: ignore[arg-type]


def unheard(event_name: str, request: Any, do: Callable[[], Any]) -> AWSResponse:
    """The call has its effect, but its answer is lost."""
    do()
    raise ReadTimeoutError(endpoint_url=request.url)


class Wire:
    """`calls` are those since `begin`, each with its retries once, and `places` the lines of code that made them.
    SageMaker, task tokens and EMR Serverless are answered by `sagemaker`, where there is one; all else by moto.
    """

    def __init__(self, fault: Fault, sagemaker: SageMakerFake | None = None) -> None:
        self.fault, self.sagemaker = fault, sagemaker
        self.calls: list[tuple[str, str]] = []
        self.places: list[Any] = []
        self.failing: int | None = None

    def begin(self, failing: int | None) -> None:
        """Forget the calls so far; the one with the number `failing` is to fail, whenever it is tried."""
        self.calls, self.places, self.failing = [], [], failing

    @contextmanager
    def laid(self, monkeypatch: Any) -> Iterator[Wire]:
        """Replace moto for the duration of the block."""
        with monkeypatch.context() as patch:
            patch.setattr(
                BotocoreStubber, "__call__", lambda moto, *args, **kwargs: self._answer(moto, *args, **kwargs)
            )
            yield self

    def _answer(self, moto: BotocoreStubber, event_name: str, request: Any, **_: Any) -> AWSResponse | None:
        # What shared/signed.py sends has no such header.
        call = (event_name, str(request.headers.get("amz-sdk-invocation-id") or request.body))
        if call not in self.calls:
            self.calls.append(call)
            self.places.append(_place() or call)

        def do() -> AWSResponse | None:
            if self.sagemaker is not None and event_name.split(".")[1] in SERVICES:
                return self.sagemaker(event_name, request)
            return _moto_answers(moto, event_name, request)

        return self.fault(event_name, request, do) if self.failing == self.calls.index(call) else do()


def _place() -> tuple[tuple[str, int], ...]:
    """The lines of the functions' code on the way to a call; none in a thread that boto3 started."""
    lines = ((frame.f_code.co_filename, line) for frame, line in traceback.walk_stack(None))
    return tuple((file, line) for file, line in lines if file.startswith(FUNCTIONS))
