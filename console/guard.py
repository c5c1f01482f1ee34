"""Who may reach the console: a token in the link, and no request from another site or to another host name."""

from __future__ import annotations

import hmac
from urllib.parse import urlencode, urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "console-token"
HOSTS = ("127.0.0.1", "localhost")
HEADERS = (
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""On every answer. For a cookie, any page of this machine is of the same site: none may frame the console."""


class Guard:
    """Lets in only requests with the token (in the link once, then in a cookie) and from this site.

    The host name is checked too, so that another site's name that resolves to the loopback address is refused.
    """

    def __init__(self, application: ASGIApp, token: str, port: int) -> None:
        self.application, self.token = application, token
        self.hosts = {f"{host}:{port}" for host in HOSTS}
        self.cookie = f"{COOKIE}-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.application(scope, receive, send)
            return
        send = _with_headers(send)
        connection = HTTPConnection(scope)
        refusal = self._refusal(connection)
        if refusal is None:
            await self.application(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
        elif (given := connection.query_params.get("token")) and refusal == "token" and self._is_token(given):
            answer = RedirectResponse(_without_token(connection), status_code=303)
            answer.set_cookie(self.cookie, self.token, httponly=True, samesite="strict", path="/")
            await answer(scope, receive, send)
        else:
            text = "Open the console by the link that it printed: it has a token." if refusal == "token" else refusal
            await PlainTextResponse(text, status_code=403)(scope, receive, send)

    def _refusal(self, connection: HTTPConnection) -> str | None:
        if connection.headers.get("host") not in self.hosts:
            return "This console answers on the loopback interface only."
        origin = connection.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc not in self.hosts:
            return "Requests from another site are refused."
        return None if self._is_token(connection.cookies.get(self.cookie, "")) else "token"

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())


def _without_token(connection: HTTPConnection) -> str:
    """The path and the query of the link without its token: no host, so that it leads nowhere else."""
    rest = [(name, value) for name, value in connection.query_params.multi_items() if name != "token"]
    path = "/" + connection.url.path.lstrip("/\\")
    return f"{path}?{urlencode(rest)}" if rest else path


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *HEADERS]
        await send(message)

    return sent
