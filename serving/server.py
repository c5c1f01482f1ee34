"""The HTTP face of the model: `GET /ping` and `POST /invocations`, as SageMaker asks of a container.

`application(answers, model_version)` is built around a function that answers parsed requests: it knows no model. It is
plain ASGI: two paths need no framework, whose share of a request would be greater than the ranking's. Short rankings
are computed between two turns of the event loop, long ones in threads, so that none delays the health check.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from batching import Answers, Batcher, InLoop, InThreads
from invocation import MAXIMUM_BODY_BYTES, InvalidInvocation, Shard, from_body
from metrics import Metrics

logger = logging.getLogger("serving")

QUEUE = 256
"""Requests in the house, at most."""
MOST_TOGETHER = 32
TURN_SECONDS = 0.01
"""So long may rankings keep the event loop from anything else."""
BODY_SECONDS = 10.0
"""So long may a body take to arrive: who sends slower holds a place that others want."""
METRICS_SECONDS = 60.0

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class _Refusal(Exception):
    """An answer that is no 200; `message` is for the client."""

    def __init__(self, status: int, code: str, field: str | None, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body = orjson.dumps({"error": {"code": code, "field": field, "message": message}})


class Gone(Exception):
    """The client has left: nobody reads an answer."""


def application(
    answers: Answers,
    model_version: str,
    *,
    workers: int = 1,
    seconds: float = TURN_SECONDS,
    queue: int = QUEUE,
    metrics: Metrics | None = None,
    body_seconds: float = BODY_SECONDS,
) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The ASGI application. Its caller has loaded and checked the model: an application that exists is healthy.

    `seconds` is what a ranking of the whole catalogue takes; where that is short, rankings are computed in the event
    loop, else in `workers` threads. Of `queue` requests in the house the next is refused with 503.
    """
    told = metrics or Metrics("recommender", model_version)
    in_a_turn = int(TURN_SECONDS / max(seconds, TURN_SECONDS / MOST_TOGETHER))
    rankings: Batcher = (
        InLoop(answers, in_a_turn, told.computed)
        if in_a_turn > 1
        else InThreads(answers, workers, MOST_TOGETHER, told.computed)
    )
    # In a lane of their own: a shard takes as long as hundreds of rankings, which must not wait for it.
    shards = InThreads(answers, 1, 1)
    healthy = orjson.dumps({"status": "healthy", "modelVersion": model_version})
    house = 0

    async def invocations(scope: Scope, receive: Receive) -> bytes:
        if house > queue:
            raise _Refusal(
                503,
                "Overloaded",
                None,
                f"{queue} requests are under way; try again in a second",
                **{"retry-after": "1"},
            )
        _check_content_type(scope)
        request = from_body(await _body(receive, body_seconds))
        answer = await (shards if isinstance(request, Shard) else rankings).answer(request)
        return orjson.dumps(answer)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal house
        asked = scope["method"], scope["path"]
        if asked == ("GET", "/ping"):
            await _respond(send, 200, healthy)
            return
        began = time.perf_counter()
        house += 1
        told.arrived(house)
        status = 200
        try:
            if asked != ("POST", "/invocations"):
                raise _unknown(*asked)
            await _respond(send, 200, await invocations(scope, receive))
        except _Refusal as refusal:
            status = refusal.status
            await _respond(send, status, refusal.body, refusal.headers)
        except InvalidInvocation as invalid:
            status = invalid.status
            await _respond(send, status, _Refusal(status, "InvalidInput", invalid.field, invalid.message).body)
        except Gone:
            status = 499
        except Exception as error:
            status = 500
            # Where and what kind, never the message: it may quote a user id.
            frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
            logger.error("an answer failed", extra={"fields": {"error": type(error).__name__, "frames": frames[-5:]}})
            message = "the server failed to answer; its log says where"
            await _respond(send, 500, _Refusal(500, "InternalError", None, message).body)
        finally:
            house -= 1
            told.answered(status, time.perf_counter() - began)

    async def entry(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send, told)

    return entry


async def _lifespan(receive: Receive, send: Send, metrics: Metrics) -> None:
    """From before the first request to after the last: a line of metrics a minute, and one at the end."""

    async def tell() -> None:
        while True:
            await asyncio.sleep(METRICS_SECONDS)
            _print(metrics)

    await receive()
    telling = asyncio.create_task(tell())
    await send({"type": "lifespan.startup.complete"})
    await receive()
    telling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await telling
    _print(metrics)
    await send({"type": "lifespan.shutdown.complete"})


def _print(metrics: Metrics) -> None:
    line = metrics.line()
    if line is not None:
        print(line, flush=True)


def _unknown(method: str, path: str) -> _Refusal:
    known = {"/ping": "GET", "/invocations": "POST"}
    status, what = (405, "method is not allowed here") if path in known else (404, "path does not exist")
    allow = {"allow": known[path]} if path in known else {}
    return _Refusal(status, "InvalidInput", None, f"the {what}; there are GET /ping and POST /invocations", **allow)


def _check_content_type(scope: Scope) -> None:
    given = next((value for name, value in scope["headers"] if name == b"content-type"), b"").decode("latin-1")
    if given != "application/json" and given.partition(";")[0].strip().lower() != "application/json":
        shown = repr(given[:40]) if given else "missing"
        raise InvalidInvocation(f"the content type must be application/json; it is {shown}", status=415)


async def _body(receive: Receive, seconds: float) -> bytes:
    """The body, at most one byte longer than allowed. Raises InvalidInvocation (408) and Gone.

    The rest is read and dropped: a client that is still sending would not see the answer.
    """
    body = b""
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                if len(body) <= MAXIMUM_BODY_BYTES:
                    body += message.get("body", b"")[: MAXIMUM_BODY_BYTES + 1 - len(body)]
                if not message.get("more_body", False):
                    return body
    except TimeoutError:
        raise InvalidInvocation(f"the body did not arrive within {seconds:g} seconds", status=408) from None


async def _respond(send: Send, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
    sent = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if headers:
        sent += [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})
