"""Records the AWS calls of roles, one JSON document a line, so that a test can compare them with the roles' policies.

The setting LAPTOP_AWS_CALLS_FILE names the file; without it nothing is recorded. A document has the members ``time``,
``principal`` (the role's ARN), ``caller`` (the state machine whose task it is, if any), ``region``, ``service`` and
``operation`` (botocore's names), ``parameters`` (the request's members; long texts are cut), and ``status``, the HTTP
status of the answer (0 where there was no request).

Who calls: the session token of a function is the ARN of its role, and so is that of the clients with which the host
works for a job (``acting_as``). Requests without a session token are those of the account's owner, and are not
recorded. What a service does for a role without a request is recorded where it is done (``record``).
"""

from __future__ import annotations

import contextvars
import functools
import json
import logging
import re
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, parse_qsl, unquote

from botocore.exceptions import UnknownServiceError
from botocore.model import OperationModel, StructureShape
from botocore.parsers import RpcV2CBORParser

from laptop_aws.service_model import operation, service_model

logger = logging.getLogger("emulator")

LONGEST_TEXT = 2000
LONGEST_BODY = 4 << 20
"""Bytes of a request's body that are read; members of a longer one are not recorded."""
SDK_NAMES = {"monitoring": "cloudwatch", "states": "stepfunctions"}
"""Names that requests are signed for → botocore's names of the services, where they differ."""
_SIGNED_FOR = re.compile(r"Credential=[^/]*/\d{8}/([^/]*)/([^/]*)/aws4_request")
_LABEL = re.compile(r"\{(\w+)(\+?)\}")

_role: contextvars.ContextVar[str] = contextvars.ContextVar("_role", default="")
_file: Path | None = None
_lock = threading.Lock()
_recorded_once: set[str] = set()


def configure(path: Path | None) -> None:
    """Sets the file of the calls; None: nothing is recorded."""
    global _file
    _file = path
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def acting_as(role: str) -> Iterator[None]:
    """Inside the block, the host's clients and ``record`` act for the role with this ARN."""
    before = _role.set(role)
    try:
        yield
    finally:
        _role.reset(before)


def role() -> str:
    """The ARN of the role for which this thread acts, or an empty string."""
    return _role.get()


def record(
    service: str,
    operation: str,
    parameters: Mapping[str, Any],
    *,
    principal: str = "",
    caller: str = "",
    region: str = "",
    status: int = 0,
    once: bool = False,
) -> None:
    """Records a call of ``principal``, or of the role for which this thread acts; with ``once``, only the first of
    equal ones. Does nothing where there is no such role, or nothing is recorded."""
    principal = principal or role()
    if _file is None or not principal:
        return
    from ministack.core.responses import get_region

    document = {
        "principal": principal,
        "caller": caller,
        "region": region or get_region(),
        "service": service,
        "operation": operation,
        "parameters": _brief(parameters),
        "status": status,
    }
    text = json.dumps(document, default=str)
    with _lock:
        if once and text in _recorded_once:
            return
        _recorded_once.add(text) if once else None
        with _file.open("a", encoding="utf-8") as file:
            file.write(f'{{"time": {time.time():.3f}, {text[1:]}\n')


def _brief(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _brief(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_brief(member) for member in value]
    return value[:LONGEST_TEXT] if isinstance(value, (str, bytes)) else value


# ---- requests --------------------------------------------------------------------------------------------------------


class Request(NamedTuple):
    """An HTTP request; header names are lower-case, ``path`` is as it was sent."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class Watched:
    """Wraps one request of the server: keeps its body and the status of its answer, and records the call."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._body, self._status = bytearray(), 0

    async def receive(self) -> Any:
        message = await self._receive()
        if len(self._body) < LONGEST_BODY:
            self._body += message.get("body", b"")
        return message

    async def send(self, message: Any) -> None:
        self._status = message.get("status", self._status)
        await self._send(message)

    def record(self) -> None:
        """Records the call, once it is answered. A request that cannot be understood is logged."""
        path = self._scope.get("raw_path") or self._scope["path"].encode()
        request = Request(
            self._scope["method"],
            path.partition(b"?")[0].decode("latin-1"),
            self._scope["query_string"].decode("latin-1"),
            {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self._scope["headers"]},
            bytes(self._body),
        )
        try:
            record_request(request, self._status)
        except Exception:
            logger.exception("the call %s %s is not recorded", request.method, request.path)


def watched(scope: Any, receive: Any, send: Any) -> Watched | None:
    """The request to be recorded, or None: nothing is recorded, or the request has no session token."""
    if _file is None or not (
        any(name.lower() == b"x-amz-security-token" for name, _ in scope["headers"])
        or b"x-amz-security-token" in scope["query_string"].lower()
    ):
        return None
    return Watched(scope, receive, send)


def record_request(request: Request, status: int) -> None:
    """Records a signed request under the role that its session token names."""
    query = {name.lower(): values[0] for name, values in parse_qs(request.query).items()}
    signed = _SIGNED_FOR.search(request.headers.get("authorization", ""))
    if signed:
        region, name = signed[1], signed[2]
    else:
        _, _, region, name, _ = query["x-amz-credential"].split("/")
    service = SDK_NAMES.get(name, name)
    if service == "sagemaker" and request.path.startswith("/endpoints/"):
        service = "sagemaker-runtime"
    principal = request.headers.get("x-amz-security-token") or query["x-amz-security-token"]
    operation, parameters = understood(service, request)
    record(service, operation, parameters, principal=principal, region=region, status=status)


def understood(service: str, request: Request) -> tuple[str, dict[str, Any]]:
    """The operation of a request, and its parameters as far as they are in the URL, the headers, or a body of JSON,
    CBOR or a form. Raises LookupError for a request that no operation of the service fits."""
    target = request.headers.get("x-amz-target")
    if target:
        return target.rpartition(".")[2], _json(request.body)
    if request.path.startswith("/service/") and "/operation/" in request.path:
        parser = RpcV2CBORParser()
        stream = parser.get_peekable_stream_from_bytes(request.body)
        return request.path.rpartition("/")[2], dict(parser.parse_data_item(stream)) if request.body else {}
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        form = dict(parse_qsl(request.body.decode("utf-8", "replace")))
        return form.pop("Action"), form
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    if "Action" in query:
        return query.pop("Action"), query
    fitting = [found for route in _routes(service) if (found := route.match(request, query)) is not None]
    if not fitting:
        raise LookupError(f"{service} has no operation for {request.method} {request.path}?{request.query}")
    _, model, parameters = max(fitting, key=lambda found: found[0])
    return model.name, parameters | _members_of_body(model, request.body)


class _Route(NamedTuple):
    """An operation of a REST service: the parts of its URL."""

    model: OperationModel
    method: str
    pattern: re.Pattern[str]
    literals: int
    constants: dict[str, str]

    def match(
        self, request: Request, query: Mapping[str, str]
    ) -> tuple[tuple[int, int, int], OperationModel, dict[str, Any]] | None:
        """How closely the request fits, the operation, and the parameters in its URL and headers."""
        if request.method != self.method or (found := self.pattern.fullmatch(request.path)) is None:
            return None
        if any(name not in query or (value and query[name] != value) for name, value in self.constants.items()):
            return None
        shape = self.model.input_shape
        parameters: dict[str, Any] = {name: unquote(value) for name, value in found.groupdict().items()}
        required = 0
        for name, member in (shape.members if isinstance(shape, StructureShape) else {}).items():
            place = member.serialization.get("location")
            key = member.serialization.get("name", name)
            given = query.get(key) if place == "querystring" else None
            given = request.headers.get(key.lower()) if place == "header" else given
            if given is not None:
                parameters[name] = given
            elif place in ("querystring", "header") and name in shape.required_members:
                return None
            required += given is not None and name in shape.required_members
        return (len(self.constants), self.literals, required), self.model, parameters


@functools.cache
def _routes(service: str) -> list[_Route]:
    try:
        model = service_model(service)
    except UnknownServiceError:
        return []
    found = []
    for name in model.operation_names:
        one = operation(service, name)
        assert one is not None
        path, _, query = one.http["requestUri"].partition("?")
        path = path.rstrip("/") or "/"
        pattern, place = "", 0
        for label in _LABEL.finditer(path):
            pattern += re.escape(path[place : label.start()]) + f"(?P<{label[1]}>{'.+' if label[2] else '[^/]+'})"
            place = label.end()
        pattern += re.escape(path[place:]) + "/?"
        literals = sum(1 for part in path.split("/") if part and "{" not in part)
        constants = dict(parse_qsl(query, keep_blank_values=True))
        found.append(_Route(one, one.http["method"], re.compile(pattern), literals, constants))
    return found


def _members_of_body(model: OperationModel, body: bytes) -> dict[str, Any]:
    if model.service_model.service_name == "s3":
        return {"Objects": _objects(body)} if model.name == "DeleteObjects" else {}
    shape = model.input_shape
    payload = shape.serialization.get("payload") if shape is not None else None
    if payload is None:
        return _json(body)
    if shape is not None and shape.members[payload].type_name == "structure":
        return {payload: _json(body)}
    return {}


def _objects(body: bytes) -> list[dict[str, str]]:
    """The objects in the XML document of DeleteObjects: Key, and VersionId where it is given."""
    elements = [one for one in ElementTree.fromstring(body) if one.tag.rpartition("}")[2] == "Object"]
    return [{member.tag.rpartition("}")[2]: member.text or "" for member in one} for one in elements]


def _json(body: bytes) -> dict[str, Any]:
    if len(body) >= LONGEST_BODY:
        return {}
    found = json.loads(body or b"{}")
    return found if isinstance(found, dict) else {}
