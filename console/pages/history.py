"""The page History."""

from __future__ import annotations

from nicegui import ui

from console.frame import page


@page("/history", "History")
async def show() -> None:
    """Fill the page."""
    ui.label("History")
