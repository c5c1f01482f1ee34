"""The page Runs: runs, preparations, batches and rollbacks, page by page."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from nicegui import run, ui

from console import state
from console.frame import COLOURS, SIGNS, csv_button, page
from console.pages import run as run_page  # registers the page of one run
from control import runs
from control.connection import in_words
from control.diagrams import on
from control.ledger import when

TITLES = {"RUN": "Runs", "DATASET": "Preparations", "BATCH": "Batches", "ROLLBACK": "Rollbacks"}
REFRESH_SECONDS = 2.0
FILTERED_SECONDS = 10.0
"""A table of one status reads many records for each page."""
COLUMNS: list[dict[str, Any]] = [
    {"name": name, "label": label, "field": name, "sortable": True, "align": "left"} | more
    for name, label, more in (
        ("name", "Name", {}),
        ("status", "Status", {}),
        ("started", "Started", {":format": "value => value ? new Date(value * 1000).toLocaleString('sv-SE') : '–'"}),
        ("took", "Took (s)", {"align": "right"}),
        ("reasons", "Reasons", {"style": "max-width:40rem;white-space:normal;overflow-wrap:anywhere"}),
    )
]
NAME_SLOT = """
<q-td :props="props" style="min-width:11rem;max-width:22rem;overflow-wrap:anywhere;white-space:normal">
  <a :href="props.row.link" class="underline">{{ props.row.name.slice(0, 200) }}</a>
</q-td>"""
STATUS_SLOT = """
<q-td :props="props"><span :style="props.row.look">{{ props.row.sign }} {{ props.row.status }}</span></q-td>"""
REASONS_SLOT = """
<q-td :props="props" style="min-width:14rem;white-space:normal;overflow-wrap:anywhere">
  <span class="line-clamp-2" :title="props.row.reasons">{{ props.row.reasons }}</span>
</q-td>"""

__all__ = ["run_page", "show"]


@page("/runs", "Runs")
async def show(kind: str = "RUN", status: str = "", after: str = "") -> None:
    """Fill the page. `kind`, `status` and `after` (where the page begins) are in the address."""
    kind = kind if kind in TITLES else "RUN"
    status = status if status in runs.STATUSES[kind] else ""
    with ui.row().classes("w-full items-center gap-2"):
        ui.toggle(TITLES, value=kind, on_change=lambda event: ui.navigate.to(_address(event.value))).props(
            'no-caps dense aria-label="What the table shows"'
        )
        ui.select(
            {"": "any status", **{name: name for name in runs.STATUSES[kind]}},
            value=status,
            label="Status",
            on_change=lambda event: ui.navigate.to(_address(kind, event.value)),
        ).classes("min-w-40")
        ui.space()
        listed: list[dict[str, Any]] = []
        csv_button(lambda: [_exported(row) for row in listed], EXPORTED, TITLES[kind].lower())
    trouble = ui.label().props("role=status")
    table = ui.table(rows=[], columns=COLUMNS, row_key="id").classes("w-full").props("flat dense wrap-cells")
    table.add_slot("body-cell-name", NAME_SLOT)
    table.add_slot("body-cell-status", STATUS_SLOT)
    table.add_slot("body-cell-reasons", REASONS_SLOT)
    with ui.row().classes("items-center gap-2"):
        if after:
            ui.link("Newest", _address(kind, status))
        older = ui.link("Older", _address(kind, status))
    older.set_visibility(False)

    async def fill() -> None:
        try:
            rows, more = await run.io_bound(runs.rows_of, state.current.connection, kind, status, after)
        except Exception as error:  # any error must reach the reader as words
            trouble.text = in_words(error)
            return
        nothing = f"Nothing here yet: no {TITLES[kind].lower()}" + (f" with the status {status}." if status else ".")
        first_step = " `make demo`, or a drop with _SUCCESS, starts one." if kind in ("RUN", "DATASET") else ""
        rarely = "No record of this status among the ones looked at; older ones may have it."
        trouble.text = "" if rows else (rarely if more else nothing + first_step)
        if rows != listed:
            listed[:] = rows
            table.rows = [_drawn(row) for row in rows]
        older.set_visibility(bool(more))
        older.props["href"] = _address(kind, status, more)

    await fill()
    if not after:
        ui.timer(FILTERED_SECONDS if status else REFRESH_SECONDS, fill)


EXPORTED = ("name", "status", "started", "took", "reasons")


def _exported(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "started": when(row["started"])}


def _drawn(row: dict[str, Any]) -> dict[str, Any]:
    colour = COLOURS.get(row["status"], "#7f7f7f")
    look = f"background:{colour};color:{on(colour)};border-radius:4px;padding:1px 8px;white-space:nowrap"
    return {**row, "look": look, "sign": SIGNS.get(row["status"], "·")}


def _address(kind: str, status: str = "", after: str = "") -> str:
    query = {name: value for name, value in (("kind", kind), ("status", status), ("after", after)) if value}
    return f"/runs?{urlencode(query)}"
