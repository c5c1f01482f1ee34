"""The page Runs."""

from __future__ import annotations

from nicegui import ui

from console.frame import page


@page("/runs", "Runs")
async def show() -> None:
    """Fill the page."""
    ui.label("Runs")
