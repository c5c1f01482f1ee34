"""A table of results: every column sorts, and the whole exports as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

from control.spreadsheet import IN_SCRIPT

GREY = "#888888"
"""A colour of text that is read on light and on dark."""
AXIS = {"axisLabel": {"color": GREY}, "splitLine": {"lineStyle": {"color": "#88888855"}}}
"""What an axis of a chart needs for the same."""
LONGEST_CELL = 2000
"""Characters of a cell."""
PAGE_ROWS = 20
"""Rows of a page of a table; shorter tables have one page."""
WRAPPED: Mapping[str, Any] = {
    "wrapText": True,
    "autoHeight": True,
    "cellStyle": {"lineHeight": "1.4", "paddingTop": "8px", "paddingBottom": "8px", "overflowWrap": "anywhere"},
}
"""A column whose texts may have several lines."""
LINK = """p => {
  const address = p.data && p.data["link"];
  if (!address || !address.startsWith("/") || address.startsWith("//")) return document.createTextNode(p.value ?? "");
  const link = document.createElement("a");
  link.href = address; link.textContent = p.value; link.className = "underline";
  return link;
}"""
"""Shows a cell as a link to another page of the console: made as an element, so that its text stays text."""


def table(title: str, heads: Mapping[str, str], rows: Sequence[Mapping[str, Any]], linked: str = "") -> ui.aggrid:
    """Show `rows` with the columns `heads` (field → heading); the first column is the widest. The column `linked`
    leads to the address that a row has as `link`. Texts are exported so that no spreadsheet calculates them.
    """
    with ui.row().classes("items-center gap-2"):
        if title:
            ui.label(title).classes("text-lg font-bold").props('role="heading" aria-level="2"')
        ui.button(icon="download", on_click=lambda: grid.run_grid_method("exportDataAsCsv")).props(
            f'flat dense aria-label="Export as CSV: {title or next(iter(heads.values()))}"'
        )
    grid: ui.aggrid
    # Fields are numbered, because AG Grid takes a point in a field's name for a path.
    columns: list[dict[str, Any]] = [
        {"field": f"c{position}", "headerName": words, "sortable": True, "minWidth": 100, "flex": 1 if position else 2}
        | ({":cellRenderer": LINK, "minWidth": 230} if name == linked else {})
        | ({**WRAPPED, "flex": 3, "minWidth": 240} if _is_long(rows, name) else {})
        for position, (name, words) in enumerate(heads.items())
    ]
    columns[0] |= {**WRAPPED, "minWidth": columns[0].get("minWidth", 0) if linked else 140}
    shown = [
        {f"c{position}": _cell(row.get(name)) for position, name in enumerate(heads)}
        | ({"link": row.get("link")} if linked else {})
        for row in rows
    ]
    options: dict[str, Any] = {
        "columnDefs": columns,
        "rowData": shown,
        "domLayout": "autoHeight",
        ":defaultCsvExportParams": f"{{ processCellCallback: {IN_SCRIPT} }}",
    }
    if len(shown) > PAGE_ROWS:
        options |= {"pagination": True, "paginationPageSize": PAGE_ROWS, "paginationPageSizeSelector": False}
    grid = ui.aggrid(options, auto_size_columns=False).classes("w-full").style("height:auto")
    return grid


def _is_long(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return any(len(str(row.get(name) or "")) > 60 for row in rows)


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, str) and len(value) > LONGEST_CELL:
        return f"{value[:LONGEST_CELL]}… ({len(value):,} characters)"
    return value
