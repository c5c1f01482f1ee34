"""The fallbacks with an endpoint that fails in every way: a real HTTP server, real sockets."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from recommend.budget import Budget
from recommend.circuit import FAILURES_TO_OPEN, OPEN_SECONDS, Circuit
from recommend.endpoint import Endpoint, EndpointUnavailable
from shared.signed import Runtime

pytestmark = pytest.mark.slow

BUDGET = 0.3
ANSWER = {
    "userId": "1",
    "itemList": [{"itemId": "9", "score": 0.5}],
    "source": "personalized",
    "modelVersion": "r1",
    "unknownItems": 0,
}
GOOD = json.dumps(ANSWER).encode()


class Faulty(ThreadingHTTPServer):
    """A fake SageMaker runtime that behaves as `behave` says; hanging calls are released at the end."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave: Callable[[Handler], None] = healthy
        self.over = threading.Event()
        self.calls = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Faulty

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls += 1
        self.server.behave(self)

    def answer(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Stay silent."""


def healthy(request: Handler) -> None:
    request.answer(200, GOOD)


def fails(request: Handler) -> None:
    request.answer(500, b'{"message": "no"}')


def is_overloaded(request: Handler) -> None:
    body = b'{"OriginalStatusCode": 503, "message": "full"}'
    request.answer(424, body, x_amzn_ErrorType="ModelError")


def talks_nonsense(request: Handler) -> None:
    request.answer(200, b"<html>welcome</html>")


def says_nan(request: Handler) -> None:
    request.answer(200, GOOD.replace(b"0.5", b"NaN"))


def closes_early(request: Handler) -> None:
    request.answer(200, GOOD[:20], length=len(GOOD))
    request.close_connection = True


def hangs_up(request: Handler) -> None:
    request.close_connection = True


def hangs(request: Handler) -> None:
    request.server.over.wait(30)


def is_late(request: Handler) -> None:
    request.server.over.wait(2 * BUDGET)
    healthy(request)


def trickles(request: Handler) -> None:
    """Send single bytes with pauses: no single read takes long."""
    request.answer(200, b"", length=len(GOOD))
    for byte in GOOD:
        if request.server.over.wait(0.05):
            return
        request.wfile.write(bytes([byte]))
        request.wfile.flush()


FAULTS = {
    fails: "unreachable",
    is_overloaded: "overloaded",
    talks_nonsense: "garbled",
    says_nan: "not_finite",
    closes_early: "unreachable",
    hangs_up: "unreachable",
    hangs: "timeout",
    is_late: "timeout",
    trickles: "timeout",
}


@pytest.fixture
def server() -> Iterator[Faulty]:
    made = Faulty()
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.over.set()
    made.shutdown()
    made.server_close()


@pytest.fixture
def clock() -> SimpleNamespace:
    return SimpleNamespace(now=1000.0)


@pytest.fixture
def endpoint(server: Faulty, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    variables = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}
    variables |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Endpoint(Runtime("us-east-1", "amazonaws.com"), "ncf-recommender", Circuit(lambda: clock.now))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_every_fault_is_named_and_given_up_in_time(server: Faulty, endpoint: Endpoint, fault: Any) -> None:
    server.behave = fault
    began = time.monotonic()
    with pytest.raises(EndpointUnavailable) as caught:
        endpoint.rank({"userId": "1"}, Budget(BUDGET))
    assert caught.value.reason == FAULTS[fault]
    assert time.monotonic() - began < 5  # of the thirty that a server that hangs would take
    server.behave = healthy
    assert endpoint.rank({"userId": "1"}, Budget(5)).source == "personalized"


def test_with_a_fifth_of_all_calls_failing_the_others_are_personal(
    server: Faulty, endpoint: Endpoint, clock: SimpleNamespace
) -> None:
    random_ = random.Random(1)
    lock = threading.Lock()

    def mixed(request: Handler) -> None:
        with lock:
            fault = random_.choice([*FAULTS]) if random_.random() < 0.2 else healthy
        fault(request)

    server.behave = mixed
    sources = []
    for _ in range(60):
        clock.now += OPEN_SECONDS  # on a busy machine there may be five failures in a row
        try:
            sources.append(endpoint.rank({"userId": "1"}, Budget(BUDGET)).source)
        except EndpointUnavailable as error:
            sources.append(error.reason)
    assert sources.count("personalized") >= 40
    assert set(sources) <= {"personalized", *FAULTS.values()}  # and nothing else was ever raised


def test_with_all_calls_failing_few_are_made_and_one_brings_it_back(
    server: Faulty, endpoint: Endpoint, clock: SimpleNamespace
) -> None:
    server.behave = fails

    def reason() -> str | None:
        try:
            endpoint.rank({"userId": "1"}, Budget(5))
        except EndpointUnavailable as error:
            return error.reason
        return None

    reasons = [reason() for _ in range(20)]
    assert reasons == ["unreachable"] * FAILURES_TO_OPEN + ["circuit_open"] * (20 - FAILURES_TO_OPEN)
    calls_before = server.calls
    clock.now += OPEN_SECONDS
    assert [reason(), reason()] == ["unreachable", "circuit_open"]  # one request tried
    assert server.calls == calls_before + 2  # a failure is retried once
    server.behave = healthy
    clock.now += OPEN_SECONDS
    assert [reason(), reason()] == [None, None]
