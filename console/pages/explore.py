"""The page Explore."""

from __future__ import annotations

from nicegui import ui

from console.frame import page


@page("/explore", "Explore")
async def show() -> None:
    """Fill the page."""
    ui.label("Explore")
