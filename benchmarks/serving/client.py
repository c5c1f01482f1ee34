"""Sends requests to a server: reads `{"port": 8080, …}` from standard input and prints its measurements as JSON.

The client is a separate process with open connections. Requests are due at fixed times (open loop), and a latency
starts when its request is due; so if the server stalls, the latency of all waiting requests grows. With `rate` 0, each
connection sends its next request as soon as it has an answer (closed loop). The client does as little work as possible,
because it shares the processor and its caches with the server.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from typing import Any

import uvloop


def encoded(path: str, body: bytes | None) -> bytes:
    """Return an HTTP request: a POST of `body`, or a GET without one."""
    if body is None:
        return b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode()
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (path.encode(), len(body)) + body


class Run:
    """`number` requests, due at `rate` per second (0: as soon as a connection is free), and their latencies."""

    def __init__(self, requests: list[bytes], number: int, rate: float) -> None:
        self.requests, self.number, self.rate = requests, number, rate
        self.latencies: list[float] = []
        self.errors = 0
        self.sent = 0
        """Number of requests that are sent or wait for a connection."""
        self.free: list[Connection] = []
        self.waiting: deque[tuple[bytes, float]] = deque()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        self.began = time.perf_counter()
        if self.rate:
            self._send_due()
        else:
            for connection in self.free[: self.number]:
                connection.send(*self._next(time.perf_counter()))
            self.free.clear()

    def _next(self, due: float) -> tuple[bytes, float]:
        request = self.requests[self.sent % len(self.requests)]
        self.sent += 1
        return request, due

    def _send_due(self) -> None:
        elapsed = time.perf_counter() - self.began
        while self.sent < self.number and self.sent <= elapsed * self.rate:
            due = self._next(self.began + self.sent / self.rate)
            if self.free:
                self.free.pop().send(*due)
            else:
                self.waiting.append(due)
        if self.sent < self.number:
            wait = self.sent / self.rate - (time.perf_counter() - self.began)
            asyncio.get_running_loop().call_later(max(wait, 0.0), self._send_due)

    def answered(self, connection: Connection, status: int, due: float) -> None:
        self.latencies.append(time.perf_counter() - due)
        self.errors += status != 200
        if self.waiting:
            connection.send(*self.waiting.popleft())
        elif not self.rate and self.sent < self.number:
            connection.send(*self._next(time.perf_counter()))
        else:
            self.free.append(connection)
        if len(self.latencies) == self.number:
            self.done.set_result(None)


class Connection(asyncio.Protocol):
    def __init__(self, run: Run) -> None:
        self._run = run
        self._read = b""
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._run.free.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._run.done.done():
            self._run.done.set_exception(ConnectionError("the server has closed a connection"))

    def send(self, request: bytes, due: float) -> None:
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._read = data = self._read + data if self._read else data
        if _is_whole(data):
            self._read = b""
            self._run.answered(self, int(data[9:12]), self._due)


def _is_whole(answer: bytes) -> bool:
    """True if `answer` has its whole body, by its content length or, without one, by the last chunk."""
    head, ended, body = answer.partition(b"\r\n\r\n")
    if not ended:
        return False
    _, found, length = head.lower().partition(b"content-length: ")
    return len(body) >= int(length.partition(b"\r\n")[0]) if found else body.endswith(b"0\r\n\r\n")


async def run(
    port: int, path: str, bodies: list[str] | None, number: int, rate: float, connections: int
) -> dict[str, Any]:
    texts = [None] if bodies is None else [body.encode() for body in bodies]
    loop = asyncio.get_running_loop()
    made = Run([encoded(path, text) for text in texts], number, rate)
    for _ in range(connections):
        await loop.create_connection(lambda: Connection(made), "127.0.0.1", port)
    made.begin()
    await made.done
    seconds = time.perf_counter() - made.began
    ordered = sorted(made.latencies)

    def percentile(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000

    return {
        "requests": number,
        "errors": made.errors,
        "seconds": seconds,
        "p50": percentile(0.5),
        "p99": percentile(0.99),
        "p999": percentile(0.999),
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(**json.load(sys.stdin)))))
