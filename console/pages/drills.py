"""The page Drills."""

from __future__ import annotations

from nicegui import ui

from console.frame import page


@page("/drills", "Drills")
async def show() -> None:
    """Fill the page."""
    ui.label("Drills")
