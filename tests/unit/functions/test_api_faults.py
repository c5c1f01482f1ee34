"""Whatever AWS answers, a function says one of three things, and done again it ends as if nothing had happened.

Which errors there are is read from botocore's own models, not written down here. Faults are injected below botocore, so
that its parsing and its retries take part.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError
from botocore.retries.standard import ThrottledRetryableChecker
from moto.core.models import botocore_stubber

from shared.clients import calling
from shared.errors import CapacityUnavailable, DependencyFailed, FunctionError, InvalidInput, MissingResource
from tests.infrastructure.test_permissions import NAMES, SERVICES, reachable_calls
from tests.unit.functions.cloud import ARTIFACTS, BATCH, CONTEXT, EXECUTION, RUN, VERSION, Cloud, sample_event

OURS = (InvalidInput, MissingResource, DependencyFailed)
RETRYABLE = (DependencyFailed, CapacityUnavailable)
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
FORBIDDEN = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


def cause_of(code: str, status: int) -> type[Exception]:
    """What a function says when a call answers so."""
    answer: Any = {"Error": {"Code": code, "Message": "told"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(FunctionError) as caught, calling("the call"):
        raise ClientError(answer, "Operation")
    assert str(caught.value) == f"the call: {code}: told"
    return type(caught.value)


def modelled() -> Iterator[tuple[str, str, int, bool]]:
    """(operation, error, HTTP status, whether AWS says that trying again helps) of every call that a function makes."""
    session = botocore.session.get_session()
    wanted = set().union(*(reachable_calls(name) for name in NAMES))
    for service, prefix in SERVICES.items():
        model = session.get_service_model(service)
        for name in model.operation_names:
            if f"{prefix}:{name}" not in wanted:
                continue
            for shape in model.operation_model(name).error_shapes:
                error = shape.metadata.get("error", {})
                code = error.get("code", shape.name)
                yield f"{service}.{name}", code, int(error.get("httpStatusCode", 400)), "retryable" in shape.metadata


MODELLED = sorted(set(modelled()))


def test_there_are_errors_to_look_at() -> None:
    assert len({operation for operation, *_ in MODELLED}) >= 15
    assert len(MODELLED) >= 60


@pytest.mark.parametrize(("operation", "code", "status", "retryable"), MODELLED)
def test_every_modelled_error_has_one_of_our_names_and_is_tried_again_where_that_helps(
    operation: str, code: str, status: int, retryable: bool
) -> None:
    cause = cause_of(code, status)
    assert issubclass(cause, OURS)
    if retryable or status >= 500:
        assert issubclass(cause, RETRYABLE), f"{operation} {code} is to be tried again"


@pytest.mark.parametrize("code", [*sorted(ThrottledRetryableChecker._THROTTLED_ERROR_CODES), *EXPIRED])
def test_throttling_and_expired_credentials_are_tried_again(code: str) -> None:
    assert issubclass(cause_of(code, 400), RETRYABLE)


@pytest.mark.parametrize("code", FORBIDDEN)
def test_what_may_not_be_done_is_not_tried_again(code: str) -> None:
    assert cause_of(code, 403) is MissingResource


@pytest.mark.parametrize("error", [ConnectTimeoutError, ReadTimeoutError])
def test_a_service_that_does_not_answer_is_tried_again(error: Any) -> None:
    with pytest.raises(DependencyFailed), calling("the call"):
        raise error(endpoint_url="https://aws")


# Each call of a function, refused or unheard


class Body:
    """As much of urllib3's response as botocore reads."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, amt: int | None = None) -> bytes:
        content, self.content = self.content, b""
        return content

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()

    def close(self) -> None:
        pass


def throttled(event_name: str, request: Any) -> AWSResponse:
    """The answer of a service that has too much to do; nothing was done."""
    code = b"ThrottlingException"
    if ".s3." in event_name or ".sns." in event_name:
        content = b"<Error><Code>" + code + b"</Code><Message>slow down</Message></Error>"
        content = b"<ErrorResponse>" + content + b"</ErrorResponse>" if ".sns." in event_name else content
    else:
        content = json.dumps({"__type": code.decode(), "message": "slow down"}).encode()
    return AWSResponse(request.url, 400, {"x-amzn-errortype": code.decode()}, Body(content))  # type: ignore[arg-type]


def unheard(event_name: str, request: Any) -> AWSResponse:
    """It was done, and nobody heard so."""
    botocore_stubber(event_name, request)
    raise ReadTimeoutError(endpoint_url=request.url)


class Wire:
    """Between botocore and moto: counts calls (with their retries as one), and lets one of them fail."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.failing: int | None = None
        self.fault: Callable[[str, Any], AWSResponse] = throttled

    def __call__(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        call = (event_name, str(request.headers["amz-sdk-invocation-id"]))
        if call not in self.calls:
            self.calls.append(call)
        return self.fault(event_name, request) if self.failing == self.calls.index(call) else None

    def begin(self, failing: int | None) -> None:
        self.calls, self.failing = [], failing


def prepare_evaluate(cloud: Cloud) -> dict[str, Any]:
    from tests.unit.functions.test_evaluate import deliver, report

    cloud.listen()
    deliver(cloud, report())
    return sample_event("evaluate")


def prepare_record_outcome(cloud: Cloud) -> dict[str, Any]:
    cloud.listen()
    cloud.put(f"RUN#{RUN}", kind="RUN", status="RUNNING", runId=RUN, executionArn=EXECUTION)
    cloud.put("LOCK", "DEPLOYMENT", runId=RUN, expiresAt=99_999_999_999)
    return sample_event("record_outcome")


def prepare_handle_failure(cloud: Cloud) -> dict[str, Any]:
    return {**prepare_record_outcome(cloud), **sample_event("handle_failure")}


def prepare_publish_batch(cloud: Cloud) -> dict[str, Any]:
    cloud.put("SERVING", "CURRENT", kind="SERVING", runId=RUN, datasetVersion=VERSION)
    cloud.write(ARTIFACTS, f"batch/{BATCH}/input/0000.json", {"shard": 0, "shards": 1, "numResults": 50})
    answer = {"schemaVersion": "1.0", "modelVersion": RUN, "shard": 0, "shards": 1, "users": {}}
    cloud.write(ARTIFACTS, f"batch/{BATCH}/lists/0000.json.out", answer)
    return sample_event("publish_batch")


def prepare_apply_rules(cloud: Cloud) -> dict[str, Any]:
    cloud.listen()
    event = sample_event("apply_rules")
    event["detail"]["bucket"]["name"] = ARTIFACTS
    cloud.write(ARTIFACTS, "rules/rules.json", {"schemaVersion": "1.0", "deny": ["7"]})
    return event


PREPARED = {
    "evaluate": prepare_evaluate,
    "record_outcome": prepare_record_outcome,
    "handle_failure": prepare_handle_failure,
    "publish_batch": prepare_publish_batch,
    "apply_rules": prepare_apply_rules,
}
MOMENTS = ("updatedAt", "endedAt", "since", "writtenAt", "expiresAt")


def left_behind(cloud: Cloud) -> Any:
    """The ledger and the objects, without the moments at which they were written."""
    items = [{k: v for k, v in item.items() if k not in MOMENTS} for item in cloud.table.scan()["Items"]]
    objects = {}
    for entry in cloud.s3.list_objects_v2(Bucket=ARTIFACTS).get("Contents", []):
        content = cloud.s3.get_object(Bucket=ARTIFACTS, Key=entry["Key"])["Body"].read()
        if entry["Key"].startswith("training/"):  # the function's input; an archive has the moment of its making in it
            continue
        if entry["Key"].endswith("batch.json"):
            content = {k: v for k, v in json.loads(content).items() if k not in MOMENTS}
        objects[entry["Key"]] = content
    return sorted(items, key=lambda item: (item["pk"], item["sk"])), objects


def empty(cloud: Cloud) -> None:
    for item in cloud.table.scan()["Items"]:
        cloud.table.delete_item(Key={"pk": item["pk"], "sk": item["sk"]})
    for entry in cloud.s3.list_objects_v2(Bucket=ARTIFACTS).get("Contents", []):
        cloud.s3.delete_object(Bucket=ARTIFACTS, Key=entry["Key"])


@pytest.fixture
def wire(cloud: Cloud, session: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    wire = Wire()
    services = ("s3", "dynamodb", "sns", "events")
    for service in services:
        session.events.register(f"before-send.{service}", wire, unique_id=f"wire-{service}")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # botocore's waits between its own tries
    yield wire
    for service in services:
        session.events.unregister(f"before-send.{service}", unique_id=f"wire-{service}")


@pytest.mark.parametrize("fault", [throttled, unheard], ids=["refused", "unheard"])
@pytest.mark.parametrize("function", PREPARED)
def test_whichever_call_fails_the_next_try_ends_as_if_nothing_had_happened(
    load: Callable[..., ModuleType], cloud: Cloud, wire: Wire, function: str, fault: Any
) -> None:
    event = PREPARED[function](cloud)
    app = load(function)
    wire.fault = fault
    wire.begin(None)
    answer = app.handler(event, CONTEXT)
    clean, number, stopped = left_behind(cloud), 0, 0
    wire.begin(None)
    while True:
        empty(cloud)
        PREPARED[function](cloud)
        wire.begin(number)
        try:
            app.handler(event, CONTEXT)
        except Exception as error:
            stopped += 1
            assert type(error).__name__ in ("DependencyFailed", "CapacityUnavailable"), (wire.calls[number], error)
        reached = number < len(wire.calls)
        wire.begin(None)
        again = app.handler(event, CONTEXT)
        assert {**again, "notified": 0} == {**answer, "notified": 0}, number
        assert left_behind(cloud) == clean, f"after call {number} failed"
        if not reached:
            break
        number += 1
    assert number >= 3 and stopped >= 3, "there were calls, and their faults were felt"
