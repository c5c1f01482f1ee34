"""The HTTP/1.1 connection of one client, parsed by llhttp (httptools). Each request becomes an exchange; exchanges are
answered in order.

This module knows no path and no model: a `Handler` answers. llhttp is strict by default: it refuses requests whose end
two servers might see differently (a length together with chunks, two lengths, bare line feeds, folded lines).
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import httptools

KEEP_ALIVE_SECONDS = 75.0
"""Longer than callers keep idle connections, so that the server never closes one that a caller is about to use."""
MAXIMUM_HEAD_BYTES = 64 * 1024
"""Maximum size of a request's head, not counting the packet that it began in."""

_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Reading(Enum):
    """State of reading. HEAD follows BETWEEN, BODY follows HEAD, BETWEEN follows BODY; ENDED is final."""

    BETWEEN = "between"
    """No request has begun since the last one ended."""
    HEAD = "head"
    BODY = "body"
    ENDED = "ended"
    """Nothing more is read: the client left, its request could not be read, or it gets its last answer."""


class Stage(Enum):
    """Progress of the answer to a request. Stages follow each other in this order; some may be skipped."""

    WAITING = "waiting"
    """Earlier requests are not answered yet."""
    BEGUN = "begun"
    """The handler has received the head."""
    HANDED_OVER = "handed over"
    """The handler has received the body too."""
    ANSWERED = "answered"
    """The answer was sent, or the client left."""


# In Python 3.11 each access to an enum member costs two calls, and a request needs about twenty accesses.
_BETWEEN, _HEAD, _BODY, _ENDED = Reading
_WAITING, _BEGUN, _HANDED_OVER, _ANSWERED = Stage


class Exchange:
    """A request and the stage of its answer. `body` has at most one byte more than the handler accepts."""

    __slots__ = (
        "began", "body", "codings", "complete", "connection", "content_type", "expects_continue", "failure", "has_body",
        "keep_alive", "method", "path", "stage",
    )  # fmt: skip

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.method = self.path = b""
        self.content_type: bytes | None = None
        self.codings: bytes | None = None
        """Transfer codings, as in the head."""
        self.has_body = False
        self.body: bytes | bytearray = b""
        self.began = 0.0
        """Time at which the request began; only the handler sets and reads it."""
        self.keep_alive = True
        self.expects_continue = False
        """The client waits for "100 Continue" before it sends the body."""
        self.failure: tuple[int, str] | None = None
        """Status and message, if the request could not be read completely."""
        self.complete = False
        """No more of the request is read. The answer may come earlier, if the head is enough to refuse the request."""
        self.stage = _WAITING

    @property
    def answered(self) -> bool:
        return self.stage is _ANSWERED

    def respond(self, status: int, body: bytes, headers: bytes = b"") -> None:
        """Send the answer; call this once. `headers` are complete lines. Has no effect if the client has left."""
        self.connection.respond(self, status, body, headers)


class Handler(Protocol):
    """Answers exchanges. It must answer each exchange exactly once, unless `gone` was called for it."""

    maximum_body_bytes: int
    body_seconds: float
    draining: bool
    date: bytes
    """The value of the header `date`."""

    def begin(self, exchange: Exchange) -> None:
        """The head has arrived and all earlier requests are answered. If `begin` answers, `complete` is not called."""

    def complete(self, exchange: Exchange) -> None:
        """The body has arrived."""

    def fail(self, exchange: Exchange, status: int, message: str) -> None:
        """The request cannot be read completely: answer it now, with `status`. `begin` may not have been called."""

    def gone(self, exchange: Exchange) -> None:
        """The client left after `begin` and before the answer. The exchange counts as answered from now on."""

    def opened(self, connection: Connection) -> None: ...

    def closed(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """The connection of one client. It reads at most one request ahead of the one that is being answered."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._exchanges: deque[Exchange] = deque()
        self._reading = _BETWEEN
        self._messages = self._head_bytes = 0
        self._write_buffer_full = self._advancing = False
        self._timeout: asyncio.TimerHandle | None = None

    # Methods for asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._parser = httptools.HttpRequestParser(self)
        self._last_answer = self._loop.time()
        self._idle = self._loop.call_later(KEEP_ALIVE_SECONDS, self._close_if_idle)
        self._handler.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._idle.cancel()
        self._cancel_timeout()
        for exchange in self._exchanges:
            if exchange.stage in (_BEGUN, _HANDED_OVER):
                exchange.stage = _ANSWERED
                self._handler.gone(exchange)
        self._exchanges.clear()
        self._reading = _ENDED
        self._handler.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._reading is _ENDED:
            return
        before = self._messages
        try:
            self._feed(data)
        except httptools.HttpParserError:
            if not (self._exchanges and self._exchanges[-1].complete and not self._exchanges[-1].keep_alive):
                self._fail(400, "the request is not HTTP/1.1")
        if self._reading is _HEAD and self._messages == before:
            self._head_bytes += len(data)
            if self._head_bytes > MAXIMUM_HEAD_BYTES:
                self._fail(431, f"the head of the request is larger than {MAXIMUM_HEAD_BYTES} bytes")
        self._advance()

    def pause_writing(self) -> None:
        self._write_buffer_full = True

    def resume_writing(self) -> None:
        self._write_buffer_full = False
        self._advance()

    # Methods for the parser

    def on_message_begin(self) -> None:
        self._enter(_HEAD)
        self._next = Exchange(self)
        self._messages += 1
        self._head_bytes = 0

    def on_url(self, part: bytes) -> None:
        self._next.path += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading is not _HEAD:  # a trailer after the body is ignored
            return
        name = name.lower()
        if name == b"content-type":
            if self._next.content_type is None:
                self._next.content_type = value
        elif name == b"expect":
            self._next.expects_continue = value.lower() == b"100-continue"
        elif name == b"content-length":
            self._next.has_body = value != b"0"
        elif name == b"transfer-encoding":
            self._next.has_body = True
            self._next.codings = value if self._next.codings is None else self._next.codings + b"," + value

    def on_headers_complete(self) -> None:
        self._enter(_BODY)
        parser, exchange = self._parser, self._next
        http_1_0 = parser.get_http_version() == "1.0"
        exchange.method, exchange.path = parser.get_method(), _path(exchange.path)
        exchange.keep_alive = not http_1_0 and exchange.method != b"CONNECT" and parser.should_keep_alive()
        if http_1_0:
            exchange.expects_continue = False
        self._exchanges.append(exchange)
        # llhttp accepts "x, chunked", and chunks in HTTP/1.0; a proxy before this server may read them differently.
        if exchange.codings is not None and (http_1_0 or exchange.codings.strip().lower() != b"chunked"):
            self._fail(400, "the transfer coding can only be chunked")
        elif exchange.has_body and parser.should_upgrade():  # httptools would read the body as another request
            self._fail(400, "an upgrade cannot be offered with a body")

    def on_body(self, part: bytes) -> None:
        exchange = self._exchanges[-1]
        if exchange.stage is _ANSWERED or exchange.failure:
            return
        body, room = exchange.body, self._handler.maximum_body_bytes + 1 - len(exchange.body)
        if not body:
            exchange.body = part[:room]
        elif room > 0:
            if isinstance(body, bytes):  # bytes would be copied for each part, and a part may be one byte
                exchange.body = body = bytearray(body)
            body += part[:room]

    def on_message_complete(self) -> None:
        self._enter(_BETWEEN)
        self._cancel_timeout()
        self._exchanges[-1].complete = True

    # Methods for the handler

    def respond(self, exchange: Exchange, status: int, body: bytes, headers: bytes) -> None:
        exchange.stage = _ANSWERED
        if self._transport.is_closing():
            return
        if not exchange.complete and exchange.expects_continue:  # the client may never send the body
            exchange.complete, exchange.keep_alive = True, False
            self._enter(_ENDED)
        if self._handler.draining and len(self._exchanges) == 1 and not self._in_request():
            exchange.keep_alive = False
        if not exchange.keep_alive:
            headers += b"connection: close\r\n"
        sent_body = b"" if exchange.method == b"HEAD" else body
        self._transport.write(
            b"%bdate: %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n%b"
            % (_LINES[status], self._handler.date, len(body), headers, sent_body)
        )
        self._advance()

    def drain(self) -> None:
        """The server is shutting down: close now if no request is in flight, otherwise after the last answer."""
        if not self._exchanges and not self._in_request():
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # Internal

    def _enter(self, reading: Reading) -> None:
        """Set the state of reading, unless it is ENDED: the parser may still call for data that it already has."""
        if self._reading is not _ENDED:
            self._reading = reading

    def _in_request(self) -> bool:
        return self._reading is _HEAD or self._reading is _BODY

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                # Some clients offer an upgrade with every request. It is declined: the connection stays HTTP/1.1.
                data = data[upgrade.args[0] :]
                if not data or self._reading is _ENDED or not self._exchanges[-1].keep_alive:
                    return

    def _advance(self) -> None:
        """Begin, hand over and remove exchanges, in order, as far as possible."""
        if self._advancing:
            return
        self._advancing = True
        exchanges = self._exchanges
        while exchanges and not self._write_buffer_full:
            exchange = exchanges[0]
            if exchange.stage is not _ANSWERED:
                self._call_handler(exchange)
            if not (exchange.complete and exchange.stage is _ANSWERED):
                break
            exchanges.popleft()
            self._last_answer = self._loop.time()
            if not exchange.keep_alive:
                self._enter(_ENDED)
                exchanges.clear()
                self._transport.close()
        self._advancing = False
        self._control_reading()

    def _call_handler(self, exchange: Exchange) -> None:
        """Call the handler for the parts of the exchange that have arrived since the last call."""
        if exchange.failure:
            exchange.stage = _BEGUN
            self._handler.fail(exchange, *exchange.failure)
        elif exchange.stage is _WAITING:
            exchange.stage = _BEGUN
            self._handler.begin(exchange)
            if exchange.expects_continue and not exchange.complete and exchange.stage is _BEGUN:
                self._transport.write(_CONTINUE)
        if exchange.complete and exchange.stage is _BEGUN:
            exchange.stage = _HANDED_OVER
            self._handler.complete(exchange)

    def _control_reading(self) -> None:
        """Pause or resume reading, and start or stop the timeout of the request that is being read."""
        full = self._write_buffer_full or self._reading is _ENDED or len(self._exchanges) > 1
        if full is self._transport.is_reading() and not self._transport.is_closing():
            (self._transport.pause_reading if full else self._transport.resume_reading)()
        if not full and self._in_request():
            if self._timeout is None:
                self._timeout = self._loop.call_later(self._handler.body_seconds, self._time_out)
        elif self._timeout:
            self._cancel_timeout()
        if self._handler.draining and self._reading is not _ENDED:
            self.drain()

    def _cancel_timeout(self) -> None:
        if self._timeout:
            self._timeout.cancel()
            self._timeout = None

    def _time_out(self) -> None:
        self._timeout = None
        self._fail(408, f"the {self._reading.value} did not arrive within {self._handler.body_seconds:g} seconds")
        self._advance()

    def _fail(self, status: int, message: str) -> None:
        """Stop reading. The request that was being read is the last one; it is answered with `status`."""
        if self._reading is _ENDED:
            return
        self._reading = _ENDED
        if not self._exchanges or self._exchanges[-1].complete:
            self._exchanges.append(Exchange(self))
        exchange = self._exchanges[-1]
        exchange.failure = status, message
        exchange.complete, exchange.keep_alive = True, False

    def _close_if_idle(self) -> None:
        left = self._last_answer + KEEP_ALIVE_SECONDS - self._loop.time()
        if self._write_buffer_full and left <= 0:
            self._transport.abort()  # the client does not read its answer: the connection would stay open for ever
        elif left <= 0 and not self._exchanges and not self._in_request():
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
