"""A service on its own socket, in a thread, and helpers of its clients."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvloop

from serving.server import Service

RUN = "v20261123t151300z-1a2b3c4d-r1"


JSON = {"content-type": "application/json"}


PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


def invocation(body: Any = b'{"userId": "1"}', more: Any = b"", version: Any = b"1.1") -> Any:
    return (
        b"POST /invocations HTTP/%b\r\nHost: x\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"
        % (version, more, len(body), body)
    )


class Running:
    """A service in its own thread."""

    def __init__(self, service: Any, drain_seconds: Any) -> None:
        self.service, self.listener, self._ready = service, socket.create_server(("127.0.0.1", 0)), threading.Event()
        self.address = self.listener.getsockname()
        self.thread = threading.Thread(target=lambda: uvloop.run(self._serve(drain_seconds)))
        self.thread.start()
        assert self._ready.wait(20)

    async def _serve(self, drain_seconds: Any) -> None:
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.loop.call_soon(self._ready.set)
        await self.service.serve(self.listener, self._stop, drain_seconds)

    def stop(self) -> None:
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)

    def wire(self) -> Any:
        return socket.create_connection(self.address, timeout=60)


@contextmanager
def running(answers: Any, drain_seconds: Any = 5.0, **settings: Any) -> Iterator[Any]:
    server = Running(Service(answers, RUN, **settings), drain_seconds)
    try:
        yield server
    finally:
        server.stop()
        server.thread.join(20)
        assert not server.thread.is_alive()


@contextmanager
def serving(answers: Any, **settings: Any) -> Iterator[Any]:
    """A client of a running service."""
    with (
        running(answers, **settings) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.address[1]}", timeout=30) as client,
    ):
        client.service = server.service  # type: ignore[attr-defined]
        yield client


def done(requests: Any) -> Any:
    return [{"user": getattr(request, "user_id", None)} for request in requests]


def statuses(received: Any) -> Any:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", received)]


def all_of(wire: Any) -> Any:
    """The bytes that arrive until the server closes the connection."""
    received = b""
    while part := wire.recv(1 << 16):
        received += part
    return received


def answers_of(wire: Any, number: int) -> Any:
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


class Held:
    """Answers that wait for `release`. `sizes` has the size of each batch that was begun."""

    def __init__(self) -> None:
        self.release, self.begun = threading.Event(), threading.Event()
        self.sizes: list[int] = []

    def __call__(self, requests: Any) -> Any:
        self.sizes.append(len(requests))
        self.begun.set()
        assert self.release.wait(20)
        return [{"user": getattr(request, "user_id", None)} for request in requests]


def posting(client: Any, document: Any) -> Any:
    """A thread that posts `document`, and the list that will hold its response."""
    responses = []
    thread = threading.Thread(target=lambda: responses.append(client.post("/invocations", json=document)))
    thread.start()
    return thread, responses


def eventually(condition: Any) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("the condition did not become true within 20 s")
