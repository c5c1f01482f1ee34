"""The HTTP face of the server, on a socket: what it answers, and how it reads what clients may send."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
import socket
import struct
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

import connection
from invocation import Invocation, Shard
from metrics import Metrics
from ncf import bundle as bundles
from scorer import Scorer
from server import Service

RUN = "v20261123t151300z-1a2b3c4d-r1"
JSON = {"content-type": "application/json"}
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


def invocation(body=b'{"userId": "1"}', more=b"", version=b"1.1"):
    return (
        b"POST /invocations HTTP/%b\r\nHost: x\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"
        % (version, more, len(body), body)
    )


class Running:
    """A service in a thread of its own."""

    def __init__(self, service, drain_seconds):
        self.service, self.listener, self._ready = service, socket.create_server(("127.0.0.1", 0)), threading.Event()
        self.address = self.listener.getsockname()
        self.thread = threading.Thread(target=lambda: uvloop.run(self._serve(drain_seconds)))
        self.thread.start()
        assert self._ready.wait(20)

    async def _serve(self, drain_seconds):
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.loop.call_soon(self._ready.set)
        await self.service.serve(self.listener, self._stop, drain_seconds)

    def stop(self):
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)

    def wire(self):
        return socket.create_connection(self.address, timeout=20)


@contextmanager
def running(answers, drain_seconds=5.0, **settings):
    made = Running(Service(answers, RUN, **settings), drain_seconds)
    try:
        yield made
    finally:
        made.stop()
        made.thread.join(20)
        assert not made.thread.is_alive()


@contextmanager
def serving(answers, **settings):
    """A client of it."""
    with (
        running(answers, **settings) as made,
        httpx.Client(base_url=f"http://127.0.0.1:{made.address[1]}", timeout=30) as client,
    ):
        client.service = made.service
        yield client


def done(requests):
    return [{"user": getattr(request, "user_id", None)} for request in requests]


def statuses(received):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", received)]


def all_of(wire):
    """What comes until the server closes."""
    received = b""
    while part := wire.recv(1 << 16):
        received += part
    return received


def answers_of(wire, number):
    """The bodies of the next `number` answers."""
    bodies = []
    with wire.makefile("rb") as file:
        for _ in range(number):
            length = None
            while (line := file.readline()) != b"\r\n":
                assert line
                if line.startswith(b"content-length: "):
                    length = int(line[16:])
            bodies.append(json.loads(file.read(length)))
    return bodies


@pytest.fixture(scope="module")
def client(bundle_directory):
    with serving(Scorer(bundles.load(bundle_directory)).answers) as client:
        yield client


def test_ping_is_200_and_names_the_model(client):
    response = client.get("/ping")
    assert (response.status_code, response.json()) == (200, {"status": "healthy", "modelVersion": RUN})


def test_answers_an_invocation(client, bundle_directory):
    response = client.post("/invocations", json={"userId": "user-0", "numResults": 3, "excludeSeen": True})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    recorded = bundles.load(bundle_directory).golden[0]["response"]
    body = response.json()
    assert [item["itemId"] for item in body.pop("itemList")] == [item["itemId"] for item in recorded["itemList"][:3]]
    assert body == {"userId": "user-0", "source": "personalized", "modelVersion": RUN, "unknownItems": 0}


def test_gives_fewer_items_than_asked_for_when_there_are_fewer(client):
    assert len(client.post("/invocations", json={"userId": "nobody", "numResults": 100}).json()["itemList"]) == 40


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_takes_json_however_it_is_spelled(client, content_type):
    response = client.post("/invocations", content=b'{"userId": "1"}', headers={"content-type": content_type})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({}, "missing"),
        ({"content-type": "text/csv"}, "'text/csv'"),
        ({"content-type": "application/json5"}, "'application/json5'"),
    ],
)
def test_refuses_other_content_types(client, headers, shown):
    response = client.post("/invocations", content=b'{"userId": "1"}', headers=headers)
    message = f"the content type must be application/json; it is {shown}"
    assert response.status_code == 415
    assert response.json() == {"error": {"code": "InvalidInput", "field": None, "message": message}}


def test_names_the_field_that_is_wrong(client):
    response = client.post("/invocations", json={"userId": "1", "numResults": -1})
    message = "numResults must be an integer from 1 to 100, not -1"
    assert response.status_code == 400
    assert response.json() == {"error": {"code": "InvalidInput", "field": "numResults", "message": message}}


@pytest.mark.parametrize("chunked", [False, True])
def test_refuses_a_body_of_more_than_a_mebibyte(client, chunked):
    body = b'{"userId": "1"}'.ljust((1 << 20) + 1)
    content = iter([body[:700_000], body[700_000:]]) if chunked else body
    response = client.post("/invocations", content=content, headers=JSON)
    message = "the body is larger than 1048576 bytes"
    assert response.status_code == 413
    assert response.json() == {"error": {"code": "InvalidInput", "field": None, "message": message}}
    assert client.post("/invocations", content=body[:-1], headers=JSON).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("GET", "/invocations", 405), ("POST", "/ping", 405)]
)
def test_refuses_other_paths_and_methods(client, method, path, status):
    response = client.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["message"].endswith("; there are GET /ping and POST /invocations")


def test_a_fault_is_a_500_that_tells_nothing_and_a_log_line_without_the_user(caplog):
    def answers(requests: list[Invocation]) -> list[dict]:
        raise KeyError(requests[0].user_id)

    with caplog.at_level(logging.ERROR), serving(answers) as client:
        response = client.post("/invocations", json={"userId": "jane@example.org"})
    message = "the server failed to answer; its log says where"
    assert response.status_code == 500
    assert response.json() == {"error": {"code": "InternalError", "field": None, "message": message}}
    (record,) = [record for record in caplog.records if record.name == "serving"]
    assert record.fields["error"] == "KeyError" and "test_server.py" in record.fields["frames"][-1]
    assert "jane" not in caplog.text + str(record.fields)


def test_ping_answers_while_a_ranking_is_computed():
    release, computing = threading.Event(), threading.Event()

    def answers(requests: list[Invocation]) -> list[dict]:
        computing.set()
        assert release.wait(20)
        return [{"done": True}]

    with serving(answers) as client:
        responses = []
        request = threading.Thread(target=lambda: responses.append(client.post("/invocations", json={"userId": "1"})))
        request.start()
        assert computing.wait(20)
        started = time.monotonic()
        assert client.get("/ping").status_code == 200
        assert not responses and time.monotonic() - started < 15
        release.set()
        request.join(20)
    assert responses[0].json() == {"done": True}


class Held:
    """Answers that wait for `release`; `sizes` are those of the batches that were begun."""

    def __init__(self):
        self.release, self.begun, self.sizes = threading.Event(), threading.Event(), []

    def __call__(self, requests):
        self.sizes.append(len(requests))
        self.begun.set()
        assert self.release.wait(20)
        return [{"user": getattr(request, "user_id", None)} for request in requests]


def posting(client, document):
    """A thread that posts, and the list that its response will be in."""
    responses = []
    thread = threading.Thread(target=lambda: responses.append(client.post("/invocations", json=document)))
    thread.start()
    return thread, responses


def eventually(true):
    for _ in range(2000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


def test_what_waits_is_answered_together_and_each_gets_its_own():
    held, metrics = Held(), Metrics("shop", RUN)
    with serving(held, metrics=metrics) as client:
        first = posting(client, {"userId": "0"})
        assert held.begun.wait(20)
        others = [posting(client, {"userId": str(user)}) for user in range(1, 5)]
        eventually(lambda: len(client.service._rankings._waiting) == 4)
        held.release.set()
        for thread, _ in (first, *others):
            thread.join(20)
    assert held.sizes == [1, 4]
    assert [responses[0].json()["user"] for _, responses in (first, *others)] == list("01234")


def test_short_rankings_that_come_in_one_turn_are_computed_together_in_the_loop():
    sizes, threads = [], set()

    def answers(requests):
        sizes.append(len(requests))
        threads.add(threading.current_thread())
        return [{"user": request.user_id} for request in requests]

    with running(answers, seconds=0.0025) as server:  # four fit a turn
        wires = [server.wire() for _ in range(6)]
        for wire in wires:
            wire.sendall(invocation()[:-1])
        eventually(lambda: server.service._house == 6)
        hold, held = threading.Event(), threading.Event()
        server.loop.call_soon_threadsafe(lambda: (held.set(), hold.wait(20)))
        assert held.wait(20)
        for wire in wires:
            wire.sendall(b"}")
        hold.set()
        bodies = [answers_of(wire, 1) for wire in wires]
        loop = server.thread
    assert sizes == [4, 2]
    assert threads == {loop}
    assert bodies == [[{"user": "1"}]] * 6


def test_one_that_fails_spoils_no_other_of_its_batch():
    held = Held()

    def answers(requests):
        held(requests)
        return [KeyError("x") if request.user_id == "2" else {} for request in requests]

    metrics = Metrics("shop", RUN)
    with serving(answers, metrics=metrics) as client:
        threads = [posting(client, {"userId": "0"})]
        assert held.begun.wait(20)
        threads += [posting(client, {"userId": user}) for user in "123"]
        eventually(lambda: len(client.service._rankings._waiting) == 3)
        held.release.set()
        for thread, _ in threads:
            thread.join(20)
    assert held.sizes == [1, 3]
    assert [responses[0].status_code for _, responses in threads] == [200, 200, 500, 200]


def test_one_more_than_the_queue_holds_is_refused_at_once_and_may_come_again():
    held, metrics = Held(), Metrics("shop", RUN)
    with serving(held, queue=2, metrics=metrics) as client:
        threads = [posting(client, {"userId": user}) for user in "01"]
        eventually(lambda: metrics._deepest == 2)
        refused = client.post("/invocations", content=b"{", headers=JSON)  # its body is not even looked at
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        message = "2 requests are under way; try again in a second"
        assert refused.json() == {"error": {"code": "Overloaded", "field": None, "message": message}}
        assert client.get("/ping").status_code == 200
        held.release.set()
        for thread, _ in threads:
            thread.join(20)
        assert client.post("/invocations", json={"userId": "3"}).status_code == 200


def test_a_ranking_does_not_wait_for_a_shard():
    release = threading.Event()

    def answers(requests):
        if isinstance(requests[0], Shard):
            assert release.wait(20)
        return [{"done": type(request).__name__} for request in requests]

    with serving(answers) as client:
        thread, responses = posting(client, {"shard": 0, "shards": 1})
        assert client.post("/invocations", json={"userId": "1"}).json() == {"done": "Invocation"}
        assert not responses
        release.set()
        thread.join(20)
    assert responses[0].json() == {"done": "Shard"}


def test_a_body_that_does_not_arrive_gives_its_place_back_and_the_connection_is_closed():
    message = "the body did not arrive within 0.05 seconds"
    with running(done, queue=1, body_seconds=0.05) as server:
        for _ in range(2):  # the queue is of one: the second would be refused if the first had kept its place
            wire = server.wire()
            wire.sendall(invocation()[:-3])
            received = all_of(wire)
            assert statuses(received) == [408]
            assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["message"] == message


def test_says_once_a_minute_what_it_did_and_at_the_end(capsys):
    metrics = Metrics("shop", RUN, clock=lambda: 1_800_000_000.5)
    with serving(done, metrics=metrics) as client:
        client.get("/ping")
        for document in ({"userId": "1"}, {"userId": "2"}, {"userId": ""}):
            client.post("/invocations", json=document)
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (line["service"], line["modelVersion"], line["_aws"]["Timestamp"]) == ("shop", RUN, 1_800_000_000_500)
    counted = {name: line[name] for name in ("Requests", "Refused", "Overloaded", "Failed", "BatchSize", "QueueDepth")}
    assert list(counted.values()) == [3, 1, 0, 0, 1.0, 1]
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["service"]]
    assert all(isinstance(line[metric["Name"]], int | float) for metric in directive["Metrics"])
    assert metrics.line() is None


def test_percentiles_are_right_to_five_percent():
    metrics = Metrics("shop", RUN)
    for milliseconds in range(1, 1001):
        metrics.answered(200, milliseconds / 1000)
    line = json.loads(metrics.line())
    assert 500 <= line["LatencyP50"] <= 500 * 1.05
    assert 990 <= line["LatencyP99"] <= 990 * 1.05


# How it reads


@pytest.mark.parametrize(
    "head",
    [
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: +5",
        b"Content-Length: 5, 5",
        b"Content-Length : 5",
        b"Content-Length: 99999999999999999999999",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: x, chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"A: b\nContent-Length: 5",
        b"A: b\r\n c\r\nContent-Length: 5",
        b"A: b\0c",
    ],
)
def test_what_two_servers_might_cut_differently_is_refused_and_nothing_behind_it_is_read(head):
    asked = []

    def answers(requests):
        asked.extend(requests)
        return done(requests)

    smuggled = b"0\r\n\r\n" + invocation()
    with running(answers) as server:
        wire = server.wire()
        wire.sendall(b"POST /invocations HTTP/1.1\r\nContent-Type: application/json\r\n%b\r\n\r\n%b" % (head, smuggled))
        received = all_of(wire)
        assert server.service._house == 0
    assert statuses(received) == [400]
    assert b"\r\nconnection: close\r\n" in received
    assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["code"] == "InvalidInput"
    assert asked == []


def test_chunks_in_http_1_0_are_refused():
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"POST /invocations HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert statuses(all_of(wire)) == [400]


def test_a_broken_chunk_is_refused_after_the_answers_to_what_came_before():
    chunked = b"POST /invocations HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with running(done) as server:
        wire = server.wire()
        wire.sendall(invocation() + chunked + b"2\r\n{}X\r\n" + PING)
        assert statuses(all_of(wire)) == [200, 400]
        assert server.service._house == 0


def test_pipelined_requests_are_answered_in_their_order_whatever_takes_long():
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"".join(invocation(b'{"userId": "%d"}' % user) + PING for user in range(20)))
        bodies = answers_of(wire, 40)
    assert [body["user"] for body in bodies[::2]] == [str(user) for user in range(20)]
    assert {body["status"] for body in bodies[1::2]} == {"healthy"}


def test_thousands_of_pipelined_requests_are_answered():
    with running(done) as server:
        wire = server.wire()
        sending = threading.Thread(target=wire.sendall, args=(PING * 5000,))
        sending.start()
        assert len(answers_of(wire, 5000)) == 5000
        sending.join(20)


def test_many_requests_between_two_halves_of_a_head_are_not_its_bytes():
    with running(done) as server:
        wire = server.wire()
        wire.sendall(PING[:9])
        eventually(lambda: any(connected._partial for connected in server.service._connections))
        sending = threading.Thread(target=wire.sendall, args=(PING[9:] + PING * 3000 + PING[:9],))
        sending.start()
        assert len(answers_of(wire, 3001)) == 3001
        sending.join(20)
        wire.sendall(PING[9:])
        assert answers_of(wire, 1)[0]["status"] == "healthy"


def test_reads_no_further_than_a_request_ahead_of_what_it_answers():
    held = Held()
    with running(held) as server:
        wire = server.wire()
        wire.sendall(invocation())
        assert held.begun.wait(20)
        wire.settimeout(0.5)
        with pytest.raises(TimeoutError):
            while True:
                wire.sendall(invocation(b" " * 100_000))
        (connected,) = server.service._connections
        assert sum(len(exchange.body) for exchange in connected._exchanges) < 1 << 20
        assert server.service._house == 1
        wire.close()
        held.release.set()


def test_a_client_that_reads_no_answers_is_read_no_further():
    with running(lambda requests: [{"x": "x" * 1_000_000} for _ in requests]) as server:
        wire = server.wire()
        wire.sendall(invocation() * 100)
        eventually(lambda: any(connected._stuck for connected in server.service._connections))
        (connected,) = server.service._connections
        assert connected._paused and connected._exchanges
        assert len(answers_of(wire, 100)) == 100


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 400), max_size=6), chunked=st.booleans())
def test_where_the_packets_are_cut_makes_no_difference(parts_server, cuts, chunked):
    body = b'{"userId": "7"}'
    one = invocation(body)
    if chunked:
        one = (
            b"POST /invocations?a=b HTTP/1.1\r\nHost: x\r\ncontent-TYPE: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n4\r\n%b\r\n%x;e=1\r\n%b\r\n0\r\nContent-Type: text/csv\r\n\r\n"
            % (body[:4], len(body) - 4, body[4:])
        )
    text = one + PING + one
    with parts_server.wire() as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
        for begin, end in itertools.pairwise(places):
            wire.sendall(text[begin:end])
            time.sleep(0.001)
        first, healthy, last = answers_of(wire, 3)
    assert (first, healthy["status"], last) == ({"user": "7"}, "healthy", {"user": "7"})


@pytest.fixture(scope="module")
def parts_server():
    with running(done) as server:
        yield server


def test_a_body_of_many_small_chunks_is_read_in_a_time_that_grows_with_it():
    chunks = b"1\r\n \r\n" * 300_000 + b"f\r\n" + b'{"userId": "1"}' + b"\r\n0\r\n\r\n"
    head = b"POST /invocations HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with running(done) as server:
        wire = server.wire()
        wire.sendall(head + chunks)
        assert answers_of(wire, 1) == [{"user": "1"}]


def test_no_more_is_kept_of_a_body_than_shows_that_it_is_too_large():
    with running(done) as server:
        wire = server.wire()
        wire.sendall(invocation(b" " * (3 << 20))[:-1])
        eventually(lambda: any(connected._exchanges for connected in server.service._connections))
        (connected,) = server.service._connections
        eventually(lambda: len(connected._exchanges[0].body) > 1 << 20)
        time.sleep(0.2)
        assert len(connected._exchanges[0].body) == (1 << 20) + 1
        wire.sendall(b" ")
        assert answers_of(wire, 1)[0]["error"]["message"] == "the body is larger than 1048576 bytes"


def test_says_that_it_waits_for_a_body_that_it_wants():
    with running(done) as server:
        wire = server.wire()
        text = invocation(more=b"Expect: 100-continue\r\n")
        head, _, body = text.partition(b"\r\n\r\n")
        wire.sendall(head + b"\r\n\r\n")
        assert wire.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.sendall(body)
        assert answers_of(wire, 1) == [{"user": "1"}]
        wire.sendall(text)  # nobody waits
        assert answers_of(wire, 1) == [{"user": "1"}]


def test_refuses_at_once_whose_body_it_does_not_want_and_closes_since_it_may_never_come():
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"POST /other HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        received = all_of(wire)
    assert statuses(received) == [404]
    assert b"\r\nconnection: close\r\n" in received


def test_a_refused_body_is_dropped_and_the_connection_goes_on():
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"POST /other HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n")
        assert "path does not exist" in answers_of(wire, 1)[0]["error"]["message"]  # before the body has come
        wire.sendall(b"x" * 2_000_000 + invocation())
        assert answers_of(wire, 1) == [{"user": "1"}]


@pytest.mark.parametrize("more", [b"Connection: close\r\n", b"connection: x, Close\r\n"])
def test_closes_where_the_client_asks_for_it(more):
    with running(done) as server:
        wire = server.wire()
        wire.sendall(invocation(more=more) + PING)  # nothing may come behind it
        received = all_of(wire)
    assert statuses(received) == [200]
    assert b"\r\nconnection: close\r\n" in received


def test_http_1_0_is_answered_and_closed():
    with running(done) as server:
        wire = server.wire()
        wire.sendall(invocation(more=b"Connection: keep-alive\r\n", version=b"1.0"))
        assert statuses(all_of(wire)) == [200]


def test_an_offered_upgrade_is_not_taken_and_the_connection_goes_on():
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n%b\r\n" % upgrade + invocation())
        first, second = answers_of(wire, 2)
    assert (first["status"], second) == ("healthy", {"user": "1"})


@pytest.mark.parametrize("length", [b"Content-Length: %d" % len(PING), b"Transfer-Encoding: chunked"])
def test_a_body_behind_an_offered_upgrade_is_not_taken_for_a_request(length):
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"POST /ping HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n%b\r\n\r\n%b" % (length, PING))
        assert statuses(all_of(wire)) == [400]


def test_a_tunnel_is_refused_and_closed():
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n" + PING)
        assert statuses(all_of(wire)) == [404]


def test_an_answer_to_head_has_no_body():
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"HEAD /ping HTTP/1.1\r\nHost: x\r\n\r\nHEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
        first, second, rest = all_of(wire).split(b"\r\n\r\n")
    assert statuses(first + second) == [405, 404] and rest == b""
    assert b"\r\nallow: GET\r\n" in first + b"\r\n" and b"\r\ncontent-length: 0" not in first


@pytest.mark.parametrize("target", [b"/ping?a=b", b"http://x/ping", b"/p%69ng"])
def test_a_path_is_the_same_however_it_is_written(target):
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)
        assert answers_of(wire, 1)[0]["status"] == "healthy"


def test_answers_have_the_date():
    with serving(done) as client:
        dated = client.get("/ping").headers["date"]
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", dated)


def test_a_head_without_end_is_refused():
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"GET /ping HTTP/1.1\r\nA: ")
        received = b""
        for _ in range(100):
            try:
                wire.sendall(b"a" * 65_536)
                time.sleep(0.01)
            except OSError:
                break
        else:
            raise AssertionError("it reads on")
        eventually(lambda: not server.service._connections)
    assert received == b""


def test_a_head_that_does_not_arrive_is_refused():
    with running(done, body_seconds=0.05) as server:
        wire = server.wire()
        wire.sendall(PING[:-2])
        received = all_of(wire)
    assert statuses(received) == [408]
    assert b"the head did not arrive within 0.05 seconds" in received


def test_time_for_a_request_runs_anew_for_the_next():
    with running(done, body_seconds=0.4) as server:
        wire = server.wire()
        wire.sendall(invocation()[:-1])
        for _ in range(4):
            time.sleep(0.2)
            wire.sendall(b"}" + invocation()[:-1])
            assert answers_of(wire, 1) == [{"user": "1"}]


def test_an_idle_connection_is_closed_and_a_used_one_is_not(monkeypatch):
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 1.2)
    with running(done) as server:
        idle, used = server.wire(), server.wire()
        used.sendall(PING)
        answers_of(used, 1)
        time.sleep(0.8)
        used.sendall(PING)
        answers_of(used, 1)
        assert idle.recv(1) == b""
        used.sendall(PING)
        assert answers_of(used, 1)[0]["status"] == "healthy"
        assert used.recv(1) == b""


def test_who_leaves_gives_the_place_back_and_is_counted():
    held, metrics = Held(), Metrics("shop", RUN)
    with running(held, queue=2, metrics=metrics) as server:
        computing, sending = server.wire(), server.wire()
        computing.sendall(invocation())
        assert held.begun.wait(20)
        sending.sendall(invocation()[:-1])
        eventually(lambda: server.service._house == 2)
        for wire in (computing, sending):
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.close()
        eventually(lambda: server.service._house == 0)
        held.release.set()
        line = json.loads(metrics.line())
    assert (line["Requests"], line["Refused"], line["Failed"]) == (2, 2, 0)


def test_at_the_end_idle_connections_are_closed_and_requests_under_way_are_answered():
    held = Held()
    with running(held) as server:
        idle, computing, partly = server.wire(), server.wire(), server.wire()
        computing.sendall(invocation() + PING)  # the second waits behind the first, and is answered too
        assert held.begun.wait(20)
        partly.sendall(PING[:9])
        eventually(lambda: any(connected._partial for connected in server.service._connections))
        server.stop()
        assert idle.recv(1) == b""
        with pytest.raises(OSError):
            server.wire().sendall(PING)
        partly.sendall(PING[9:])
        received = all_of(partly)
        assert statuses(received) == [200] and b"\r\nconnection: close\r\n" in received
        held.release.set()
        received = all_of(computing)
        assert statuses(received) == [200, 200] and received.count(b"connection: close") == 1


def test_the_end_waits_no_longer_than_it_may():
    held = Held()
    with running(held, drain_seconds=0.2) as server:
        wire = server.wire()
        wire.sendall(invocation())
        assert held.begun.wait(20)
        server.stop()
        server.thread.join(10)
        assert not server.thread.is_alive()
        held.release.set()
