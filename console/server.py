"""Serves the console on the loopback interface: a token in the link, and no request from another site."""

from __future__ import annotations

import errno
import importlib
import socket
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from nicegui import app, ui

from console import state
from console.guard import Guard
from control import own_link
from control.connection import Connection

HOST = "127.0.0.1"
USUAL_PORT = 8090
WAITS_SECONDS = 600.0
"""How long a console that ends with the embedded AWS waits for it to come back."""
LOOK_SECONDS = 5.0
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#0072b2"/>'
    '<path d="M3 11l3-4 3 2 4-5" fill="none" stroke="#fff" stroke-width="2"/></svg>'
)
FIRST = ("cloudformation", "dynamodb", "cloudwatch", "sagemaker", "sqs", "s3", "stepfunctions", "logs")
"""The services that the first pages ask."""
PAGES = ("now", "runs", "gate", "history", "compare", "explore", "rules", "drills", "api")


class PortTaken(Exception):
    """The port cannot be listened on; the message says what to do."""


def free_port(wanted: int | None) -> int:
    """`wanted`, or a free port for 0; for None the usual port, or a free one if that is taken. Raises PortTaken."""
    if wanted is None:
        with suppress(PortTaken):
            return free_port(USUAL_PORT)
        return free_port(0)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            why = "in use by another program" if error.errno == errno.EADDRINUSE else f"not usable ({error.strerror})"
            raise PortTaken(
                f"Port {wanted} on {HOST} is {why}: choose another one with --port, or --port 0 for any free one."
            ) from error
        return int(probe.getsockname()[1])


def serve(
    connection: Connection, wanted_port: int | None, may_write: bool, token: str, ends_with_aws: bool = False
) -> None:
    """Serve until Ctrl-C, or with `ends_with_aws` until the embedded AWS is gone. Prints the link. Raises PortTaken."""
    port = free_port(wanted_port)
    state.current = state.Console(connection, may_write)
    for name in PAGES:
        importlib.import_module(f"console.pages.{name}")
    # A bar over the page for each request, without a name for a screen reader.
    app.config.quasar_config["loadingBar"]["skipHijack"] = True
    app.add_middleware(Guard, token=token, port=port)
    link = f"http://{HOST}:{port}/?token={token}"
    # Nothing is packed: on the loopback interface, packing costs more than it saves.
    settings: dict[str, Any] = {"show": False, "reload": False, "show_welcome_message": False}
    settings["gzip_middleware_factory"] = None
    announce = threading.Thread(target=_announce, args=(link, port, connection), daemon=True)
    app.on_startup(announce.start)
    if ends_with_aws:
        app.on_startup(threading.Thread(target=_end_with_aws, args=(connection,), daemon=True).start)
    with own_link.kept(link, connection, may_write):
        ui.run(host=HOST, port=port, title=connection.stack, favicon=ICON, dark=None, **settings)


def _announce(link: str, port: int, connection: Connection) -> None:
    """Print the link once the server listens. Then make the clients that the first page needs, while its reader opens
    the link: each costs boto3 a tenth of a second of computing.
    """
    while True:
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            break
        time.sleep(0.02)
    print(f"console: {link}", flush=True)
    with suppress(Exception):  # the page asks again, and says what is wrong
        for service in FIRST:
            connection.client(service)
        _ = connection.outputs


def _end_with_aws(connection: Connection) -> None:
    """End the console once the embedded AWS has not answered for so long: nobody else would."""
    parts = urlsplit(str(connection.endpoint_url))
    answered = time.monotonic()
    while time.monotonic() - answered < WAITS_SECONDS:
        time.sleep(LOOK_SECONDS)
        with suppress(OSError), socket.create_connection((str(parts.hostname), parts.port or 80), timeout=1):
            answered = time.monotonic()
    app.shutdown()
