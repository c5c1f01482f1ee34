"""Registers emulated services with the host.

A service is a module ``laptop_aws.<name>`` with ``register()``, which the host calls once, after ministack is imported
and before state is loaded. Everything that a service needs from the host is here::

    from laptop_aws import registry

    async def handle_request(method, path, headers, body, query):     # runs on the event loop: never block in it
        return await registry.offload(answer, method, path, headers, body, query)   # -> (status, headers, bytes)

    def register() -> None:
        registry.register_service(
            "sagemaker",
            sys.modules[__name__],
            target_prefixes=["SageMaker."],
            credential_scope="sagemaker",
            host_patterns=[r"sagemaker\\."],
            path_patterns=[r"^/endpoints/[^/]+/invocations"],
        )
        registry.register_cloudformation_type("AWS::SageMaker::ModelPackageGroup", create=..., update=..., delete=...)
        registry.register_aws_sdk_integration("sagemaker", target_prefix="SageMaker", error_prefix="SageMaker")
        registry.on_ready(start_restored_endpoints)
        registry.on_shutdown(stop_everything)

The module also has, as ministack's own modules have:

``get_state() -> dict``
    Returns the state that survives a restart: JSON values, bytes, or ministack's
    ``AccountScopedDict``/``AccountRegionScopedDict``. Called from another thread every two seconds after a change, and
    at the end: return copies (``copy.deepcopy`` under your lock).
``load_persisted_state(data: dict) -> None``
    Restores it; called once before the host serves, only when something was saved. Start no process here; do that in
    ``on_ready``. Jobs that ran when the host ended have ended: mark them so.
``reset() -> None``
    Deletes everything and stops the service's processes (``POST /_ministack/reset``).

Headers arrive with lower-case names; ``query`` maps a name to the list of its values. Requests are routed by
``X-Amz-Target`` prefix first, then by the signing name in the Authorization header (the name under which the service is
registered; ``sagemaker`` covers ``sagemaker-runtime``), then by host, then by path.

Account and region of a request are ``ministack.core.responses.get_account_id()`` and ``get_region()``; threads
started with ``in_background`` inherit them. Start processes with ``spawn`` only: it gives them a clean environment and
ends them with the host.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, Any, TypeVar

from laptop_aws import calls, cloudwatch_logs, metrics, processes
from laptop_aws.config import SECRET_KEY, Config

logger = logging.getLogger("emulator")

T = TypeVar("T")
Response = tuple[int, dict[str, str], bytes]
CreateResource = Callable[[str, dict[str, Any], str], tuple[str, dict[str, Any]]]
UpdateResource = Callable[[str, dict[str, Any], dict[str, Any], str, str], tuple[str, dict[str, Any]]]
DeleteResource = Callable[[str, dict[str, Any]], None]

_config: Config | None = None
_ready_callbacks: list[Callable[[], None]] = []
_shutdown_callbacks: list[Callable[[], None]] = []
_changed = threading.Event()


def configure(config: Config) -> None:
    """Sets the configuration; the host calls it first."""
    global _config
    _config = config


def config() -> Config:
    """The host's configuration: directories, port, account, interpreters (see ``laptop_aws.config.Config``)."""
    if _config is None:
        raise RuntimeError("the emulator is not configured: it is started with `python -m laptop_aws`")
    return _config


# ---- joining ----


def register_service(
    name: str,
    module: ModuleType,
    *,
    target_prefixes: Sequence[str] = (),
    credential_scope: str | None = None,
    host_patterns: Sequence[str] = (),
    path_patterns: Sequence[str] = (),
    state_key: str | None = None,
) -> None:
    """Routes requests to ``module.handle_request`` and saves ``module.get_state()`` as ``state/<state_key or
    name>.json``."""
    from ministack import app
    from ministack.core import router

    for hook in ("handle_request", "get_state", "load_persisted_state", "reset"):
        if not callable(getattr(module, hook, None)):
            raise TypeError(f"service {name!r}: module {module.__name__} has no function {hook}()")
    key = name.replace("-", "_")
    sys.modules[f"ministack.services.{key}"] = module
    app._loaded_modules[key] = module
    app.SERVICE_REGISTRY[name] = {"module": key}
    app.SERVICE_HANDLERS[name] = module.handle_request
    app._state_map[state_key or key] = key
    router.SERVICE_PATTERNS[name] = {
        "target_prefixes": list(target_prefixes),
        "credential_scope": credential_scope or name,
        "host_patterns": list(host_patterns),
        "path_patterns": list(path_patterns),
    }


def register_cloudformation_type(
    resource_type: str,
    *,
    create: CreateResource,
    delete: DeleteResource,
    update: UpdateResource | None = None,
) -> None:
    """Lets stacks hold resources of ``resource_type``.

    ``create(logical_id, properties, stack_name) -> (physical_id, attributes)``: ``Ref`` gives the physical id,
    ``Fn::GetAtt`` the attributes.
    ``update(physical_id, old_properties, new_properties, stack_name, logical_id) -> (physical_id, attributes)``;
    another physical id is a
    replacement, and the old resource is deleted afterwards. ``delete(physical_id, properties)`` succeeds if the
    resource does not exist. Numbers and booleans may be strings, as in templates. To fail the resource, raise any
    exception with a readable text.
    """
    from ministack.services.cloudformation import provisioners

    handlers: dict[str, Any] = {"create": create, "delete": delete}
    if update is not None:
        handlers |= {"update": update, "update_with_logical_id": True}
    provisioners._RESOURCE_HANDLERS[resource_type] = handlers


def register_aws_sdk_integration(
    service: str, *, target_prefix: str, error_prefix: str, service_key: str | None = None
) -> None:
    """Lets state machines call ``arn:aws:states:::aws-sdk:<service>:<action>`` of a JSON-protocol service.

    Errors surface as ``<error_prefix>.<code>``, as on AWS (``SageMaker.ResourceNotFoundException``). ``service`` is
    the SDK's name in lower case; ``service_key`` the registered service, where it differs.
    """
    from ministack.services import stepfunctions

    stepfunctions._AWS_SDK_SERVICE_MAP[service] = {
        "target_prefix": target_prefix,
        "protocol": "json",
        "service_key": service_key or service,
    }
    stepfunctions._AWS_SDK_ERROR_PREFIX[service] = error_prefix


def on_ready(callback: Callable[[], None]) -> None:
    """Calls ``callback()`` in its own thread after state is loaded and the port answers (to start endpoints again, for
    example)."""
    _ready_callbacks.append(callback)


def on_shutdown(callback: Callable[[], None]) -> None:
    """Calls ``callback()`` when the host ends, before state is saved. It has 3 seconds; processes from ``spawn`` are
    ended afterwards anyway."""
    _shutdown_callbacks.append(callback)


# ---- what the host gives ----


def emit_event(
    source: str,
    detail_type: str,
    detail: Mapping[str, Any],
    resources: Sequence[str] = (),
    region: str | None = None,
    account: str | None = None,
) -> None:
    """Puts an event on the default bus (``aws.*`` sources included). Thread-safe; does not block. ``detail`` must be
    JSON, with timestamps in the form that AWS documents for the event (SageMaker: epoch milliseconds).
    """
    from ministack.core.responses import request_scope
    from ministack.services import eventbridge

    entry = {"Source": source, "DetailType": detail_type, "Detail": json.dumps(detail), "Resources": list(resources)}
    with request_scope(account or config().account, region or config().region):
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
    mark_changed()
    logger.info("event %s / %s %s", source, detail_type, " ".join(resources))


def put_log_events(group: str, stream: str, messages: Sequence[str]) -> None:
    """Appends lines to a CloudWatch Logs stream; creates group and stream if missing."""
    cloudwatch_logs.append(group, stream, messages, config().account, config().region)
    mark_changed()


def put_metric_data(namespace: str, name: str, value: float, unit: str, dimensions: Mapping[str, str]) -> None:
    """Records one CloudWatch datum (``AWS/*`` namespaces included) and evaluates its alarms."""
    from ministack.core.responses import request_scope
    from ministack.services import cloudwatch

    with request_scope(config().account, config().region):
        metrics.put(cloudwatch, namespace, name, value, unit, dimensions)


def mark_changed() -> None:
    """Marks a state change outside a request (a job ended), so that the next periodic save includes it."""
    _changed.set()


def take_changed() -> bool:
    """True if state changed since the last call. The saver calls it."""
    changed = _changed.is_set()
    _changed.clear()
    return changed


async def offload(function: Callable[..., T], *arguments: Any) -> T:
    """Runs blocking work on its own thread, off the event loop, in the request's account and region."""
    from ministack.core.concurrency import run_reentrant

    result: T = await run_reentrant(function, *arguments)
    mark_changed()
    return result


def in_background(function: Callable[..., object], *arguments: Any, name: str) -> threading.Thread:
    """Runs ``function`` on a named daemon thread in the caller's account and region; its exceptions are logged."""
    from ministack.core.concurrency import spawn_background

    thread: threading.Thread = spawn_background(function, *arguments, thread_name=name)
    return thread


def spawn(
    command: Sequence[str | Path],
    *,
    name: str,
    environment: Mapping[str, str],
    cwd: Path | None = None,
    stdin: int | IO[Any] | None = subprocess.DEVNULL,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    text: bool = False,
) -> subprocess.Popen[Any]:
    """Starts a process in its own process group, with exactly ``environment`` (begin with ``child_environment()``). It
    ends with the host, also after Ctrl-C or ``kill -9``. To stop it earlier: ``terminate(process)``.
    """
    return processes.spawn(
        command, name=name, environment=environment, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, text=text
    )


def terminate(process: subprocess.Popen[Any], grace_seconds: float) -> int:
    """Sends SIGTERM to the process group, and SIGKILL after ``grace_seconds``; returns the exit status."""
    return processes.terminate(process, grace_seconds)


def child_environment(**additions: str) -> dict[str, str]:
    """A clean environment for a child: PATH, HOME, locale and time zone of the host, the emulator's endpoint and its
    fixed credentials.

    Nothing else of the host's environment passes: no ``AWS_*``, no ``PYTHONPATH``, no ``VIRTUAL_ENV``.
    """
    return processes.child_environment(config(), **additions)


def client(service: str, region: str | None = None) -> Any:
    """A boto3 client of this host, for the role as which the thread acts (``calls.acting_as``). Never call it on the
    event loop: it would wait for itself."""
    import boto3
    from botocore.config import Config as ClientConfig

    return boto3.client(
        service,
        endpoint_url=config().endpoint_url,
        region_name=region or config().region,
        aws_access_key_id=config().account,
        aws_secret_access_key=SECRET_KEY,
        aws_session_token=calls.role() or None,
        config=ClientConfig(retries={"max_attempts": 2}, s3={"addressing_style": "path"}, proxies={}),
    )


# ---- the host's side ----


def run_ready_callbacks() -> None:
    """Calls each ``on_ready`` callback; one that fails is logged and does not stop the others."""
    for callback in _ready_callbacks:
        in_background(callback, name=f"ready-{callback.__module__}")


def run_shutdown_callbacks(seconds: float = 3.0) -> None:
    """Calls the ``on_shutdown`` callbacks concurrently and waits at most ``seconds`` for them."""
    threads = [in_background(callback, name=f"shutdown-{callback.__module__}") for callback in _shutdown_callbacks]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            logger.warning("shutdown: %s did not end within %.0f s", thread.name, seconds)
