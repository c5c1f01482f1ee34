"""HTTP/1.1 of one client, on llhttp (httptools): what is read becomes exchanges, which are begun and answered in order.

It knows no path and no model: a `Handler` answers. llhttp is strict by default: it refuses whatever two servers might
cut into requests differently (both a length and chunks, two lengths, bare line feeds, folded lines).
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import httptools

KEEP_ALIVE_SECONDS = 75.0
"""Longer than the callers keep idle connections, so that it is never this side which closes one just used."""
MAXIMUM_HEAD_BYTES = 64 * 1024
"""Of a request's head, beside what came with its first byte."""

_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Exchange:
    """A request and whether it is answered. `body` is at most one byte longer than the handler takes."""

    __slots__ = (
        "answered",
        "began",
        "begun",
        "body",
        "complete",
        "connection",
        "content_type",
        "expects",
        "failure",
        "handed",
        "keep_alive",
        "method",
        "path",
    )  # fmt: skip

    def __init__(self, connection: Connection, method: bytes, path: bytes, content_type: bytes | None) -> None:
        self.connection, self.method, self.path, self.content_type = connection, method, path, content_type
        self.body: bytes | bytearray = b""
        self.began = 0.0
        """The handler's own: when it began."""
        self.keep_alive = True
        self.expects = False
        """The client waits for "100 Continue" with its body."""
        self.failure: tuple[int, str] | None = None
        self.complete = self.begun = self.handed = self.answered = False

    def respond(self, status: int, body: bytes, headers: bytes = b"") -> None:
        """Answers, once; `headers` are whole lines. Nothing happens where the client has left."""
        self.connection.respond(self, status, body, headers)


class Handler(Protocol):
    """What answers. It must answer each exchange that it was given, once; `gone` takes one back."""

    maximum_body_bytes: int
    body_seconds: float
    draining: bool
    date: bytes
    """For the header of this name."""

    def begin(self, exchange: Exchange) -> None:
        """The head is there and all before it are answered. It may be answered already, and then is not `complete`d."""

    def complete(self, exchange: Exchange) -> None:
        """The body is there."""

    def fail(self, exchange: Exchange, status: int, message: str) -> None:
        """It cannot be read to its end, begun or not: it must be answered now, with `status`."""

    def gone(self, exchange: Exchange) -> None:
        """The client has left before one that was begun was answered."""

    def opened(self, connection: Connection) -> None: ...

    def closed(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._exchanges: deque[Exchange] = deque()
        self._url, self._expects = b"", False
        self._content_type: bytes | None = None
        self._codings: bytes | None = None
        self._has_body = False
        self._partial = self._in_head = False
        self._messages = self._head_bytes = 0
        self._advancing = self._failed = self._stuck = self._paused = False
        self._late: asyncio.TimerHandle | None = None

    # Of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._parser = httptools.HttpRequestParser(self)
        self._used = self._loop.time()
        self._idle = self._loop.call_later(KEEP_ALIVE_SECONDS, self._close_if_idle)
        self._handler.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._idle.cancel()
        self._not_late()
        for exchange in self._exchanges:
            if exchange.begun and not exchange.answered:
                self._handler.gone(exchange)
        self._exchanges.clear()
        self._failed = True
        self._handler.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._failed:
            return
        before = self._messages
        try:
            self._feed(data)
        except httptools.HttpParserError:
            if not (self._exchanges and self._exchanges[-1].complete and not self._exchanges[-1].keep_alive):
                self._fail(400, "the request is not HTTP/1.1")
        if self._in_head and self._messages == before:
            self._head_bytes += len(data)
            if self._head_bytes > MAXIMUM_HEAD_BYTES:
                self._fail(431, f"the head of the request is larger than {MAXIMUM_HEAD_BYTES} bytes")
        self._advance()

    def pause_writing(self) -> None:
        self._stuck = True

    def resume_writing(self) -> None:
        self._stuck = False
        self._advance()

    # Of the parser

    def on_message_begin(self) -> None:
        self._url, self._content_type, self._expects, self._codings, self._has_body = b"", None, False, None, False
        self._partial = self._in_head = True
        self._messages += 1
        self._head_bytes = 0

    def on_url(self, part: bytes) -> None:
        self._url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come here too, after the exchange was made: they change nothing.
        name = name.lower()
        if name == b"content-type":
            if self._content_type is None:
                self._content_type = value
        elif name == b"expect":
            self._expects = value.lower() == b"100-continue"
        elif name == b"content-length":
            self._has_body = value != b"0"
        elif name == b"transfer-encoding":
            self._has_body = True
            self._codings = value if self._codings is None else self._codings + b"," + value

    def on_headers_complete(self) -> None:
        self._in_head = False
        parser = self._parser
        exchange = Exchange(self, parser.get_method(), _path(self._url), self._content_type)
        first = parser.get_http_version() == "1.0"
        exchange.keep_alive = not first and exchange.method != b"CONNECT" and parser.should_keep_alive()
        exchange.expects = self._expects and not first
        self._exchanges.append(exchange)
        # llhttp takes "x, chunked", and chunks in HTTP/1.0, of which a server before this one may think otherwise.
        if self._codings is not None and (first or self._codings.strip().lower() != b"chunked"):
            self._fail(400, "the transfer coding can only be chunked")
        elif self._has_body and parser.should_upgrade():  # httptools would take the body for another request
            self._fail(400, "an upgrade cannot be offered with a body")

    def on_body(self, part: bytes) -> None:
        exchange = self._exchanges[-1]
        if exchange.answered or exchange.failure:
            return
        body, room = exchange.body, self._handler.maximum_body_bytes + 1 - len(exchange.body)
        if not body:
            exchange.body = part[:room]
        elif room > 0:
            if isinstance(body, bytes):  # which would be copied for every part, and a part may be one byte
                exchange.body = body = bytearray(body)
            body += part[:room]

    def on_message_complete(self) -> None:
        self._partial = False
        self._not_late()
        self._exchanges[-1].complete = True

    # Our own

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                # Offered, by some clients with every request, and not taken: HTTP/1.1 goes on behind it.
                data = data[upgrade.args[0] :]
                if not data or self._failed or not self._exchanges[-1].keep_alive:
                    return

    def respond(self, exchange: Exchange, status: int, body: bytes, headers: bytes) -> None:
        exchange.answered = True
        if self._transport.is_closing():
            return
        if not exchange.complete and exchange.expects:  # nobody knows whether the body will come
            exchange.keep_alive, exchange.complete, self._failed = False, True, True
        if self._handler.draining and not self._partial and len(self._exchanges) == 1:
            exchange.keep_alive = False
        if not exchange.keep_alive:
            headers += b"connection: close\r\n"
        shown = b"" if exchange.method == b"HEAD" else body
        self._transport.write(
            b"%bdate: %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n%b"
            % (_LINES[status], self._handler.date, len(body), headers, shown)
        )
        self._advance()

    def drain(self) -> None:
        """Nothing more will be asked: closes now if nothing is under way, else with the last answer."""
        if not self._exchanges and not self._partial:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _advance(self) -> None:
        """Begins, hands over and takes away exchanges, as far as it goes."""
        if self._advancing:
            return
        self._advancing = True
        exchanges, handler = self._exchanges, self._handler
        while exchanges and not self._stuck:
            exchange = exchanges[0]
            if exchange.failure:
                if not exchange.answered:
                    exchange.begun, failure = True, exchange.failure
                    handler.fail(exchange, *failure)
            elif not exchange.begun:
                exchange.begun = True
                handler.begin(exchange)
                if exchange.expects and not exchange.complete and not exchange.answered:
                    self._transport.write(_CONTINUE)
            if exchange.complete and not exchange.answered and not exchange.handed:
                exchange.handed = True
                handler.complete(exchange)
            if not (exchange.complete and exchange.answered):
                break
            exchanges.popleft()
            self._used = self._loop.time()
            if not exchange.keep_alive:
                self._failed = True
                exchanges.clear()
                self._transport.close()
        self._advancing = False
        self._pace()

    def _pace(self) -> None:
        """Reads no further than one request ahead, and waits for no other than that which it reads."""
        full = self._stuck or self._failed or len(self._exchanges) > 1
        if full is not self._paused and not self._transport.is_closing():
            self._paused = full
            (self._transport.pause_reading if full else self._transport.resume_reading)()
        if self._partial and not full:
            if self._late is None:
                self._late = self._loop.call_later(self._handler.body_seconds, self._is_late)
        elif self._late:
            self._not_late()
        if self._handler.draining and not self._failed:
            self.drain()

    def _not_late(self) -> None:
        if self._late:
            self._late.cancel()
            self._late = None

    def _is_late(self) -> None:
        self._late = None
        what = "head" if self._in_head else "body"
        self._fail(408, f"the {what} did not arrive within {self._handler.body_seconds:g} seconds")
        self._advance()

    def _fail(self, status: int, message: str) -> None:
        """What is being read is the last that is read of this client, and is answered with `status`."""
        if self._failed:
            return
        self._failed, self._partial = True, False
        if not self._exchanges or self._exchanges[-1].complete:
            self._exchanges.append(Exchange(self, b"", b"", None))
        exchange = self._exchanges[-1]
        exchange.failure = status, message
        exchange.complete, exchange.keep_alive = True, False

    def _close_if_idle(self) -> None:
        left = self._used + KEEP_ALIVE_SECONDS - self._loop.time()
        if self._stuck and left <= 0:
            self._transport.abort()  # who does not read its answer would keep it here for ever
        elif left <= 0 and not self._exchanges and not self._partial:
            self._transport.close()
        else:
            self._idle = self._loop.call_later(max(left, 1.0), self._close_if_idle)


def _path(url: bytes) -> bytes:
    if url in (b"/ping", b"/invocations"):
        return url
    try:
        path: Any = httptools.parse_url(url).path
    except httptools.HttpParserInvalidURLError:
        path = None
    return unquote_to_bytes(path or b"")
