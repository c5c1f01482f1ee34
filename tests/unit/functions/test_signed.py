"""The calls of shared/signed.py are those of botocore's own clients, and answers are read as they read them."""

from __future__ import annotations

import datetime
import json
import socket
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ConnectionClosedError

from recommend.endpoint import Endpoint, EndpointUnavailable
from shared.errors import DependencyFailed, InvalidInput, MissingResource
from shared.signed import Answer, Bucket, DynamoDB, Firehose, NoAnswer, Runtime, Table
from tests.unit.functions.recommending import reply

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)
REGIONS = [("us-east-1", "amazonaws.com"), ("eu-central-1", "amazonaws.com"), ("cn-north-1", "amazonaws.com.cn")]
BODY = b'{"userId": "1"}'
KEY = "batch/a job+1/~lists/0000.json.out"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    of_sdk = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "AWS_PROFILE")
    for name in (*of_sdk, "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("ACCESS_KEY_ID", "testing"), ("SECRET_ACCESS_KEY", "hidden"), ("SESSION_TOKEN", "lent")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda remove_tzinfo=True: NOW)


def by_client(service: str, region: str, call: Any) -> Any:
    """The request of botocore's client."""
    client = botocore.session.get_session().create_client(service, region_name=region)
    sent: list[Any] = []

    def answered(request: Any, **_: Any) -> Any:
        sent.append(request)
        return reply(200, {})

    client.meta.events.register(f"before-send.{service}", answered)
    call(client)
    return sent[0]


def by_us(place: Any, call: Any, monkeypatch: pytest.MonkeyPatch, document: Any = None) -> Any:
    """Our request; the answer to it is `document`, or {} as it came."""
    sent: list[Any] = []

    def answered(request: Any) -> Any:
        sent.append(request)
        return reply(200, document or {})

    monkeypatch.setattr(place.session, "send", answered)
    as_it_came = Answer(200, {"content-type": "application/json", "content-length": "2"}, b"{}")
    assert call(place) == (document or as_it_came)
    return sent[0]


def text(request: Any, name: str) -> str | None:
    value = request.headers.get(name)
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize("elsewhere", [None, "http://127.0.0.1:4566"])
@pytest.mark.parametrize(("region", "suffix"), REGIONS)
@pytest.mark.parametrize("variant", ["", "Other"])
def test_an_invocation_is_signed_as_botocores_client_signs_it(
    region: str, suffix: str, variant: str, elsewhere: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if elsewhere:
        monkeypatch.setenv("AWS_ENDPOINT_URL", elsewhere)
    theirs = by_client(
        "sagemaker-runtime",
        region,
        lambda client: client.invoke_endpoint(
            EndpointName="ncf-recommender",
            ContentType="application/json",
            Accept="application/json",
            Body=BODY,
            **({"TargetVariant": variant} if variant else {}),
        ),
    )
    ours = by_us(
        Runtime(region, suffix),
        lambda runtime: runtime.invoke_endpoint("ncf-recommender", BODY, variant),
        monkeypatch,
    )
    assert (ours.method, ours.url, ours.body) == (theirs.method, theirs.url, theirs.body)
    target = "X-Amzn-SageMaker-Target-Variant"
    assert text(ours, target) == text(theirs, target) == (variant or None)
    for name in ("Content-Type", "Accept", "Content-Length", "X-Amz-Date", "X-Amz-Security-Token"):
        assert text(ours, name) == text(theirs, name) is not None, name
    # The client signs a few headers more, which say who it is.
    scope = f"testing/20260102/{region}/sagemaker/aws4_request"
    assert scope in str(text(theirs, "Authorization")) and scope in str(text(ours, "Authorization"))


@pytest.mark.parametrize("elsewhere", [None, "http://127.0.0.1:4566"])
@pytest.mark.parametrize(("region", "suffix"), REGIONS)
def test_an_object_is_asked_for_as_botocores_client_asks(
    region: str, suffix: str, elsewhere: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if elsewhere:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", elsewhere)
    theirs = by_client("s3", region, lambda client: client.get_object(Bucket="ncf-artifacts", Key=KEY))
    ours = by_us(Bucket("ncf-artifacts", region, suffix), lambda bucket: bucket.get_object(KEY), monkeypatch)
    if region == "us-east-1" and not elsewhere:  # the one region that has a name without one, too
        theirs.url = theirs.url.replace(".s3.amazonaws.com", ".s3.us-east-1.amazonaws.com")
    assert (ours.method, ours.url, ours.body) == (theirs.method, theirs.url, theirs.body)
    for name in ("X-Amz-Content-SHA256", "X-Amz-Date", "X-Amz-Security-Token"):
        assert text(ours, name) == text(theirs, name) is not None, name
    assert f"testing/20260102/{region}/s3/aws4_request" in str(text(ours, "Authorization"))


@pytest.mark.parametrize("elsewhere", [None, "http://127.0.0.1:4566"])
@pytest.mark.parametrize(("region", "suffix"), REGIONS)
def test_events_are_asked_for_as_botocores_client_asks(
    region: str, suffix: str, elsewhere: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if elsewhere:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", elsewhere)
    monkeypatch.setenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", "disabled")
    query: Any = {
        "IndexName": "byTime",
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": "U#ü/"}},
        "ScanIndexForward": False,
        "Limit": 101,
        "ConsistentRead": True,
    }
    theirs = by_client("dynamodb", region, lambda client: client.query(TableName="ncf-events", **query))
    ours = by_us(Table("ncf-events", region, suffix), lambda table: table.query(**query), monkeypatch)
    assert (ours.method, ours.url, json.loads(ours.body)) == (theirs.method, theirs.url, json.loads(theirs.body))
    for name in ("Content-Type", "X-Amz-Target", "X-Amz-Date", "X-Amz-Security-Token"):
        assert text(ours, name) == text(theirs, name) is not None, name
    assert f"testing/20260102/{region}/dynamodb/aws4_request" in str(text(ours, "Authorization"))


ITEM = {"pk": {"S": "U#ü/"}, "sk": {"S": "1"}, "at": {"N": "1"}}


@pytest.mark.parametrize(
    ("service", "operation", "members"),
    [
        (DynamoDB, "batch_write_item", {"RequestItems": {"ncf-events": [{"PutRequest": {"Item": ITEM}}]}}),
        (Firehose, "put_record", {"DeliveryStreamName": "ncf-events", "Record": {"Data": b"{}\n\xc3\xbc"}}),
    ],
)
@pytest.mark.parametrize("elsewhere", [None, "http://127.0.0.1:4566"])
@pytest.mark.parametrize(("region", "suffix"), REGIONS)
def test_events_are_written_as_botocores_client_writes_them(
    region: str,
    suffix: str,
    elsewhere: str | None,
    service: Any,
    operation: str,
    members: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = service.__name__.lower()
    if elsewhere:
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{name.upper()}", elsewhere)
    monkeypatch.setenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", "disabled")
    theirs = by_client(name, region, lambda client: getattr(client, operation)(**members))
    place = service(region, suffix)
    ours = by_us(place, lambda place: getattr(place, operation)(**members), monkeypatch, {"RecordId": "1"})
    assert (ours.method, ours.url, json.loads(ours.body)) == (theirs.method, theirs.url, json.loads(theirs.body))
    for header in ("Content-Type", "X-Amz-Target", "X-Amz-Date", "X-Amz-Security-Token"):
        assert text(ours, header) == text(theirs, header) is not None, header
    assert f"testing/20260102/{region}/{name}/aws4_request" in str(text(ours, "Authorization"))


THROTTLED = (400, {"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": "slow down"})
REFUSED = (400, {"__type": "com.amazon.coral.service#AccessDeniedException", "Message": "no"})
STORED: tuple[int, Any] = (200, {"UnprocessedItems": {}})


@pytest.mark.parametrize(
    ("answers", "failure"),
    [
        ([STORED], None),
        ([THROTTLED, (503, b"<html>"), None, STORED], None),
        ([(200, b"garbled"), STORED], None),
        ([THROTTLED] * 4, (DependencyFailed, "dynamodb BatchWriteItem: ThrottlingException: slow down")),
        ([None] * 4, (DependencyFailed, "dynamodb BatchWriteItem: ConnectionClosedError")),
        ([(500, b"")] * 4, (DependencyFailed, "dynamodb BatchWriteItem: 500: no message")),
        ([REFUSED], (MissingResource, "dynamodb BatchWriteItem: AccessDeniedException: no")),
        ([(400, {"__type": "a#ValidationException"})], (InvalidInput, "dynamodb BatchWriteItem: ValidationException")),
    ],
)
def test_a_write_is_tried_again_within_a_second_where_that_can_help(
    answers: list[Any], failure: Any, monkeypatch: pytest.MonkeyPatch, naps: list[float]
) -> None:
    place, left = DynamoDB("us-east-1", "amazonaws.com"), list(answers)
    monkeypatch.setattr("shared.signed.random.uniform", lambda least, most: most)

    def send(request: Any) -> Any:
        found = left.pop(0)
        if found is None:
            raise ConnectionClosedError(endpoint_url=request.url)
        return reply(*found)

    monkeypatch.setattr(place.session, "send", send)
    if failure is None:
        assert place.batch_write_item(RequestItems={}) == STORED[1]
    else:
        with pytest.raises(failure[0], match=failure[1]) as caught:
            place.batch_write_item(RequestItems={})
        assert type(caught.value) is failure[0]
    assert left == []
    assert naps == [pytest.approx(seconds) for seconds in (0.1, 0.2, 0.4)][: len(answers) - 1]


def test_each_try_is_signed_with_the_credentials_of_its_time(
    monkeypatch: pytest.MonkeyPatch, naps: list[float]
) -> None:
    place, tokens = DynamoDB("us-east-1", "amazonaws.com"), []

    def send(request: Any) -> Any:
        tokens.append(text(request, "X-Amz-Security-Token"))
        monkeypatch.setenv("AWS_SESSION_TOKEN", "lent anew")
        return reply(400, {"__type": "x#ExpiredTokenException"}) if len(tokens) == 1 else reply(*STORED)

    monkeypatch.setattr(place.session, "send", send)
    assert place.query() == STORED[1]
    assert tokens == ["lent", "lent anew"]


@pytest.mark.parametrize("variables", [{}, {"AWS_CA_BUNDLE": "/ca.pem", "HTTPS_PROXY": "http://127.0.0.1:9"}])
def test_connections_are_made_as_botocores_client_makes_them(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    client = botocore.session.get_session().create_client("sagemaker-runtime", region_name="eu-central-1")
    theirs, ours = client._endpoint.http_session, Runtime("eu-central-1", "amazonaws.com").session
    assert ours._socket_options == theirs._socket_options != []
    assert ours._verify == theirs._verify == variables.get("AWS_CA_BUNDLE", True)
    assert ours._proxy_config._proxies == theirs._proxy_config._proxies
    assert bool(ours._proxy_config._proxies) is bool(variables)
    assert (ours._timeout.connect_timeout, ours._timeout.read_timeout) == (1, 2)


@pytest.mark.parametrize(
    ("answers", "tries", "status"),
    [([200], 1, 200), ([404], 1, 404), ([503, 200], 2, 200), ([None, 200], 2, 200), ([503, 500], 2, 500)],
)
def test_a_read_is_tried_once_more_where_that_can_help(
    answers: list[int | None], tries: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, left = Bucket("ncf-artifacts", "us-east-1", "amazonaws.com"), list(answers)

    def send(request: Any) -> Any:
        found = left.pop(0)
        if found is None:
            raise ConnectionClosedError(endpoint_url=request.url)
        return reply(found, b"")

    monkeypatch.setattr(bucket.session, "send", send)
    assert bucket.get_object("serving/popular.json").status == status
    assert len(answers) - len(left) == tries


@pytest.mark.slow
def test_who_does_not_answer_is_not_waited_for_and_said_to_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        bucket, runtime = Bucket("b", "us-east-1", "amazonaws.com"), Runtime("us-east-1", "amazonaws.com")
        calls: tuple[Callable[[], Any], ...] = (
            lambda: bucket.get_object("k"),
            lambda: runtime.invoke_endpoint("e", b"{}"),
        )
        for call in calls:
            began = time.monotonic()
            with pytest.raises(NoAnswer) as caught:
                call()
            assert caught.value.timed_out and str(caught.value) == "ReadTimeoutError"
            assert time.monotonic() - began < 10
    with pytest.raises(NoAnswer) as caught:  # the same place, where nobody listens any more
        runtime.invoke_endpoint("e", b"{}")
    assert not caught.value.timed_out and str(caught.value) == "EndpointConnectionError"


@pytest.mark.parametrize(
    ("answer", "reason", "detail"),
    [
        (
            Answer(400, {"x-amzn-errortype": "ValidationError:http://sagemaker/"}, b"{}"),
            "absent",
            "ValidationError 400",
        ),
        (Answer(400, {}, b'{"__type": "com.amazonaws#ThrottlingException"}'), "throttled", "ThrottlingException 400"),
        (Answer(429, {}, b'{"code": "ModelNotReadyException"}'), "not_ready", "ModelNotReadyException 429"),
        (
            Answer(424, {"x-amzn-errortype": "ModelError"}, b'{"OriginalStatusCode": 503}'),
            "overloaded",
            "ModelError 503",
        ),
        (Answer(502, {}, b"<html>"), "unreachable", " 502"),
        (Answer(500, {}, b"[" * 9000), "unreachable", " 500"),
        (Answer(301, {}, b"[]"), "unreachable", " 301"),
    ],
)
def test_errors_are_named_by_their_code(answer: Answer, reason: str, detail: str) -> None:
    runtime: Any = SimpleNamespace(invoke_endpoint=lambda name, body, variant: answer)
    budget: Any = SimpleNamespace(spend=lambda call: call(), left=0)
    with pytest.raises(EndpointUnavailable) as caught:
        Endpoint(runtime, "ncf-recommender").probe({}, budget)
    assert (caught.value.reason, caught.value.detail) == (reason, detail)


def test_other_threads_sleep_as_always(naps: list[float]) -> None:
    other = threading.Thread(target=time.sleep, args=(0.01,))
    other.start()
    other.join()
    time.sleep(5.0)
    assert naps == [5.0]
