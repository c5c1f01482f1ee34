"""The HTTP face of the model: `GET /ping` and `POST /invocations`, as SageMaker asks of a container.

`application(answer, model_version)` is built around a function that answers one parsed request: it knows no model.
Answers are computed in a small thread pool: a long ranking never delays the health check, and torch releases the GIL.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import orjson
from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from invocation import MAXIMUM_BODY_BYTES, InvalidInvocation, Invocation

logger = logging.getLogger("serving")

Answer = Callable[[Invocation], dict[str, Any]]


def application(answer: Answer, model_version: str, workers: int = 1) -> Starlette:
    """The ASGI application. Its caller has loaded and checked the model: an application that exists is healthy.

    `workers` is the number of rankings computed at the same time; further requests wait for their turn.
    """
    limiter = CapacityLimiter(workers)
    healthy = _json({"status": "healthy", "modelVersion": model_version})

    async def ping(request: Request) -> Response:
        return Response(healthy, media_type="application/json")

    async def invocations(request: Request) -> Response:
        try:
            _check_content_type(request)
            invocation = Invocation.from_body(await _body(request))
        except InvalidInvocation as refusal:
            return _error(refusal.status, "InvalidInput", refusal.field, refusal.message)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        try:
            body = _json(await to_thread.run_sync(answer, invocation, limiter=limiter))
        except Exception as error:
            # Where and what kind, never the message: it may quote a user id.
            frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
            logger.error("an answer failed", extra={"fields": {"error": type(error).__name__, "frames": frames[-5:]}})
            return _error(500, "InternalError", None, "the server failed to answer; its log says where")
        return Response(body, media_type="application/json")

    async def no_such_path(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        headers = error.headers if isinstance(error, HTTPException) else None
        what = "method is not allowed here" if status == 405 else "path does not exist"
        return _error(
            status, "InvalidInput", None, f"the {what}; there are GET /ping and POST /invocations", dict(headers or {})
        )

    return Starlette(
        routes=[Route("/ping", ping, methods=["GET"]), Route("/invocations", invocations, methods=["POST"])],
        exception_handlers={HTTPException: no_such_path},
    )


def _check_content_type(request: Request) -> None:
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != "application/json":
        shown = repr(given[:40]) if given else "missing"
        raise InvalidInvocation(f"the content type must be application/json; it is {shown}", status=415)


async def _body(request: Request) -> bytes:
    """The body, at most one byte longer than allowed.

    The rest is read and dropped: a client that is still sending would not see the answer.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk[: MAXIMUM_BODY_BYTES + 1 - len(body)]
    return bytes(body)


def _error(status: int, code: str, field: str | None, message: str, headers: dict[str, str] | None = None) -> Response:
    body = _json({"error": {"code": code, "field": field, "message": message}})
    return Response(body, status, headers=headers, media_type="application/json")


def _json(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document)
