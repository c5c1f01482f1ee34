"""The page History: who served when and why, and the changes made from this console."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from console import state
from console.frame import ask, notice, page, read, refreshed
from control import serving
from control.connection import in_words
from control.ledger import when

ACTIONS = 50


Found = tuple[list[dict[str, Any]], list[dict[str, Any]], str]


def _history() -> Found | str:
    try:
        ledger = state.current.ledger
        machine = state.current.connection.outputs["RollbackStateMachineArn"]
        return ledger.history(), ledger.of_kind("ACTION", ACTIONS), machine
    except Exception as error:  # as in `frame.read`, but one sentence in place of the last one
        return in_words(error)


@page("/history", "History")
async def show() -> None:
    """Fill the page."""
    await refreshed(_fill())()


def _fill() -> Callable[[], Awaitable[None]]:
    """The page is drawn anew only when something changed, so that no choice on it is lost."""
    drawn: Found | str | None = None
    holder: ui.column | None = None

    async def fill() -> None:
        nonlocal drawn, holder
        found = await read(_history)
        if found is None or found == drawn:
            return
        if holder is None:
            holder = ui.column().classes("w-full gap-4")
        drawn = found
        holder.clear()
        with holder:
            notice(found) if isinstance(found, str) else _draw(*found)

    return fill


def _draw(items: list[dict[str, Any]], actions: list[dict[str, Any]], machine: str) -> None:
    periods = serving.periods(items)
    ui.label("Who served").classes("text-lg")
    if periods:
        _table(("run", "since", "until", "replaced", "why", "by"), periods)
    else:
        notice("No model has served yet.")
    if state.current.may_write and periods:
        _changes(machine, periods[0]["run"], serving.champions(items))
    ui.label(f"Changes from the console, the last {ACTIONS}").classes("text-lg")
    names = ("at", "name", "status", "who", "why", "error")
    rows = [
        {**{name: str(one.get(name) or "-") for name in names}, "at": when(one.get("updatedAt"))} for one in actions
    ]
    if rows:
        _table(names, rows)
    else:
        ui.label("None so far.")


def _changes(machine: str, serves: str, champions: list[str]) -> None:
    with ui.row().classes("items-center flex-wrap w-full"):
        if not champions:
            ui.label("No other model has served: there is none to go back to.")
            return
        chosen = ui.select(champions, label="Model", value=champions[0]).classes("min-w-64")
        percent = ui.number("Percent of a split", value=50, min=1, max=99, precision=0)

        def split(share: int) -> None:
            ask(serving.split(machine, chosen.value, share))

        ui.button(
            "Roll back",
            on_click=lambda: ask(serving.roll_back(machine, str(chosen.value), serves)),
        )
        ui.button("Split", on_click=lambda: split(int(percent.value or 1)))
        ui.button("End the split", on_click=lambda: split(0)).props("flat")


def _table(names: tuple[str, ...], rows: list[dict[str, str]]) -> None:
    columns = [
        {"name": name, "label": name.capitalize(), "field": name, "sortable": True, "align": "left"} for name in names
    ]
    ui.table(columns=columns, rows=rows, pagination=20).classes("w-full").props("wrap-cells")
