"""The page Compare."""

from __future__ import annotations

from nicegui import ui

from console.frame import page


@page("/compare", "Compare")
async def show() -> None:
    """Fill the page."""
    ui.label("Compare")
