"""Serves the console on the loopback interface: a token in the link, and no request from another site."""

from __future__ import annotations

import importlib
from typing import Any

from nicegui import app, ui

from console import state
from console.guard import Guard
from control.connection import Connection

PAGES = ("now", "runs", "gate", "history", "compare", "explore", "rules", "drills", "api")


def serve(connection: Connection, port: int, may_write: bool, token: str) -> None:
    """Serve until Ctrl-C. Prints the link."""
    state.current = state.Console(connection, may_write)
    for name in PAGES:
        importlib.import_module(f"console.pages.{name}")
    app.add_middleware(Guard, token=token, port=port)
    link = f"http://127.0.0.1:{port}/?token={token}"
    settings: dict[str, Any] = {"show": False, "reload": False, "show_welcome_message": False}
    app.on_startup(lambda: print(f"console: {link}", flush=True))
    ui.run(host="127.0.0.1", port=port, title=connection.stack, favicon="🛒", dark=None, **settings)
