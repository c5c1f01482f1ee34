"""Connections: reading bytes, splitting them into requests, refusals, timeouts and shutdown."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import connection
from serving.metrics import Metrics
from tests.unit.serving.running import (
    PING,
    RUN,
    Held,
    all_of,
    answers_of,
    done,
    eventually,
    invocation,
    running,
    serving,
    statuses,
)


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
def test_a_request_whose_end_is_ambiguous_is_refused_and_nothing_after_it_is_read(head: Any) -> None:
    computed = []

    def answers(requests: Any) -> Any:
        computed.extend(requests)
        return done(requests)

    smuggled = b"0\r\n\r\n" + invocation()
    with running(answers) as server:
        wire = server.wire()
        wire.sendall(b"POST /invocations HTTP/1.1\r\nContent-Type: application/json\r\n%b\r\n\r\n%b" % (head, smuggled))
        received = all_of(wire)
        assert server.service._in_flight == 0
    assert statuses(received) == [400]
    assert b"\r\nconnection: close\r\n" in received
    assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["code"] == "InvalidInput"
    assert computed == []


def test_chunks_in_http_1_0_are_refused() -> None:
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"POST /invocations HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert statuses(all_of(wire)) == [400]


def test_a_broken_chunk_is_refused_after_the_answers_to_earlier_requests() -> None:
    chunked = b"POST /invocations HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with running(done) as server:
        wire = server.wire()
        wire.sendall(invocation() + chunked + b"2\r\n{}X\r\n" + PING)
        assert statuses(all_of(wire)) == [200, 400]
        assert server.service._in_flight == 0


def test_pipelined_requests_are_answered_in_order() -> None:
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"".join(invocation(b'{"userId": "%d"}' % user) + PING for user in range(20)))
        bodies = answers_of(wire, 40)
    assert [body["user"] for body in bodies[::2]] == [str(user) for user in range(20)]
    assert {body["status"] for body in bodies[1::2]} == {"healthy"}


def test_thousands_of_pipelined_requests_are_answered() -> None:
    with running(done) as server:
        wire = server.wire()
        sending = threading.Thread(target=wire.sendall, args=(PING * 5000,))
        sending.start()
        assert len(answers_of(wire, 5000)) == 5000
        sending.join(20)


def test_earlier_requests_do_not_count_as_bytes_of_a_head() -> None:
    with running(done) as server:
        wire = server.wire()
        wire.sendall(PING[:9])
        eventually(lambda: any(connected._in_request() for connected in server.service._connections))
        sending = threading.Thread(target=wire.sendall, args=(PING[9:] + PING * 3000 + PING[:9],))
        sending.start()
        assert len(answers_of(wire, 3001)) == 3001
        sending.join(20)
        wire.sendall(PING[9:])
        assert answers_of(wire, 1)[0]["status"] == "healthy"


def test_reads_at_most_one_request_ahead() -> None:
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
        assert server.service._in_flight == 1
        wire.close()
        held.release.set()


def test_stops_reading_from_a_client_that_does_not_read_its_answers() -> None:
    with running(lambda requests: [{"x": "x" * 1_000_000} for _ in requests]) as server:
        wire = server.wire()
        wire.sendall(invocation() * 100)
        eventually(lambda: any(connected._write_buffer_full for connected in server.service._connections))
        (connected,) = server.service._connections
        assert not connected._transport.is_reading() and connected._exchanges
        assert len(answers_of(wire, 100)) == 100


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 400), max_size=6), chunked=st.booleans())
def test_packet_boundaries_make_no_difference(parts_server: Any, cuts: Any, chunked: Any) -> None:
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
def parts_server() -> Iterator[Any]:
    with running(done) as server:
        yield server


def test_a_body_of_many_small_chunks_is_read_in_linear_time() -> None:
    chunks = b"1\r\n \r\n" * 300_000 + b"f\r\n" + b'{"userId": "1"}' + b"\r\n0\r\n\r\n"
    head = b"POST /invocations HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with running(done) as server:
        wire = server.wire()
        wire.sendall(head + chunks)
        assert answers_of(wire, 1) == [{"user": "1"}]


def test_keeps_one_byte_more_than_the_limit_of_a_body_that_is_too_large() -> None:
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


def test_a_trailer_is_not_a_header() -> None:
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with running(done) as server:
        wire = server.wire()
        wire.sendall(head + b"2\r\n{}\r\n0\r\nContent-Type: application/json\r\n\r\n")
        assert "the content type must be application/json; it is missing" in answers_of(wire, 1)[0]["error"]["message"]


def test_sends_100_continue_for_a_body_that_it_will_read() -> None:
    with running(done) as server:
        wire = server.wire()
        text = invocation(more=b"Expect: 100-continue\r\n")
        head, _, body = text.partition(b"\r\n\r\n")
        wire.sendall(head + b"\r\n\r\n")
        assert wire.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.sendall(body)
        assert answers_of(wire, 1) == [{"user": "1"}]
        wire.sendall(text)  # with the body, so no 100 Continue is needed
        assert answers_of(wire, 1) == [{"user": "1"}]


def test_refuses_without_100_continue_and_closes_because_the_body_may_never_arrive() -> None:
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"POST /other HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        received = all_of(wire)
    assert statuses(received) == [404]
    assert b"\r\nconnection: close\r\n" in received


def test_a_refused_body_is_dropped_and_the_connection_stays_open() -> None:
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"POST /other HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n")
        assert "path does not exist" in answers_of(wire, 1)[0]["error"]["message"]  # before the body has arrived
        wire.sendall(b"x" * 2_000_000 + invocation())
        assert answers_of(wire, 1) == [{"user": "1"}]


@pytest.mark.parametrize("more", [b"Connection: close\r\n", b"connection: x, Close\r\n"])
def test_closes_if_the_client_requests_it(more: Any) -> None:
    with running(done) as server:
        wire = server.wire()
        wire.sendall(invocation(more=more) + PING)  # requests after the close are ignored
        received = all_of(wire)
    assert statuses(received) == [200]
    assert b"\r\nconnection: close\r\n" in received


def test_http_1_0_is_answered_and_closed() -> None:
    with running(done) as server:
        wire = server.wire()
        wire.sendall(invocation(more=b"Connection: keep-alive\r\n", version=b"1.0"))
        assert statuses(all_of(wire)) == [200]


def test_an_offered_upgrade_is_declined_and_the_connection_stays_open() -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n%b\r\n" % upgrade + invocation())
        first, second = answers_of(wire, 2)
    assert (first["status"], second) == ("healthy", {"user": "1"})


@pytest.mark.parametrize("length", [b"Content-Length: %d" % len(PING), b"Transfer-Encoding: chunked"])
def test_a_body_after_an_offered_upgrade_is_not_read_as_a_request(length: Any) -> None:
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"POST /ping HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n%b\r\n\r\n%b" % (length, PING))
        assert statuses(all_of(wire)) == [400]


def test_a_tunnel_is_refused_and_closed() -> None:
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n" + PING)
        assert statuses(all_of(wire)) == [404]


def test_an_answer_to_head_has_no_body() -> None:
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"HEAD /ping HTTP/1.1\r\nHost: x\r\n\r\nHEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
        first, second, rest = all_of(wire).split(b"\r\n\r\n")
    assert statuses(first + second) == [405, 404] and rest == b""
    assert b"\r\nallow: GET\r\n" in first + b"\r\n" and b"\r\ncontent-length: 0" not in first


@pytest.mark.parametrize("target", [b"/ping?a=b", b"http://x/ping", b"/p%69ng"])
def test_a_path_may_be_encoded_or_absolute_or_have_a_query(target: Any) -> None:
    with running(done) as server:
        wire = server.wire()
        wire.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)
        assert answers_of(wire, 1)[0]["status"] == "healthy"


def test_answers_have_the_date() -> None:
    with serving(done) as client:
        dated = client.get("/ping").headers["date"]
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", dated)


def test_a_head_without_end_is_refused() -> None:
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
            raise AssertionError("the server did not stop reading")
        eventually(lambda: not server.service._connections)
    assert received == b""


def test_a_head_that_does_not_arrive_is_refused() -> None:
    with running(done, body_seconds=0.05) as server:
        wire = server.wire()
        wire.sendall(PING[:-2])
        received = all_of(wire)
    assert statuses(received) == [408]
    assert b"the head did not arrive within 0.05 seconds" in received


def test_the_time_limit_restarts_for_each_request() -> None:
    with running(done, body_seconds=0.4) as server:
        wire = server.wire()
        wire.sendall(invocation()[:-1])
        for _ in range(4):
            time.sleep(0.2)
            wire.sendall(b"}" + invocation()[:-1])
            assert answers_of(wire, 1) == [{"user": "1"}]


@pytest.mark.slow
def test_an_idle_connection_is_closed_and_a_used_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    # Much longer than the time between two requests here, so that a short stall of the machine has no effect.
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 3.0)
    with running(done) as server:
        idle, used = server.wire(), server.wire()
        idle.settimeout(0.1)
        closed = False
        while not closed:
            used.sendall(PING)
            assert answers_of(used, 1)[0]["status"] == "healthy"
            with contextlib.suppress(TimeoutError):
                closed = idle.recv(1) == b""
        used.sendall(PING)
        assert answers_of(used, 1)[0]["status"] == "healthy"
        assert used.recv(1) == b""


def test_a_client_that_leaves_frees_its_place_and_is_counted() -> None:
    held, metrics = Held(), Metrics("shop", RUN)
    with running(held, queue=2, metrics=metrics) as server:
        computing, sending = server.wire(), server.wire()
        computing.sendall(invocation())
        assert held.begun.wait(20)
        sending.sendall(invocation()[:-1])
        eventually(lambda: server.service._in_flight == 2)
        for wire in (computing, sending):
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.close()
        eventually(lambda: server.service._in_flight == 0)
        held.release.set()
        line = json.loads(metrics.line() or "")
    assert (line["Requests"], line["Refused"], line["Failed"]) == (2, 2, 0)


def test_shutdown_closes_idle_connections_and_answers_requests_in_flight() -> None:
    held = Held()
    with running(held) as server:
        idle, computing, partly = server.wire(), server.wire(), server.wire()
        computing.sendall(invocation() + PING)  # the second waits behind the first, and is answered too
        assert held.begun.wait(20)
        partly.sendall(PING[:9])
        eventually(lambda: any(connected._in_request() for connected in server.service._connections))
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


def test_shutdown_waits_no_longer_than_the_limit() -> None:
    held = Held()
    with running(held, drain_seconds=0.2) as server:
        wire = server.wire()
        wire.sendall(invocation())
        assert held.begun.wait(20)
        server.stop()
        server.thread.join(10)
        assert not server.thread.is_alive()
        held.release.set()
