"""The page Drills: faults caused on purpose on the embedded AWS, the expected end and the real one beside it."""

from __future__ import annotations

import asyncio
from typing import Any

from nicegui import background_tasks, run, ui

from console import state
from console.frame import READ_ONLY, ask, notice, of_a_change, page, read, refreshed
from console.shelf import serving_catalogue
from control import drill_runs, drills
from control.connection import in_words
from control.drill_runs import Begun
from control.drills import Drill, Seen
from control.ledger import when

FOLLOW_SECONDS = 0.5
"""Between two looks at a drill: a short training must be caught while it runs."""
ERRORS = 20
"""So many looks in a row may fail before a drill is no longer followed."""
_following: dict[str, Seen | str] = {}
"""What the drills that this process follows have come to, or why they cannot be looked at now."""


@page("/drills", "Drills")
async def show() -> None:
    """Fill the page."""
    connection = state.current.connection
    ui.label(
        "A drill causes a fault for real and follows it to its end. What is expected is what the documents promise; "
        "what came of it is read from AWS."
    )
    if not connection.is_embedded:
        notice(drill_runs.WHY_NOT)
    elif not state.current.may_write:
        notice(READ_ONLY)
    problem = ui.label().props("role=status")
    cards = {drill.name: _Card(drill) for drill in drills.DRILLS.values()}

    async def update() -> None:
        begun = await run.io_bound(drill_runs.begun, connection)
        by_name = {one.drill.name: one for one in begun}
        for name, card in cards.items():
            await card.update(by_name.get(name))

    async def fill() -> None:
        try:
            await update()
        except Exception as error:  # any error must reach the reader as words
            problem.set_text(in_words(error))
        else:
            problem.set_text("")

    if connection.is_embedded:
        await refreshed(fill)()


class _Card:
    """One drill on one page."""

    def __init__(self, drill: Drill) -> None:
        self.drill, self.shown = drill, object()
        can_begin = state.current.connection.is_embedded
        with ui.card().classes("w-full gap-2"):
            with ui.row().classes("w-full items-center gap-3 flex-wrap"):
                ui.label(drill.title).classes("text-lg font-bold")
                ui.space()
                if can_begin:
                    button = ui.button("Begin", on_click=self._begin).props(f'outline aria-label="Begin {drill.title}"')
                    of_a_change(button)
            ui.label(drill.cause)
            with ui.row().classes("w-full gap-6 flex-wrap items-start"):
                with ui.column().classes("grow basis-80 min-w-0 gap-1"):
                    ui.label("Expected").classes("font-bold")
                    ui.label(drill.end)
                    for expected in drill.expected:
                        ui.label(str(expected)).classes("text-xs opacity-80 break-words")
                    ui.label(f"Afterwards: {drill.set_right}").classes("text-sm")
                self.real = ui.column().classes("grow basis-80 min-w-0 gap-1")
                with self.real:
                    ui.label("What came of it").classes("font-bold")
                    ui.label("It was not begun on this stack yet." if can_begin else "Not begun here.")

    async def _begin(self) -> None:
        connection = state.current.connection
        user_id = ""
        if self.drill in (drills.DEAD_ENDPOINT, drills.FULL_DISK):
            catalogue = await read(serving_catalogue)
            user_id = next(iter(catalogue.examples(1)), "") if catalogue is not None else ""
        try:
            action = await run.io_bound(drill_runs.preparation, connection, self.drill, user_id)
        except Exception as error:  # the same as above
            ui.notify(in_words(error), type="warning", multi_line=True)
            return
        if action is not None:
            ask(action, self._follow_newest)

    async def _follow_newest(self) -> None:
        found = await read(drill_runs.begun, state.current.connection)
        for one in found or []:
            if one.drill is self.drill:
                _follow(one)

    async def update(self, begun: Begun | None) -> None:
        """Draw what is known of the drill, if it has changed."""
        if begun is None:
            return
        if begun.pk not in _following and "ended" not in begun.facts and state.current.may_write:
            _follow(begun)
        if begun.status == "FAILED":
            seen: Seen | str = "A call failed when it began, so nothing was followed. The ledger has the error."
        else:
            followed = _following.get(begun.pk)
            is_live = followed is not None and "ended" not in begun.facts
            seen = followed if is_live else await run.io_bound(drill_runs.look, state.current.connection, begun)  # type: ignore[assignment] # is_live: it is there
        if (begun.pk, seen) == self.shown:
            return
        self.shown = (begun.pk, seen)
        self.real.clear()
        with self.real:
            _draw(begun, seen)


def _draw(begun: Begun, seen: Seen | str) -> None:
    ui.label("What came of it").classes("font-bold")
    ui.label(f"Begun {when(begun.at)} by {begun.who}").classes("text-xs opacity-80")
    if isinstance(seen, str):
        ui.label(seen)
        return
    for text, is_done in seen.steps:
        ui.label(f"{'✓' if is_done else '…'} {text}").classes("text-sm break-words")
    if seen.is_as_expected is None:
        ui.label("▶ under way").classes("font-bold").props("role=status")
    else:
        words = "✓ as expected" if seen.is_as_expected else "✗ not as expected"
        colour = "#0072b2" if seen.is_as_expected else "#d55e00"
        ui.label(words).style(f"background:{colour};color:white;border-radius:4px;padding:1px 8px").props("role=status")
        ui.label(seen.end)
    for reason in seen.reasons[:3]:
        ui.label(reason).classes("text-xs opacity-80 break-words")
    run_id = begun.facts.get("runId")
    if run_id:
        ui.link(f"Run {run_id}", f"/runs/{run_id}").classes("text-sm")
    if seen.needs_setting_right:
        ui.label("What it broke is still broken.").classes("font-bold")
        of_a_change(ui.button("Set right", on_click=lambda: _set_right(begun)))


async def _set_right(begun: Begun) -> None:
    try:
        action = await run.io_bound(drill_runs.setting_right, state.current.connection, begun)
    except Exception as error:  # the same as above
        ui.notify(in_words(error), type="warning")
        return
    if action is not None:
        ask(action)


def _follow(begun: Begun) -> None:
    """Follow a drill to its end, whether or not a page is open: what it broke must be put right."""
    if begun.pk not in _following and begun.status != "FAILED":
        _following[begun.pk] = "Begun."
        background_tasks.create(_to_its_end(begun), name=f"follow {begun.pk}")


async def _to_its_end(begun: Begun) -> None:
    errors = 0
    connection = state.current.connection
    while errors < ERRORS:
        try:
            found: Any = await run.io_bound(_newest, begun)
            seen = await run.io_bound(drill_runs.follow, connection, found, state.current.who)
        except Exception as error:  # it is shown, and the drill is followed on
            errors += 1
            _following[begun.pk] = in_words(error)
        else:
            errors = 0
            if seen is None:
                return
            _following[begun.pk] = seen
            if seen.is_as_expected is not None:
                return
        await asyncio.sleep(FOLLOW_SECONDS)


def _newest(begun: Begun) -> Begun:
    """The drill with the facts of its later steps."""
    found = drill_runs.begun(state.current.connection)
    return next((one for one in found if one.pk == begun.pk), begun)
