"""The page Now: who serves and why, what runs or is parked, and the last notifications."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from nicegui import ui

from console import state
from console.frame import badge, notice, page, read, refreshed
from control import health, serving
from control.connection import in_words
from control.ledger import when

NOTICES = 10


def _now() -> dict[str, Any] | str:
    try:
        return _read()
    except Exception as error:  # as in `frame.read`, but one sentence in place of the last one
        return in_words(error)


def _read() -> dict[str, Any]:
    ledger = state.current.ledger
    datasets = ledger.of_kind("DATASET")
    prefix = ledger.name.removesuffix("-runs")
    return {
        "data": health.newest(datasets),
        "earned": health.earned(ledger.outcomes(*health.day_before(datetime.now(UTC)))),
        "alarms": health.ringing(state.current.connection, prefix),
        "serving": ledger.serving(),
        "split": ledger.split(),
        "work": [*ledger.of_kind("RUN"), *datasets],
        "notices": ledger.of_kind("NOTICE", NOTICES),
    }


@page("/", "Now")
async def show() -> None:
    """Fill the page."""
    await refreshed(_fill())()


def _fill() -> Any:
    holder: ui.column | None = None

    async def fill() -> None:
        nonlocal holder
        found = await read(_now)
        if found is None:
            return
        if holder is None:
            holder = ui.column().classes("w-full gap-4")
        holder.clear()
        with holder:
            notice(found) if isinstance(found, str) else _draw(found)

    return fill


def _draw(found: dict[str, Any]) -> None:
    current, split = found["serving"], found["split"]
    if not current.get("runId"):
        notice("No model serves yet. Drop data under raw/, closed by _SUCCESS: the first model that passes serves.")
    else:
        with ui.card().classes("w-full"):
            ui.label(f"{current['runId']} serves since {when(current.get('since'))}").classes("text-lg break-all")
            ui.label(str(current.get("why") or "No reason is kept.")).classes("break-words")
            ui.label(f"by {current.get('by') or 'unknown'}").classes("text-xs opacity-70 break-all")
            ui.link("Its evidence at the gate", f"/gate?run={quote(str(current['runId']), safe='')}")
            if split:
                ui.label(f"{split.get('runId')} answers {split['percent']} % of the requests").classes("break-all")
    now = datetime.now(UTC).timestamp()
    ui.label(f"Age of the newest data {health.age(found['data'], now)}, model {health.age(current.get('since'), now)}")
    if found["alarms"]:
        notice("Alarms ring: " + ", ".join(found["alarms"]), "bad")
    else:
        ui.label("No alarm rings.")
    ui.label("Earned in 24 hours").classes("text-lg")
    for sentence in found["earned"] or ["No event has named a recommendation."]:
        ui.label(sentence).classes("break-words")
    ui.label("Open work").classes("text-lg")
    work = serving.open_work(found["work"])
    if not work:
        ui.label("Nothing runs and nothing is parked.")
    for one in work:
        with ui.row().classes("items-center flex-wrap"):
            badge(one["status"])
            ui.label(f"{one['name']}, since {one['since']}").classes("break-all")
    if found["notices"]:
        ui.label("Notifications").classes("text-lg")
    for one in found["notices"]:
        ui.label(f"{when(one.get('updatedAt'))}  {one['pk']}: {one['sk'].partition('#')[2]}").classes("break-words")
