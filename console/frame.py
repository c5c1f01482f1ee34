"""The frame of every page: heading, navigation, dark mode, errors in words, and the question before a change."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from nicegui import run, ui

from console import state
from control.actions import Action, perform
from control.connection import in_words

REFRESH_SECONDS = 1.5

COLOURS = {
    "SUCCEEDED": "#0072b2",
    "DEPLOYED": "#0072b2",
    "RUNNING": "#56b4e9",
    "PARKED": "#e69f00",
    "CAUGHT": "#e69f00",
    "RETRIED": "#f0e442",
    "REJECTED": "#d55e00",
    "FAILED": "#d55e00",
    "ABORTED": "#cc79a7",
    "TIMED_OUT": "#d55e00",
    "UNCHANGED": "#7f7f7f",
}
"""Colours of states, told apart by people with any colour vision (Okabe and Ito 2008). A sign stands beside each."""
SIGNS = {
    "SUCCEEDED": "✓",
    "DEPLOYED": "✓",
    "RUNNING": "▶",
    "PARKED": "⏸",
    "CAUGHT": "↷",
    "RETRIED": "↻",
    "REJECTED": "✗",
    "FAILED": "✗",
    "ABORTED": "■",
    "TIMED_OUT": "✗",
    "UNCHANGED": "=",
}


@dataclass(frozen=True)
class Entry:
    """An entry of the navigation."""

    path: str
    title: str
    icon: str


NAVIGATION = (
    Entry("/", "Now", "monitor_heart"),
    Entry("/runs", "Runs", "account_tree"),
    Entry("/gate", "Gate", "rule"),
    Entry("/history", "History", "history"),
    Entry("/compare", "Compare", "compare_arrows"),
    Entry("/explore", "Explore", "person_search"),
    Entry("/rules", "Rules", "tune"),
    Entry("/drills", "Drills", "science"),
    Entry("/api", "API", "api"),
)


def page(path: str, title: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register `path`; the decorated function (sync or async) fills the page. Its arguments are those of the path and
    the query, as in FastAPI.
    """

    def register(fill: Callable[..., Any]) -> Callable[..., Any]:
        async def framed(**arguments: Any) -> None:
            _frame(path, title)
            with ui.column().classes("w-full max-w-screen-2xl mx-auto p-4 gap-4"):
                found = fill(**arguments)
                if inspect.isawaitable(found):
                    await found

        framed.__signature__ = inspect.signature(fill)  # type: ignore[attr-defined] # FastAPI reads the arguments here
        framed.__name__ = fill.__name__
        ui.page(path, title=f"{title} · {state.current.connection.stack}", response_timeout=30)(framed)
        return fill

    return register


def _frame(path: str, title: str) -> None:
    dark = ui.dark_mode(None)
    ui.add_head_html('<meta name="viewport" content="width=device-width, initial-scale=1">')
    with ui.header().classes("items-center gap-1 bg-slate-800 text-white px-3 py-1").props("role=banner"):
        ui.label(state.current.connection.stack).classes("font-bold mr-2")
        with ui.row().classes("gap-0 flex-wrap").props("role=navigation aria-label=Pages"):
            for entry in NAVIGATION:
                is_here = path == entry.path or (entry.path != "/" and path.startswith(entry.path))
                link = ui.link(entry.title, entry.path).classes("px-2 py-1 rounded text-white no-underline")
                if is_here:
                    link.classes("bg-slate-600").props("aria-current=page")
        ui.space()
        ui.label("changes allowed" if state.current.may_write else "read only").classes("text-xs")
        ui.button(icon="dark_mode", on_click=lambda: dark.set_value(not dark.value)).props(
            'flat dense color=white aria-label="Dark or light"'
        )


async def read(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call `function` in a thread, because boto3 blocks. An error is shown on the page in words; None then."""
    try:
        return await run.io_bound(function, *arguments)
    except Exception as error:  # any error must reach the reader as words, never as a stack trace
        notice(in_words(error))
        return None


def notice(text: str, kind: str = "warning") -> None:
    """Show a sentence in a box, as text."""
    colour = {"warning": "border-amber-500", "bad": "border-red-600", "good": "border-sky-600"}[kind]
    with ui.card().classes(f"w-full border-l-4 {colour}").props("role=status"):
        ui.label(text).classes("whitespace-pre-wrap break-words")


def badge(status: str) -> ui.element:
    """A state as a coloured badge with a sign."""
    colour = COLOURS.get(status, "#7f7f7f")
    foreground = "black" if colour in ("#f0e442", "#56b4e9", "#e69f00") else "white"
    return ui.label(f"{SIGNS.get(status, '·')} {status}").style(
        f"background:{colour};color:{foreground};border-radius:4px;padding:1px 8px;font-size:0.8rem"
    )


def refreshed(fill: Callable[[], Awaitable[None]], seconds: float = REFRESH_SECONDS) -> Callable[[], Awaitable[None]]:
    """Fill a part of the page now and again every `seconds`, one call at a time; returns the function that fills it at
    once. `fill` reads first, then draws, so that the part never flickers.
    """
    holder = ui.column().classes("w-full gap-4")
    is_busy = False

    async def again() -> None:
        nonlocal is_busy
        if is_busy or holder.is_deleted:
            return
        is_busy = True
        try:
            with holder:
                await fill()
        finally:
            is_busy = False

    ui.timer(seconds, again)
    return again


def ask(action: Action, after: Callable[[], Any] | None = None) -> None:
    """Show what an action will do and call, ask for a reason, and perform it once it is confirmed."""
    if not state.current.may_write:
        ui.notify("This console is read only. Start it with --write to change something.", type="warning")
        return
    with ui.dialog() as dialog, ui.card().classes("min-w-96"):
        ui.label(action.title).classes("text-lg font-bold")
        for sentence in action.consequences:
            ui.label(sentence)
        if action.calls:
            ui.label("It will call: " + ", ".join(str(call) for call in action.calls)).classes("text-xs opacity-70")
        why = ui.input("Reason" if action.needs_reason else "Reason (optional)").classes("w-full")

        async def confirm() -> None:
            try:
                await run.io_bound(perform, state.current.connection, action, state.current.who, str(why.value or ""))
            except ValueError as error:
                ui.notify(str(error), type="warning")
                return
            except Exception as error:  # as in `read`
                ui.notify(in_words(error), type="negative", multi_line=True)
                return
            dialog.close()
            ui.notify(f"{action.name}: done", type="positive")
            if after is not None:
                found = after()
                if inspect.isawaitable(found):
                    await found

        with ui.row():
            ui.button(action.name.capitalize(), on_click=confirm).props("color=primary")
            ui.button("Cancel", on_click=dialog.close).props("flat")
    dialog.open()
