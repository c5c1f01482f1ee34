"""The first page is drawn anew only when something is new."""

import asyncio
import importlib
from typing import Any

import pytest
from nicegui import ElementFilter, ui
from nicegui.testing import user_simulation

from console import state
from control.connection import Connection
from control.health import Answers


def test_what_has_not_changed_stays_where_it_is_and_what_has_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "current", state.Console(Connection("shop"), may_write=False), raising=False)
    now = importlib.import_module("console.pages.now")  # pages know the console's stack when they are read
    found: dict[str, Any] = {
        "answers": Answers({}, 0, None, None),
        "earned": [],
        "alarms": [],
        "endpoint": "The endpoint is InService.",
        "dead": 0,
        "serving": {},
        "split": {},
        "data": None,
        "work": [],
        "waits": [],
        "notices": [],
        "refused": [],
    }
    monkeypatch.setattr(now, "_read", lambda: dict(found))
    monkeypatch.setattr(now.time, "time", lambda: 1_700_000_000.0)
    fill = now._fill()

    def drawn() -> dict[int, str]:
        return {label.id: str(label.text) for label in ElementFilter(kind=ui.label)}

    async def visit() -> None:
        async with user_simulation(fill) as user:
            await user.open("/")
            with user:
                before = drawn()
                assert "The endpoint is InService." in before.values()
                with user.client.content:
                    await fill()
                    assert drawn() == before
                    found["endpoint"] = "The endpoint is Updating."
                    await fill()
                assert "The endpoint is Updating." in drawn().values()
                assert before.keys().isdisjoint(drawn())

    asyncio.run(visit())
