"""The host process: ministack in one process on loopback, corrected and extended, in the foreground until SIGTERM or
Ctrl-C.

Start-up order (ministack reads its environment during import): configuration, lock of the directory, port, clean
environment, loopback guard, import, corrections, our services, saved state, serving. Shutdown: services, child
processes, last save, exit 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib
import importlib.metadata
import json
import logging
import logging.handlers
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from laptop_aws import calls, identity, loopback, metrics, processes, registry, shortage, state
from laptop_aws.config import HOST, LOOPBACK, MINISTACK_VERSION, STATE_VERSION, Config, ConfigurationError

logger = logging.getLogger("emulator")

SERVICES = ("sagemaker", "emr_serverless", "application_autoscaling")
CHILD_GRACE_SECONDS = 3.0
REMOVED_PREFIXES = ("AWS_", "PYTHON", "VIRTUAL_ENV", "LOCALSTACK_", "MINISTACK_", "SAM_", "DOCKER_", "CONDA_")
REMOVED = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "SERVICES",
    "AUTH",
    "USE_SSL",
    "EDGE_PORT",
)
LOG_BYTES = 10_000_000
LOG_FILES = 3


class CannotStart(Exception):
    """The host cannot start; the message says why and what to do."""


def prepare_environment(config: Config) -> None:
    """Removes the user's AWS settings from the process's environment, and sets the variables that ministack reads."""
    for name in list(os.environ):
        if name.startswith(REMOVED_PREFIXES) or name in REMOVED:
            del os.environ[name]
    os.environ |= config.sdk_environment | {
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(config.port),
        "MINISTACK_ACCOUNT_ID": config.account,
        "MINISTACK_REGION": config.region,
        "NO_PROXY": LOOPBACK,
        "PERSIST_STATE": "1",
        "STATE_DIR": str(config.state_directory),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(config.s3_directory),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_ASYNC_RETRY_BASE_SECONDS": os.environ.get("LAPTOP_AWS_LAMBDA_RETRY_SECONDS", "1"),
        "DOCKER_HOST": "unix:///nonexistent/docker.sock",
    }


def set_up_logging(config: Config) -> None:
    """Logs to one rotating file, one line per event; warnings also to standard error."""
    config.logs_directory.mkdir(parents=True, exist_ok=True)
    file = logging.handlers.RotatingFileHandler(
        config.log_file, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8"
    )
    file.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [file]
    root.setLevel(logging.INFO)
    logging.raiseExceptions = False  # without this, a log that cannot be written prints a traceback for each record
    for noisy in ("hypercorn.access", "hypercorn.error", "persistence", "botocore", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class _OneLine(logging.Formatter):
    """Formats each record as one line, with function output and tracebacks complete."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", " | ")


@contextlib.contextmanager
def only_host_of(config: Config) -> Iterator[None]:
    """Holds the directory's lock. Raises CannotStart if another host runs on it or it cannot be written."""
    try:
        config.logs_directory.mkdir(parents=True, exist_ok=True)
        config.state_directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=config.root) as probe:
            probe.write(b"\0" * state.ROOM_BYTES)
        opened = (config.root / "emulator.lock").open("w")
    except OSError as error:
        raise CannotStart(
            f"{config.root} cannot be written ({error.strerror}). Free {state.ROOM_BYTES >> 20} MiB or change its "
            "permissions, or set LAPTOP_AWS_DIR to another directory"
        ) from error
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CannotStart(
                f"an emulator already runs on {config.root} ({_running(config)}). "
                "Stop it, or set LAPTOP_AWS_DIR to another directory"
            ) from error
        os.set_inheritable(lock.fileno(), False)
        yield


def _running(config: Config) -> str:
    found = identity.running_on(config.root)
    return f"pid {found.pid}, port {found.port}" if found else "starting or stopping"


def bind(config: Config) -> socket.socket:
    """Returns the listening socket, on loopback only. Raises CannotStart if the port is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, config.port))
    except OSError as error:
        listener.close()
        raise CannotStart(
            f"port {config.port} on {HOST} is in use by another program ({error.strerror}). "
            "Stop that program, or set LAPTOP_AWS_PORT to a free port"
        ) from error
    listener.listen(1024)
    listener.setblocking(False)
    return listener


def import_ministack() -> Any:
    """Imports ministack. Raises CannotStart if its version is not the one that the corrections were written for."""
    found = importlib.metadata.version("ministack")
    if found != MINISTACK_VERSION:
        raise CannotStart(
            f"ministack {found} is installed, but the corrections were written for {MINISTACK_VERSION}: "
            "install that version (laptop_aws/requirements.txt)"
        )
    from ministack.core import hypercorn_compat

    hypercorn_compat.install()
    from ministack import app

    return app


def apply_corrections() -> None:
    """Applies the corrections. Raises CannotStart if one does not fit the installed ministack."""
    from laptop_aws import corrections
    from laptop_aws.correction import DoesNotFit
    from laptop_aws.corrections import firehose, stepfunctions

    try:
        corrections.apply()
    except DoesNotFit as error:
        raise CannotStart(
            f"the corrections of ministack do not fit: {error}. See laptop_aws/docs/upgrading.md"
        ) from error
    stepfunctions.register()
    firehose.register()


def register_services() -> None:
    """Adds the services that ministack lacks."""
    for name in SERVICES:
        importlib.import_module(f"laptop_aws.{name}").register()


class _Application:
    """Wraps ministack's ASGI application: notes requests that may change state, and reports when it is ready."""

    def __init__(self, app: Any, disk: shortage.Disk) -> None:
        self._app = app
        self._disk = disk
        self._ready = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app.app(scope, receive, self._announcing(send))
            return
        if scope["type"] == "http":
            refused, receive = await shortage.refusal(scope, receive, self._disk)
            if refused is not None:
                while (await receive()).get("more_body"):  # a client that is still sending would not read the answer
                    pass
                status, headers, body = refused
                raw = [(name.encode(), value.encode()) for name, value in headers.items()]
                await send({"type": "http.response.start", "status": status, "headers": raw})
                await send({"type": "http.response.body", "body": body})
                return
            if (watched := calls.watched(scope, receive, send)) is None:
                await self._app.app(scope, receive, send)
            else:
                await self._app.app(scope, watched.receive, watched.send)
                watched.record()
            if scope["method"] not in ("GET", "HEAD"):
                registry.mark_changed()
            return
        await self._app.app(scope, receive, send)

    def _announcing(self, send: Any) -> Any:
        async def announce(message: Any) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                self._ready = True

        return announce

    @property
    def ready(self) -> bool:
        return self._ready


def write_ready_file(config: Config, started: float) -> None:
    """Writes the file that shows other processes that the host answers requests."""
    content = {
        "pid": os.getpid(),
        "started": identity.start_of(os.getpid()),
        "directory": str(config.root),
        "port": config.port,
        "endpointUrl": config.endpoint_url,
        "region": config.region,
        "account": config.account,
        "version": STATE_VERSION,
        "ministackVersion": MINISTACK_VERSION,
        "logFile": str(config.log_file),
        "startedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "startSeconds": round(time.monotonic() - started, 3),
    }
    temporary = config.ready_file.with_suffix(".new")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(config.ready_file)


async def serve(app: Any, config: Config, listener: socket.socket, started: float) -> str | None:
    """Serves until SIGTERM or SIGINT, then ends services and children and saves. Returns the reason if the save was
    incomplete, else None."""
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config as ServerConfig

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)

    server = ServerConfig()
    server.bind = [f"fd://{os.dup(listener.fileno())}"]
    server.keep_alive_timeout = 75
    server.graceful_timeout = 1.0
    server.shutdown_timeout = 3.0
    server.h11_max_incomplete_size = 1 << 20
    server.loglevel = "WARNING"
    server.accesslog = None

    saver = state.Saver(config.state_directory)
    application = _Application(app, shortage.Disk(config.state_directory, saver))

    async def when_ready() -> None:
        while not application.ready:
            await asyncio.sleep(0.01)
        saver.start()
        write_ready_file(config, started)
        registry.run_ready_callbacks()
        logger.info("ready on %s, state in %s", config.endpoint_url, config.root)
        print(f"ready on {config.endpoint_url}", flush=True)

    async def until_stopped() -> None:
        await stop.wait()
        logger.info("stopping")
        with contextlib.suppress(FileNotFoundError):
            config.ready_file.unlink()
        await asyncio.to_thread(registry.run_shutdown_callbacks)
        await asyncio.to_thread(_end_children)

    announcing = asyncio.create_task(when_ready())
    try:
        await hypercorn_serve(application, server, shutdown_trigger=until_stopped)
    finally:
        announcing.cancel()
        if saver.finish():
            logger.info("stopped, state saved")
    return saver.failure


def _end_children() -> None:
    ended = processes.terminate_all(CHILD_GRACE_SECONDS)
    if ended:
        logger.info("ended %d child processes", ended)


def empty_temporary_directory(config: Config) -> None:
    """Empties the temporary directory, including files of a host that was killed."""
    shutil.rmtree(config.temporary_directory, ignore_errors=True)
    config.temporary_directory.mkdir(parents=True, exist_ok=True)


def raise_file_limit() -> None:
    """Raises the soft limit of open files: a burst of connections may need more than the usual 1,024."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))


def run() -> int:
    """Runs the host until it is stopped; returns the exit status: 0 stopped, 1 stopped without saving everything, 2
    could not start (the reason on standard error)."""
    started = time.monotonic()
    try:
        config = Config.from_environment()
        with only_host_of(config):
            state.check_version(config)
            listener = bind(config)
            set_up_logging(config)
            prepare_environment(config)
            registry.configure(config)
            calls.configure(config.calls_file)
            loopback.install()
            raise_file_limit()
            empty_temporary_directory(config)
            tempfile.tempdir = str(config.temporary_directory)
            app = import_ministack()
            apply_corrections()
            register_services()
            registry.on_ready(metrics.watch_alarms)
            try:
                unsaved = asyncio.run(serve(app, config, listener, started))
            finally:
                listener.close()
                _end_children()
                empty_temporary_directory(config)
                with contextlib.suppress(FileNotFoundError):
                    config.ready_file.unlink()
        if unsaved:
            print(f"error: changes of the last seconds are lost, state is not saved: {unsaved}", file=sys.stderr)
        return 1 if unsaved else 0
    except (CannotStart, ConfigurationError, state.IncompatibleState) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2


def main() -> None:
    """Runs the host, then ends the process even if a thread of an emulated execution still waits."""
    status = run()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)
