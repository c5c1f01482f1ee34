"""The page Now."""

from __future__ import annotations

from nicegui import ui

from console.frame import page


@page("/", "Now")
async def show() -> None:
    """Fill the page."""
    ui.label("Now")
