"""A table of results: every column sorts, and the whole exports as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

GREY = "#888888"
"""A colour of text that is read on light and on dark."""
AXIS = {"axisLabel": {"color": GREY}, "splitLine": {"lineStyle": {"color": "#88888855"}}}
"""What an axis of a chart needs for the same."""


def table(title: str, heads: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Show `rows` with the columns `heads` (field → heading); the first column is the widest."""
    with ui.row().classes("items-center gap-2"):
        ui.label(title).classes("text-lg font-bold")
        ui.button(icon="download", on_click=lambda: grid.run_grid_method("exportDataAsCsv")).props(
            f'flat dense aria-label="Export as CSV: {title}"'
        )
    grid: ui.aggrid
    # Fields are numbered, because AG Grid takes a point in a field's name for a path.
    columns: list[dict[str, Any]] = [
        {"field": f"c{position}", "headerName": words, "sortable": True, "minWidth": 100, "flex": 1 if position else 2}
        for position, words in enumerate(heads.values())
    ]
    columns[0] |= {"wrapText": True, "autoHeight": True, "minWidth": 140}
    shown = [{f"c{position}": _rounded(row.get(name)) for position, name in enumerate(heads)} for row in rows]
    grid = (
        ui.aggrid({"columnDefs": columns, "rowData": shown, "domLayout": "autoHeight"}, auto_size_columns=False)
        .classes("w-full")
        .style("height:auto")
    )


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
