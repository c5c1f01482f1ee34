"""The page History: who served when and why, where each model comes from, every decision, and the way back."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from nicegui import run, ui

from console import glossary, state
from console.frame import ask, badge, later, notice, of_a_change, page, read, read_only_note, refreshed
from console.tables import table
from control import lineage, runs, serving
from control.at_once import at_once
from control.connection import in_words
from control.ledger import when
from control.lineage import Step
from control.serving import Former

ACTIONS = 50
MOST_BARS = 40
"""Times of service in the band; the table has all."""
SMALLEST_SHARE = 0.02
"""Share of the band that a short time has at least, so that it can be seen and pressed."""


@dataclass(frozen=True)
class Found:
    """Content of the page besides decisions."""

    items: list[dict[str, Any]]
    formers: list[Former]
    actions: list[dict[str, Any]]
    machine: str
    split: dict[str, Any] = field(default_factory=dict)


def _history() -> Found | str:
    try:
        ledger = state.current.ledger
        items, champions, actions, split = at_once(
            (
                ledger.history,
                functools.partial(ledger.of_kind, "CHAMPION"),
                functools.partial(ledger.of_kind, "ACTION", ACTIONS),
                ledger.split,
            )
        )
        machine = state.current.connection.outputs["RollbackStateMachineArn"]
        return Found(items, serving.formers(champions, items), actions, machine, split)
    except Exception as error:  # as in `frame.read`, but one sentence in place of the last one
        return in_words(error)


@page("/history", "History")
async def show(run: str = "", decisions: str = "") -> None:
    """Fill the page. `run` is the model whose origin is shown, `decisions` where the table of decisions begins."""
    await refreshed(_fill(run))()
    later(lambda: _decisions(run, decisions))


def _fill(chosen: str) -> Callable[[], Awaitable[None]]:
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
            notice(found) if isinstance(found, str) else await _draw(found, chosen)

    return fill


def _heading(text: str) -> None:
    ui.label(text).classes("text-lg font-bold").props('role="heading" aria-level="2"')


async def _draw(found: Found, chosen: str) -> None:
    periods = serving.periods(found.items, time.time())
    _heading("Who served")
    if periods:
        _band(periods[:MOST_BARS], chosen or periods[0]["run"])
    else:
        notice("No model has served yet.")
    if found.split:
        ui.label(
            f"Since {when(found.split.get('since'))}, {found.split.get('runId')} answers {found.split['percent']} % of "
            f"the people: {found.split.get('why') or 'no reason is kept'}."
        ).classes("break-words")
    if chosen or periods:
        await _origin(chosen or periods[0]["run"])
    later(lambda: _tables(found, periods))


def _tables(found: Found, periods: list[dict[str, Any]]) -> None:
    if periods:
        heads = {"run": "run", "since": "since", "until": "until", "replaced": "replaced", "why": "why", "by": "by"}
        rows = [{**one, "link": runs.run_address(one["run"])} for one in periods]
        table("Times of service", heads, rows, linked="run")
        _changes(found, periods[0]["run"])
    rows = [{**one, "at": when(one.get("updatedAt")), "error": one.get("error") or "–"} for one in found.actions]
    if rows:
        heads = {"at": "at", "name": "change", "status": "status", "who": "who", "why": "why", "error": "error"}
        table(f"Changes by people, the last {ACTIONS}", heads, rows)
    else:
        ui.label("No change was made by the console or the command line yet.")


def _band(periods: Sequence[dict[str, Any]], chosen: str) -> None:
    """The times of service from left to right, as wide as they were long; a press shows where the model comes from."""
    whole = sum(one["seconds"] for one in periods) or 1.0
    with ui.element("div").classes("w-full flex flex-row gap-1").props('role=list aria-label="Who served when"'):
        for one in reversed(periods):
            share = max(one["seconds"] / whole, SMALLEST_SHARE)
            sign, colour = ("↶", "#e69f00") if one["isRollback"] else ("✓", "#0072b2")
            text = "#000" if one["isRollback"] else "#fff"
            is_chosen = one["run"] == chosen
            with ui.element("div").props("role=listitem").style(f"flex:{share} 1 0;min-width:1.5rem"):
                address = f"/history?{urlencode({'run': one['run']})}"
                mark = ui.link(f"{sign} {one['run']}", address).classes("block truncate px-2 py-2 rounded no-underline")
                mark.classes("text-white" if text == "#fff" else "")
                mark.style(f"background:{colour};color:{text} !important")
                mark.props["title"] = f"{one['run']}, from {one['since']} until {one['until']}: {one['why']}"
                if is_chosen:
                    mark.classes("font-bold").props("aria-current=true").style("outline:3px solid #56b4e9")
    first = periods[-1]["since"]
    with ui.row().classes("w-full justify-between text-xs opacity-80"):
        ui.label(f"{first}")
        ui.label("✓ by a run that passed the gate · ↶ put back by a person")
        ui.label("now")


async def _origin(run_id: str) -> None:
    _heading(f"Where {run_id[:200]} comes from")
    steps: list[Step] | None = await read(lineage.of_run, state.current.connection, run_id)
    if steps is None:
        return
    if not steps:
        ui.label("The ledger has no run of this name.")
        return
    with ui.element("ol").classes("w-full flex flex-row flex-wrap gap-2 items-stretch"):
        for position, step in enumerate(steps):
            with ui.element("li").classes("flex items-center gap-2 min-w-0"):
                if position:
                    ui.label("→").props("aria-hidden=true").classes("text-xl opacity-70")
                with ui.card().classes("p-2 gap-0 max-w-xs min-w-0 h-full"):
                    with ui.row().classes("gap-2 items-center"):
                        glossary.term(step.kind)
                        if step.status:
                            badge(step.status)
                    if step.link:
                        ui.link(step.name, step.link).classes("break-all text-sm")
                    else:
                        ui.label(step.name).classes("break-all text-sm")
                    for text in (step.at, step.note):
                        if text and text != "-":
                            ui.label(text[:300]).classes("text-xs opacity-80 break-words")


def _changes(found: Found, serves: str) -> None:
    _heading("Go back, or split the requests")
    if not found.formers:
        ui.label("No other model that has served is kept: there is none to go back to.")
        return
    read_only_note()
    options = {one.run_id: one.label for one in found.formers}
    known = {one.run_id: one for one in found.formers}
    with ui.row().classes("items-center flex-wrap w-full"):
        chosen = ui.select(options, label="Model", value=found.formers[0].run_id).classes("min-w-64 max-w-full")
        percent = ui.number("Percent of a split", value=50, min=1, max=99, precision=0)
    expected = ui.column().classes("w-full gap-1").props("role=status")
    weighed: dict[str, tuple[str, ...]] = {}

    async def weigh() -> None:
        run_id = str(chosen.value)
        if run_id not in weighed:
            try:
                both = await run.io_bound(
                    at_once, [functools.partial(_served, run_id), functools.partial(_served, serves)]
                )
                weighed[run_id] = serving.differences(known[run_id], *both)
            except Exception as error:  # what cannot be read is told beside the button
                weighed[run_id] = (in_words(error),)
        if expected.is_deleted or run_id != chosen.value:
            return
        expected.clear()
        with expected:
            ui.label(f"If {run_id} serves again:").classes("font-bold break-all")
            for sentence in serving.roll_back(found.machine, run_id, serves, weighed[run_id]).consequences:
                ui.label(f"· {sentence}").classes("break-words")

    def split(share: int) -> None:
        ask(serving.split(found.machine, str(chosen.value), share))

    def back() -> None:
        run_id = str(chosen.value)
        ask(serving.roll_back(found.machine, run_id, serves, weighed.get(run_id, ())))

    chosen.on_value_change(weigh)
    ui.timer(0.1, weigh, once=True)
    with ui.row().classes("items-center flex-wrap w-full"):
        of_a_change(ui.button("Roll back", on_click=back))
        of_a_change(ui.button("Split", on_click=lambda: split(int(percent.value or 1))))
        end = of_a_change(ui.button("End the split", on_click=lambda: split(0)).props("flat"))
        end.set_visibility(bool(found.split))


def _served(run_id: str) -> serving.Served:
    return serving.read_served(state.current.connection, run_id)


async def _decisions(run_id: str, after: str) -> None:
    """A page of the decisions of all runs."""
    found = await read(lambda: state.current.ledger.some_of_kind("DECISION", "", after, lineage.PAGE))
    if found is None:
        return
    rows = lineage.decision_rows(found[0])
    heads = {"at": "at", "run": "run", "stage": "stage", "verdict": "verdict", "reasons": "reasons"}
    if rows:
        table("Decisions", heads, rows, linked="run")
    elif not after:
        ui.label("No decision was made yet.")
    with ui.row().classes("gap-4"):
        if after:
            ui.link("Newest decisions", f"/history?{urlencode({'run': run_id})}")
        if found[1]:
            ui.link("Older decisions", f"/history?{urlencode({'run': run_id, 'decisions': found[1]})}")
