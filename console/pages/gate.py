"""The page Gate."""

from __future__ import annotations

from nicegui import ui

from console.frame import page


@page("/gate", "Gate")
async def show() -> None:
    """Fill the page."""
    ui.label("Gate")
