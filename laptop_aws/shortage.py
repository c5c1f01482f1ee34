"""Refuses requests that change state while the disk is full. A request gets 503 ServiceUnavailable, in the format of
its protocol, if the last save failed or if its body and the next save need more space than is free. Requests that only
read, invoke something or delete objects pass.

A drill (``POST DRILL_PATH`` with the header DRILL_HEADER: seconds) counts the disk as full for that long. The header
keeps other sites' pages out: a browser asks for permission before it sends one, and gets none.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

Receive = Callable[[], Awaitable[Any]]
Scope = Any

CODE = "ServiceUnavailable"
DRILL_PATH, DRILL_HEADER = "/_laptop_aws/full-disk", "x-laptop-aws-seconds"
LONGEST_DRILL_SECONDS = 60
_READING = re.compile(
    r"(BatchGet|Describe|Get|Head|List|Lookup|Query|Scan|Search|Filter|Simulate|Validate)[A-Z]|Query$|Scan$"
)
_INVOKING = re.compile(r"/invocations$|^/_ministack/|^/_aws/execute-api/")


class Disk:
    """The file system of the saved state; ``saver`` knows the size of the next save and the result of the last one."""

    def __init__(self, directory: Path, saver: Any) -> None:
        self._directory, self._saver = directory, saver
        self._full_until = 0.0

    def drill(self, seconds: int) -> None:
        """Counts the disk as full from now on for so long."""
        self._full_until = time.monotonic() + seconds

    def shortage(self, body_bytes: int) -> str | None:
        """The reason why a request with a body of that length cannot be saved, or None."""
        if self._saver.failure:
            return f"state cannot be saved ({self._saver.failure})"
        free, needed = shutil.disk_usage(self._directory).free, self._saver.room_needed + body_bytes
        if time.monotonic() < self._full_until:
            free = 0
        if free < needed:
            return f"the disk has {free} bytes free and {needed} are needed"
        return None


async def refusal(
    scope: Scope, receive: Receive, disk: Disk
) -> tuple[tuple[int, dict[str, str], bytes] | None, Receive]:
    """Returns the answer that refuses the request, or answers a drill (None to accept it), and the ``receive`` with
    which to read the request."""
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return None, receive
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    if scope["path"] == DRILL_PATH:
        return _drill(headers.get(DRILL_HEADER, ""), disk), receive
    length = headers.get("content-length", "0")
    reason = disk.shortage(int(length) if length.isdigit() else 0)
    if reason is None or _passes(scope, headers):
        return None, receive
    target = headers.get("x-amz-target", "").rpartition(".")[2]
    is_form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if is_form:
        first = await receive()
        receive = _replaying(first, receive)
        target = parse_qs(first.get("body", b"").decode("latin-1")).get("Action", [""])[0]
    if _READING.match(target):
        return None, receive
    message = f"Nothing was changed: {reason}. Free some space, then try again."
    return _formatted(message, is_s3=_is_s3(headers), is_form=is_form), receive


def _drill(given: str, disk: Disk) -> tuple[int, dict[str, str], bytes]:
    seconds = int(given) if given.isascii() and given.isdecimal() and len(given) < 4 else 0
    if not 1 <= seconds <= LONGEST_DRILL_SECONDS:
        said = f"{DRILL_HEADER} must be a number of seconds from 1 to {LONGEST_DRILL_SECONDS}"
        return 400, {"content-type": "text/plain"}, said.encode()
    disk.drill(seconds)
    return 200, {"content-type": "text/plain"}, f"the disk counts as full for {seconds} s".encode()


def _is_s3(headers: dict[str, str]) -> bool:
    return "/s3/aws4_request" in headers.get("authorization", "")


def _passes(scope: Scope, headers: dict[str, str]) -> bool:
    if _INVOKING.search(scope["path"]) or ".execute-api." in headers.get("host", ""):
        return True
    deletes = scope["method"] == "DELETE" or scope["query_string"].startswith(b"delete")
    return deletes and _is_s3(headers)


def _replaying(first: Any, receive: Receive) -> Receive:
    messages = [first]

    async def replay() -> Any:
        return messages.pop() if messages else await receive()

    return replay


def _formatted(message: str, *, is_s3: bool, is_form: bool) -> tuple[int, dict[str, str], bytes]:
    if is_s3 or is_form:
        error = f"<Error><Code>{CODE}</Code><Message>{escape(message)}</Message></Error>"
        text = error if is_s3 else f"<ErrorResponse>{error}</ErrorResponse>"
        return 503, {"content-type": "application/xml"}, text.encode()
    content = json.dumps({"__type": CODE, "message": message}).encode()
    return 503, {"content-type": "application/json", "x-amzn-errortype": CODE}, content
