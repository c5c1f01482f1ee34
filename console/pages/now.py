"""The page Now: who serves and why, answers, alarms, what runs or waits, notifications, and a place to drop files."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from nicegui import events, ui

from console import glossary, state
from console.frame import ask, badge, notice, page, read, read_only_note, refreshed
from control import drops, health, serving
from control.at_once import at_once
from control.connection import in_words
from control.ledger import REFUSED, key_of, when

NOTICES = 10
USABLE = ("PREPARED", "CLAIMED", "STALE")
"""States of datasets that could be prepared."""
LARGEST_FILE = 200 * 1024 * 1024
"""Bytes of a file that the page takes; larger ones go to the bucket by the AWS CLI."""


def _now() -> dict[str, Any] | str:
    try:
        return _read()
    except Exception as error:  # as in `frame.read`, but one sentence in place of the last one
        return in_words(error)


def _read() -> dict[str, Any]:
    connection, ledger = state.current.connection, state.current.ledger
    outputs, prefix, now = connection.outputs, connection.name_prefix, datetime.now(UTC)
    calls: dict[str, Callable[[], Any]] = {
        "answers": lambda: health.answers(connection, prefix, now),
        "earned": lambda: health.earned(ledger.outcomes(*health.day_before(now))),
        "alarms": lambda: health.ringing(connection, prefix),
        "endpoint": lambda: health.endpoint(connection, outputs["EndpointName"], ledger.item("ENDPOINT", "REST")),
        "dead": lambda: health.dead_letters(connection, outputs["DeadLetterQueueUrl"]),
        "serving": ledger.serving,
        "split": ledger.split,
        "datasets": lambda: ledger.of_kind("DATASET"),
        "runs": lambda: ledger.of_kind("RUN"),
        "waits": lambda: health.waits(ledger.of_kind("TOKEN")),
        "notices": lambda: ledger.of_kind("NOTICE", NOTICES),
    }
    found = dict(zip(calls, at_once(calls.values()), strict=True))
    found["data"] = health.newest(one for one in found["datasets"] if one.get("status") in USABLE)
    found["refused"] = [key_of(one) for one in found["datasets"] if one.get("status") in REFUSED]
    found["work"] = [*found.pop("runs"), *found.pop("datasets")]
    return found


@page("/", "Now")
async def show() -> None:
    """Fill the page."""
    await refreshed(_fill())()
    _drop_zone()


def _fill() -> Any:
    holder: ui.element | None = None
    drawn: Any = None

    async def fill() -> None:
        """Draw anew only what is new, or a minute older: who goes through the page by keyboard keeps their place."""
        nonlocal holder, drawn
        found = await read(_now)
        if found is None or (found, int(time.time() // 60)) == drawn:
            return
        drawn = (found, int(time.time() // 60))
        if holder is None:
            holder = ui.element("div").classes("grid gap-4 w-full grid-cols-1 md:grid-cols-2")
        holder.clear()
        with holder:
            notice(found) if isinstance(found, str) else _draw(found)

    return fill


def _draw(found: Mapping[str, Any]) -> None:
    with ui.card().classes("w-full md:col-span-2"):
        _who_serves(found["serving"], found["split"])
    with ui.card().classes("w-full"):
        _heading("Health")
        if found["alarms"]:
            notice("Alarms ring: " + ", ".join(found["alarms"]), "bad")
        now, since = datetime.now(UTC).timestamp(), found["serving"].get("since")
        sentences = [found["endpoint"], *(() if found["alarms"] else ("No alarm rings.",))]
        sentences.append(
            f"The newest data are {health.age(found['data'], now)} old, the model {health.age(since, now)}."
        )
        dead = found["dead"]
        sentences.append(f"{dead} events could not be processed." if dead else "No event was left unprocessed.")
        _lines(sentences)
    with ui.card().classes("w-full"):
        _heading("Answers of the last hour")
        _answers(found["answers"])
    with ui.card().classes("w-full"):
        _heading("Running and waiting")
        _work(serving.open_work(found["work"]), found["waits"])
    with ui.card().classes("w-full"):
        _heading("Earned in 24 hours")
        _lines(found["earned"] or ["No event has named a recommendation."])
    with ui.card().classes("w-full md:col-span-2"):
        _heading("Notifications")
        _notifications(found["notices"], found["refused"])


def _heading(text: str) -> None:
    ui.label(text).classes("font-bold").props('role="heading" aria-level="2"')


def _lines(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        ui.label(sentence).classes("break-words")


def _who_serves(current: Mapping[str, Any], split: Mapping[str, Any]) -> None:
    if not current.get("runId"):
        ui.label("No model serves yet. Drop data below, or under raw/ of the data bucket, closed by _SUCCESS.")
        return
    ui.label(f"{current['runId']} serves since {when(current.get('since'))}").classes("text-lg break-all")
    previous = (current.get("previous") or {}).get("runId")
    before = f" It replaced {previous}." if previous else ""
    why = str(current.get("why") or "no reason is kept")
    ui.label(f"Why: {why}. By the execution {str(current.get('by')).rpartition(':')[2]}.{before}").classes(
        "break-words"
    )
    with ui.row().classes("gap-4 flex-wrap"):
        run = quote(str(current["runId"]), safe="")
        ui.link("Its evidence at the gate", f"/gate?run={run}")
        ui.link("Its run", f"/runs/{run}")
        if previous:
            ui.link("Compare with the one before", f"/compare?a={quote(str(previous), safe='')}&b={run}")
        ui.link("Go back to an earlier model", "/history")
    if split:
        ui.label(f"{split.get('runId')} answers {split['percent']} % of the requests.").classes("break-all")


def _answers(answers: health.Answers) -> None:
    total = sum(answers.by_source.values())
    if not total:
        ui.label("None: nobody has asked, or the metrics are not there yet.")
    for source, number in sorted(answers.by_source.items(), key=lambda one: -one[1]):
        glossary.term(source, f"{source}: {number:,} ({number / total:.0%})")
    if answers.p50 is not None and answers.p99 is not None:
        ui.label(f"Time of the function: p50 {answers.p50:,.0f} ms, p99 {answers.p99:,.0f} ms.")
    ui.label(f"{answers.errors} errors." if answers.errors else "No errors.")


def _work(work: Iterable[Mapping[str, str]], waits: Iterable[tuple[str, str]]) -> None:
    shown = False
    for one in work:
        shown = True
        with ui.row().classes("items-center flex-wrap"):
            badge(one["status"])
            _run_or_text(f"{one['name']}, since {one['since']}", one["name"])
    for sentence, run_id in waits:
        shown = True
        _run_or_text(f"Waiting for {sentence}", run_id)
    if not shown:
        ui.label("Nothing runs, waits or is parked.")


def _run_or_text(text: str, run_id: str) -> None:
    if "-r" in run_id:
        ui.link(text, f"/runs/{quote(run_id, safe='')}").classes("break-all")
    else:
        ui.label(text).classes("break-all")


def _notifications(notices: Iterable[Mapping[str, Any]], refused: Container[str]) -> None:
    shown = False
    for one in notices:
        shown = True
        sentence, name = health.sentence_of(one, refused)
        _run_or_text(f"{when(one.get('updatedAt'))}  {sentence}", name if str(one["pk"]).startswith("RUN#") else "")
    if not shown:
        ui.label("None was sent yet.")


def _drop_zone() -> None:
    files: dict[str, bytes] = {}
    with ui.card().classes("w-full"):
        _heading("Drop files")
        ui.label(
            "Interactions (user, item, time) and, if there is one, a catalogue: CSV, TSV, JSON lines, Parquet, gzip."
        )
        if not state.current.may_write:
            read_only_note()
            return
        chosen = ui.label("Nothing is chosen.").props("role=status").classes("break-words")

        async def take(given: events.UploadEventArguments) -> None:
            files[given.file.name] = await given.file.read()
            chosen.set_text("Chosen: " + ", ".join(files))

        zone = ui.upload(multiple=True, auto_upload=True, max_file_size=LARGEST_FILE, on_upload=take).classes("w-full")
        zone.props('label="Choose or drop files" flat bordered')
        zone.on(
            "rejected", lambda: ui.notify("A file is larger than 200 MB: upload it with the AWS CLI.", type="warning")
        )

        def emptied() -> None:
            files.clear()
            zone.reset()
            chosen.set_text("Nothing is chosen.")

        ui.button("Upload and start", on_click=lambda: _drop(files, emptied)).props("color=primary no-caps")


def _drop(files: Mapping[str, bytes], after: Callable[[], None]) -> None:
    try:
        name = drops.name_of(next(iter(files), ""), datetime.now(UTC))
        action = drops.drop(state.current.connection.outputs["DataBucketName"], name, dict(files))
    except ValueError as error:
        ui.notify(str(error), type="warning")
        return

    def done() -> None:
        after()
        ui.notify(f"raw/{name}/ is closed: its preparation is on the page Runs.", type="positive")

    ask(action, done)
