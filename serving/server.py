"""The model's HTTP interface: `GET /ping` and `POST /invocations`, as SageMaker requires of a container.

`Service` takes a function that answers parsed requests; it knows no model. It uses no web framework, which would
take more time per request than the ranking. Short rankings are computed in the event loop, long ones in threads, so
that no ranking delays the health check.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import time
import traceback
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import orjson

from contracts import limits
from contracts.devices import CUSTOM_ATTRIBUTES, attributes
from serving.batching import Answers, Batcher, InLoop, InThreads
from serving.connection import Connection, Exchange
from serving.invocation import InvalidInvocation, Shard, from_body
from serving.metrics import Metrics

logger = logging.getLogger("serving")

QUEUE = 256
"""Maximum requests in flight."""
MOST_TOGETHER = 32
"""Maximum requests that are computed in one batch."""
TURN_SECONDS = 0.01
"""Maximum time for which rankings may block the event loop."""
BODY_SECONDS = 10.0
"""Maximum time for a request to arrive: a slow sender occupies one of the QUEUE places."""
METRICS_SECONDS = 60.0
"""Time between two lines of metrics."""
DRAIN_SECONDS = 20.0
"""Maximum time for requests in flight at shutdown; SageMaker kills a container 30 s after its SIGTERM."""
BACKLOG = 2048
"""Maximum connections that wait to be accepted."""

_KNOWN = {b"/ping": b"GET", b"/invocations": b"POST"}


def fit_in_a_turn(seconds: float) -> int:
    """Number of rankings of `seconds` each that fit in one turn of the event loop. If 1 or 0, threads compute them."""
    return int(TURN_SECONDS / max(seconds, TURN_SECONDS / MOST_TOGETHER))


class Service:
    """Answers exchanges. The model is loaded and checked before a service is made, so a service is always healthy.

    `seconds` is the time of one ranking of the whole catalogue; if it is short, rankings are computed in the event
    loop, otherwise in `workers` threads. With `queue` requests in flight, the next one is rejected with status 503.
    """

    maximum_body_bytes = limits.REQUEST_BYTES

    def __init__(
        self,
        answers: Answers,
        model_version: str,
        *,
        workers: int = 1,
        seconds: float = TURN_SECONDS,
        queue: int = QUEUE,
        metrics: Metrics | None = None,
        body_seconds: float = BODY_SECONDS,
        device: str = "cpu",
    ) -> None:
        self.body_seconds = body_seconds
        self._about = f"{CUSTOM_ATTRIBUTES}: {attributes(device)}\r\n".encode()
        self.draining = False
        self.date = b""
        self._metrics = metrics or Metrics("recommender", model_version)
        in_a_turn = fit_in_a_turn(seconds)
        self._rankings: Batcher = (
            InLoop(answers, in_a_turn, self._metrics.computed)
            if in_a_turn > 1
            else InThreads(answers, workers, MOST_TOGETHER, self._metrics.computed)
        )
        # Shards have their own thread: a shard takes as long as hundreds of rankings, and these must not wait for it.
        self._shards = InThreads(answers, 1, 1)
        self._healthy = orjson.dumps({"status": "healthy", "modelVersion": model_version})
        self._queue, self._in_flight = queue, 0
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()

    # Methods for connections

    def begin(self, exchange: Exchange) -> None:
        if exchange.path == b"/ping" and exchange.method == b"GET":
            exchange.respond(200, self._healthy)
            return
        self._enter(exchange)
        if exchange.path != b"/invocations" or exchange.method != b"POST":
            self._refuse_route(exchange)
        elif self._in_flight > self._queue:
            message = f"{self._queue} requests are under way; try again in a second"
            self._answer(exchange, 503, _error("Overloaded", None, message), b"retry-after: 1\r\n")
        elif not _is_json(exchange.content_type):
            received = (exchange.content_type or b"").decode("latin-1")
            shown = repr(received[:40]) if received else "missing"
            self._refuse(exchange, 415, None, f"the content type must be application/json; it is {shown}")

    def complete(self, exchange: Exchange) -> None:
        try:
            request = from_body(bytes(exchange.body))
            batcher = self._shards if isinstance(request, Shard) else self._rankings
            batcher.answer(request, functools.partial(self._deliver, exchange))
        except InvalidInvocation as invalid:
            self._refuse(exchange, invalid.status, invalid.field, invalid.message)
        except Exception as error:
            self._fault(exchange, error)

    def fail(self, exchange: Exchange, status: int, message: str) -> None:
        if not exchange.began:
            self._enter(exchange)
        self._refuse(exchange, status, None, message)

    def gone(self, exchange: Exchange) -> None:
        self._leave(exchange, 499)

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if self.draining and not self._connections:
            self._empty.set()

    # Internal

    def _enter(self, exchange: Exchange) -> None:
        exchange.began = time.perf_counter()
        self._in_flight += 1
        self._metrics.arrived(self._in_flight)

    def _leave(self, exchange: Exchange, status: int) -> None:
        self._in_flight -= 1
        self._metrics.answered(status, time.perf_counter() - exchange.began)

    def _deliver(self, exchange: Exchange, answer: Any) -> None:
        if exchange.answered:  # the client has gone
            return
        if isinstance(answer, Exception):
            self._fault(exchange, answer)
            return
        try:
            body = orjson.dumps(answer)
        except Exception as error:
            self._fault(exchange, error)
        else:
            self._answer(exchange, 200, body, self._about)

    def _answer(self, exchange: Exchange, status: int, body: bytes, headers: bytes = b"") -> None:
        self._leave(exchange, status)
        exchange.respond(status, body, headers)

    def _refuse(self, exchange: Exchange, status: int, field: str | None, message: str, headers: bytes = b"") -> None:
        self._answer(exchange, status, _error("InvalidInput", field, message), headers)

    def _refuse_route(self, exchange: Exchange) -> None:
        method = _KNOWN.get(exchange.path)
        status, problem = (405, "method is not allowed here") if method else (404, "path does not exist")
        allow = b"allow: %b\r\n" % method if method else b""
        self._refuse(exchange, status, None, f"the {problem}; there are GET /ping and POST /invocations", allow)

    def _fault(self, exchange: Exchange, error: Exception) -> None:
        # Log the place and the type of the error, never its message, which may contain a user id.
        frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        logger.error("an answer failed", extra={"fields": {"error": type(error).__name__, "frames": frames[-5:]}})
        message = "the server failed to answer; its log says where"
        self._answer(exchange, 500, _error("InternalError", None, message))

    async def serve(self, listener: socket.socket, stop: asyncio.Event, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Answers until `stop`, then finishes the requests in flight. Emits metrics every minute and at the end."""
        loop = asyncio.get_running_loop()
        periodic = (1.0, self._update_date), (METRICS_SECONDS, self._emit)
        tasks = [asyncio.create_task(_every(seconds, call)) for seconds, call in periodic]
        self._update_date()
        server = await loop.create_server(lambda: Connection(self), sock=listener, backlog=BACKLOG)
        await stop.wait()
        server.close()
        self.draining = True
        for connection in [*self._connections]:
            connection.drain()
        if self._connections:
            try:
                await asyncio.wait_for(self._empty.wait(), drain_seconds)
            except TimeoutError:
                self.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._emit()

    def abort(self) -> None:
        """Closes every connection without waiting for requests in flight."""
        for connection in [*self._connections]:
            connection.abort()

    def _update_date(self) -> None:
        self.date = formatdate(usegmt=True).encode()

    def _emit(self) -> None:
        line = self._metrics.line()
        if line is not None:
            print(line, flush=True)


async def _every(seconds: float, call: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        call()


def _is_json(content_type: bytes | None) -> bool:
    if content_type == b"application/json":
        return True
    return content_type is not None and content_type.partition(b";")[0].strip().lower() == b"application/json"


def _error(code: str, field: str | None, message: str) -> bytes:
    return orjson.dumps({"error": {"code": code, "field": field, "message": message}})
